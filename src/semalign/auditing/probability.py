"""How probable it is that an annotation is wrong.

A face's figures (`semalign.auditing.judge`) are of families: single points, runs of points, the whole face's place, the
order of its points. For each family the faces themselves tell how its figures are spread where nothing is wrong
(`semalign.auditing.tails`) and, by expectation maximisation, in how many faces something is.

Shape legend: b faces, n landmarks, f families, c figures of a family.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from semalign.auditing.judge import MOVEMENTS, Figures
from semalign.auditing.tails import Tail, fit_tail
from semalign.core.adaptation import CHUNK, MOST_FACES, drawn

ROUNDS = 50  # of expectation maximisation
FEWEST, MOST = 1e-4, 0.2  # shares of faces with an error of one family that are possible
ORDERED = 5.0  # logarithm by which another order must be likelier than the annotation's own to be as likely as not
SLIPPED = 1e-9  # a run of points with less was not tried


class Probabilities(NamedTuple):
    """That something is wrong.

    Attributes:
        faces: with the face.
        odds: their logarithmic odds, which tell faces apart where the probability is nearly 1.
        points: with the point by itself.
    """

    faces: Float[np.ndarray, " b"]
    odds: Float[np.ndarray, " b"]
    points: Float[np.ndarray, "b n"]


def probabilities(figures: Figures) -> Probabilities:
    """Of all faces together, which tell how often something is wrong."""
    points = _factors(figures.points, fit_tail(_some(figures.points)))
    of_faces = [_mean(points)]
    for (_, which, _), falls in zip(MOVEMENTS, figures.movement.T, strict=True):
        of_faces.append(fit_tail(falls, half=2 if len(which) > 2 else 1, high=0.75).log_factor(falls))
    slip = _some(figures.slip)
    if (slip > SLIPPED).any():
        of_faces.append(_slips(figures.slip, fit_tail(slip[slip > SLIPPED])))
    of_faces.append(figures.order - ORDERED)
    factors = np.stack(of_faces)
    share, prior = np.full(len(factors), 0.01), 0.0
    for _ in range(ROUNDS):
        odds = np.log(share)[:, None] + factors
        top = np.maximum(odds.max(axis=0), 0.0)
        whole = np.exp(odds - top)
        each = whole / (np.exp(-top) + whole.sum(axis=0))
        share = np.clip(each.mean(axis=1), FEWEST, MOST)
        prior = share[0]
    odds = np.logaddexp.reduce(np.log(share)[:, None] + factors, axis=0)
    single = points + np.log(prior / points.shape[1])
    return Probabilities(_probability(odds), odds, _probability(single))


def _some(figures: Float[np.ndarray, "b c"]) -> Float[np.ndarray, "k c"]:
    """Those of some faces where there are many: how figures are spread can be told from them."""
    found: np.ndarray = figures[drawn(len(figures), MOST_FACES)]
    return found


def _factors(figures: Float[np.ndarray, "b c"], tail: Tail) -> Float[np.ndarray, "b c"]:
    """Of each figure the logarithm of how much it speaks for an error."""
    factors = np.empty(figures.shape)
    for start in range(0, len(figures), CHUNK):
        factors[start : start + CHUNK] = tail.log_factor(figures[start : start + CHUNK])
    return factors


def _slips(figures: Float[np.ndarray, "b w"], tail: Tail) -> Float[np.ndarray, " b"]:
    """The same of runs of points, of which one may have slipped."""
    means = np.empty(len(figures))
    for start in range(0, len(figures), CHUNK):
        own = figures[start : start + CHUNK].astype(np.float64)
        means[start : start + CHUNK] = _mean(np.where(own > SLIPPED, tail.log_factor(own), -np.inf))
    return means


def _mean(factors: Float[np.ndarray, "b c"]) -> Float[np.ndarray, " b"]:
    """Of a family of which one member is wrong, each as likely."""
    mean: np.ndarray = np.logaddexp.reduce(factors, axis=1) - np.log(factors.shape[1])
    return mean


def _probability(odds: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    probability: np.ndarray = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    return probability
