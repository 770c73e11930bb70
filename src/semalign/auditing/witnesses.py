"""What witnesses who have not seen the annotations say of some faces, kept so that single faces can be looked at again.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from semalign.core.adaptation import LinearAdaptation, choose_components, fit_linear_adaptation
from semalign.core.similarity import sizes_of, to_complex
from semalign.inference import landmarks
from semalign.inference.landmarks import Landmarks
from semalign.schemes import LandmarkScheme
from semalign.searches import Evidence
from semalign.searches.adapted import CANDIDATES
from semalign.searches.evidence import Heatmaps

ASTRAY = 3.0  # times the usual difference from which a face teaches nothing of what is systematic
LEAST_CONFIDENCE = 0.02
ONCE = ("sigma", "heatmap_size", "correlation")  # what is the same for all faces
TOLD = ("points", "confidence", "spread")  # of landmarks, what is heard


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Evidence (`semalign.searches.Evidence`) whose heatmaps are gone: points, how high and how wide their peaks were.

    Attributes:
        predictions: as `Evidence`; confidence and spread are the first member's.
        members: as `Evidence`, one or two.
        reference_pixels: as `Evidence`.
        sigma, heatmap_size, correlation: as `Evidence`.
    """

    predictions: Landmarks
    members: tuple[Landmarks, ...]
    reference_pixels: Float[np.ndarray, " b"]
    sigma: float
    heatmap_size: int
    correlation: tuple[float, float]

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.predictions)

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """There are none any more."""
        raise NotImplementedError("the heatmaps of these witnesses were not kept")

    def put(self, rows: Int[np.ndarray, " c"], other: Witnesses) -> Witnesses:
        """With what others say of some of the faces."""
        pixels = self.reference_pixels.copy()
        pixels[rows] = other.reference_pixels
        members = tuple(_put(own, rows, new) for own, new in zip(self.members, other.members, strict=True))
        return replace(
            self, predictions=_put(self.predictions, rows, other.predictions), members=members, reference_pixels=pixels
        )

    def take(self, rows: Int[np.ndarray, " c"]) -> Witnesses:
        """Of some of the faces."""
        members = tuple(member.take(rows) for member in self.members)
        return replace(
            self,
            predictions=self.predictions.take(rows),
            members=members,
            reference_pixels=self.reference_pixels[rows],
        )

    def indicators(self, points: Sequence[Float[np.ndarray, "b n 2"]]) -> Float[np.ndarray, "k b n"]:
        """What goes along with large errors: how far members are apart, how wide and how low the peaks were.

        Args:
            points: of the members, without what is systematic.
        """
        size = sizes_of(to_complex(np.mean(points, axis=0)))[:, None]
        found = [1 / np.maximum(self.predictions.confidence, LEAST_CONFIDENCE)]
        if self.predictions.spread is not None:
            found.append(np.linalg.norm(self.predictions.spread, axis=-1) / size)
        if len(points) == 2:
            found.append(np.linalg.norm(points[0] - points[1], axis=-1) / size)
        return np.stack(found)


def heard(evidence: Evidence) -> Witnesses:
    """What evidence says, without its heatmaps."""
    first = evidence.members[0]
    return Witnesses(
        replace(evidence.predictions, spread=first.spread, confidence=first.confidence),
        tuple(evidence.members),
        evidence.reference_pixels,
        evidence.sigma,
        evidence.heatmap_size,
        evidence.correlation,
    )


def packed(seen: Witnesses) -> dict[str, np.ndarray]:
    """Witnesses as arrays, of which `unpacked` makes them again."""
    arrays = {"reference_pixels": seen.reference_pixels, "members": np.array(len(seen.members))}
    arrays |= {name: np.array(getattr(seen, name)) for name in ONCE}
    for kind, found in zip(_names(len(seen.members)), (seen.predictions, *seen.members), strict=True):
        told = {name: getattr(found, name) for name in TOLD}
        arrays |= {f"{kind}_{name}": value for name, value in told.items() if value is not None}
    return arrays


def unpacked(arrays: Mapping[str, np.ndarray], scheme: LandmarkScheme) -> Witnesses:
    """The witnesses that `packed` has made arrays of."""

    def heard_of(kind: str) -> Landmarks:
        told = {name: arrays[f"{kind}_{name}"] for name in TOLD if f"{kind}_{name}" in arrays}
        return Landmarks(scheme=scheme, **told)

    predictions, *members = (heard_of(kind) for kind in _names(int(arrays["members"])))
    low, high = arrays["correlation"].tolist()
    sigma, size = float(arrays["sigma"]), int(arrays["heatmap_size"])
    return Witnesses(predictions, tuple(members), arrays["reference_pixels"], sigma, size, (low, high))


def joined(parts: Sequence[Witnesses]) -> Witnesses:
    """What the same witnesses say of the faces of all parts, one part after the other."""
    return replace(
        parts[0],
        predictions=landmarks.joined([part.predictions for part in parts]),
        members=tuple(map(landmarks.joined, zip(*(part.members for part in parts), strict=True))),
        reference_pixels=np.concatenate([part.reference_pixels for part in parts]),
    )


def _names(members: int) -> list[str]:
    return ["predictions", *(f"member{index}" for index in range(members))]


def systematic(member: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"]) -> LinearAdaptation:
    """What a witness does systematically differently from annotators, from faces that are not far astray.

    Args:
        member: its points.
        annotated: of the same frames, NaN where absent.
    """
    off = np.nan_to_num(np.linalg.norm(member - annotated, axis=-1)).mean(axis=1)
    size = np.linalg.norm(member - member.mean(axis=1, keepdims=True), axis=-1).mean(axis=1)
    relative = off / np.maximum(size, 1e-9)
    good = relative <= ASTRAY * np.median(relative)
    member, annotated = member[good], annotated[good]
    return fit_linear_adaptation(member, annotated, choose_components(member, annotated, CANDIDATES))


def _put(own: Landmarks, rows: Int[np.ndarray, " c"], new: Landmarks) -> Landmarks:
    points, confidence = own.points.copy(), own.confidence.copy()
    points[rows], confidence[rows] = new.points, new.confidence
    spread = None
    if own.spread is not None and new.spread is not None:
        spread = own.spread.copy()
        spread[rows] = new.spread
    return Landmarks(points, confidence, own.scheme, spread)
