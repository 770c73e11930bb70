"""Images with a `.pts` file of the same name beside each, as in 300W and in folders of one's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from semalign.data.pts import read_pts
from semalign.data.formats.base import Entry
from semalign.data.formats.common import list_folder
from semalign.data.samples import Sample, Split
from semalign.errors import SemalignError
from semalign.files import shown

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp")  # in either case of letters


def list_pairs(root: Path, inside: str, split: Split, subset: str, group: str = "") -> Iterator[Entry]:
    """Images and `.pts` files of the folder `inside` the data set, by their common stem, without hidden and other files.

    Letters with accents may be written as one character in one name and as two in the other, as Macs do.

    Raises:
        SemalignError: the folder cannot be read.
    """
    folder = PurePosixPath(inside)
    stems: dict[str, list[Path]] = {}
    for path in (root / folder / entry.name for entry in list_folder(root / folder)):
        if path.suffix.lower() in (*IMAGE_ENDINGS, ".pts"):
            stems.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
    for paths in stems.values():
        annotations = [path for path in paths if path.suffix.lower() == ".pts"]
        images = [path for path in paths if path not in annotations]
        read = partial(_read_pair, images, annotations, folder, split, subset, group)
        yield Entry(str(folder / paths[0].name), str((annotations or images)[0]), read)


def _read_pair(
    images: list[Path], annotations: list[Path], folder: PurePosixPath, split: Split, subset: str, group: str
) -> Sample:
    if len(images) > 1 or len(annotations) > 1:
        paths = sorted((*images, *annotations))
        raise SemalignError(
            f"{paths[0].with_suffix('')}: has several files where one image and one .pts belong "
            f"({', '.join(path.name for path in paths)}); keep one of each."
        )
    if not annotations:
        raise SemalignError(f"{images[0]}: has no .pts beside it; add {images[0].stem}.pts or remove the image.")
    if not images:
        raise SemalignError(
            f"{annotations[0]}: has no image beside it; add {annotations[0].stem}.jpg or .png, or remove the .pts."
        )
    return Sample(shown(str(folder / images[0].name)), images[0], read_pts(annotations[0]), split, subset, group)
