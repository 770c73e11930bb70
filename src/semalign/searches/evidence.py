"""What networks saw of a set of faces: the witnesses that a label search hears beside the annotation.

A network of PyTorch is asked in `semalign.searches.network_evidence`.

Shape legend: b faces, n landmarks, h w heatmap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from semalign.core.arrays import Tensor
from semalign.inference.landmarks import Landmarks

ALIKE = (0.7, 0.95)  # of two networks of one kind that learned from much the same faces; 0.88 was measured, docs/log.md
APART = (0.3, 0.8)  # of a network and the face mesh, or one of another kind; about 0.5 to 0.6 was measured, docs/log.md
POOLED = (0.5, 0.8)  # of two witnesses of which one is the mean of several, which have more in common with all others
Heatmaps = Iterator[tuple[np.ndarray, Float[Tensor, "b n h w"], Float[Tensor, "b 2 3"]]]


@runtime_checkable
class Evidence(Protocol):
    """What is known of some faces beside their annotations.

    Attributes:
        sigma: of the Gaussians that the networks were trained on, in pixels of their heatmaps.
        heatmap_size: side of a heatmap.
        reference_pixels: for each face the side of a pixel of a 256×256 heatmap, in pixels of its image (b,).
        predictions: the peaks of all heatmaps, in the image frames; of several networks the mean.
        members: what each witness said that has a voice.
        correlation: of the errors of two members, from the least to the most that it may be.
    """

    @property
    def sigma(self) -> float: ...  # noqa: D102

    @property
    def heatmap_size(self) -> int: ...  # noqa: D102

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]: ...  # noqa: D102

    @property
    def predictions(self) -> Landmarks: ...  # noqa: D102

    @property
    def members(self) -> Sequence[Landmarks]: ...  # noqa: D102

    @property
    def correlation(self) -> tuple[float, float]: ...  # noqa: D102

    def __len__(self) -> int:
        """Number of faces."""

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """Faces' rows, their heatmaps and heatmap_to_image (float64), batch by batch; computed anew at each call.

        Once all of them have been asked for to the end, `predictions` and `members` are known without another pass.

        Args:
            rows: those that are wanted, in ascending order; default all.
        """


class OutOfFold:
    """Evidence in which each face is heard of by networks that have not seen it.

    Args:
        parts: evidence of the faces of each fold, in the order of the faces; all with as many members.
        folds: the fold of each face, from 0.
    """

    def __init__(self, parts: Sequence[Evidence], folds: Int[np.ndarray, " b"]) -> None:
        self.parts = parts
        self.rows = [np.flatnonzero(folds == fold) for fold in range(len(parts))]
        self.sigma, self.heatmap_size = parts[0].sigma, parts[0].heatmap_size
        self.correlation = parts[0].correlation

    def __len__(self) -> int:
        """Number of faces."""
        return sum(map(len, self.rows))

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]:
        """As `Evidence`."""
        return self._gathered([part.reference_pixels for part in self.parts])

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """As `Evidence`, fold by fold."""
        for part, faces in zip(self.parts, self.rows, strict=True):
            wanted = None if rows is None else np.flatnonzero(np.isin(faces, rows))
            for own, heatmaps, to_image in part.heatmaps(wanted):
                yield faces[own], heatmaps, to_image

    @cached_property
    def predictions(self) -> Landmarks:
        """As `Evidence`."""
        return self._joined([part.predictions for part in self.parts])

    @cached_property
    def members(self) -> tuple[Landmarks, ...]:
        """Those of the folds, the first with the first and so on."""
        return tuple(self._joined(seen) for seen in zip(*(part.members for part in self.parts), strict=True))

    def _joined(self, seen: Sequence[Landmarks]) -> Landmarks:
        points, confidence = ([getattr(part, name) for part in seen] for name in ("points", "confidence"))
        spreads = [part.spread for part in seen if part.spread is not None]
        spread = self._gathered(spreads) if len(spreads) == len(seen) else None
        return Landmarks(self._gathered(points), self._gathered(confidence), seen[0].scheme, spread)

    def _gathered(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        whole = np.empty((len(self), *parts[0].shape[1:]), parts[0].dtype)
        for rows, part in zip(self.rows, parts, strict=True):
            whole[rows] = part
        return whole


class Joint:
    """The evidence of several networks on the same faces, whose heatmaps are of one size."""

    def __init__(self, parts: Sequence[Evidence]) -> None:
        self.parts = parts
        self.sigma, self.heatmap_size, self.correlation = parts[0].sigma, parts[0].heatmap_size, ALIKE

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.parts[0])

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]:
        """As `Evidence`."""
        return self.parts[0].reference_pixels

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """The mean heatmaps."""
        for seen in zip(*(part.heatmaps(rows) for part in self.parts), strict=True):
            batch, heatmaps, to_image = seen[0]
            for _, more, _ in seen[1:]:
                heatmaps = heatmaps + more
            yield batch, heatmaps / len(seen), to_image

    @cached_property
    def predictions(self) -> Landmarks:
        """The mean of the networks' peaks, and of how high and how wide they are."""
        spreads = [found.spread for found in self.members if found.spread is not None]
        return Landmarks(
            np.mean([found.points for found in self.members], axis=0),
            np.mean([found.confidence for found in self.members], axis=0),
            self.members[0].scheme,
            np.mean(spreads, axis=0) if len(spreads) == len(self.members) else None,
        )

    @cached_property
    def members(self) -> tuple[Landmarks, ...]:
        """Those of all parts."""
        return tuple(found for part in self.parts for found in part.members)


