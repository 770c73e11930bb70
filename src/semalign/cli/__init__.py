"""The command `semalign`: parse, call, print. Nothing is computed here."""

from semalign.cli.app import app, main

__all__ = ["app", "main"]
