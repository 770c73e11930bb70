"""Opens a data set by what its folder looks like: 300W (and synthetic sets like it), AFLW, 300-VW, WFLW, COFW, or one's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semalign.data import aflw, cofw, layout, plain, vw300, w300, wflw
from semalign.data.samples import Dataset
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

Scan = Callable[[str | Path, LandmarkScheme | None, bool], Dataset]


@dataclass(frozen=True)
class Layout:
    """A data set's official layout."""

    name: str
    holds: Callable[[Path], bool]  # whether a folder looks like it
    scan: Scan  # reads it, an empty one, too
    wanted: str  # what its folder holds


LAYOUTS = (
    Layout("300W", w300.has_layout, w300.scan_300w, "afw, helen, lfpw or ibug"),
    Layout("AFLW", aflw.has_aflw, aflw.scan_aflw, aflw.ANNOTATION),
    Layout("300-VW", vw300.has_300vw, vw300.scan_300vw, f"001/{vw300.VIDEO}"),
    Layout("WFLW", wflw.has_wflw, wflw.scan_wflw, f"{wflw.LISTS}"),
    Layout("COFW", cofw.has_cofw, cofw.scan_cofw, cofw.WANTED),
)
PLAIN = Layout("a folder of one's own", plain.has_plain, plain.scan_plain, plain.WANTED)  # where it is none of those


def open_dataset(root: str | Path, scheme: LandmarkScheme | None = None, *, keep_going: bool = False) -> Dataset:
    """The data set in the folder `root`, or in the only folder inside it that holds one; see the reader of its layout.

    `scheme` defaults to the data set's own. With `keep_going`, bad samples go into `skipped` instead of stopping.

    Raises:
        SemalignError: no data set of a known layout, or more than one; an empty one; what its reader raises.
    """
    found, folder = find_layout(Path(root))
    dataset = found.scan(folder, scheme, keep_going)
    return layout.refuse_empty(dataset, found.wanted)


def scan_dataset(root: str | Path, scheme: LandmarkScheme | None = None, keep_going: bool = False) -> Dataset:
    """As `open_dataset`, but a data set without any sample is given back, too."""
    found, folder = find_layout(Path(root))
    return found.scan(folder, scheme, keep_going)


def find_layout(given: Path) -> tuple[Layout, Path]:
    """The layout of the data set in a folder, and the folder to give to its reader.

    Raises:
        SemalignError: the folder is missing or unreadable, holds no data set, or more than one.
    """
    if os.path.isdir(given):
        found = _layouts(given) or [hit for child in layout.subfolders(given) for hit in _layouts(child)]
        if len(found) > 1:
            names = ", ".join(f"{hit.name} in {folder.name}" if folder != given else hit.name for hit, folder in found)
            raise SemalignError(f"{given}: holds several data sets ({names}); give the folder of one of them.")
        if found:
            return found[0]
    return _part_or_plain(given)


def _layouts(folder: Path) -> list[tuple[Layout, Path]]:
    return [(candidate, folder) for candidate in LAYOUTS if candidate.holds(folder)]


def _part_or_plain(given: Path) -> tuple[Layout, Path]:
    """A part of 300W, whose reader takes that, too; else whatever has annotations.

    Raises:
        SemalignError: it is not there or belongs to no known data set.
    """
    wanted = ", ".join(f"{candidate.wanted} ({candidate.name})" for candidate in (*LAYOUTS, PLAIN))
    if not os.path.isdir(given):
        what = "is a file, not a folder" if os.path.exists(given) else "there is no such folder"
        raise SemalignError(f"{given}: {what}; give the folder that holds {wanted}.")
    try:
        w300.find_root(given)
    except SemalignError:
        if PLAIN.holds(given):
            return PLAIN, given
        raise SemalignError(
            f"{given}: is no data set of a known layout; give the folder that holds {wanted}."
        ) from None
    return LAYOUTS[0], given
