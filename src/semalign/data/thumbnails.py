"""Small grey pictures of inner faces in the frame that their landmarks give, by which photographs are compared.

They are 4 kB a face. Those of many faces go to a temporary file, so that memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from tempfile import SpooledTemporaryFile, gettempdir

import cv2
import numpy as np

from semalign.core.similarity import completed, to_complex
from semalign.data.images import image_size, read_image
from semalign.data.samples import Dataset, Sample
from semalign.errors import SemalignError
from semalign.shapes import Complex, Float, UInt8

Progress = Callable[[int, int], None]

SIDE = 64  # pixels of a thumbnail's side
FRAME = 1.3  # side of the thumbnail in larger sides of the inner landmarks' box
WORKERS = 4  # threads that decode images
CHUNK = 4096  # faces that are read at a time, and from which the mean face comes
KEPT = 2**26  # bytes of thumbnails that are kept in memory


class Thumbnails:
    """Thumbnails by the number of their face: in memory at first, in a temporary file where there are many."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=KEPT)  # noqa: SIM115 - closed with the object
        self._count = 0

    def __len__(self) -> int:
        """Number of thumbnails."""
        return self._count

    def append(self, faces: UInt8[np.ndarray, "b side side"]) -> None:
        """Add thumbnails after those that are there.

        Raises:
            SemalignError: there is no room for the temporary file.
        """
        try:
            self._file.seek(0, 2)
            self._file.write(faces.tobytes())
        except OSError as error:
            raise SemalignError(
                f"{gettempdir()}: no room for the temporary thumbnails of all faces, 4 kB each ({error}); "
                "free some, or set TMPDIR to another folder."
            ) from error
        self._count += len(faces)

    def __getitem__(self, row: int) -> Float[np.ndarray, "side side"]:
        """The thumbnail of one face, float32, 0 to 255."""
        self._file.seek(row * SIDE * SIDE)
        pixels = np.frombuffer(self._file.read(SIDE * SIDE), np.uint8)
        return pixels.reshape(SIDE, SIDE).astype(np.float32)

    def close(self) -> None:
        """Give the memory or the file back."""
        self._file.close()


class Frames:
    """The frame of thumbnails: the mean of some faces, turned onto the first one's axes, fills it.

    Args:
        shapes: inner landmarks of faces, image frames.
    """

    def __init__(self, shapes: Complex[np.ndarray, "b n"]) -> None:
        shapes = shapes - shapes.mean(axis=1, keepdims=True)
        mean = shapes[0]
        for _ in range(3):
            self._mean = mean / np.linalg.norm(mean)
            mean = (shapes * self._turns(shapes)[:, None]).mean(axis=0)
        low, high = complex(mean.real.min(), mean.imag.min()), complex(mean.real.max(), mean.imag.max())
        self._scale = SIDE / (FRAME * max((high - low).real, (high - low).imag))
        self._centre = complex(SIDE - 1, SIDE - 1) / 2 - self._scale * (low + high) / 2

    def of(self, shapes: Complex[np.ndarray, "b n"]) -> Float[np.ndarray, "b 2 3"]:
        """Similarities `image_to_thumbnail` that bring faces onto the mean face."""
        centres = shapes.mean(axis=1, keepdims=True)
        linear = self._scale * self._turns(shapes - centres)
        offset = self._centre - linear * centres[:, 0]
        rows = [[linear.real, -linear.imag, offset.real], [linear.imag, linear.real, offset.imag]]
        return np.moveaxis(np.array(rows), 2, 0)

    def _turns(self, shapes: Complex[np.ndarray, "b n"]) -> Complex[np.ndarray, " b"]:
        """Scale and rotation onto the mean face of shapes whose centre is 0."""
        turns: np.ndarray = (shapes.conj() @ self._mean) / (np.abs(shapes) ** 2).sum(axis=1)
        return turns


def thumbnails(
    dataset: Dataset, progress: Progress | None = None, *, strict: bool = True
) -> Iterator[UInt8[np.ndarray, "b side side"]]:
    """The thumbnails of a data set's faces in order, some thousand at a time.

    Args:
        dataset: one face at least.
        progress: called with (images read, images in all).
        strict: whether an image that cannot be read is an error; it is black otherwise.

    Raises:
        SemalignError: an image that cannot be read.
    """
    samples, done = dataset.samples, 0
    inner = sorted(set(range(dataset.scheme.count)) - set(dataset.scheme.regions.get("contour", ())))
    chosen = inner if len(inner) > 1 else slice(None)
    step = -(-len(samples) // CHUNK)  # 1 for all faces, if they are few
    usual = to_complex(np.stack([sample.points[chosen] for sample in samples[::step]]))
    frames = Frames(completed(usual))
    with ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(samples), CHUNK):
            part = samples[start : start + CHUNK]
            shapes = to_complex(np.stack([sample.points[chosen] for sample in part]))
            if np.isnan(shapes).any():  # absent points are where usual faces have them
                shapes = completed(shapes if step == 1 else np.concatenate([shapes, usual]))[: len(part)]
            faces = np.empty((len(part), SIDE, SIDE), np.uint8)
            for row, face in enumerate(pool.map(partial(thumbnail, strict=strict), part, frames.of(shapes))):
                faces[row] = face
                done += 1
                if progress is not None:
                    progress(done, len(samples))
            yield faces


def thumbnail(
    sample: Sample, image_to_thumbnail: Float[np.ndarray, "2 3"], strict: bool = True
) -> UInt8[np.ndarray, "side side"]:
    """The grey face of a sample; what lies outside the image repeats its border."""
    scale = float(np.hypot(*image_to_thumbnail[:, 0]))
    try:
        width, height = image_size(sample.image)
        image = cv2.cvtColor(read_image(sample.image, reduce=max(1, int(0.5 / scale))), cv2.COLOR_RGB2GRAY)
    except SemalignError:
        if strict:
            raise
        return np.zeros((SIDE, SIDE), np.uint8)
    reduced = min(1.0, 2.0 * scale)  # twice the thumbnail's resolution, reached by averaging areas
    size = max(1, round(width * reduced)), max(1, round(height * reduced))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    across, down = width / image.shape[1], height / image.shape[0]
    to_image = np.array([[across, 0.0, across / 2 - 0.5], [0.0, down, down / 2 - 0.5], [0.0, 0.0, 1.0]])
    face: np.ndarray = cv2.warpAffine(
        image, image_to_thumbnail @ to_image, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    return face
