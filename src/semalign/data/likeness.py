"""How alike two faces' thumbnails are: coarse signatures by which pairs are proposed, and the comparison that decides.

Each look is dearer than the one before and sees few of its pairs: signatures of 85 numbers, small thumbnails, these moved
onto each other to first order, fine structure after a coarse registration, and at last a registration.

Shape legend: b faces, k pairs, p pixels of a small thumbnail, s of its side, q places at which it is seen, m of a signature.
"""

from __future__ import annotations

import cv2
import numpy as np

from semalign.data.thumbnails import SIDE
from semalign.shapes import Float

_Matrices = tuple[np.ndarray, np.ndarray]

# Correlation of fine structure from which two faces count as the same photograph, or as shots of one moment. On 300W,
# copies of a photograph have 0.81 to 1.00, shots of one sitting 0.75 to 0.96, different people 0.75 at most.
SAME_PHOTOGRAPH = 0.8
PROPOSED = 0.84  # correlation of the small thumbnails from which a pair is looked at closely; copies have 0.86 and more
SMALL, HALF = 24, SIDE // 2  # pixels of the sides of smaller thumbnails
SEEN = 16  # places along a side of the small thumbnail at which its middle structure is seen
FINE = 4.0  # px of the thumbnail: structure coarser than this (light, contrast) does not count
RIM = 6  # px of the thumbnail left out at each border

# Of the looks that only propose. The copies of 300W have 0.88, 0.86 and 0.73 and more.
SIGNATURE = 0.865  # cosine of two signatures
EVENED = (
    0.62  # the same of signatures that are evened out; copies have 0.64 and more, also of twice the usual misplacement
)
ROUNDING = 0.005  # by which the small thumbnails' correlation may be off, as they are kept in 8 bits
MOVED = 0.83  # correlation of middle structure of small thumbnails, moved onto each other to first order
REGISTRABLE = 0.65  # correlation of fine structure after the coarse registration

WAVES = 10  # least number of half waves across a thumbnail that is too fine for signatures
SOFT = 5.0  # half waves at which the weight of a gradient's waves has fallen to 0.6
WINDOW = 0.25  # power of the sine that fades a small thumbnail's border
SIGNED = int((np.hypot(*np.mgrid[:WAVES, :WAVES]) < WAVES).sum()) - 1  # numbers of a signature
MIDDLE = (0.75, 2.25)  # px of the small thumbnail: structure between these scales is moved
LOOSE = np.array([0.75, 0.75, 0.05, 0.05, 0.05, 0.05], np.float32)  # px and shares by which landmarks misplace a frame
NOISE = 0.05  # of the middle structure, as a share of its square


def small_thumbnails(faces: Float[np.ndarray, "b side side"]) -> Float[np.ndarray, "b p"]:
    """Small thumbnails of mean 0 and length 1; zeros of a face that is all of one grey."""
    return normalised(
        np.stack([cv2.resize(face, (SMALL, SMALL), interpolation=cv2.INTER_AREA).ravel() for face in faces])
    )


def signatures(small: Float[np.ndarray, "b p"]) -> Float[np.ndarray, "b m"]:
    """The coarse gradient of small thumbnails, by its waves, of length 1; zeros of a face that is all of one grey."""
    waves: np.ndarray = (small - (small @ _FADED)[:, None]) @ _WAVES
    length = np.linalg.norm(waves, axis=1, keepdims=True)
    return np.where(length > 1e-6, waves / np.maximum(length, 1e-6), 0).astype(np.float32)


def moved_onto(
    first: Float[np.ndarray, "k p"], second: Float[np.ndarray, "k p"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k 2 3"]]:
    """Correlation of small thumbnails' middle structure after the affine movement that is best to first order.

    The movement `second_to_first` is in pixels of the large thumbnails; it is kept small by what landmarks misplace.
    """
    images = first.reshape(-1, SMALL, SMALL)
    x, y = _middle(images), normalised(_middle(second.reshape(-1, SMALL, SMALL)))
    length = np.maximum(np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=1), 1e-9)[:, None]
    changes = np.empty((len(x), len(LOOSE), x.shape[1]), np.float32)
    for number, slopes in enumerate((_SLOPES_ACROSS, _SLOPES_DOWN)):
        slope = _seen(images, *slopes) / length
        changes[:, number] = slope
        changes[:, 2 + 2 * number] = slope * _ACROSS
        changes[:, 3 + 2 * number] = slope * _DOWN
    changes -= changes.mean(axis=2, keepdims=True)
    changes *= LOOSE[:, None]
    x = (x - x.mean(axis=1, keepdims=True)) / length
    square = changes @ changes.transpose(0, 2, 1) + NOISE * np.eye(len(LOOSE), dtype=np.float32)
    towards_x, towards_y = (np.moveaxis(changes @ np.stack([x, y], axis=2), 2, 0))[..., None]
    gain = np.maximum((x * y).sum(axis=1), 0.2)
    for _ in range(2):
        steps = np.linalg.solve(square, gain[:, None, None] * towards_y - towards_x)
        moved = x + (steps.transpose(0, 2, 1) @ changes)[:, 0]
        gain = (moved * y).sum(axis=1)
    likeness = gain / np.maximum(np.linalg.norm(moved, axis=1), 1e-9)
    steps = steps[..., 0] * LOOSE
    linear = np.eye(2) + steps[:, 2:].reshape(-1, 2, 2)
    centre = np.full(2, (SIDE - 1) / 2)
    shift = steps[:, :2] * (SIDE / SMALL) + centre - linear @ centre
    return likeness, np.concatenate([linear, shift[..., None]], axis=2)


def coarsely_registered(
    first: Float[np.ndarray, "side side"],
    second: Float[np.ndarray, "side side"],
    first_to_second: Float[np.ndarray, "2 3"],
) -> float:
    """Correlation of the fine structure of two thumbnails after a registration of half their size; -1 where there is none."""
    one, other = (
        cv2.GaussianBlur(cv2.resize(face, (HALF, HALF), interpolation=cv2.INTER_AREA), (0, 0), 0.7)
        for face in (first, second)
    )
    start = first_to_second.astype(np.float32)
    start[:, 2] = (start[:, :2].sum(axis=1) / 2 + start[:, 2] - 0.5) / 2
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 4, 1e-3)
    try:
        _, found = cv2.findTransformECC(one, other, start, cv2.MOTION_AFFINE, stop, np.ones((HALF, HALF), np.uint8), 1)
    except cv2.error:
        return -1.0
    found[:, 2] = 2 * found[:, 2] + 0.5 - found[:, :2].sum(axis=1) / 2
    return fine_likeness(first, second, found)


