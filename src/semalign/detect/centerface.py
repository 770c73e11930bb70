"""The default finder: CenterFace on the picture from coarse to fine, and on turned cut-outs where a face may be turned.

1. The picture is searched at a size of about 192 × 192 pixels, where faces from a sixteenth of its sides are seen. It is
   searched at twice that size, and so on, while there are hints of small faces or no face at all.
2. The network sees upright faces best. A face that it is less sure of, or that seems turned, is looked at again in four
   directions and once more at the angle found. Where no face is found at all, the whole picture is turned.

Shape legend: k faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from semalign.data.crops import cut
from semalign.detect.centerface_network import NONE, Sightings, distinct, joined, look
from semalign.detect.faces import BoxRelation, FoundFaces
from semalign.detect.turned import levelled
from semalign.shapes import Float, UInt8

COARSE = 192 * 192  # pixels of the first search
ENOUGH = 512 * 1024  # pixels of a search after which a picture with a face is not searched again, unless min_face asks
FINEST = 2400 * 1800  # pixels of the last search
TILE, SEAM = 1024, 128  # side of the largest picture that is looked at in one piece, and what neighbours share
NEEDED = 20  # pixels of a face that is seen surely
HINT, SMALL = 0.1, 28  # score and pixels of a face that may have smaller ones beside it
LIKELY = 0.3  # score of a hint that is looked at in a finer search before the picture is turned once more
UNSURE, SURE = 0.15, 0.75  # a face between them is looked at again
UPRIGHT = np.radians(40.0)  # angle to which a face is taken as seen
# Faces that are looked at again in one search, the surest first; hints of so many are a group, not turned.
LOOKS, CROWD = 4, 8
TURNED_AT = 2  # searches of a picture without a face in which it is turned
PIECE, LAST_PIECE = 64, 96  # sides in pixels of what is cut out for a second look, and for the last
AROUND = 2.0  # side of what is cut out, in sides of the face
RELATION = BoxRelation(right=-0.011, down=0.136, scale=0.908)  # in geometric mean sides; benchmarks/face_boxes.py
# A face's five points where it is upright, in its own size; only their directions count.
POINTS = np.array([[-0.36, -0.29], [0.36, -0.29], [0.0, 0.02], [-0.29, 0.37], [0.29, 0.37]])


@dataclass(frozen=True)
class CenterFaceFinder:
    """CenterFace, which ships with the package; see the module. It holds no network: threads and processes may share it.

    Args:
        min_face: side in pixels of the smallest face to be found, or as a share of the picture's longer side if it is
            below 1. Default: faces down to a sixteenth of the picture, and smaller ones where there are hints of them
            or nothing else, down to 20 pixels. A smaller value searches everything, a larger one is faster.
        certainty: least score of a face, 0 to 1.
        any_angle: whether turned faces are looked for too.
    """

    min_face: float | None = None
    certainty: float = 0.5
    any_angle: bool = True

    def __post_init__(self) -> None:
        if (self.min_face is not None and not self.min_face > 0) or not 0 < self.certainty <= 1:
            raise ValueError("min_face must be more than 0 and certainty in (0, 1]")

    def __call__(self, picture: UInt8[np.ndarray, "h w 3"]) -> FoundFaces:
        """Landmarks' boxes and angles of the faces; see `FaceFinder`."""
        seen = self.sightings(picture)
        angles = levelled(angles_of(seen.points))
        boxes = landmarks_boxes(seen, angles)
        if self.min_face is not None:
            large = boxes[:, 2] - boxes[:, 0] >= 0.8 * self._pixels(picture)
            boxes, angles, seen = boxes[large], angles[large], seen.take(large.nonzero()[0])
        return FoundFaces(boxes, angles, seen.score)

    def sightings(self, picture: UInt8[np.ndarray, "h w 3"]) -> Sightings:
        """What the network sees of the faces, each as it is seen upright, the surest first."""
        found = NONE
        postponed: list[tuple[np.ndarray, np.ndarray, float]] = []
        scales = list(self._scales(picture))
        for number, scale in enumerate(scales):
            small, last = _scaled(picture, scale), number == len(scales) - 1
            last = last or small.shape[0] * small.shape[1] >= ENOUGH
            back = np.array([[1 / scale, 0.0, 0.5 / scale - 0.5], [0.0, 1 / scale, 0.5 / scale - 0.5]])
            seen = _tiled(small).mapped(back)
            least = 0.0 if last else SMALL / scale
            found, hints = self._added(picture, found, seen, least)
            if self.any_angle and number < TURNED_AT and not len(found) and len(hints) < CROWD:
                if number and len(hints) and hints.max() > LIKELY:
                    postponed.append((small, back, least))
                else:
                    found, more = self._added(picture, found, _turned(small, back), least)
                    hints = np.concatenate([hints, more])
            if self.min_face is None and len(found) and not len(hints):
                break
        for small, back, least in postponed:
            if not len(found):
                found, _ = self._added(picture, found, _turned(small, back), least)
        return found

    def _pixels(self, picture: np.ndarray) -> float:
        assert self.min_face is not None
        return self.min_face if self.min_face >= 1 else self.min_face * max(picture.shape[:2])

    def _scales(self, picture: np.ndarray) -> Iterator[float]:
        """The sizes at which a picture is searched, in its own, from coarse to fine."""
        pixels = picture.shape[0] * picture.shape[1]
        scale, last = min(1.0, float(np.sqrt(COARSE / pixels))), min(1.0, float(np.sqrt(FINEST / pixels)))
        if self.min_face is not None:
            last = min(2.0, NEEDED / self._pixels(picture))
            scale = min(scale, last)
        while scale < last * 0.99:
            yield scale
            scale = min(2 * scale, last)
        yield last

    def _added(
        self, picture: np.ndarray, found: Sightings, seen: Sightings, small: float
    ) -> tuple[Sightings, np.ndarray]:
        """The faces found with those that are seen anew, and the scores of hints of faces below `small` pixels."""
        seen = seen.take((~_inside(seen, found)).nonzero()[0])
        seen = seen.take(distinct(seen))
        large = seen.side >= small
        upright = np.abs(angles_of(seen.points)) <= UPRIGHT
        fine = seen.score >= (SURE if self.any_angle else self.certainty)
        fine &= upright if self.any_angle else True
        doubted = (~fine & large & (seen.score > UNSURE)).nonzero()[0] if self.any_angle else np.empty(0, int)
        better = [_second_look(picture, seen.centre[row], float(seen.side[row])) for row in doubted[:LOOKS]]
        better.append(seen.take(doubted[LOOKS:]))
        everything = joined([found, seen.take(fine.nonzero()[0]), *better])
        everything = everything.take((everything.score >= self.certainty).nonzero()[0])
        return everything.take(distinct(everything)), seen.score[(seen.score > HINT) & ~large]


