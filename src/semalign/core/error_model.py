"""How far annotators and two other witnesses err, estimated without the truth, and the label that follows from all three.

An annotation is o = y + a, a witness says p = y + e: a network that has not seen the annotation, or the face mesh. Only
differences can be seen. What the annotation differs from both witnesses in common is the annotator's error A (the
three-cornered hat of clock comparison: J. E. Gray and D. W. Allan, A method for estimating the frequency stability of an
individual oscillator, 1974):

    A = (V_op + V_oq) / 2 - (E + F) / 2,    V_pq = E + F - 2ρ min(E, F),    V_op - V_oq = E - F

with V the covariance of a difference, E and F the witnesses' own, and ρ the share of the better witness's variance that the
other has in common with it, for both miss what only people see. Three witnesses do not tell ρ; the label is the mean over the
values that it may have. It matters little: on ordinary annotations the weights come out at about a half, and where the
annotator errs much more than the witnesses they go to one for every ρ. Of few faces each landmark's share is uncertain, and is
drawn towards that of all.

Each landmark is taken by itself, along two axes in the face's own frame; all landmarks at once did worse (docs/log.md). Where
the two witnesses are further apart than usual, they err more, by what their distance to the annotation says. What lies far out
counts for less when covariances are estimated, and makes labels less sure.

Shape legend: b faces, n landmarks, c correlations, q levels of disagreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from semalign.core.adaptation import aligned_shapes
from semalign.core.similarity import frames_of, to_complex, to_points

CORRELATIONS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # of two witnesses' errors, each as likely
LEVELS = 6  # quantiles of the witnesses' disagreement at which errors are measured
SURE = 0.05  # least share of a direction's variance that is the annotator's, or the witnesses'
LEAST_SCALE = 0.15  # of the witnesses' variance where they agree
FEWEST = 10  # faces of a half that have a landmark
LIMIT = 3.0  # standard deviations beyond which a difference is drawn in


class Posterior(NamedTuple):
    """Labels and how sure they are."""

    points: Float[np.ndarray, "b n 2"]  # frame of the observations, NaN where absent
    spread: Float[np.ndarray, "b n 2"]  # standard deviations along x and y, in the same unit
    witnesses: Float[np.ndarray, "b n"]  # share of the witnesses in the label, 0 to 1


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Error covariances of annotator and witnesses, in squared sizes of the face (root mean square distance from its middle).

    Attributes:
        mean: shape that gives each face its frame.
        word: of the first witness in what both say together; the second has the rest.
        annotator: A for each correlation.
        together: covariance of the error of what both witnesses say together, likewise.
        usual: mean square distance of the witnesses from each other.
        levels: logarithms of such a square over the usual one, ascending.
        scale: factors of `together` at the levels, for each correlation.
        tails: by how much larger the variances are with what lies far out.
    """

    mean: Float[np.ndarray, "n 2"]
    word: Float[np.ndarray, " n"]
    annotator: Float[np.ndarray, "c n 2 2"]
    together: Float[np.ndarray, "c n 2 2"]
    usual: Float[np.ndarray, " n"]
    levels: Float[np.ndarray, " q"]
    scale: Float[np.ndarray, "c q"]
    tails: float

    def posterior(
        self,
        observed: Float[np.ndarray, "b n 2"],
        first: Float[np.ndarray, "b n 2"],
        second: Float[np.ndarray, "b n 2"],
    ) -> Posterior:
        """The mean and the standard deviations of ŷ given annotation and witnesses.

        Args:
            observed: annotations without what witnesses do systematically differently, NaN where absent.
            first: a witness's points in the same frame.
            second: the other's.
        """
        frames = _frames(first, second, to_complex(self.mean))
        d = to_points((to_complex(observed) - to_complex(_mixed(self.word, first, second))) / frames)
        level = _level(first, second, frames, self.usual)
        moved, squares, covariance, share = 0.0, 0.0, 0.0, 0.0
        for annotator, together, scale in zip(self.annotator, self.together, self.scale, strict=True):
            wide = np.interp(level, self.levels, scale)[..., None, None] * together
            gain = annotator @ np.linalg.inv(annotator + wide)  # of the witnesses
            step = np.einsum("bnij,bnj->bni", gain, -d)
            moved, squares = moved + step, squares + step[..., :, None] * step[..., None, :]
            covariance = covariance + gain @ wide
            share = share + np.trace(gain, axis1=2, axis2=3) / 2
        count = len(self.annotator)
        step = np.asarray(moved) / count
        between = np.asarray(squares) / count - step[..., :, None] * step[..., None, :]
        whole = self.tails * np.asarray(covariance) / count + between
        points = to_complex(observed) + (step[..., 0] + 1j * step[..., 1]) * frames
        absent = np.isnan(observed).any(axis=-1)
        spread = np.where(absent[..., None], np.nan, _standard_deviations(whole, frames))
        return Posterior(to_points(points), spread, np.where(absent, np.nan, np.asarray(share) / count))


