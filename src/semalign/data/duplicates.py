"""Photographs that occur twice in a data set, so that test faces do not leak into training, nor folds into each other.

Two faces are compared in a frame that their landmarks give: grey thumbnails of the inner face propose pairs; those are
registered on each other, and the correlation of their fine structure decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from semalign.core.similarity import completed, to_complex
from semalign.data.images import image_size, read_image
from semalign.data.samples import Dataset, Sample
from semalign.errors import SemalignError

Progress = Callable[[int, int], None]

# (test, training) images of 300W that show the same photograph; without the ending, which differs between copies.
KNOWN_DUPLICATES_300W = (
    ("lfpw/testset/image_0007", "lfpw/trainset/image_0862"),
    ("lfpw/testset/image_0096", "lfpw/trainset/image_0828"),
    ("lfpw/testset/image_0066", "lfpw/trainset/image_0215"),
)
# Correlation of fine structure from which two faces count as the same photograph, or as shots of one moment. On 300W,
# copies of a photograph have 0.81 to 1.00, shots of one sitting 0.75 to 0.96, different people 0.75 at most.
SAME_PHOTOGRAPH = 0.8
PROPOSED = 0.84  # correlation of the small thumbnails from which a pair is looked at closely; copies have 0.89 and more
SIDE, SMALL = 64, 24  # pixels of the two thumbnails' sides
FRAME = 1.3  # side of the thumbnail in larger sides of the inner landmarks' box
FINE = 4.0  # px of the large thumbnail: structure coarser than this (light, contrast) does not count
RIM = 6  # px of the large thumbnail left out at each border
WORKERS = 4  # threads that decode images


def leaky_training_ids(dataset: Dataset, progress: Progress | None = None, *, strict: bool = True) -> tuple[str, ...]:
    """Training images, in the data set's order, that show the same photograph as one of its test images.

    These are the known ones of 300W and those that look the same (`find_near_duplicates`). Leave them out of training
    when testing on the test set: `dataset.select("train", exclude=leaky_training_ids(dataset))`. Synthetic faces are
    all different; frames of videos are not compared.

    Raises:
        SemalignError: an image that cannot be read; unless `strict`, it is like no other.
    """
    if not _may_repeat(dataset):
        return ()
    split = {sample.id: sample.split for sample in dataset.samples}
    by_stem = {str(PurePosixPath(name).with_suffix("")): name for name in split}
    leaky = {by_stem[train] for test, train in KNOWN_DUPLICATES_300W if test in by_stem and train in by_stem}
    for first, second, _ in _near_duplicates(dataset, across=True, progress=progress, strict=strict):
        leaky.add(first if split[first] == "train" else second)
    return tuple(name for name in dataset.ids() if name in leaky)


def find_near_duplicates(dataset: Dataset, progress: Progress | None = None) -> list[tuple[str, str, float]]:
    """Pairs of images that show one face in the same photograph or moment, with their likeness, the most alike first.

    The likeness is the correlation of the registered inner faces' fine structure, 0.8 to 1. Several hundred faces a
    second; `progress` is called with (images read, images in all).

    Raises:
        SemalignError: an image that cannot be read.
    """
    return _near_duplicates(dataset, across=False, progress=progress)


def independent_folds(
    dataset: Dataset, count: int, seed: int, progress: Progress | None = None, *, alike: bool = True
) -> np.ndarray:
    """The fold, from 0 to `count` - 1, of each sample (b,), drawn at random but for those that are no news to each other.

    Samples of one file (frames of a video, several faces of a picture) share a fold, and images of one photograph or
    moment (`find_near_duplicates`; synthetic faces are all different, frames of videos are not compared), unless it does
    not matter whether pictures are `alike`.

    Raises:
        SemalignError: an image that cannot be read.
    """
    names, groups = np.unique(_photographs(dataset, progress, alike=alike), return_inverse=True)
    folds: np.ndarray = (np.random.default_rng(seed).permutation(len(names)) % count)[groups]
    return folds


def photographs(
    dataset: Dataset, progress: Progress | None = None, extra: Iterable[tuple[int, int]] = ()
) -> np.ndarray:
    """A number (b,) for each sample, the same for those of one file, photograph or moment (see `independent_folds`).

    Args:
        dataset: the faces; a picture that cannot be read is like no other.
        progress: called with (images read, images in all).
        extra: further rows that belong together, by pairs.
    """
    return _photographs(dataset, progress, extra, strict=False)


def _photographs(
    dataset: Dataset,
    progress: Progress | None,
    extra: Iterable[tuple[int, int]] = (),
    strict: bool = True,
    alike: bool = True,
) -> np.ndarray:
    first_of_file: dict[Path, int] = {}
    groups = np.array([first_of_file.setdefault(s.image, index) for index, s in enumerate(dataset.samples)], dtype=int)
    pairs = list(extra)
    if alike and _may_repeat(dataset):
        row = {name: index for index, name in enumerate(dataset.ids())}
        near = _near_duplicates(dataset, across=False, progress=progress, strict=strict)
        pairs += [(row[first], row[second]) for first, second, _ in near]
    for one, other in pairs:
        if groups[one] != groups[other]:
            groups[groups == groups[other]] = groups[one]
    return groups


def _may_repeat(dataset: Dataset) -> bool:
    """Whether a photograph may occur twice: synthetic faces are all different, frames of videos are not compared."""
    return dataset.name != "synthetic" and all(sample.frame is None for sample in dataset.samples)


def _near_duplicates(
    dataset: Dataset, across: bool, progress: Progress | None, strict: bool = True
) -> list[tuple[str, str, float]]:
    """As `find_near_duplicates`; `across`: only pairs of a training and a test image.

    Unless `strict`, an image that cannot be read is like no other.
    """
    if len(dataset) < 2:
        return []
    faces = _faces(dataset, progress, strict)
    test = np.array([sample.split == "test" for sample in dataset.samples])
    ids, found = dataset.ids(), []
    for first, second in _proposals(faces):
        if across and test[first] == test[second]:
            continue
        likeness = _likeness(faces[first], faces[second])
        if likeness >= SAME_PHOTOGRAPH:
            found.append((ids[first], ids[second], likeness))
    return sorted(found, key=lambda pair: -pair[2])


def _faces(dataset: Dataset, progress: Progress | None, strict: bool) -> np.ndarray:
    """Grey inner faces (b, SIDE, SIDE) float32 in a common frame."""
    frames = _image_to_thumbnail(dataset)
    faces = np.empty((len(dataset), SIDE, SIDE), np.float32)
    with ThreadPoolExecutor(WORKERS) as pool:
        for index, face in enumerate(pool.map(partial(_thumbnail, strict=strict), dataset.samples, frames)):
            faces[index] = face
            if progress is not None:
                progress(index + 1, len(dataset))
    return faces


def _image_to_thumbnail(dataset: Dataset) -> np.ndarray:
    """Similarities (b, 2, 3) that bring the inner landmarks onto those of the mean face, which fill the thumbnail."""
    inner = sorted(set(range(dataset.scheme.count)) - set(dataset.scheme.regions.get("contour", ())))
    points = dataset.points()[:, inner if len(inner) > 1 else slice(None)]
    shapes = completed(to_complex(points))
    centres = shapes.mean(axis=1, keepdims=True)
    shapes = shapes - centres
    mean = shapes[0]
    for _ in range(3):
        mean = mean / np.linalg.norm(mean)
        turns = (shapes.conj() @ mean) / (np.abs(shapes) ** 2).sum(axis=1)
        mean = (shapes * turns[:, None]).mean(axis=0)
    low, high = complex(mean.real.min(), mean.imag.min()), complex(mean.real.max(), mean.imag.max())
    scale = SIDE / (FRAME * max((high - low).real, (high - low).imag))
    linear = scale * turns
    offset = complex(SIDE - 1, SIDE - 1) / 2 - scale * (low + high) / 2 - linear * centres[:, 0]
    rows = [[linear.real, -linear.imag, offset.real], [linear.imag, linear.real, offset.imag]]
    return np.moveaxis(np.array(rows), 2, 0)


def _thumbnail(sample: Sample, image_to_thumbnail: np.ndarray, strict: bool = True) -> np.ndarray:
    """The face (SIDE, SIDE) float32, grey; what lies outside the image repeats its border."""
    scale = float(np.hypot(*image_to_thumbnail[:, 0]))
    try:
        width, height = image_size(sample.image)
        image = cv2.cvtColor(read_image(sample.image, reduce=max(1, int(0.5 / scale))), cv2.COLOR_RGB2GRAY)
    except SemalignError:
        if strict:
            raise
        return np.zeros((SIDE, SIDE), np.float32)
    reduced = min(1.0, 2.0 * scale)  # twice the thumbnail's resolution, reached by averaging areas
    size = max(1, round(width * reduced)), max(1, round(height * reduced))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    across, down = width / image.shape[1], height / image.shape[0]
    to_image = np.array([[across, 0.0, across / 2 - 0.5], [0.0, down, down / 2 - 0.5], [0.0, 0.0, 1.0]])
    face = cv2.warpAffine(image, image_to_thumbnail @ to_image, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return face.astype(np.float32)


def _proposals(faces: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs whose small thumbnails correlate by more than PROPOSED."""
    small = np.stack([cv2.resize(face, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for face in faces])
    flat = _normalised(small.reshape(len(faces), -1))
    for first in range(len(faces) - 1):
        for step in np.flatnonzero(flat[first + 1 :] @ flat[first] > PROPOSED):
            yield first, first + 1 + int(step)


def _likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the fine structure of two thumbnails after an affine registration; -1 where there is none."""
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 1e-4)
    start, everywhere = np.eye(2, 3, dtype=np.float32), np.ones((SIDE, SIDE), np.uint8)
    try:
        _, map_to_second = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, stop, everywhere, 3)
    except cv2.error:  # the registration diverged: the faces have nothing in common
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, map_to_second, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    one, other = (
        _normalised((face - cv2.GaussianBlur(face, (0, 0), FINE))[RIM:-RIM, RIM:-RIM].ravel())
        for face in (first, moved)
    )
    return float(one @ other)


def _normalised(rows: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1; a constant row becomes zeros."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    length = np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
    normalised: np.ndarray = rows / length
    return normalised
