"""The one exception that a user is meant to read."""

from __future__ import annotations


class SemalignError(Exception):
    """Something in the user's input is wrong: the message is one sentence that names the file and the remedy.

    Arguments in it are those of Python, as overwrite=True or out=FOLDER; the command line prints them as its options
    (`semalign.cli.options.with_options`), without a traceback, and exits with status 2. Everything else that escapes is a
    defect of ours.
    """