def fit_error_model(
    observed: Float[np.ndarray, "b n 2"],
    first: Float[np.ndarray, "b n 2"],
    second: Float[np.ndarray, "b n 2"],
    correlations: tuple[float, ...] = CORRELATIONS,
) -> ErrorModel:
    """The error model of annotations and of two witnesses that have not seen them.

    Args:
        observed: annotations, without what the witnesses do systematically differently; NaN where absent.
        first: a witness's points.
        second: another's.
        correlations: what the correlation of the witnesses' errors may be, 0 to below 1.

    Raises:
        ValueError: no correlation, or one that is none.
    """
    if not correlations or not all(0 <= value < 1 for value in correlations):
        raise ValueError("correlations of two witnesses' errors must be 0 to below 1")
    nowhere = np.isnan(observed).any(axis=-1).all(axis=0)  # such a landmark is to be in nobody's way
    observed = np.where(nowhere[:, None], (first + second) / 2, observed)
    mean = aligned_shapes(to_complex((first + second) / 2))[2]
    frames = _frames(first, second, mean)
    o, p, q = (to_complex(points) / frames for points in (observed, first, second))
    seen = _shared_out(o, p, q, correlations)
    halves = np.array_split(np.random.default_rng(0).permutation(len(o)), 2)
    known = np.all([(~np.isnan(o[half])).sum(axis=0) >= FEWEST for half in halves], axis=0) & ~nowhere
    shares = seen.shares
    if known.any():
        one, other = (
            _shared_out(o[half][:, known], p[half][:, known], q[half][:, known], correlations).shares for half in halves
        )
        shares = _drawn_together(shares, known, (one - other) / 2)
    word, whole, usual = seen.word, seen.whole, seen.usual
    annotator = _parts(whole, shares)
    difference = o - word * p - (1 - word) * q
    level = _level(first, second, frames, usual)
    there = ~np.isnan(difference) & ~nowhere
    squares = np.minimum(np.abs(difference - _middle(difference)) ** 2 / _trace(whole), LIMIT**2)
    order = np.argsort(level[there], kind="stable")
    measured = np.array([part.mean() for part in np.array_split(squares[there][order], LEVELS)]) / squares[there].mean()
    parts = [_trace(part).sum() / _trace(whole).sum() for part in annotator]
    scale = [np.maximum((measured - part) / (1 - part), LEAST_SCALE) for part in parts]
    return ErrorModel(
        to_points(mean),
        word,
        annotator,
        whole - annotator,
        usual,
        np.quantile(level[there], (np.arange(LEVELS) + 0.5) / LEVELS),
        np.maximum.accumulate(np.stack(scale), axis=1),
        float(np.nanmean(np.abs(difference - _middle(difference)) ** 2) / _trace(whole).mean()),
    )


