"""Annotations compared with the faces that the default finder sees in their pictures: misplaced, turned and exchanged ones.

Compared are the middles of the eyes, the mouth and the nose, in the frame and in the size of the found face.

Shape legend: b annotations, k found faces or other annotations, p parts of a face: left eye, right eye, and mouth and nose
where the scheme has these regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semalign.ahead import results_of
from semalign.cores import usable_cores
from semalign.data.check import Problem
from semalign.data.samples import Dataset, Sample
from semalign.data.video import read_pictures
from semalign.detect.centerface import CenterFaceFinder
from semalign.detect.centerface_network import NONE, Sightings
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

# Distances are means over the parts, in sides of the found face. Of 2012 training faces of 300W 0.5 % are farther off than
# FAR, and 0.2 % than FAR_EYES by the eyes alone.
FAR, FAR_EYES = 0.07, 0.09
# A pair of annotations is exchanged where both are off by DOUBTFUL and each fits the other's face: within FITTING, and
# together within BETTER of what they are off now. Eyes alone tell less, so they are asked for more. Of random exchanges
# between the tight crops of 300W, where all faces have about one place and size, this finds 98 % (95 % by the eyes alone).
DOUBTFUL, DOUBTFUL_EYES = 0.035, 0.05
FITTING, BETTER, BETTER_EYES = 0.06, 0.65, 0.5
MOST_DOUBTFUL = 3000  # of more, only those that are far off are compared with each other
# From the found face's parts to the annotations' (eyes, eyes, mouth, nose), in the found face's frame; medians on 300W.
OFFSETS = np.array([[0.005, 0.001], [-0.005, 0.003], [0.006, 0.022], [0.007, -0.027]])
# Faces from which their own median offsets are taken, as schemes differ a little in where a part's middle is.
ENOUGH = 30
MOST_OFFSET = 0.06
TURNED, LARGER, AWAY = np.radians(30.0), 1.5, 0.5  # from which a difference is called so: an angle, a factor, sides


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        suspicious: annotations that do not lie on a found face, with a sentence each, in the order of the samples.
        compared: how many annotations there was a found face for, and that have all points of the parts.
        unseen: how many are in pictures in which no face was found; nothing is said of them.
    """

    suspicious: tuple[Problem, ...]
    compared: int
    unseen: int


