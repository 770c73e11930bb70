"""The command `semalign`: parse, call, print. Nothing is computed here."""

from semalign.cli.app import main

__all__ = ["main"]
