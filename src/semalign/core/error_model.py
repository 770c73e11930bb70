"""How far annotators and networks err, estimated without the truth, and the label that follows from both.

An annotation is o = y + a, a network's point p = y + e. Only their difference can be seen, and its covariance is V = A + P. A
second network, which has not seen the annotation either, tells the two apart (the three-cornered hat of clock comparison: J.
E. Gray and D. W. Allan, A method for estimating the frequency stability of an individual oscillator, 1974): the annotator's
error is what the difference to both networks has in common. Two networks err alike in part, so that the hat takes the
`correlation` of their errors as given; it is measured where the truth is known, on synthetic faces.

All landmarks are taken together, because neighbours slide along a curve together: A and P are matrices of all coordinates, in
the face's own frame and in units of its size. How sure the network is of a landmark in a face (`spread`) scales them, by what
the same hat says of points of such a spread. Both errors have heavy tails: what lies far out counts for less.

Shape legend: b faces, n landmarks, m = 2n coordinates (all x, then all y), q levels of spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from semalign.core.adaptation import aligned_shapes, flat_shapes
from semalign.core.similarity import similarity, to_complex, to_points

LEVELS = 8  # quantiles of the spread at which errors are measured
LIMIT = 6.0  # squared Mahalanobis distance beyond which a difference is drawn in when covariances are estimated
ROUNDS = 6  # of such estimates
SURE = 0.03  # least share of a direction's variance that is the annotator's, or the network's
FREEDOMS = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 30.0, 100.0)  # degrees of freedom to choose from
TAIL = 0.98  # quantile of the squared differences by which tails are told
STEPS = 8  # of the label, each time with what lies far out counting for less
PRIOR_FACES = 2.0  # faces for each coordinate that the assumption of independent landmarks is worth


class Posterior(NamedTuple):
    """Labels and how sure they are."""

    points: Float[np.ndarray, "b n 2"]  # frame of the observations, NaN where absent
    spread: Float[np.ndarray, "b n 2"]  # standard deviations along x and y, in the same unit
    network: Float[np.ndarray, "b n"]  # share of the network in the label, 0 to 1


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Error covariances of annotator and network, in squared sizes of the face (root mean square distance from its middle).

    Attributes:
        mean: shape that gives each face its frame.
        annotator: A at the middle of the spreads.
        network: P, likewise.
        usual: each landmark's median spread in sizes of the face.
        levels: logarithms of a spread over its usual one, ascending.
        annotator_scale: factors of A at the levels.
        network_scale: factors of P at the levels.
        freedom: degrees of freedom of the Student's distribution that the errors' tails are like.
    """

    mean: Float[np.ndarray, "n 2"]
    annotator: Float[np.ndarray, "m m"]
    network: Float[np.ndarray, "m m"]
    usual: Float[np.ndarray, " n"]
    levels: Float[np.ndarray, " q"]
    annotator_scale: Float[np.ndarray, " q"]
    network_scale: Float[np.ndarray, " q"]
    freedom: float

    def posterior(
        self,
        observed: Float[np.ndarray, "b n 2"],
        predicted: Float[np.ndarray, "b n 2"],
        spread: Float[np.ndarray, "b n 2"],
    ) -> Posterior:
        """The mean and the standard deviations of ŷ given annotation and network, without what is systematic between them.

        Args:
            observed: annotations, NaN where absent.
            predicted: the network's points in the same frame.
            spread: how wide its peaks are, in the same unit.
        """
        frames = _frames(predicted, self.mean)
        difference = _differences(observed, predicted, frames)
        scales = self._scales(spread, np.abs(frames))
        points, sd, share = (
            np.full(observed.shape, np.nan),
            np.full(observed.shape, np.nan),
            np.full(observed.shape[:2], np.nan),
        )
        for row, frame in enumerate(frames[:, 0]):
            there = np.isfinite(difference[row])
            moved, covariance, network = self._face(difference[row], there, scales[0][row], scales[1][row])
            points[row] = predicted[row] + _turned(moved, frame)
            sd[row] = _standard_deviations(covariance, there, frame)
            share[row] = network
        return Posterior(points, sd, share)

    def _scales(self, spread: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factors (b, n) of A and P for landmarks of such a spread."""
        level = _level(spread, sizes, self.usual)
        return np.interp(level, self.levels, self.annotator_scale), np.interp(level, self.levels, self.network_scale)

    def _face(
        self,
        difference: Float[np.ndarray, " m"],
        there: Bool[np.ndarray, " m"],
        annotator_scale: Float[np.ndarray, " n"],
        network_scale: Float[np.ndarray, " n"],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far (m,) the label lies from the network's point, its covariance, and the network's share (n,)."""
        d = difference[there]
        n = len(annotator_scale)
        landmark = np.tile(np.arange(n), 2)[there]
        a, p = self.annotator[np.ix_(there, there)], self.network[np.ix_(there, there)]
        a, p = _scaled(a, np.sqrt(annotator_scale)[landmark]), _scaled(p, np.sqrt(network_scale)[landmark])
        far_a, far_p = _far(d, a + p, landmark, n, self.freedom), np.ones(n)  # a first guess: the annotator slipped
        for _ in range(STEPS):
            wide_a, wide_p = _scaled(a, np.sqrt(far_a)[landmark]), _scaled(p, np.sqrt(far_p)[landmark])
            gain = np.linalg.solve(wide_a + wide_p, wide_p).T  # of the annotation: P (A + P)^-1
            label = gain @ d
            far_a, far_p = (
                _far(error, part, landmark, n, self.freedom) for error, part in ((d - label, a), (label, p))
            )
        covariance = gain @ wide_a
        moved = np.full(len(difference), np.nan)
        moved[there] = label
        own = np.full(2 * n, np.nan)
        own[there] = 1.0 - np.diag(gain)
        return moved, covariance, own.reshape(2, n).mean(axis=0)


def fit_error_model(
    observed: Float[np.ndarray, "b n 2"],
    networks: Sequence[Float[np.ndarray, "b n 2"]],
    spread: Float[np.ndarray, "b n 2"],
    correlation: float = 0.5,
) -> ErrorModel:
    """The error model of annotations and of the mean of networks that have not seen them.

    Args:
        observed: annotations, without what networks do systematically differently; NaN where absent.
        networks: the points of two networks at least.
        spread: how wide the peaks of the networks' mean are, in the unit of the points.
        correlation: of the errors of two networks, 0 to below 1.

    Raises:
        ValueError: fewer than two networks, or a correlation that is none.
    """
    if len(networks) < 2:
        raise ValueError("an error model takes two networks at least")
    if not 0 <= correlation < 1:
        raise ValueError("the correlation of two networks' errors must be 0 to below 1")
    predicted = np.mean(networks, axis=0)
    mean = to_points(aligned_shapes(to_complex(predicted))[2])
    frames = _frames(predicted, mean)
    difference = _differences(observed, predicted, frames)
    apart = [_differences(observed, network, frames) for network in networks]
    between = [
        _differences(first, second, frames) for index, first in enumerate(networks) for second in networks[:index]
    ]
    whole = _covariance(difference)
    own = np.mean([_covariance(part) for part in apart], axis=0)
    pair = np.mean([_covariance(part) for part in between], axis=0) / (1 - correlation)
    annotator, network = _shared(whole, own - pair / 2)
    sizes = np.abs(frames)
    usual = np.median(_width(spread) / sizes, axis=0)
    level = _level(spread, sizes, usual)
    levels = np.quantile(level, (np.arange(LEVELS) + 0.5) / LEVELS)
    unit = np.diag(whole)
    squares, own_squares, pair_squares = (
        _by_level(np.mean([_squares(part, unit) for part in parts], axis=0), level)
        for parts in ([difference], apart, between)
    )
    of_annotator = own_squares - pair_squares / (1 - correlation) / 2
    of_annotator = np.clip(of_annotator, SURE * squares, (1 - SURE) * squares)
    annotator_scale, network_scale = (_ascending(part / part.mean()) for part in (of_annotator, squares - of_annotator))
    scales = [np.interp(level, levels, scale) for scale in (annotator_scale, network_scale)]
    freedom, ratio = _student(_distances(difference, annotator, network, scales))
    return ErrorModel(mean, ratio * annotator, ratio * network, usual, levels, annotator_scale, network_scale, freedom)


def _frames(predicted: Float[np.ndarray, "b n 2"], mean: Float[np.ndarray, "n 2"]) -> Complex[np.ndarray, "b 1"]:
    """Turn and size of each face, complex."""
    shapes = to_complex(predicted)
    return similarity(shapes - shapes.mean(axis=1, keepdims=True), to_complex(mean))


def _differences(
    observed: Float[np.ndarray, "b n 2"], predicted: Float[np.ndarray, "b n 2"], frames: Complex[np.ndarray, "b 1"]
) -> Float[np.ndarray, "b m"]:
    """Observed less predicted in the faces' own frames."""
    return flat_shapes((to_complex(observed) - to_complex(predicted)) / frames)


def _turned(flat: Float[np.ndarray, " m"], frame: complex) -> Float[np.ndarray, "n 2"]:
    x, y = flat.reshape(2, -1)
    return to_points((x + 1j * y) * frame)


def _standard_deviations(covariance: np.ndarray, there: np.ndarray, frame: complex) -> np.ndarray:
    """(n, 2) along the image's x and y."""
    n = len(there) // 2
    whole = np.full((2 * n, 2 * n), np.nan)
    whole[np.ix_(there, there)] = covariance
    xx, yy, xy = np.diag(whole[:n, :n]), np.diag(whole[n:, n:]), np.diag(whole[:n, n:])
    c, s = frame.real, frame.imag
    return np.sqrt(
        np.stack([c * c * xx + s * s * yy - 2 * c * s * xy, s * s * xx + c * c * yy + 2 * c * s * xy], axis=1)
    )


def _covariance(difference: Float[np.ndarray, "b m"]) -> Float[np.ndarray, "m m"]:
    """The second moments of differences, what lies far out drawn in, landmarks taken as independent where faces are few."""
    b, m = difference.shape
    n = m // 2
    pairs = np.stack([difference[:, :n], difference[:, n:]], axis=2)
    there = np.isfinite(pairs).all(axis=2)
    pairs = np.where(there[..., None], pairs, 0.0)
    weight = there.astype(float)
    usual = 1 - np.exp(-LIMIT / 2)  # what is left of a normal distribution's variance
    for _ in range(ROUNDS):
        own = (
            np.einsum("bni,bnj,bn->nij", pairs, pairs, weight)
            / (usual * np.maximum(there.sum(axis=0), 1))[:, None, None]
        )
        own += 1e-12 * np.eye(2)
        square = np.einsum("bni,nij,bnj->bn", pairs, np.linalg.inv(own), pairs)
        weight = there * np.minimum(1.0, LIMIT / np.maximum(square, 1e-12))
    drawn = (pairs * np.sqrt(weight)[..., None]).transpose(0, 2, 1).reshape(b, m)
    known = np.tile(there, 2).astype(float)
    joint = (drawn.T @ drawn) / np.maximum(known.T @ known, 1) / usual
    mask = np.tile(np.eye(n, dtype=bool), (2, 2))
    return np.where(mask, joint, joint * (b / (b + PRIOR_FACES * m)))


def _shared(whole: Float[np.ndarray, "m m"], annotator: Float[np.ndarray, "m m"]) -> tuple[np.ndarray, np.ndarray]:
    """A and P, which make up `whole`, nearest to an A that need not be a covariance."""
    values, vectors = np.linalg.eigh(whole)
    values = np.maximum(values, 1e-9 * values[-1])
    root, inverse = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
    shares, directions = np.linalg.eigh(inverse @ annotator @ inverse)
    shares = np.clip(shares, SURE, 1 - SURE)
    part: np.ndarray = root @ (directions * shares) @ directions.T @ root
    return part, whole - part


def _width(spread: np.ndarray) -> np.ndarray:
    return np.sqrt((spread**2).mean(axis=2))


def _level(spread: np.ndarray, sizes: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(b, n) logarithms of spreads over their usual ones."""
    return np.log(np.maximum(_width(spread) / sizes / usual, 1e-6))


def _squares(difference: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(b, n) squared lengths over the usual ones, at most `LIMIT` times as large."""
    n = difference.shape[1] // 2
    square = difference[:, :n] ** 2 + difference[:, n:] ** 2
    return np.minimum(square / (usual[:n] + usual[n:]), LIMIT)


def _distances(
    difference: np.ndarray, annotator: np.ndarray, network: np.ndarray, scales: Sequence[np.ndarray]
) -> Float[np.ndarray, " k"]:
    """Squared Mahalanobis distances of the differences of single landmarks, those that there are."""
    n = difference.shape[1] // 2
    pairs = np.stack([difference[:, :n], difference[:, n:]], axis=2)
    own_a, own_p = (np.array([part[np.ix_((j, n + j), (j, n + j))] for j in range(n)]) for part in (annotator, network))
    inverse = np.linalg.inv(scales[0][..., None, None] * own_a + scales[1][..., None, None] * own_p)
    squares = np.einsum("bni,bnij,bnj->bn", pairs, inverse, pairs)
    return squares[np.isfinite(squares)]


def _student(squares: Float[np.ndarray, " k"]) -> tuple[float, float]:
    """Degrees of freedom of the distribution with such tails, and the median by that of normal errors."""
    middle, high = np.quantile(squares, [0.5, TAIL])

    def quantile(share: float, freedom: float) -> float:
        return freedom * ((1 - share) ** (-2 / freedom) - 1)

    freedom = min(FREEDOMS, key=lambda f: abs(np.log(quantile(TAIL, f) / quantile(0.5, f)) - np.log(high / middle)))
    return freedom, float(middle / (2 * np.log(2)))


def _by_level(values: Float[np.ndarray, "b n"], level: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " q"]:
    """Means of the values in equal parts of the levels; NaN does not count."""
    place = np.searchsorted(np.quantile(level, np.arange(1, LEVELS) / LEVELS), level)
    return np.array([np.nanmean(values[place == index]) for index in range(LEVELS)])


def _ascending(values: np.ndarray) -> np.ndarray:
    """The nearest sequence that does not descend: who is less sure does not err less (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, i), (b, j) = blocks[-2:]
            blocks[-2:] = [[(a * i + b * j) / (i + j), i + j]]
    return np.concatenate([np.full(int(count), value) for value, count in blocks])


def _scaled(covariance: Float[np.ndarray, "k k"], by: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k k"]:
    return covariance * np.outer(by, by)


def _far(
    error: Float[np.ndarray, " k"], covariance: Float[np.ndarray, "k k"], landmark: np.ndarray, n: int, freedom: float
) -> Float[np.ndarray, " n"]:
    """By what each landmark's variance is to be multiplied, at least 1, so that its error is one of Student's distribution."""
    square = np.bincount(landmark, error**2 / np.diag(covariance), n)
    return np.maximum(1.0, (freedom + square) / (freedom + 2))
