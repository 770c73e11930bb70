"""Square face crops with a margin, resampled once and kept in the cache of all runs (`semalign.data.cache`).

The *input square* is what a network sees: the square around the middle of the face box whose side is `scale` times the
box's larger side. The *crop* cached here is `margin` times as large, so that an augmentation can turn, shift and enlarge
the input square without running out of picture.

Crops are found by what they are made of: the bytes of the pictures, the boxes, the settings, and what cuts. So a data set that
was moved or copied has its crops already, and one in which a picture was replaced has not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
from PIL import __version__ as pillow_version

from semalign.ahead import results_of
from semalign.core.affine import square_crop
from semalign.core.arrays import Tensor
from semalign.cores import usable_cores
from semalign.data.cache import Cache
from semalign.data.crop_file import CropFile, StoredImages
from semalign.data.identity import Stamp, digests_of, settled, stamps_of
from semalign.data.samples import Sample
from semalign.data.video import by_video, read_pictures
from semalign.errors import SemalignError
from semalign.files import forget

CUT = 1  # to be raised with whatever changes a crop's bytes
ATTEMPTS = 3  # at cutting pictures that change meanwhile
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropSettings:
    """Which square of an image a network sees."""

    scale: float = 1.25  # side of the input square, in larger sides of the face box
    margin: float = 1.5  # side of the cached crop, in sides of the input square


@dataclass(frozen=True)
class CropCache:
    """Crops of some samples, in their order.

    Attributes:
        images: (b, s, s, 3) uint8 RGB; those in the cache are read, and checked, when they are asked for.
        image_to_crop: (b, 2, 3) float64 maps from the image frame to the crop frame.
        input_size: pixels of the input square, which lies in the middle of the crop.
    """

    ids: tuple[str, ...]
    images: np.ndarray | StoredImages
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

    def pixels(self, rows: np.ndarray, device: Any = None) -> Tensor:
        """(k, s, s, 3) uint8 crops of the given rows as PyTorch's tensor in memory, from where they go to the device at once.

        Of a file that is mapped no more is kept in memory than that.
        """
        import torch

        pixels = torch.from_numpy(self.images[rows])
        forget(self.images)
        return pixels.pin_memory() if device is not None and device.type == "cuda" else pixels

    def batch(self, rows: np.ndarray, device: Any = None) -> Tensor:
        """(k, 3, s, s) float32 crops of the given rows on the device, default the CPU, as `as_pictures`."""
        return as_pictures(self.pixels(rows, device), device)

    def take(self, rows: np.ndarray) -> CropCache:
        """The crops of some rows, in their order, as copies."""
        ids = tuple(self.ids[row] for row in rows)
        return CropCache(ids, self.images[rows], self.image_to_crop[rows], self.input_size)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (b, n, 2) of the image frames in the crop frames, float64."""
        return points @ self.image_to_crop[:, :, :2].transpose(0, 2, 1) + self.image_to_crop[:, None, :, 2]


def as_pictures(pixels: Tensor, device: Any = None) -> Tensor:
    """Crops (k, s, s, 3) uint8 as (k, 3, s, s) float32 in [0, 1] on the device (default: where they are), channels last.

    They travel as bytes and become floats there; to a GPU from pinned memory, without being waited for.
    """
    moved = pixels if device is None else pixels.to(device, non_blocking=device.type == "cuda")
    return moved.permute(0, 3, 1, 2).float().div_(255.0)


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
    samples: Sequence[Sample],
    settings: CropSettings,
    input_size: int,
    progress: Callable[[int, int], None] | None = None,
    bad: Callable[[str, str], None] | None = None,
) -> CropCache:
    """The crops of the samples, from the cache if they are there already, else cut by background threads.

    A video is decoded once, from its first frame to the last that a sample wants; no frame is kept.

    Args:
        samples: in the order of the cache's rows; none of them make an empty cache.
        settings: which square.
        input_size: pixels of the input square.
        progress: called with (done, all) while crops are cut.
        bad: called with (id, reason) for an image that cannot be read, which is then left out of the cache; without it,
            the first such image raises.

    Raises:
        SemalignError: an unreadable image (without `bad`), no readable image at all, no room for the crops.
    """
    maps, size = crop_maps(face_boxes(samples), settings, input_size)
    if not samples:
        return CropCache((), np.empty((0, size, size, 3), np.uint8), np.empty((0, 2, 3)), input_size)
    cutting = _Cutting(samples, maps, size, json.dumps([settings.scale, settings.margin, input_size]), progress)
    file, failed = cutting.file_and_failures()
    for row, reason in sorted(failed.items()):
        if bad is None:
            raise SemalignError(reason)
        bad(samples[row].id, reason)
    keep = np.array([row for row in range(len(samples)) if row not in failed])
    if not len(keep):
        raise SemalignError(
            f"{_place_of(samples)}: none of the {len(samples)} images can be read; "
            "check the data set with 'semalign data check'."
        )
    ids = tuple(samples[row].id for row in keep)
    return CropCache(ids, StoredImages(file, keep, cutting.replacement), maps[keep], input_size)


class _ChangedError(Exception):
    """Pictures are others than those of the key under which their crops would be found."""


