"""What witnesses say of points that they have seen badly, drawn towards where the object's other points let them be.

Networks that have learned from few pictures are now and then far off with single points. Where they are not sure, the shapes
that objects of this kind have say more: the most probable shape is taken (`semalign.core.shape_posterior`), with errors as
wide as such differences are there.

Shape legend: b faces, n landmarks, m = 2n coordinates (all x, then all y).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semalign.core.adaptation import aligned_shapes, flat_shapes
from semalign.core.residuals import pairs
from semalign.core.shape_posterior import most_probable
from semalign.core.similarity import similarity, to_complex, to_points
from semalign.shapes import Float

FREEDOM, ROUNDS = 5.0, 8  # of the Student distribution by which shapes are weighed, and iterations
SHRUNK = 0.02  # towards landmarks that do not go together, for as many shapes as there are coordinates or more
FRAMES = 3  # times that a shape is brought into the mean's frame anew
LEAST = 1e-6  # variance, in squares of the shapes' root mean square size


@dataclass(frozen=True, eq=False)
class Shapes:
    """Which shapes there are.

    Attributes:
        mean: of root mean square size 1.
        covariance: of shapes that are brought onto it.
    """

    mean: Float[np.ndarray, "n 2"]
    covariance: Float[np.ndarray, "m m"]

    def drawn(
        self, points: Float[np.ndarray, "b n 2"], deviation: Float[np.ndarray, "b n"]
    ) -> Float[np.ndarray, "b n 2"]:
        """Points between where they were seen and where such shapes have them.

        Args:
            points: as they were seen.
            deviation: by how much each may be off, standard deviation along x and along y.
        """
        seen, mean, found = to_complex(points), to_complex(self.mean), to_complex(points).copy()
        for _ in range(FRAMES):
            middle = found.mean(axis=1, keepdims=True)
            frames = similarity(found - middle, mean)
            rest = flat_shapes((seen - middle) / frames - mean)
            variance = np.tile(deviation / np.abs(frames), 2) ** 2
            apart = most_probable(self.covariance, rest, variance)
            found = middle + frames * (mean + to_complex(pairs(apart)))
        return to_points(found)


def fit_shapes(points: Float[np.ndarray, "b n 2"]) -> Shapes:
    """The shapes of some objects, of which most were seen well."""
    aligned, _, mean = aligned_shapes(to_complex(points))
    x = flat_shapes(aligned - mean)
    share = min(1.0, SHRUNK * max(1.0, x.shape[1] / len(x)))
    found = x.T @ x / len(x)
    for _ in range(ROUNDS):
        covariance = (1 - share) * found + share * np.diag(np.diag(found)) + LEAST * np.eye(len(found))
        squares = ((x @ np.linalg.inv(covariance)) * x).sum(axis=1)
        weight = (FREEDOM + x.shape[1]) / (FREEDOM + squares)
        found = (x * weight[:, None]).T @ x / weight.sum()
    covariance = (1 - share) * found + share * np.diag(np.diag(found)) + LEAST * np.eye(len(found))
    return Shapes(to_points(mean), covariance)
