"""The one exception that a user is meant to read."""

from __future__ import annotations

LONGEST = 2000  # letters of a message


class SemalignError(Exception):
    """Something in the user's input is wrong: the message is one sentence that names the file and the remedy.

    Arguments in it are those of Python, as overwrite=True or out=FOLDER; the command line prints them as its options
    (`semalign.cli.options.with_options`), without a traceback, and exits with status 2. Everything else that escapes is a
    defect of ours. Names of files and what other libraries say go into it as they are, so it is made a line that can be
    printed: of such letters only, and not too long.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_printable(str(message)))


def _printable(text: str) -> str:
    """A text on one line: what cannot be printed is written as Python escapes it, and of a long text the middle is left out."""
    line = text.replace("\n", " ")
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
