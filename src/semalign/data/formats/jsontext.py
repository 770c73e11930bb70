"""JSON documents: read with a sentence for everything that is wrong, and changed number by number, all else byte for byte."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from semalign.data.formats.revising import spliced
from semalign.errors import SemalignError
from semalign.files import reason

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)')


class Part(BaseModel):
    """A part of a document as its format asks for it; more is allowed and ignored, and text is no number."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


AnyPart = TypeVar("AnyPart", bound=Part)


def read_json_document(
    data: bytes, path: Path, packed: Callable[[dict[Any, Any]], dict[Any, Any]] | None = None
) -> Any:
    """The value of a document; each object in it is `packed` as soon as it is read, so that long lists take less memory.

    Raises:
        SemalignError: it is no JSON; NaN and infinity are none.
    """
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse, object_hook=packed)
    except RecursionError:
        raise SemalignError(f"{path}: is nested too deeply; replace the file.") from None
    except ValueError as error:
        raise SemalignError(f"{path}: cannot be read as JSON ({reason(error)}); correct or replace the file.") from None


def part(kind: type[AnyPart], value: Any, where: str) -> AnyPart:
    """A part of a document, checked.

    Raises:
        SemalignError: it is not as its format asks for; names `where` it stands and the first thing that is wrong.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(item) for item in first["loc"])
        raise SemalignError(
            f"{where}: {place + ': ' if place else ''}{first['msg'][:200]}; correct or replace the file."
        ) from None


def declared_landmarks(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of the landmarks that a document of ours lists under `landmarks`, if it does."""
    names = values.get("landmarks")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        return None
    return tuple(names) if len(set(names)) == len(names) else None


def number_places(data: bytes) -> Any:
    """The value of a sound document with, for each number, its place among all numbers in the text, from 0."""
    count = itertools.count()
    return json.loads(
        data.decode("utf-8-sig"), parse_int=lambda text: next(count), parse_float=lambda text: next(count)
    )


def with_numbers(data: bytes, texts: Mapping[int, str]) -> bytes:
    """The document with other texts for the numbers at some places (see `number_places`)."""
    text = data.decode("utf-8")
    numbers = (match for match in _TOKEN.finditer(text) if match[1] is not None)
    changes = [(match.span(), texts[place]) for place, match in enumerate(numbers) if place in texts]
    return spliced(text, changes).encode("utf-8")


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
