"""XML documents: read without entities, and changed attribute by attribute, all else byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from semalign.errors import SemalignError
from semalign.files import reason

DEEPEST = 64  # elements within each other; the formats here need six
_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')""")
_NAME = re.compile(rb"<[^\s/>!?]+")
_PROLOG = ((b"<!--", b"-->"), (b"<?", b"?>"))  # what may come before the first element, and how it ends
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class Node:
    """An element.

    Attributes:
        tag: its name.
        attributes: their values.
        start: the byte at which it begins in the document.
        children: elements in it.
        text: what stands before the first of them.
    """

    tag: str
    attributes: dict[str, str]
    start: int
    children: list[Node] = field(default_factory=list)
    text: str = ""

    def all(self, *tags: str) -> Iterator[Node]:
        """The elements in it, not deeper, of some names."""
        return (child for child in self.children if child.tag in tags)

    def first(self, *path: str) -> Node | None:
        """The first element at a path of names below it."""
        node: Node | None = self
        for tag in path:
            node = None if node is None else next(node.all(tag), None)
        return node

    def text_of(self, tag: str) -> str:
        """The text of the first element of a name in it, without white space at its ends; empty if there is none."""
        child = self.first(tag)
        return "" if child is None else child.text.strip()


class _Builder:
    """Makes nodes of what the parser meets."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.open: list[Node] = []
        self.root: Node | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        node = Node(tag, dict(attributes), self.parser.parser.CurrentByteIndex)
        if len(self.open) >= DEEPEST:
            raise ValueError(f"elements are nested more than {DEEPEST} deep")
        if self.open:
            self.open[-1].children.append(node)
        elif self.root is None:
            self.root = node
        self.open.append(node)

    def end(self, tag: str) -> None:
        self.open.pop()

    def data(self, text: str) -> None:
        if self.open and not self.open[-1].children:
            self.open[-1].text += text

    def close(self) -> Node | None:
        return self.root


def root_name(head: bytes) -> str:
    """The name of the first element, as far as the first bytes of a document tell; empty if they do not."""
    place = head.find(b"<")
    while place >= 0:
        if match := _NAME.match(head, place):
            return match[0][1:].decode("utf-8", "replace")
        end = next((end for begin, end in _PROLOG if head.startswith(begin, place)), b"")
        place = head.find(b"<", place + 1) if not end else head.find(end, place)
        if end and place >= 0:
            place = head.find(b"<", place)
    return ""


def read_xml(data: bytes, path: Path) -> Node:
    """The root of a document.

    Raises:
        SemalignError: it is no XML, defines entities or is nested too deeply.
    """
    builder = _Builder()
    builder.parser = XMLParser(target=builder)
    try:
        builder.parser.feed(data)
        root = builder.parser.close()
    except DefusedXmlException:
        raise SemalignError(f"{path}: defines entities, which no annotation needs; remove them.") from None
    except (ParseError, ValueError, LookupError) as error:
        raise SemalignError(f"{path}: cannot be read as XML ({reason(error)}); correct or replace the file.") from None
    if not isinstance(root, Node):
        raise SemalignError(f"{path}: holds no XML element; replace the file.")
    return root


def attribute_span(data: bytes, node: Node, name: str, path: Path) -> tuple[int, int]:
    """First byte and end of the text of an attribute in the document.

    Raises:
        SemalignError: the document is not of an encoding in which it can be found.
    """
    head = _NAME.match(data, node.start)
    place = head.end() if head else len(data)
    while match := _ATTRIBUTE.match(data, place):
        if match[1] == name.encode():
            return match.start(2) + 1, match.end(2) - 1
        place = match.end()
    raise SemalignError(f"{path}: is of an encoding in which it is not read; save it as UTF-8.")


def attributes(**values: object) -> str:
    """Attributes as XML, each with a space before it; None is left out, and a final _ of a name stands for nothing.

    Raises:
        SemalignError: a character that XML cannot hold.
    """
    known = {name.rstrip("_"): str(value) for name, value in values.items() if value is not None}
    for value in known.values():
        if _FORBIDDEN.search(value):
            raise SemalignError(f"{value!r} holds a character that XML cannot hold; rename it.")
    return "".join(
        f" {name}={quoteattr(value, {chr(10): '&#10;', chr(13): '&#13;', chr(9): '&#9;'})}"
        for name, value in known.items()
    )