def fine_likeness(
    first: Float[np.ndarray, "side side"],
    second: Float[np.ndarray, "side side"],
    first_to_second: Float[np.ndarray, "2 3"],
) -> float:
    """Correlation of the fine structure of two thumbnails, one of which is moved onto the other."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, first_to_second, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    one, other = (
        normalised((face - cv2.GaussianBlur(face, (0, 0), FINE))[RIM:-RIM, RIM:-RIM].ravel()) for face in (first, moved)
    )
    return float(one @ other)


def registered_likeness(first: Float[np.ndarray, "side side"], second: Float[np.ndarray, "side side"]) -> float:
    """Correlation of the fine structure of two thumbnails after an affine registration; -1 where there is none."""
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 1e-4)
    start, everywhere = np.eye(2, 3, dtype=np.float32), np.ones((SIDE, SIDE), np.uint8)
    try:
        _, first_to_second = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, stop, everywhere, 3)
    except cv2.error:  # the registration diverged: the faces have nothing in common
        return -1.0
    return fine_likeness(first, second, first_to_second)


def normalised(rows: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1; a constant row becomes zeros."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    length = np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
    normalised: np.ndarray = rows / length
    return normalised


def _waves() -> tuple[np.ndarray, np.ndarray]:
    """Weights (p,) of the faded mean, and what small thumbnails are multiplied by for their signatures (p, m)."""
    places = (np.arange(SMALL) + 0.5) / SMALL
    fading = np.outer(np.sin(np.pi * places), np.sin(np.pi * places)) ** WINDOW
    cosines = np.cos(np.pi * np.arange(WAVES)[:, None] * places)
    cosines[0] /= np.sqrt(2)
    frequency = np.hypot(*np.mgrid[:WAVES, :WAVES])
    wanted = (frequency > 0) & (frequency < WAVES)
    waves = np.einsum("ui,vj->uvij", cosines, cosines)[wanted] * fading
    weights = frequency[wanted] * np.exp(-((frequency[wanted] / SOFT) ** 2) / 2)
    waves = (weights[:, None, None] * waves).reshape(len(weights), -1).T
    return (fading / fading.sum()).ravel().astype(np.float32), np.ascontiguousarray(waves, np.float32)


def _blurring(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (SEEN, SMALL) that blur a row of pixels, mirrored at its ends, and see it at SEEN places; and its slope."""
    places = (np.arange(SEEN) + 0.5) * (SMALL / SEEN) - 0.5
    pixels = np.arange(-SMALL, 2 * SMALL)
    away = pixels - places[:, None]
    weights = np.exp(-0.5 * (away / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(SMALL)[::-1], np.arange(SMALL), np.arange(SMALL)[::-1]])
    folded = np.eye(SMALL)[mirrored]
    return (weights @ folded).astype(np.float32), (weights * away / sigma**2 @ folded).astype(np.float32)


def _seen(images: Float[np.ndarray, "k s s"], fine: _Matrices, coarse: _Matrices) -> Float[np.ndarray, "k q"]:
    """The difference of two blurred images, each by a matrix for its columns and one for its rows."""
    seen: np.ndarray = fine[0] @ images @ fine[1].T - coarse[0] @ images @ coarse[1].T
    return seen.reshape(len(images), -1)


def _middle(images: Float[np.ndarray, "k s s"]) -> Float[np.ndarray, "k q"]:
    """Structure of the middle scales of small thumbnails."""
    return _seen(images, *_MIDDLE)


_FADED, _WAVES = _waves()
_BLURS = [_blurring(sigma) for sigma in MIDDLE]
_MIDDLE = tuple((blur, blur) for blur, _ in _BLURS)
_SLOPES_ACROSS = tuple((blur, slope) for blur, slope in _BLURS)
_SLOPES_DOWN = tuple((slope, blur) for blur, slope in _BLURS)
_STEPS = ((np.arange(SEEN) + 0.5) * (SMALL / SEEN) - SMALL / 2).astype(np.float32)
_DOWN, _ACROSS = (grid.ravel() for grid in np.meshgrid(_STEPS, _STEPS, indexing="ij"))
