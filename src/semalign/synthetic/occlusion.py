"""Things put in front of the faces of photographs, so that hidden landmarks have a known place.

*Pasted* things (blocks of one colour, pieces of another photograph with straight or with round edges) are made as large as it
takes to hide a wanted share of the face. *Drawn* ones (a hand, a microphone, strands of hair, a card, a scarf) are those of the
synthetic faces and hide what they hide.

Shape legend: n landmarks, h w picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from semalign.schemes import LandmarkScheme
from semalign.synthetic.draw import CIRCLE, rounded
from semalign.synthetic.hair import hair_everywhere
from semalign.synthetic.occluders import occlude
from semalign.synthetic.scene import Scene
from semalign.synthetic.settings import FaceSettings
from semalign.synthetic.surface import Projection
from semalign.synthetic.traits import Light, draw_traits, muted_colours

Pasted = Literal["block", "piece", "blob"]
PASTED: tuple[Pasted, ...] = get_args(Pasted)
FINE = 2  # things are drawn at so many times the picture's resolution
SEARCH = 12  # halvings of the interval in which the size lies
HIDDEN = 128  # of 255: a landmark is hidden where this much of its pixel is covered


@dataclass(frozen=True, eq=False)
class Occluded:
    """A picture with something in front of its face.

    Attributes:
        picture: RGB.
        hidden: which landmarks lie behind it.
        share: of the area within the hull of the landmarks, how much is covered, 0 to 1.
    """

    picture: UInt8[np.ndarray, "h w 3"]
    hidden: Bool[np.ndarray, " n"]
    share: float


def paste_something(
    rng: np.random.Generator,
    picture: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "n 2"],
    share: float,
    other: UInt8[np.ndarray, "_ _ 3"],
    kinds: tuple[Pasted, ...] = PASTED,
) -> Occluded:
    """Hide a share of the face behind a thing at a random landmark.

    Args:
        rng: of the kind, its shape, place and looks.
        picture: RGB.
        points: the landmarks, pixels of the picture.
        share: of the hull of the landmarks, 0 to 1; 0 leaves the picture as it is.
        other: where pieces are cut from.
        kinds: to choose from.
    """
    if share <= 0:
        return Occluded(picture, np.zeros(len(points), bool), 0.0)
    kind = kinds[int(rng.integers(len(kinds)))]
    size = float(np.ptp(points, axis=0).max())
    outline = _round_outline(rng) if kind == "blob" else rounded(12.0)
    stretch, angle = np.exp(rng.normal(0, 0.3)), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = outline * (stretch, 1 / stretch) @ turn.T
    centre = points[int(rng.integers(len(points)))] + rng.normal(0, 0.1, 2) * size
    face = _hull(picture.shape[:2], points)
    low, high = 0.0, 3.0 * size
    for _ in range(SEARCH):
        middle = (low + high) / 2
        covered = _covered(_filled(picture.shape[:2], outline * middle + centre), face)
        low, high = (middle, high) if covered < share else (low, middle)
    mask = _filled(picture.shape[:2], outline * high + centre)
    front = _flat(rng, picture.shape) if kind == "block" else _piece(rng, other, picture.shape)
    return _laid(picture, front, mask, points, face)


def draw_something(
    rng: np.random.Generator,
    picture: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "n 2"],
    scheme: LandmarkScheme,
) -> Occluded:
    """Draw a hand, a microphone, strands, a card or a scarf in front of the face, in its own light and colour of skin.

    Args:
        rng: of everything about it.
        picture: RGB.
        points: the landmarks, of iBUG's 68, pixels of the picture.
        scheme: names the outer corners of the eyes.
    """
    if scheme.outer_eyes is None:
        raise ValueError("the scheme must name the outer corners of the eyes")
    h, w = picture.shape[:2]
    side = FINE * max(h, w)
    fine = cv2.resize(picture, (FINE * w, FINE * h), interpolation=cv2.INTER_LINEAR)
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[: FINE * h, : FINE * w] = fine
    own = (points + 0.5) * FINE - 0.5
    left, right = own[scheme.outer_eyes[0]], own[scheme.outer_eyes[1]]
    across = right - left
    linear = np.array([[across[0], -across[1]], [across[1], across[0]]])
    projection = Projection(linear, np.zeros(2), (left + right) / 2)
    traits = draw_traits(rng, FaceSettings())
    skin = np.median(picture[_hull((h, w), points) > 0], axis=0)
    level = max(float(skin.mean()) / 170, 0.35)
    light = Light(traits.light.direction, 0.5 * level, 0.5 * level / 0.75, 0.0)
    tone = (float(skin[0]) / level, float(skin[1]) / level, float(skin[2]) / level)
    traits = replace(traits, light=light, look=replace(traits.look, skin=tone))
    covered = np.zeros((side, side), np.uint8)
    hair = hair_everywhere(projection, traits, side)
    scene = Scene(canvas, covered, projection, traits, own[:17], projection.unit, hair)
    occlude(rng, scene, own)
    drawn = cv2.resize(scene.image[: FINE * h, : FINE * w], (w, h), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(scene.covered[: FINE * h, : FINE * w], (w, h), interpolation=cv2.INTER_AREA)
    return Occluded(drawn, _hidden(mask, points), _covered(mask, _hull((h, w), points)))


def _laid(picture: np.ndarray, front: np.ndarray, mask: np.ndarray, points: np.ndarray, face: np.ndarray) -> Occluded:
    share = mask[..., None] / np.float32(255)
    laid = np.rint(front * share + picture * (1 - share)).astype(np.uint8)
    return Occluded(laid, _hidden(mask, points), _covered(mask, face))


def _hidden(mask: np.ndarray, points: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Which points are covered; those beyond the picture are where the border's nearest pixel is."""
    h, w = mask.shape
    pixel = np.rint(points).astype(int).clip(0, (w - 1, h - 1))
    hidden: np.ndarray = mask[pixel[:, 1], pixel[:, 0]] >= HIDDEN
    return hidden


