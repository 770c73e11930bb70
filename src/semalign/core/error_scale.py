"""How large a detector's errors are, along x and along y, given how much it doubts each landmark.

A detector says of each landmark how doubtful it is: the logarithm q of a variance, in no unit that could be trusted. Errors of
faces that it has not seen say what that means. In the frame of the mean shape, landmark i's error is taken to have mean 0 and
the covariance

    Σ_i(q) = exp(s (q - q_i)) Σ_i ,

with one slope s for all landmarks, so that a jaw's errors are long along the jaw and grow with its doubt as an eye's do. s and
Σ_i are those under which the errors are most probable, were they normal; for a given s the best Σ_i is a mean, and for given
Σ_i the best s is one root of a monotone function.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semalign.shapes import Float

ROUNDS, STEPS = 20, 30  # of slope and covariances in turn; of Newton within each
LEAST = 1e-8  # variance, squared sizes of the mean shape
STEEPEST = 3.0  # slope


@dataclass(frozen=True, eq=False)
class ErrorScale:
    """The covariance of each landmark's error; lengths in sizes of the mean shape.

    Attributes:
        covariance: Σ_i.
        usual: q_i, the doubt at which it is that.
        slope: s.
    """

    covariance: Float[np.ndarray, "n 2 2"]
    usual: Float[np.ndarray, " n"]
    slope: float

    def __call__(self, doubt: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n 2 2"]:
        """Covariances in the mean shape's frame."""
        return np.exp(self.slope * (doubt - self.usual))[..., None, None] * self.covariance

    def deviations(
        self, doubt: Float[np.ndarray, "b n"], linear: Float[np.ndarray, "b 2 2"]
    ) -> Float[np.ndarray, "b n 2"]:
        """Standard deviations along x and along y in pictures; linear: from the mean's frame to each picture's."""
        turned = linear[:, None] @ self(doubt) @ linear.swapaxes(1, 2)[:, None]
        return np.sqrt(np.diagonal(turned, axis1=-2, axis2=-1))


def fit_error_scale(errors: Float[np.ndarray, "b n 2"], doubt: Float[np.ndarray, "b n"]) -> ErrorScale:
    """The scale of some errors.

    Args:
        errors: of faces that the detector has not seen, in the mean shape's frame.
        doubt: q of each.

    Raises:
        ValueError: there is no face.
    """
    if not len(errors):
        raise ValueError("errors of at least one face are needed")
    usual = doubt.mean(axis=0)
    apart, slope = doubt - usual, 1.0
    covariance = _covariance(errors, apart, slope)
    for _ in range(ROUNDS):
        before = slope
        slope = _slope(_squares(errors, covariance), apart, slope)
        covariance = _covariance(errors, apart, slope)
        if abs(slope - before) < 1e-6:
            break
    return ErrorScale(covariance, usual, slope)


def mahalanobis(
    errors: Float[np.ndarray, "b n 2"], covariance: Float[np.ndarray, "*b n 2 2"]
) -> Float[np.ndarray, "b n"]:
    """Squared lengths of errors in their standard deviations; of normal errors χ² with two degrees of freedom."""
    return (errors * np.linalg.solve(covariance, errors[..., None])[..., 0]).sum(-1)


def _covariance(errors: np.ndarray, apart: np.ndarray, slope: float) -> np.ndarray:
    weighed = errors * np.exp(-slope / 2 * apart)[..., None]
    return np.einsum("bni,bnj->nij", weighed, weighed) / len(errors) + LEAST * np.eye(2)


def _squares(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return mahalanobis(errors, np.broadcast_to(covariance, (*errors.shape, 2)))


def _slope(squares: np.ndarray, apart: np.ndarray, slope: float) -> float:
    """Where the mean of s·a + m/2·exp(-s·a), which is convex in s, is least."""
    for _ in range(STEPS):
        fading = squares / 2 * np.exp(-slope * apart)
        first, second = (apart * (1 - fading)).mean(), (apart**2 * fading).mean()
        step = first / max(second, 1e-12)
        slope = float(np.clip(slope - np.clip(step, -0.5, 0.5), 0.0, STEEPEST))
        if abs(step) < 1e-9:
            break
    return slope
