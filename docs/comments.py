"""For Griffe: the comment behind a setting is its description, as the code has it."""

from __future__ import annotations

import io
import tokenize
from typing import Any

import griffe


class Comments(griffe.Extension):
    """Gives attributes without a docstring the comment on their own lines."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Called with every attribute of every class and module that is documented."""
        if attr.docstring is not None or attr.lineno is None:
            return
        lines = attr.lines_collection[attr.filepath][attr.lineno - 1 : attr.endlineno]
        comments = []
        for token in _tokens("\n".join(lines)):
            if token.type == tokenize.COMMENT:
                comments.append(token.string.lstrip("# "))
        if comments:
            attr.docstring = griffe.Docstring(" ".join(comments), lineno=attr.lineno, parent=attr)


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(text.strip()).readline))
    except (tokenize.TokenError, IndentationError):
        return []