def _hull(shape: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """A mask of 0 and 255 of the hull of the points."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 255)
    return mask


def _covered(mask: np.ndarray, face: np.ndarray) -> float:
    return float(((mask >= HIDDEN) & (face > 0)).sum()) / max(float((face > 0).sum()), 1.0)


def _filled(shape: tuple[int, int], outline: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask


def _round_outline(rng: np.random.Generator) -> np.ndarray:
    """A closed wavy line about the unit circle."""
    angle = np.arctan2(CIRCLE[:, 1], CIRCLE[:, 0])
    waves = np.zeros(len(CIRCLE))
    for order in (2, 3, 4, 5):
        waves += rng.normal(0, 0.25 / order) * np.cos(order * angle + rng.uniform(0, 6.3))
    outline: np.ndarray = CIRCLE * np.exp(waves)[:, None]
    return outline


def _flat(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One colour with a little grain."""
    colour = np.array(muted_colours(rng, 1)[0])
    return np.clip(colour + rng.normal(0, rng.uniform(0, 12), shape), 0, 255).astype(np.float32)


def _piece(rng: np.random.Generator, other: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A random part of another picture, turned and enlarged, as large as this one, mirrored at its border."""
    h, w = shape[:2]
    zoom, angle = max(h / other.shape[0], w / other.shape[1]) * np.exp(rng.uniform(0.0, 1.0)), rng.uniform(0, 360)
    start = rng.uniform(0, 1, 2) * (other.shape[1], other.shape[0])
    matrix = cv2.getRotationMatrix2D((float(start[0]), float(start[1])), angle, zoom)
    matrix[:, 2] += np.array([w, h]) / 2 - start
    piece = cv2.warpAffine(other, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return piece.astype(np.float32)