def _inside(seen: Sightings, found: Sightings) -> np.ndarray:
    """(k,) whether the middle of a sighting lies in a face that was found."""
    away = np.abs(seen.centre[:, None] - found.centre[None])
    return np.asarray((away < found.size[None] / 2).all(axis=2).any(axis=1))


def _scaled(picture: np.ndarray, scale: float) -> np.ndarray:
    """The picture at another size, up to a pixel; first by a whole number, which is many times as fast."""
    if scale == 1.0:
        return picture
    factor = int(1 / scale)
    if factor > 1:
        height, width = picture.shape[0] // factor, picture.shape[1] // factor
        if height and width:
            whole = picture[: height * factor, : width * factor]
            picture, scale = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), scale * factor
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _tiled(picture: np.ndarray) -> Sightings:
    """What the network sees in a picture; a large one is looked at in pieces, each with a seam that it shares."""
    height, width = picture.shape[:2]
    if max(height, width) <= TILE:
        return look(picture, HINT)
    parts = []
    for top in range(0, max(1, height - SEAM), TILE - SEAM):
        for left in range(0, max(1, width - SEAM), TILE - SEAM):
            seen = look(picture[top : top + TILE, left : left + TILE], HINT)
            whole = seen.take((seen.size.max(axis=1) < SEAM).nonzero()[0])  # larger ones were seen before
            parts.append(whole.mapped(np.array([[1.0, 0.0, left], [0.0, 1.0, top]])))
    return joined(parts)