def compare_with_found(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Comparison:
    """Find the faces of every picture and compare the annotations with them; a picture that cannot be read is left out.

    Args:
        dataset: of a scheme with points of both eyes.
        progress: called with (annotations done, annotations in all).

    Raises:
        SemalignError: the scheme names no points of the eyes.
    """
    samples, scheme = dataset.samples, dataset.scheme
    if not all(_eyes(scheme)):
        raise SemalignError(
            f"scheme {scheme.name!r}: names no points of the eyes, by which annotations and found faces are compared; add them."
        )
    groups: dict[Path, list[int]] = {}
    for row, sample in enumerate(samples):
        groups.setdefault(sample.image, []).append(row)
    seen: dict[int, Sightings] = {}
    done = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for found in results_of(pool, lambda rows: _found(samples, rows), groups.values()):
            seen |= found
            done += len(found)
            if progress is not None:
                progress(done, len(samples))
    parts = {row: _parts(samples[row].points, scheme) for row in sorted(seen) if len(seen[row])}
    rows = [row for row, own in parts.items() if np.isfinite(own).all()]  # all points of the parts are annotated
    suspicious: tuple[Problem, ...] = ()
    if rows:
        faces = _Faces([seen[row] for row in rows], np.stack([parts[row] for row in rows]))
        suspicious = tuple(_sentences(faces, [samples[row] for row in rows]))
    return Comparison(suspicious, len(rows), sum(not len(found) for found in seen.values()))


def _found(samples: Sequence[Sample], rows: list[int]) -> dict[int, Sightings]:
    """The faces in the pictures of some rows of one file, which is read once; NONE also where it cannot be read."""
    finder = CenterFaceFinder()
    still = samples[rows[0]].frame is None
    found = {}
    for row, picture in read_pictures(samples, rows[:1] if still else rows):
        found[row] = NONE if isinstance(picture, SemalignError) else finder.sightings(picture)
    return dict.fromkeys(rows, found[rows[0]]) if still else found


def _eyes(scheme: LandmarkScheme) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The points of the left and of the right eye, as far as the scheme names any."""
    if all(scheme.pupils) or scheme.outer_eyes is None:
        return scheme.pupils
    left, right = scheme.outer_eyes
    return (left,), (right,)


def _parts(points: Float[np.ndarray, "n 2"], scheme: LandmarkScheme) -> Float[np.ndarray, "p 2"]:
    """The middles of an annotation's parts, pixels."""
    members = [*_eyes(scheme)]
    if "mouth" in scheme.regions and "nose" in scheme.regions:
        members += [scheme.regions["mouth"], scheme.regions["nose"]]
    return np.stack([points[list(own)].mean(axis=0) for own in members])


def _turn(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors (k, p, 2) turned counter-clockwise by angles (k,), as they are where the face is upright."""
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack(
        [cos * vectors[..., 0] + sin * vectors[..., 1], cos * vectors[..., 1] - sin * vectors[..., 0]], axis=-1
    )


class _Faces:
    """Annotations and, for each, the faces found in its picture.

    Args:
        sightings: (b) of at least one face each.
        parts: (b, p, 2) of the annotations, pixels.
    """

    def __init__(self, sightings: Sequence[Sightings], parts: Float[np.ndarray, "b p 2"]) -> None:
        self.parts, self.eyes_only = parts, parts.shape[1] == 2
        self._found = [
            np.concatenate([s.points[:, :2], s.points[:, 3:].mean(axis=1, keepdims=True), s.points[:, 2:3]], axis=1)
            for s in sightings
        ]
        self._found = [found[:, : parts.shape[1]] for found in self._found]
        self._sides = [s.side for s in sightings]
        self._offsets = OFFSETS[: parts.shape[1]]
        self.nearest = [int(self.misfit(face, parts[[face]])[1][0]) for face in range(len(parts))]
        if len(parts) >= ENOUGH:
            own = [self._residuals(face, self.nearest[face], parts[[face]])[0] for face in range(len(parts))]
            self._offsets = np.median(own, axis=0).clip(-MOST_OFFSET, MOST_OFFSET)

    def misfit(self, face: int, parts: Float[np.ndarray, "k p 2"]) -> tuple[np.ndarray, np.ndarray]:
        """How far annotations (k) are from the nearest face found in the picture of `face`, and which that is."""
        each = np.stack(
            [
                np.linalg.norm(self._residuals(face, number, parts) - self._offsets, axis=2).mean(axis=1)
                for number in range(len(self._sides[face]))
            ]
        )
        return each.min(axis=0), each.argmin(axis=0)

    def nearest_found(self, face: int) -> tuple[np.ndarray, float]:
        """Parts (p, 2) and side, pixels, of the found face that is nearest to the annotation."""
        return self._found[face][self.nearest[face]], float(self._sides[face][self.nearest[face]])

    def _residuals(self, face: int, number: int, parts: Float[np.ndarray, "k p 2"]) -> np.ndarray:
        found = self._found[face][number]
        across = found[1] - found[0]
        angles = np.full(len(parts), np.arctan2(across[1], across[0]))
        return _turn(parts - found, angles) / self._sides[face][number]


def _sentences(faces: _Faces, samples: Sequence[Sample]) -> list[Problem]:
    """A problem for each annotation that does not lie on a found face."""
    misfit = np.array([faces.misfit(face, faces.parts[[face]])[0][0] for face in range(len(samples))])
    partner = _exchanged(faces, misfit)
    problems = []
    for face, sample in enumerate(samples):
        if misfit[face] <= (FAR_EYES if faces.eyes_only else FAR) and face not in partner:
            continue
        clause = _clause(faces, face, float(misfit[face]))
        if face in partner:
            clause = f"{clause}; it looks exchanged with that of {samples[partner[face]].id}"
        frame = "" if sample.frame is None else f", frame {sample.frame}"
        problems.append(Problem(sample.id, f"{sample.image}{frame}: the annotation {clause}; look at it."))
    return problems


def _exchanged(faces: _Faces, misfit: Float[np.ndarray, " b"]) -> dict[int, int]:
    """For each annotation that looks exchanged the other one: of a pair, else of a longer round in which files moved on."""
    least, far_off = (DOUBTFUL_EYES, FAR_EYES) if faces.eyes_only else (DOUBTFUL, FAR)
    doubtful = np.flatnonzero(misfit > least)
    if len(doubtful) > MOST_DOUBTFUL:
        doubtful = np.flatnonzero(misfit > far_off)
    crossed = np.array([faces.misfit(int(face), faces.parts[doubtful])[0] for face in doubtful]).reshape(
        len(doubtful), len(doubtful)
    )
    own, better = misfit[doubtful], BETTER_EYES if faces.eyes_only else BETTER
    fits = (crossed < FITTING) & (crossed < better * own[:, None])
    pairs = (np.maximum(crossed, crossed.T) < FITTING) & (crossed + crossed.T < better * (own[:, None] + own))
    far = own > far_off
    partner = {}
    for row, face in enumerate(doubtful):
        for candidates, cost in (
            (pairs[row], crossed[row] + crossed[:, row]),
            (fits[row] & far[row] & far, crossed[row]),
        ):
            if candidates.any():
                partner[int(face)] = int(doubtful[np.where(candidates, cost, np.inf).argmin()])
                break
    return partner


def _clause(faces: _Faces, face: int, misfit: float) -> str:
    """How an annotation differs from the found face nearest to it."""
    parts = faces.parts[face]
    found, side = faces.nearest_found(face)
    exchanged = parts[[1, 0, *range(2, len(parts))]]
    if faces.misfit(face, exchanged[None])[0][0] < min(FAR, misfit):
        return "has left and right exchanged against the face that is found there"
    ours, theirs = (one[:, 0] + 1j * one[:, 1] for one in (parts, found))
    shift = ours.mean() - theirs.mean()
    if abs(shift) > AWAY * side:
        x, y = found.mean(axis=0)
        return f"lies where no face is found; the nearest one is found around ({x:.0f}, {y:.0f})"
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    change = (ours * theirs.conj()).sum() / (abs(theirs) ** 2).sum()
    if abs(np.angle(change)) > TURNED:
        how = (
            "upside down"
            if abs(np.angle(change)) > np.pi - TURNED
            else f"turned by {np.degrees(np.angle(change)):.0f}°"
        )
        return f"is {how} against the face that is found there"
    if not 1 / LARGER < abs(change) < LARGER:
        return f"is {abs(change):.2g} times as large as the face that is found there"
    what = "eyes" if faces.eyes_only else "eyes, nose and mouth"
    return f"does not fit the face that is found there: its {what} lie {100 * misfit:.0f} % of that face's size beside"
