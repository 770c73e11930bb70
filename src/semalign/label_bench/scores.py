"""The figures of a label set against the truth.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from semalign.core.metrics import interocular, nme
from semalign.evaluation.labels import label_error, mean_or_none
from semalign.label_bench.bound import best_combination, face_frames
from semalign.label_bench.methods import BOUND, BOUND_OF_MEAN, Found
from semalign.label_bench.uncertainty import honesty
from semalign.schemes import LandmarkScheme


@dataclass(frozen=True, eq=False)
class Truth:
    """What labels are held against, and the annotations whose error is to be removed, in the image frames."""

    points: Float[np.ndarray, "b n 2"]
    annotations: Float[np.ndarray, "b n 2"]
    scheme: LandmarkScheme  # names the outer corners of the eyes

    def error(self, points: Float[np.ndarray, "b n 2"]) -> float:
        """The mean distance of labels, in % of the truth's outer-eye distance."""
        return float(mean_distance(points, self.points, self.points, self.scheme))

    def rows(self, found: Sequence[Found], witnesses: Sequence[Float[np.ndarray, "b n 2"]]) -> list[dict[str, Any]]:
        """A row of figures for each method, and for the bounds that the witnesses' mean and the witnesses themselves allow; the
        first is the annotations'.

        `removed` is the share of the annotations' mean squared distance that a method takes away, `of_bound` what part that
        is of the last bound's.
        """
        frames = face_frames(self.points, self._eyes())
        together = [np.mean(witnesses, axis=0)]
        bounds = [
            Found(name, best_combination(self.annotations, heard, self.points, frames))
            for name, heard in ((BOUND_OF_MEAN, together), (BOUND, witnesses))
        ]
        best = self._removed(bounds[-1].points)["all"]
        rows = []
        for one in (*found, *bounds):
            error, removed = label_error(one.points, self.points, self.scheme), self._removed(one.points)
            share = removed["all"]
            rows.append(
                {
                    "method": one.method,
                    "error": error["all"],
                    "along": error["along"],
                    "across": error["across"],
                    "regions": error["regions"],
                    "removed": share,
                    "removed_by_region": {name: removed[name] for name in self.scheme.regions},
                    "of_bound": share / best if share is not None and best else None,
                    "uncertainty": self._uncertainty(one),
                    "note": one.note,
                }
            )
        return rows

    def _eyes(self) -> tuple[int, int]:
        left, right = self.scheme.outer_eyes or (0, 0)
        return left, right

    def _removed(self, points: np.ndarray) -> dict[str, float | None]:
        """The share of the annotations' variance that is removed, of all landmarks and by region."""
        unit = interocular(self.points, self.scheme)[:, None, None]
        after, before = ((((labels - self.points) / unit) ** 2).sum(axis=-1) for labels in (points, self.annotations))
        places = {"all": tuple(range(self.scheme.count)), **self.scheme.regions}
        shares = {}
        for name, members in places.items():
            left, all_of_it = mean_or_none(after[:, list(members)]), mean_or_none(before[:, list(members)])
            shares[name] = 1.0 - left / all_of_it if left is not None and all_of_it else None
        return shares

    def _uncertainty(self, one: Found) -> dict[str, Any] | None:
        if one.spread is None:
            return None
        unit = interocular(self.points, self.scheme)
        return honesty(one.spread, one.points - self.points, unit, self.scheme.regions)


def mean_distance(
    points: Float[np.ndarray, "b n 2"],
    others: Float[np.ndarray, "b n 2"],
    unit: Float[np.ndarray, "b n 2"],
    scheme: LandmarkScheme,
) -> float:
    """The mean over faces and landmarks of the distance between two label sets, in % of the outer-eye distance of `unit`."""
    distance = np.hypot(*np.moveaxis(points - others, -1, 0))
    return float(np.nanmean(nme(distance, interocular(unit, scheme))))
