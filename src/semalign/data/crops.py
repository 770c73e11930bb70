"""Square face crops with a margin, resampled once and kept as memory-mapped bytes.

The *input square* is what a network sees: the square around the middle of the face box whose side is `scale` times the
box's larger side. The *crop* cached here is `margin` times as large, so that an augmentation can turn, shift and enlarge
the input square without running out of picture.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np

from semalign.core.affine import square_crop
from semalign.core.arrays import Tensor
from semalign.data.samples import Sample
from semalign.data.video import by_video, read_pictures
from semalign.errors import SemalignError
from semalign.files import atomic_path, write_error, write_json

FORMAT = 1


@dataclass(frozen=True)
class CropSettings:
    """Which square of an image a network sees."""

    scale: float = 1.25  # side of the input square, in larger sides of the face box
    margin: float = 1.5  # side of the cached crop, in sides of the input square


@dataclass(frozen=True)
class CropCache:
    """Crops of some samples, in their order.

    Attributes:
        images: (b, s, s, 3) uint8 RGB, memory-mapped.
        image_to_crop: (b, 2, 3) float64 maps from the image frame to the crop frame.
        input_size: pixels of the input square, which lies in the middle of the crop.
    """

    ids: tuple[str, ...]
    images: np.ndarray
    image_to_crop: np.ndarray
    input_size: int

    def __len__(self) -> int:
        """Number of crops."""
        return len(self.ids)

    @property
    def image_to_input(self) -> np.ndarray:
        """(b, 2, 3) float64 maps from the image frames to the plain (un-augmented) input squares."""
        inset = (self.images.shape[1] - self.input_size) / 2
        return np.asarray(self.image_to_crop - np.array([[0.0, 0.0, inset], [0.0, 0.0, inset]]))

    @property
    def crop_to_input(self) -> Tensor:
        """(2, 3) float64 map of the plain input square, as PyTorch's tensor."""
        import torch

        inset = (self.images.shape[1] - self.input_size) / 2
        return torch.tensor([[1.0, 0.0, -inset], [0.0, 1.0, -inset]], dtype=torch.float64)

    def batch(self, rows: np.ndarray) -> Tensor:
        """(k, 3, s, s) float32 crops in [0, 1] of the given rows, channels last in memory, as PyTorch's tensor."""
        import torch

        pixels = torch.from_numpy(self.images[rows])
        return pixels.permute(0, 3, 1, 2).float().div_(255.0)

    def take(self, rows: np.ndarray) -> CropCache:
        """The crops of some rows, in their order, as copies."""
        ids = tuple(self.ids[row] for row in rows)
        return CropCache(ids, self.images[rows], self.image_to_crop[rows], self.input_size)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (b, n, 2) of the image frames in the crop frames, float64."""
        return points @ self.image_to_crop[:, :, :2].transpose(0, 2, 1) + self.image_to_crop[:, None, :, 2]


def face_boxes(samples: Sequence[Sample]) -> np.ndarray:
    """(b, 4) float64 x0, y0, x1, y1: the given box where there is one, else the box of the annotated points."""
    rows = [
        s.box if s.box is not None else (*np.nanmin(s.points, axis=0), *np.nanmax(s.points, axis=0)) for s in samples
    ]
    return np.array(rows, dtype=np.float64).reshape(len(samples), 4)


def box_sides(boxes: np.ndarray) -> np.ndarray:
    """(b,) the larger side of each box (b, 4)."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def crop_maps(boxes: np.ndarray, settings: CropSettings, input_size: int) -> tuple[np.ndarray, int]:
    """image_to_crop maps (b, 2, 3) float64 for face boxes (b, 4), and the crop's size in pixels."""
    size = 2 * round(input_size * settings.margin / 2)
    side = box_sides(boxes) * settings.scale * size / input_size
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return square_crop(centre, np.maximum(side, 1.0), size), size


