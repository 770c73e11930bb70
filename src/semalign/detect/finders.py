"""Face finders by their names, or from a file."""

from __future__ import annotations

from pathlib import Path

from semalign.detect.centerface import CenterFaceFinder
from semalign.detect.faces import CascadeFinder, FaceFinder, YuNetFinder
from semalign.errors import SemalignError

NAMES = ("centerface", "cascades")  # that come with the package or with OpenCV; the first is the default


def open_finder(name_or_file: str | Path = NAMES[0], min_face: float | None = None) -> FaceFinder:
    """A finder by its name (`NAMES`), or YuNet from its ONNX file.

    Args:
        name_or_file: such as "centerface" or face_detection_yunet_2023mar.onnx.
        min_face: pixels of the smallest face, or its share of the picture's longer side if below 1; None: the finder's own.

    Raises:
        SemalignError: an unknown name, a file that is none, or a least face that the finder cannot be told.
    """
    if min_face is not None and not min_face > 0:
        raise SemalignError(
            f"the smallest face is {min_face}; give pixels (such as 20) or a share of the picture (0.05)."
        )
    name = str(name_or_file)
    if name == "centerface":
        return CenterFaceFinder(min_face)
    if name == "cascades":
        if min_face is not None and min_face >= 1:
            raise SemalignError("the cascades take the smallest face as a share of the picture, such as 0.05.")
        return CascadeFinder() if min_face is None else CascadeFinder(smallest=min_face)
    if min_face is not None:
        raise SemalignError("a YuNet file takes no smallest face; leave it out, or use the finder 'centerface'.")
    if not Path(name).is_file() and not Path(name).suffix:
        raise SemalignError(f"{name!r} is no face finder; choose from {', '.join(NAMES)}, or give YuNet's ONNX file.")
    return YuNetFinder(name_or_file)