def _turned(picture: np.ndarray, back: np.ndarray) -> Sightings:
    """What the network sees in a picture in the three directions that are not its own, mapped back."""
    return joined([_quarter_turned(picture, quarter).mapped(back) for quarter in (1, 2, 3)])


def _quarter_turned(picture: np.ndarray, quarter: int) -> Sightings:
    """What the network sees in a picture that is turned by so many quarters of a turn, counter-clockwise."""
    height, width = picture.shape[:2]
    back = {
        1: [[0.0, -1.0, width - 1.0], [1.0, 0.0, 0.0]],
        2: [[-1.0, 0.0, width - 1.0], [0.0, -1.0, height - 1.0]],
        3: [[0.0, 1.0, 0.0], [-1.0, 0.0, height - 1.0]],
    }[quarter]
    return _tiled(np.ascontiguousarray(np.rot90(picture, quarter))).mapped(np.array(back))


def _second_look(picture: np.ndarray, centre: np.ndarray, side: float) -> Sightings:
    """A face as it is seen upright, if it is one: looked at in four or eight directions, and at the angle that was best."""
    first = NONE
    for start in (0.0, np.pi / 4):
        angles = start + np.arange(4) * (np.pi / 2)
        first = joined([first, *(_cut_out(picture, centre, side, float(angle), PIECE) for angle in angles)])
        if len(first) and first.score.max() >= SURE:
            break
    if not len(first):
        return NONE
    best = first.take(np.array([np.argmax(first.score)]))
    last = _cut_out(picture, best.centre[0], float(best.side[0]), float(angles_of(best.points)[0]), LAST_PIECE)
    return last if len(last) else best


def _cut_out(picture: np.ndarray, centre: np.ndarray, side: float, angle: float, size: int) -> Sightings:
    """The surest sighting in the middle of what is cut out around a face, turned back by an angle (radians)."""
    scale = size / (AROUND * side)
    linear = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([linear, (size - 1) / 2 - linear @ centre])
    seen = look(cut(picture, matrix, size), UNSURE)
    middle = np.abs(seen.centre - (size - 1) / 2).max(axis=1) < size / 5
    seen = seen.take((middle & (seen.side > 0.25 * size)).nonzero()[0][:1])
    return seen.mapped(cv2.invertAffineTransform(matrix))


def angles_of(points: Float[np.ndarray, "k 5 2"]) -> Float[np.ndarray, " k"]:
    """Angles by which faces are turned in the picture, clockwise, in radians; 0 is upright."""
    own = points - points.mean(axis=1, keepdims=True)
    upright = POINTS - POINTS.mean(axis=0)
    along = (own * upright).sum(axis=(1, 2))
    across = (upright[:, 0] * own[:, :, 1] - upright[:, 1] * own[:, :, 0]).sum(axis=1)
    return np.asarray(np.arctan2(across, along))


def landmarks_boxes(seen: Sightings, angles: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k 4"]:
    """Landmarks' boxes (squares, upright in the frame that is turned by the face's angle) from the finder's."""
    shift = RELATION.right + 1j * RELATION.down
    along = shift * np.exp(1j * angles)  # turned clockwise, as y runs down
    centre = seen.centre + seen.side[:, None] * np.stack([along.real, along.imag], axis=1)
    half = seen.side[:, None] * RELATION.scale / 2
    return np.concatenate([centre - half, centre + half], axis=1)