def cut(image: np.ndarray, image_to_crop: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, 3) uint8 of an image, area-averaged where it shrinks, black beyond the image's border."""
    matrix = image_to_crop.copy()
    factor = int(1.0 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-9))
    if factor >= 2:
        corners = np.array([(-0.5, -0.5), (size - 0.5, -0.5), (-0.5, size - 0.5), (size - 0.5, size - 0.5)])
        inverse = cv2.invertAffineTransform(matrix)
        spread = corners @ inverse[:, :2].T + inverse[:, 2]
        low = np.clip(np.floor(spread.min(0)).astype(int) - factor, 0, None)
        high = np.ceil(spread.max(0)).astype(int) + factor + 1
        image = image[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
        extra = [-image.shape[0] % factor, -image.shape[1] % factor]
        image = (
            cv2.copyMakeBorder(image, 0, extra[0], 0, extra[1], cv2.BORDER_REPLICATE)
            if image.size
            else np.zeros((factor, factor, 3), np.uint8)
        )
        image = cv2.resize(image, (image.shape[1] // factor, image.shape[0] // factor), interpolation=cv2.INTER_AREA)
        matrix[:, 2] += matrix[:, :2] @ (low + (factor - 1) / 2)
        matrix[:, :2] *= factor
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def build_crops(
    folder: Path,
    samples: Sequence[Sample],
    settings: CropSettings,
    input_size: int,
    progress: Callable[[int, int], None] | None = None,
    bad: Callable[[str, str], None] | None = None,
) -> CropCache:
    """The crops of the samples, read from `folder` if they are there already, else made by background threads.

    A video is decoded once, from its first frame to the last that a sample wants; no frame is kept.

    Args:
        folder: the cache's folder; one sub-folder for each combination of samples and settings.
        samples: in the order of the cache's rows; none of them make an empty cache.
        settings: which square.
        input_size: pixels of the input square.
        progress: called with (done, all) while crops are made.
        bad: called with (id, reason) for an image that cannot be read, which is then left out of the cache; without it,
            the first such image raises.

    Raises:
        SemalignError: an unreadable image (without `bad`), no readable image at all, a folder that cannot be written.
    """
    if not samples:
        size = 2 * round(input_size * settings.margin / 2)
        return CropCache((), np.empty((0, size, size, 3), np.uint8), np.empty((0, 2, 3)), input_size)
    maps, size = crop_maps(face_boxes(samples), settings, input_size)
    target = Path(folder) / _key(samples, settings, input_size)
    done = target / "crops.json"
    if not done.is_file():
        _fill(target, samples, maps, size, progress)
    description = _read(done)
    failed: dict[str, str] = description["failed"]
    for name, reason in failed.items():
        if bad is None:
            raise SemalignError(reason)
        bad(name, reason)
    keep = [row for row, sample in enumerate(samples) if sample.id not in failed]
    if not keep:
        raise SemalignError(
            f"{folder}: none of the {len(samples)} images can be read; check the data set with 'semalign data check'."
        )
    images = np.memmap(target / "images.u8", np.uint8, "r", shape=(len(samples), size, size, 3))
    ids = tuple(samples[row].id for row in keep)
    whole = len(keep) == len(samples)
    return CropCache(ids, images if whole else images[keep], maps if whole else maps[keep], input_size)


def _fill(
    target: Path, samples: Sequence[Sample], maps: np.ndarray, size: int, progress: Callable[[int, int], None] | None
) -> None:
    failed: dict[str, str] = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        with atomic_path(target / "images.u8") as temporary:
            images = np.memmap(temporary, np.uint8, "w+", shape=(len(samples), size, size, 3))

            stopped = Event()

            def make(rows: list[int]) -> list[tuple[int, str | None]]:
                made: list[tuple[int, str | None]] = []
                for row, picture in read_pictures(samples, rows):
                    if stopped.is_set():
                        break
                    if isinstance(picture, SemalignError):
                        made.append((row, str(picture)))
                    else:
                        images[row] = cut(picture, maps[row], size)
                        made.append((row, None))
                return made

            count = 0
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                try:
                    for made in pool.map(make, by_video(samples)):
                        for row, reason in made:
                            if reason is not None:
                                failed[samples[row].id] = reason
                            count += 1
                            if progress is not None:
                                progress(count, len(samples))
                finally:
                    stopped.set()
            images.flush()
            del images
    except OSError as error:
        raise write_error(target, error) from error
    write_json(target / "crops.json", {"format": FORMAT, "size": size, "failed": failed})


def _key(samples: Sequence[Sample], settings: CropSettings, input_size: int) -> str:
    """A name that changes with anything on which the crops depend, the images' size and time included."""
    digest = hashlib.sha256(json.dumps([FORMAT, asdict(settings), input_size]).encode())
    boxes = face_boxes(samples)
    stamps: dict[Path, tuple[int, int]] = {}
    for sample, box in zip(samples, boxes, strict=True):
        if sample.image not in stamps:
            stamps[sample.image] = _stamp(sample.image)
        frame = () if sample.frame is None else (sample.frame,)
        digest.update(json.dumps([str(sample.image), *stamps[sample.image], *box.tolist(), *frame]).encode())
    return digest.hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int]:
    """A file's size and time; zeros where there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _read(path: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SemalignError(f"{path}: the crop cache is damaged ({error}); delete its folder and run again.") from error
    return description
