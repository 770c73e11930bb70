"""Code blocks of Markdown pages, and the substitutions that a test of them makes, which the pages declare themselves.

A fenced block of `sh` or `python` may have HTML comments directly above it:

    <!-- test: OLD => NEW -->      in the test, NEW stands for the text OLD, which the block must hold
    <!-- test: make -n -->         its lines are make's targets: it must know them, and only says what it would do
    <!-- test: skip WHY -->        not run

A block without a comment runs as it stands.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"(?P<comments>(?:^<!-- test: .*? -->\n)*)^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMENT = re.compile(r"<!-- test: (.*?) -->")
LANGUAGES = ("sh", "python", "toml", "text")  # the latter two are not run


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str  # as the page has it
    substitutions: tuple[tuple[str, str], ...] = ()
    skipped: str = ""  # why
    dry: bool = False

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python") and not self.skipped

    def tested(self) -> str:
        """The text that the test runs."""
        text = self.text
        for old, new in self.substitutions:
            assert old in text, f"{self.page}:{self.line}: has no {old!r} to put {new!r} in the place of"
            text = text.replace(old, new)
        return text


def read_blocks(page: Path, name: str) -> list[Block]:
    """The fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        substitutions, skipped, dry = [], "", False
        for comment in COMMENT.findall(match["comments"]):
            old, arrow, new = comment.partition(" => ")
            if arrow:
                substitutions.append((old, new))
            elif comment == "make -n":
                dry = True
            else:
                word, _, skipped = comment.partition(" ")
                assert word == "skip" and skipped, f"{name}:{line}: {comment!r} is no comment that tests know"
        found.append(Block(name, line, match["language"], match["text"], tuple(substitutions), skipped, dry))
    return found


def commands(text: str) -> list[list[str]]:
    """The commands of a shell block as words, without comments."""
    joined = text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]