def _mixed(
    word: Float[np.ndarray, " n"], first: Float[np.ndarray, "b n 2"], second: Float[np.ndarray, "b n 2"]
) -> Float[np.ndarray, "b n 2"]:
    """What both witnesses say together."""
    return word[:, None] * first + (1 - word)[:, None] * second


def _frames(
    first: Float[np.ndarray, "b n 2"], second: Float[np.ndarray, "b n 2"], mean: Complex[np.ndarray, " n"]
) -> Complex[np.ndarray, "b 1"]:
    """Turn and size of each face, complex."""
    return frames_of(to_complex((first + second) / 2), mean)


def _level(
    first: Float[np.ndarray, "b n 2"],
    second: Float[np.ndarray, "b n 2"],
    frames: Complex[np.ndarray, "b 1"],
    usual: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "b n"]:
    """Logarithm of how far the witnesses are apart, squared, over the usual."""
    squares = np.abs((to_complex(first) - to_complex(second)) / frames) ** 2
    level: np.ndarray = np.log(np.maximum(squares / np.maximum(usual, 1e-300), 1e-9))
    return level


def _middle(values: Complex[np.ndarray, "b n"]) -> Complex[np.ndarray, " n"]:
    """Each landmark's median along both axes."""
    return np.nanmedian(values.real, axis=0) + 1j * np.nanmedian(values.imag, axis=0)


def _covariance(values: Complex[np.ndarray, "b n"]) -> Float[np.ndarray, "n 2 2"]:
    """Of each landmark's differences, around their median, with what lies far out drawn in."""
    rest = values - _middle(values)
    usual = np.nanmedian(np.abs(rest), axis=0) / np.sqrt(2 * np.log(2))  # a standard deviation along an axis
    rest = rest * np.minimum(1.0, LIMIT * usual / np.maximum(np.abs(rest), 1e-300))
    pairs = np.nan_to_num(to_points(rest))
    count = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    found = np.einsum("bni,bnj->nij", pairs, pairs) / count[:, None, None]
    return found + 1e-12 * np.eye(2)


def _trace(covariance: Float[np.ndarray, "*n 2 2"]) -> Float[np.ndarray, "*n"]:
    trace: np.ndarray = np.trace(covariance, axis1=-2, axis2=-1)
    return trace


def _hat(
    of_first: Float[np.ndarray, "n 2 2"],
    of_second: Float[np.ndarray, "n 2 2"],
    apart: Float[np.ndarray, "n 2 2"],
    correlation: float,
) -> Float[np.ndarray, "n 2 2"]:
    """The annotator's covariance, by the module's equations for traces; (E + F)/2 is taken to have the shape of V_pq."""
    half, seen = np.abs(_trace(of_first) - _trace(of_second)) / 2, _trace(apart)
    own = half + np.maximum(seen / 2 - half, 0.0) / (1 - correlation)
    hat: np.ndarray = (of_first + of_second) / 2 - apart * (own / seen)[:, None, None]
    return hat


def _word(
    hat: Float[np.ndarray, "n 2 2"],
    of_first: Float[np.ndarray, "n 2 2"],
    of_second: Float[np.ndarray, "n 2 2"],
    correlation: float,
) -> Float[np.ndarray, " n"]:
    """The first witness's weight in the best mean of two whose errors are so correlated."""
    one, two = _trace(of_first), _trace(of_second)
    least = np.minimum(one, two)
    annotator = np.clip(_trace(hat), SURE * least, (1 - SURE) * least)
    one, two = one - annotator, two - annotator
    common = correlation * np.minimum(one, two)
    weight: np.ndarray = (two - common) / (one + two - 2 * common)
    return weight


class _SharedOut(NamedTuple):
    """What annotation and witnesses differ by, and whose error it is.

    Attributes:
        word: of the first witness.
        whole: covariance of annotation against what both witnesses say together.
        shares: the annotator's part of it for each correlation, in coordinates in which the whole is 1; not yet from 0 to 1.
        usual: mean square distance of the witnesses from each other.
    """

    word: Float[np.ndarray, " n"]
    whole: Float[np.ndarray, "n 2 2"]
    shares: Float[np.ndarray, "c n 2 2"]
    usual: Float[np.ndarray, " n"]


