"""The formats of data sets that can be read. One of them is a module in this folder with a `READER`, and a line here."""

from importlib import import_module

from semalign.data.formats.base import Bad, Entry, Note, Reader

__all__ = ["READERS", "Bad", "Entry", "Note", "Reader"]

MODULES = (
    "w300",
    "aflw",
    "vw300",
    "wflw",
    "cofw",
    "plain",
)
READERS: tuple[Reader, ...] = tuple(import_module(f"{__name__}.{name}").READER for name in MODULES)
