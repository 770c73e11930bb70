"""How annotations usually differ from what witnesses say of the same faces, and how unusual a single difference is.

A difference is taken in the face's own frame, and divided by how large it usually is there: by landmark, and by what goes along
with larger ones, such as how far two witnesses are apart or how wide a heatmap's peak is (`indicators`). Such differences go
together over the landmarks: a witness that is wrong about the jaw is so for half of it. So each landmark is judged by what is
left of its difference once those of all other landmarks are known,

    z_i = Λ_ii⁻¹ (Λ x)_i,    d_i² = z_iᵀ Λ_ii z_i,    Λ the inverse of the covariance of x,

which is the difference minus its mean given the others (conditional mean of a Gaussian). Points that lie far out are taken
away one by one before the others are judged, as they would else be believed.

Shape legend: b faces, n landmarks, m = 2n whitened coordinates (all x, then all y), k indicators, w directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Complex, Float

from semalign.core.adaptation import aligned_shapes, flat_shapes
from semalign.core.similarity import frames_of, to_complex, to_points

LEVELS = 8  # quantiles of an indicator at which differences are measured
LEAST_PART = 12  # differences of a level
SHRUNK = 0.05  # towards landmarks that do not go together, for as many faces as there are coordinates or more
LIMIT = 3.0  # times the usual difference beyond which one is drawn in before the covariance is estimated
# Of the Student distribution by which whole faces are weighed for the covariance, and iterations
FREEDOM, ROUNDS = 5.0, 8
# Square distance from which a point is taken away before the others are judged, and how many may be
FAR, MOST = 16.0, 6
LEAST = 1e-3  # of what logarithms are taken


@dataclass(frozen=True, eq=False)
class Whitened:
    """Differences of some faces, each in units of how large it usually is.

    Attributes:
        x: differences; an absent point has what the others let expect.
        unit: of each point, complex: pixels of the image for 1, turned as the face is.
        origin: image frame, complex: where the annotation would differ as it usually does.
    """

    x: Float[np.ndarray, "b m"]
    unit: Complex[np.ndarray, "b n"]
    origin: Complex[np.ndarray, "b n"]

    def points(self, x: Float[np.ndarray, "b m"]) -> Float[np.ndarray, "b n 2"]:
        """Annotations with these differences, image frame."""
        return to_points(self.origin + to_complex(pairs(x)) * self.unit)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Each point judged by all others.

    Attributes:
        squares: d².
        expected: where the annotation was to be expected, whitened as `Whitened.x`, given the points that are not far off.
    """

    squares: Float[np.ndarray, "b n"]
    expected: Float[np.ndarray, "b m"]