def _shared_out(
    o: Complex[np.ndarray, "b n"],
    p: Complex[np.ndarray, "b n"],
    q: Complex[np.ndarray, "b n"],
    correlations: tuple[float, ...],
) -> _SharedOut:
    """Of annotations and two witnesses' points in the faces' own frames."""
    of_first, of_second, apart = (_covariance(difference) for difference in (o - p, o - q, p - q))
    hats = [_hat(of_first, of_second, apart, rho) for rho in correlations]
    words = [_word(hat, of_first, of_second, rho) for hat, rho in zip(hats, correlations, strict=True)]
    word = np.mean(words, axis=0)
    whole = _covariance(o - word * p - (1 - word) * q)
    inverse = np.linalg.inv(np.linalg.cholesky(whole))
    return _SharedOut(
        word, whole, np.stack([inverse @ hat @ inverse.transpose(0, 2, 1) for hat in hats]), _trace(apart)
    )


def _drawn_together(
    shares: Float[np.ndarray, "c n 2 2"], known: Bool[np.ndarray, " n"], noise: Float[np.ndarray, "c k 2 2"]
) -> Float[np.ndarray, "c n 2 2"]:
    """The landmarks' shares drawn towards their mean, as far as what tells them apart is not the annotators'.

    It may be what few faces say by chance, on which two halves of them do not agree: taken at its word, labels would be surer
    than they are. And each landmark's witnesses have their own correlation, which nobody knows: landmarks' shares differ by it
    as those of all landmarks do over the values that it may have.

    Args:
        shares: of all faces.
        known: the landmarks that both halves have.
        noise: half the difference of their shares, which has the variance of the shares of all faces.
    """
    level = _trace(shares) / 2
    rest = shares - level[..., None, None] * np.eye(2)
    mean = level[:, known].mean(axis=1, keepdims=True)
    by_chance = (_trace(noise) / 2) ** 2
    kept = _kept((level - mean)[:, known] ** 2, by_chance.mean(axis=1) + mean.var())
    level = mean + kept[:, None] * (level - mean)
    by_chance = (noise**2).sum(axis=(2, 3)) - 2 * by_chance
    kept = _kept((rest**2).sum(axis=(2, 3))[:, known], by_chance.mean(axis=1))
    return level[..., None, None] * np.eye(2) + kept[:, None, None, None] * rest


def _kept(squares: Float[np.ndarray, "c k"], noise: Float[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
    """What part of a deviation is kept whose square over the landmarks is so large, and of whose variance so much is noise."""
    kept: np.ndarray = np.clip(1 - noise / np.maximum(squares.mean(axis=1), 1e-300), 0.0, 1.0)
    return kept


def _parts(whole: Float[np.ndarray, "n 2 2"], shares: Float[np.ndarray, "c n 2 2"]) -> Float[np.ndarray, "c n 2 2"]:
    """The annotator's covariances from its shares, which are from 0 to 1 in every direction."""
    root = np.linalg.cholesky(whole)
    values, vectors = np.linalg.eigh(shares)
    kept = vectors * np.clip(values, SURE, 1 - SURE)[..., None, :] @ vectors.swapaxes(-1, -2)
    return root @ kept @ root.transpose(0, 2, 1)


def _standard_deviations(
    covariance: Float[np.ndarray, "b n 2 2"], frames: Complex[np.ndarray, "b 1"]
) -> Float[np.ndarray, "b n 2"]:
    """Along x and y of the picture, of covariances in the faces' own frames."""
    x, y = frames.real, frames.imag
    turn = np.stack([np.stack([x, -y], -1), np.stack([y, x], -1)], axis=-2)  # (b, 1, 2, 2)
    return np.sqrt(np.diagonal(turn @ covariance @ turn.transpose(0, 1, 3, 2), axis1=2, axis2=3))
