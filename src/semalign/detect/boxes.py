"""Face boxes from a person's file: CSV or JSON, by image and, for videos, by frame."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.detect.detector import as_boxes
from semalign.errors import SemalignError

COLUMNS = ("image", "x0", "y0", "x1", "y1")


class BoxFile:
    """Boxes (x0, y0, x1, y1, pixels from 0) of faces, about brows to chin.

    A CSV file has the columns image, x0, y0, x1, y1 and for videos frame (from 0); JSON is an object of image -> list of boxes,
    or for videos of image -> object of frame -> list of boxes. Images are named by their path, absolute or relative
    to the file's folder, or by the file's name alone.

    Raises:
        SemalignError: the file is missing, cannot be read, or has a row that is no box.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise SemalignError(f"{path}: there is no such file; give a CSV or JSON file of boxes.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SemalignError(
                f"{path}: cannot be read as text ({error}); give a CSV or JSON file of boxes."
            ) from error
        rows = _from_json(self.path, text) if self.path.suffix.lower() == ".json" else _from_csv(self.path, text)
        self._boxes: dict[str, dict[int, np.ndarray]] = {}
        for image, frame, box in rows:
            frames = self._boxes.setdefault(image, {})
            frames[frame] = np.concatenate([frames.get(frame, np.empty((0, 4))), self._checked(image, box)])

    def of(self, image: str | Path) -> Mapping[int, Float[np.ndarray, "k 4"]]:
        """Boxes by frame (0 for a picture) of an image or a video.

        Raises:
            SemalignError: the file has none for it.
        """
        path = Path(image)
        for key, frames in self._boxes.items():
            named = Path(key)
            if key in (str(image), path.name) or (self.path.parent / named).resolve() == path.resolve():
                return frames
        raise SemalignError(f"{self.path}: has no box for {image}; add one, or leave the image out.")

    def _checked(self, image: str, box: Any) -> np.ndarray:
        try:
            return as_boxes([box])
        except SemalignError as error:
            raise SemalignError(f"{self.path}: {image}: {error}") from None


def _from_csv(path: Path, text: str) -> list[tuple[str, int, list[float]]]:
    rows = []
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise SemalignError(f"{path}: has no column {missing[0]!r}; its first line must name {', '.join(COLUMNS)}.")
    for row in reader:
        try:
            box = [float(row[name]) for name in COLUMNS[1:]]
            rows.append((row["image"], int(row.get("frame") or 0), box))
        except (TypeError, ValueError):
            raise SemalignError(f"{path}: line {reader.line_num} is no box; give {', '.join(COLUMNS)} there.") from None
    return rows


def _from_json(path: Path, text: str) -> list[tuple[str, int, Any]]:
    try:
        images = json.loads(text)
        rows = []
        for image, value in images.items():
            frames = value if isinstance(value, dict) else {"0": value}
            rows += [(image, int(frame), box) for frame, boxes in frames.items() for box in boxes]
    except (ValueError, TypeError, AttributeError) as error:
        raise SemalignError(f"{path}: is no JSON object of image -> list of boxes ({error}); correct it.") from error
    return rows