class Beside:
    """What a network saw, and what witnesses of another kind say of the same faces: either side has half a word.

    Heatmaps, and how wide their peaks are, are the network's.

    Args:
        evidence: of one network, or of several as one.
        others: points (b, n, 2) of the other witness, image frames: the face mesh, translated to the landmarks
            (`semalign.core.translation`), or a network of another kind; of several, which are one witness, the mean counts.
        kin: points of witnesses that err as the network does, likewise: they share its word.
    """

    def __init__(
        self,
        evidence: Evidence,
        others: Sequence[Float[np.ndarray, "b n 2"]],
        kin: Sequence[Float[np.ndarray, "b n 2"]] = (),
    ) -> None:
        self.evidence, self.others, self.kin = evidence, others, kin
        self.sigma, self.heatmap_size = evidence.sigma, evidence.heatmap_size
        self.correlation = POOLED if kin or len(others) > 1 else APART

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.evidence)

    @property
    def reference_pixels(self) -> Float[np.ndarray, " b"]:
        """As `Evidence`."""
        return self.evidence.reference_pixels

    def heatmaps(self, rows: Int[np.ndarray, " k"] | None = None) -> Heatmaps:
        """The network's."""
        return self.evidence.heatmaps(rows)

    @cached_property
    def predictions(self) -> Landmarks:
        """Half way between both sides' points."""
        network, other = self.members
        return replace(network, points=(network.points + other.points) / 2)

    @cached_property
    def members(self) -> tuple[Landmarks, Landmarks]:
        """The network, with its kin, and the others."""
        found = self.evidence.predictions
        own = np.mean([found.points, *self.kin], axis=0) if self.kin else found.points
        return replace(found, points=own), replace(found, points=np.mean(self.others, axis=0))


def heard_together(
    evidence: Evidence,
    of_the_mesh: bool,
    beside: Float[np.ndarray, "b n 2"] | None,
    mesh: Float[np.ndarray, "b n 2"] | None,
) -> Evidence:
    """What a network saw, beside what a network of another kind and the face mesh say of the same faces, as far as they do.

    Args:
        evidence: of the network.
        of_the_mesh: whether it began as the face mesh, and errs as that does.
        beside: the other network's points, image frames.
        mesh: the face mesh's, translated to the landmarks.
    """
    if beside is not None and mesh is not None:
        return Beside(evidence, [beside], [mesh]) if of_the_mesh else Beside(evidence, [beside, mesh])
    other = mesh if beside is None else beside
    return evidence if other is None else Beside(evidence, [other])