@dataclass(frozen=True, eq=False)
class ResidualModel:
    """What differences are usual.

    Attributes:
        mean: shape that gives each face its frame.
        middle: usual difference of each landmark, in the faces' own frames.
        usual: logarithm of its usual size.
        typical: each landmark's median of each indicator.
        growth: for each indicator of a point, and then of a whole face, its levels (logarithms over the typical) and by how
            much larger differences are there (logarithm).
        covariance: of whitened differences.
    """

    mean: Float[np.ndarray, "n 2"]
    middle: Complex[np.ndarray, " n"]
    usual: Float[np.ndarray, " n"]
    typical: Float[np.ndarray, "k n"]
    growth: tuple[tuple[np.ndarray, np.ndarray], ...]
    covariance: Float[np.ndarray, "m m"]

    @cached_property
    def precision(self) -> Float[np.ndarray, "m m"]:
        """Λ."""
        return np.linalg.inv(self.covariance)

    @cached_property
    def _blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """Λ_ii (n, 2, 2), and their inverses."""
        own = _own_blocks(self.precision)
        return own, np.linalg.inv(own)

    def whitened(
        self,
        observed: Float[np.ndarray, "b n 2"],
        predicted: Float[np.ndarray, "b n 2"],
        indicators: Float[np.ndarray, "k b n"],
    ) -> Whitened:
        """Differences of annotations from predictions.

        Args:
            observed: annotations, image frame, NaN where absent.
            predicted: what the witnesses say together.
            indicators: positive numbers that go along with large differences.
        """
        frames = frames_of(to_complex(predicted), to_complex(self.mean))
        unit = self._units(frames, indicators)
        origin = to_complex(predicted) + frames * self.middle
        return Whitened(self.completed(flat_shapes((to_complex(observed) - origin) / unit)), unit, origin)

    def units(
        self, predicted: Float[np.ndarray, "b n 2"], indicators: Float[np.ndarray, "k b n"]
    ) -> Complex[np.ndarray, "b n"]:
        """How large differences usually are there, turned as the face is; see `Whitened.unit`."""
        return self._units(frames_of(to_complex(predicted), to_complex(self.mean)), indicators)

    def _units(
        self, frames: Complex[np.ndarray, "b 1"], indicators: Float[np.ndarray, "k b n"]
    ) -> Complex[np.ndarray, "b n"]:
        units: np.ndarray = frames * np.exp(self.usual + _grown(indicators, self.typical, self.growth))
        return units

    def again(self, whitened: Whitened, observed: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b m"]:
        """Whitened differences of other annotations of the same faces."""
        return self.completed(flat_shapes((to_complex(observed) - whitened.origin) / whitened.unit))

    def completed(self, x: Float[np.ndarray, "b m"]) -> Float[np.ndarray, "b m"]:
        """Differences with what is NaN replaced by what the others let expect."""
        absent: np.ndarray = np.isnan(x)
        if not absent.any():
            return x
        x = x.copy()
        for pattern in list(np.unique(absent, axis=0)):
            rows = (absent == pattern).all(axis=1)
            if pattern.any():
                gone, there = np.flatnonzero(pattern), np.flatnonzero(~pattern)
                map_ = np.linalg.solve(self.precision[np.ix_(gone, gone)], -self.precision[np.ix_(gone, there)])
                x[np.ix_(rows, gone)] = x[np.ix_(rows, there)] @ map_.T
        return x

    def squares(self, x: Float[np.ndarray, "b m"]) -> Float[np.ndarray, " b"]:
        """d² of whole faces."""
        squares: np.ndarray = ((x @ self.precision) * x).sum(axis=1)
        return squares

    def left_out(self, x: Float[np.ndarray, "b m"]) -> LeftOut:
        """Each point of each face judged by the others, the farthest first."""
        count = x.shape[1] // 2
        kept, squares = x.copy(), np.zeros((len(x), count))
        gone = np.zeros((len(x), count), bool)
        rows = np.arange(len(x))
        for _ in range(MOST):
            z, distances = self._rest(kept[rows])
            distances[gone[rows]] = 0.0
            worst = distances.argmax(axis=1)
            far = distances[np.arange(len(rows)), worst] > FAR
            squares[rows] = distances
            rows, worst, z = rows[far], worst[far], z[far]
            if not len(rows):
                break
            gone[rows, worst] = True
            for axis in (0, 1):
                place = worst + axis * count
                kept[rows, place] -= z[..., axis][np.arange(len(rows)), worst]
        z, distances = self._rest(kept)
        moved = pairs(x - kept) + z  # from what is expected of a point that was taken away to where it is
        own, _ = self._blocks
        squares = np.where(gone, np.einsum("bni,nij,bnj->bn", moved, own, moved), distances)
        return LeftOut(squares, x - flat_pairs(moved))

    def along(
        self, x: Float[np.ndarray, "b m"], directions: Float[np.ndarray, "b w m"]
    ) -> tuple[Float[np.ndarray, "b w"], Float[np.ndarray, "b w"]]:
        """How far each face would have to be moved along each direction to lie best, and by how much d² would fall."""
        slope = np.einsum("bwm,bm->bw", directions, x @ self.precision)
        curvature = np.einsum("bwm,bwm->bw", directions @ self.precision, directions)
        curvature = np.maximum(curvature, 1e-12)
        return -slope / curvature, slope**2 / curvature

    def best(
        self, x: Float[np.ndarray, "b m"], directions: Float[np.ndarray, "b w m"]
    ) -> tuple[Float[np.ndarray, "b w"], Float[np.ndarray, " b"]]:
        """Along which mixture of directions each face would lie best, and by how much d² would fall."""
        slope = np.einsum("bwm,bm->bw", directions, x @ self.precision)
        curvature = np.einsum("bwm,bvm->bwv", directions @ self.precision, directions)
        scale = np.sqrt(np.maximum(np.einsum("bww->bw", curvature), 1e-12))
        inner = curvature / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(scale.shape[1])
        amount = -np.linalg.solve(inner, (slope / scale)[..., None])[..., 0] / scale
        return amount, -(amount * slope).sum(axis=1)

    def _rest(self, x: Float[np.ndarray, "b m"]) -> tuple[np.ndarray, np.ndarray]:
        """What is left of each point's difference once the others' are known, and its d²."""
        own, inverse = self._blocks
        z: np.ndarray = np.einsum("nij,bnj->bni", inverse, pairs(x @ self.precision))
        return z, np.einsum("bni,nij,bnj->bn", z, own, z)


def fit_residuals(
    observed: Float[np.ndarray, "b n 2"],
    predicted: Float[np.ndarray, "b n 2"],
    indicators: Float[np.ndarray, "k b n"],
    halvings: int = 0,
) -> ResidualModel:
    """What differences are usual, learned from faces of which most are annotated well.

    Args:
        observed: annotations, image frame, NaN where absent.
        predicted: what witnesses say together, who have not seen these annotations.
        indicators: positive numbers that go along with large differences.
        halvings: how often the highest level of an indicator is halved, as far as there are differences enough.
    """
    mean = aligned_shapes(to_complex(predicted))[2]
    frames = frames_of(to_complex(predicted), mean)
    rest = (to_complex(observed) - to_complex(predicted)) / frames
    nowhere = np.isnan(rest).all(axis=0)
    rest = np.where(nowhere, 0.0, rest)
    middle = np.nanmedian(rest.real, axis=0) + 1j * np.nanmedian(rest.imag, axis=0)
    rest = rest - middle
    size = np.abs(rest)
    usual = np.log(np.maximum(np.nanmedian(size, axis=0), 1e-12))
    typical = np.maximum(np.median(indicators, axis=1), 1e-300)
    growth: list[tuple[np.ndarray, np.ndarray]] = []
    for one in _relative(indicators, typical):
        now = usual + _sum_of(growth, _relative(indicators, typical), size.shape)
        growth.append(_measured(one, size / np.exp(now), halvings))
    whole = usual + _sum_of(growth, _relative(indicators, typical), size.shape)
    shift = float(np.nanmedian(np.log(np.maximum(size, 1e-12)) - whole))
    covariance = _covariance(flat_shapes(np.nan_to_num(rest / np.exp(whole + shift))))
    return ResidualModel(to_points(mean), middle, usual + shift, typical, tuple(growth), covariance)


def pairs(flat: Float[np.ndarray, "b m"]) -> Float[np.ndarray, "b n 2"]:
    """Points of rows of all x, then all y."""
    count = flat.shape[1] // 2
    return np.stack([flat[:, :count], flat[:, count:]], axis=-1)


def flat_pairs(points: Float[np.ndarray, "b n 2"]) -> Float[np.ndarray, "b m"]:
    """The inverse of `pairs`."""
    return flat_shapes(to_complex(points))


def _relative(indicators: Float[np.ndarray, "k b n"], typical: Float[np.ndarray, "k n"]) -> list[np.ndarray]:
    """Logarithms of the indicators over what is typical of their landmarks: of each point, and then of each face."""
    over = indicators / typical[:, None]
    points = [np.log(np.maximum(one, LEAST)) for one in over]
    faces = [np.broadcast_to(np.log(np.maximum(one.mean(axis=1, keepdims=True), LEAST)), one.shape) for one in over]
    return points + faces


def _measured(
    level: Float[np.ndarray, "b n"], size: Float[np.ndarray, "b n"], halvings: int
) -> tuple[np.ndarray, np.ndarray]:
    """Levels of an indicator, and the logarithms of how large differences are there; they do not fall."""
    there = ~np.isnan(size)
    order = np.argsort(level[there], kind="stable")
    parts = np.array_split(order, min(LEVELS, len(order)))
    for _ in range(halvings):
        if len(parts[-1]) >= 2 * LEAST_PART:
            parts[-1:] = np.array_split(parts[-1], 2)
    at = np.array([np.median(level[there][part]) for part in parts])
    log = np.log([max(float(np.median(size[there][part])), LEAST) for part in parts])
    return at, np.maximum.accumulate(log)


def _sum_of(
    growth: Sequence[tuple[np.ndarray, np.ndarray]], relative: Sequence[np.ndarray], shape: tuple[int, ...]
) -> Float[np.ndarray, "b n"]:
    whole = np.zeros(shape)
    for (at, log), one in zip(growth, relative, strict=False):
        whole = whole + np.interp(one, at, log)
    return whole


def _grown(
    indicators: Float[np.ndarray, "k b n"],
    typical: Float[np.ndarray, "k n"],
    growth: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Float[np.ndarray, "b n"]:
    return _sum_of(growth, _relative(indicators, typical), indicators.shape[1:])


def _covariance(x: Float[np.ndarray, "b m"]) -> Float[np.ndarray, "m m"]:
    """Of whitened differences: what lies far out is drawn in, faces that lie far out count less (Student's distribution)."""
    count = x.shape[1] // 2
    size = np.hypot(x[:, :count], x[:, count:])
    usual = np.median(size, axis=0) / np.sqrt(2 * np.log(2))
    drawn = np.minimum(1.0, LIMIT * np.sqrt(2) * usual / np.maximum(size, 1e-300))
    x = x * np.concatenate([drawn, drawn], axis=1)
    share = min(1.0, SHRUNK * max(1.0, x.shape[1] / len(x)))
    found = x.T @ x / len(x)
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(_shrunk(found, share))
        weight = (FREEDOM + x.shape[1]) / (FREEDOM + ((x @ inverse) * x).sum(axis=1))
        found = (x * weight[:, None]).T @ x / weight.sum()
    return _shrunk(found, share)


def _shrunk(covariance: Float[np.ndarray, "m m"], share: float) -> Float[np.ndarray, "m m"]:
    """Towards landmarks that do not go together."""
    count = len(covariance) // 2
    own = np.zeros_like(covariance)
    index = np.arange(count)
    for one in (0, count):
        for other in (0, count):
            own[index + one, index + other] = covariance[index + one, index + other]
    shrunk: np.ndarray = (1 - share) * covariance + share * own + 1e-9 * np.eye(len(own))
    return shrunk


def _own_blocks(matrix: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "n 2 2"]:
    count = len(matrix) // 2
    index = np.arange(count)
    rows = [[matrix[index + one, index + other] for other in (0, count)] for one in (0, count)]
    return np.moveaxis(np.array(rows), 2, 0)