class _Cutting:
    """How crops are made, and made again.

    Args:
        samples: whose.
        maps: (b, 2, 3) image_to_crop.
        size: pixels of a crop.
        asked: the settings, as text.
        progress: as `build_crops`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        maps: np.ndarray,
        size: int,
        asked: str,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._samples, self._maps, self._size, self._asked, self._progress = samples, maps, size, asked, progress
        self._boxes = face_boxes(samples)
        self._cache = Cache()
        self._key = ""

    def file(self, but: CropFile | None = None) -> CropFile:
        """The crops; not those in the file `but`."""
        for _ in range(ATTEMPTS):
            stamps, stamp, key = self._identify()
            with suppress(_ChangedError):
                file = self._cache.obtain(key, len(self._samples), self._size, partial(self._fill, stamps), but)
                if settled(stamps) and stamps_of(stamps) == stamps:
                    self._cache.name(stamp, key)
                self._key = key
                return file
        raise SemalignError(
            f"{_place_of(self._samples)}: its pictures change while they are cut; let that finish first."
        )

    def file_and_failures(self) -> tuple[CropFile, dict[int, str]]:
        """The crops, and why some rows have none; what could not be read before is tried again."""
        file: CropFile | None = None
        for _ in range(ATTEMPTS):
            file = self.file(but=file)
            failed = self._failures(file)
            if len(failed) == len(file.failed):
                return file, failed
        raise SemalignError(f"{_place_of(self._samples)}: some pictures can be read only at times; check the disk.")

    def _failures(self, file: CropFile) -> dict[int, str]:
        """Why the rows that failed cannot be read; without those that can be read now."""
        reasons = {}
        rows = list(file.failed)
        for group in by_video([self._samples[row] for row in rows]):
            for row, picture in read_pictures(self._samples, [rows[index] for index in group]):
                if isinstance(picture, SemalignError):
                    reasons[row] = str(picture)
        return reasons

    def replacement(self, file: CropFile, row: int | None) -> CropFile:
        """The same crops in another file than one in which a crop is damaged.

        Raises:
            SemalignError: the pictures are others by now.
        """
        whose = "it" if row is None else f"the crop of {self._samples[row].id} in it"
        if self._identify()[2] != self._key:
            raise SemalignError(
                f"{file.path}: {whose} is damaged, and the pictures in {_place_of(self._samples)} are others than when it was "
                "cut; run the command again."
            )
        _LOG.warning("%s: %s is damaged; all %d crops are cut anew.", file.path, whose, file.rows)
        other = self.file(but=file)
        for lost in set(other.failed) - set(file.failed):
            raise SemalignError(f"{self._samples[lost].image}: cannot be read any more; check the disk.")
        return other

    def _identify(self) -> tuple[dict[Path, Stamp], str, str]:
        """The pictures' stamps, the name that follows from them, and the key of the crops."""
        samples = self._samples
        stamps = stamps_of(sample.image for sample in samples)
        stamp = self._name([os.path.abspath(sample.image), *stamps[sample.image]] for sample in samples)
        key = self._cache.named(stamp)
        if key is None:
            digests = digests_of(stamps)
            key = self._name(digests[sample.image] for sample in samples)
        return stamps, stamp, key

    def _fill(self, stamps: dict[Path, Stamp], file: CropFile) -> tuple[list[int], dict[str, str]]:
        """Write all crops into a file, unless the pictures are not those of the stamps any more when it is done."""
        failed = self._cut(file)
        if stamps_of(stamps) != stamps:
            raise _ChangedError
        return failed, {"data": _place_of(self._samples)}

    def _name(self, pictures: Iterable[Any]) -> str:
        """A name that changes with anything on which the crops depend, `pictures` being what is known of them."""
        hashed = hashlib.sha256(json.dumps([CUT, cv2.__version__, pillow_version, self._asked]).encode())
        for picture, box, sample in zip(pictures, self._boxes, self._samples, strict=True):
            hashed.update(json.dumps([picture, box.tolist(), sample.frame]).encode())
        return hashed.hexdigest()[:32]

    def _cut(self, file: CropFile) -> list[int]:
        """Write all crops into a file; the rows that failed."""
        samples, failed, stopped = self._samples, [], Event()

        def make(rows: list[int]) -> list[tuple[int, bool]]:
            made: list[tuple[int, bool]] = []
            for row, picture in read_pictures(samples, rows):
                if stopped.is_set():
                    break
                if not isinstance(picture, SemalignError):
                    file.write(row, cut(picture, self._maps[row], self._size))
                made.append((row, not isinstance(picture, SemalignError)))
            return made

        count = 0
        with ThreadPoolExecutor(usable_cores()) as pool:
            try:
                for made in results_of(pool, make, by_video(samples)):
                    for row, readable in made:
                        if not readable:
                            failed.append(row)
                        count += 1
                        if self._progress is not None:
                            self._progress(count, len(samples))
            finally:
                stopped.set()
        return failed


def _place_of(samples: Sequence[Sample]) -> str:
    """The folder in which all pictures of the samples lie."""
    try:
        return os.path.commonpath([os.path.abspath(sample.image.parent) for sample in samples])
    except ValueError:  # on several drives
        return str(samples[0].image.parent)
