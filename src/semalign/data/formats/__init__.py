"""The formats of data sets. One of them is a module in this folder with a `READER`, and a line here.

A `Reader` can be read, a `Format` can be written, too.
"""

from importlib import import_module

from semalign.data.formats.base import Bad, Entry, Format, Note, Reader, Written

__all__ = ["FORMATS", "READERS", "Bad", "Entry", "Format", "Note", "Reader", "Written"]

MODULES = (
    "w300",
    "aflw",
    "vw300",
    "wflw",
    "cofw",
    "plain",
    "tar",
    "coco",
    "cvat",
    "label_studio",
    "dlib",
    "wflw_list",
    "hrnet",
    "labelme",
    "table",
    "parquet",
)
READERS: tuple[Reader, ...] = tuple(import_module(f"{__name__}.{name}").READER for name in MODULES)
FORMATS: dict[str, Format] = {reader.short: reader for reader in READERS if isinstance(reader, Format) and reader.short}
