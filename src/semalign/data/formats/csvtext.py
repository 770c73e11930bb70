"""Comma-separated text: fields with the places at which they stand, so that some can be changed, all else byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from semalign.data.formats.revising import spliced
from semalign.errors import SemalignError

_FIELD = re.compile(r'(?:[ \t]*"([^"]*(?:""[^"]*)*)"[ \t]*|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        line: number of its line, from 1.
        fields: their values without quotes.
        spans: where each stands in the text.
    """

    line: int
    fields: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def decoded(data: bytes, path: Path) -> str:
    """The text of a file, with its byte order mark if it has one.

    Raises:
        SemalignError: it is no UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SemalignError(f"{path}: is not a text file in UTF-8; save it as one.") from None


def read_rows(data: bytes, path: Path) -> Iterator[Row]:
    """The rows that are not empty.

    Raises:
        SemalignError: no text, or a quotation mark that is not closed.
    """
    text = decoded(data, path)
    place, line, begun = (1 if text.startswith("\ufeff") else 0), 1, 1
    fields: list[str] = []
    spans: list[tuple[int, int]] = []
    while place < len(text) or fields:
        match = _FIELD.match(text, place)
        if match is None:
            raise SemalignError(f"{path}: line {line}: has a quotation mark where none belongs; correct the line.")
        quoted = match[1] is not None
        fields.append(match[1].replace('""', '"') if quoted else match[2].strip())
        spans.append(match.span(1 if quoted else 2))
        line += text.count("\n", match.start(), match.end())
        place = match.end()
        if match[3] != ",":
            if any(fields):
                yield Row(begun, tuple(fields), tuple(spans))
            fields, spans, begun = [], [], line


def with_fields(data: bytes, texts: Mapping[tuple[int, int], str]) -> bytes:
    """The text with other texts at some spans (of characters)."""
    return spliced(data.decode("utf-8"), texts.items()).encode("utf-8")


def csv_line(values: list[str]) -> str:
    """A row as text; values that need it are quoted."""
    return ",".join(f'"{v.replace(chr(34), chr(34) * 2)}"' if re.search(r'[",\r\n]|^\s|\s$', v) else v for v in values)
