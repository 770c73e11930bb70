"""A 2-D point distribution model: a mean face, the principal ways in which faces differ from it, and how far they go.

Faces are brought onto their mean by similarities (Procrustes); a principal component analysis of what remains gives the
components. Points that break a face's shape are put back by the nearest shape of the model, which is the classical
post-processing of landmarks (Cootes and others, Active Shape Models, 1995). `semalign.paper.shape_fit` fits the same model to
heatmaps.

Model frame: the mean shape has its centroid at the origin, root mean square radius 1, and stands upright as the faces
that it was made from do on average. Inside, a point is a complex number x + iy, so that turning and scaling is one product.

Shape legend: b faces, n landmarks, k components, p = 4 + k parameters. All float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from semalign.core.similarity import similarity, to_complex, to_points
from semalign.errors import SemalignError

ALIGNMENTS = 100  # at most; a few suffice
STEPS = 50  # of a projection, at most; ten suffice for anything that looks like a face
LARGEST_TURN = 0.5  # of the logarithm of scale and rotation in one step
SMALLEST_SCALE = 1e-3  # of the points' own spread; less is what points get that look like nothing
CONVERGED = 1e-10


class ShapeFit(NamedTuple):
    """A shape of the model in another frame."""

    points: Float[np.ndarray, "b n 2"]
    coefficients: Float[np.ndarray, "b k"]  # in standard deviations of each component
    model_to_target: Float[np.ndarray, "b 2 3"]  # a similarity


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """Mean shape and principal components; a shape is mean + Σ coefficient · √eigenvalue · component, moved by a similarity."""

    mean: Float[np.ndarray, "n 2"]
    components: Float[np.ndarray, "k n 2"]  # orthonormal, and orthogonal to moving, turning and scaling the mean
    eigenvalues: Float[np.ndarray, " k"]  # variances along the components, largest first, model frame squared
    explained: float  # share of the variance of the aligned faces that the components hold

    @classmethod
    def fit(
        cls, shapes: Float[np.ndarray, "b n 2"], explained: float = 0.98, components: int | None = None
    ) -> ShapeModel:
        """The model of the given faces.

        Args:
            shapes: points of any frames, one for each face, all finite.
            explained: share of the variance to be held by the components, which sets their number.
            components: their number instead, at most what the faces allow.

        Raises:
            SemalignError: fewer than two faces, points that are not finite, a face without extent, or a share or number of
                components out of range.
        """
        _check_shapes(shapes)
        if not 0 < explained <= 1 or (components is not None and components < 0):
            raise SemalignError(
                f"shape model: explained = {explained} and components = {components} make no sense; "
                "give a share above 0 and up to 1, or a number of components."
            )
        aligned, mean = procrustes(to_complex(shapes.astype(np.float64)))
        residual = to_points(aligned - mean).reshape(len(shapes), -1)
        _, singular, right = np.linalg.svd(residual, full_matrices=False)
        variances = singular**2 / (len(shapes) - 1)
        held = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        rank = int((singular > 1e-9 * np.sqrt(residual.size)).sum())
        count = int(np.searchsorted(held, explained - 1e-12)) + 1 if components is None else components
        count = min(count, rank)
        return cls(
            mean=to_points(mean),
            components=right[:count].reshape(count, len(mean), 2),
            eigenvalues=variances[:count],
            explained=float(held[count - 1]) if count else 0.0,
        )

    def synthesize(
        self, coefficients: Float[np.ndarray, "b k"], model_to_target: Float[np.ndarray, "b 2 3"]
    ) -> Float[np.ndarray, "b n 2"]:
        """Points of the target frame; coefficients are in standard deviations."""
        scale, shift = _split(model_to_target)
        return to_points(scale * self._shape(coefficients) + shift)

    def place(self, points: Float[np.ndarray, "b n 2"], weights: Float[np.ndarray, "b n"] | None = None) -> ShapeFit:
        """The mean shape under the similarity that brings it nearest to the points (weighted least squares).

        Raises:
            SemalignError: a face has no two points apart with a weight above 0.
        """
        target, weights = self._checked(points, weights)
        coefficients = np.zeros((len(points), len(self.eigenvalues)))
        return self._placed(target, weights, coefficients)

    def project(
        self,
        points: Float[np.ndarray, "b n 2"],
        weights: Float[np.ndarray, "b n"] | None = None,
        limit: float = 3.0,
    ) -> ShapeFit:
        """The nearest shape of the model: plain projection.

        Similarity and coefficients minimise Σ weight · ‖point - shape‖² together; then the coefficients are clamped and the
        similarity is fitted again to the clamped shape. There is no prior and nothing robust in it: a stray point that
        has weight pulls the whole face.

        Args:
            points: of any frame; a point that is not finite does not count.
            weights: from 0, for example the heatmaps' peaks; None = all alike.
            limit: of the coefficients in standard deviations.

        Raises:
            SemalignError: a face has no two points apart with a weight above 0.
        """
        target, weights = self._checked(points, weights)
        fit = self.place(points, weights)
        noise = np.zeros(len(points))
        for _ in range(STEPS):
            before = fit.points
            fit = self.step(fit, to_points(target), weights, noise)
            if np.abs(fit.points - before).max(initial=0.0) <= CONVERGED * np.abs(before).max(initial=1.0):
                break
        return self._placed(target, weights, fit.coefficients.clip(-limit, limit))

    def step(
        self,
        fit: ShapeFit,
        targets: Float[np.ndarray, "b n 2"],
        weights: Float[np.ndarray, "b n"],
        noise: Float[np.ndarray, " b"],
    ) -> ShapeFit:
        """One Gauss-Newton step of a fit towards the least Σ weight · ‖target - shape‖² + noise² · ‖coefficients‖².

        With weights of 1 that is the most probable shape, if targets are shapes of the model with Gaussian noise of that
        standard deviation in each coordinate.

        Args:
            fit: where the step begins.
            targets: all finite; what has no weight may be anything.
            weights: from 0.
            noise: of each face, in the targets' pixels; 0 = no prior.
        """
        scale, shift = _split(fit.model_to_target)
        shape = self._shape(fit.coefficients)
        residual = (to_complex(targets) - shift) / scale - shape
        jacobian = self._jacobian(shape)
        weighted = jacobian * weights[..., None].repeat(2, axis=1)
        normal = weighted.transpose(0, 2, 1) @ jacobian
        gradient = (to_points(residual).reshape(len(shape), 1, -1) @ weighted)[:, 0]
        prior = (noise / np.abs(scale[:, 0])) ** 2
        ours = np.arange(4, normal.shape[1])
        normal[:, ours, ours] += prior[:, None]
        gradient[:, 4:] -= prior[:, None] * fit.coefficients
        # Directions about which no weighted point says anything stay as they are.
        every = np.arange(normal.shape[1])
        normal[:, every, every] += 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None]
        change = np.linalg.solve(normal, gradient[..., None])[..., 0]
        turn = change[:, 2] + 1j * change[:, 3]
        turn *= np.minimum(1.0, LARGEST_TURN / np.maximum(np.abs(turn), LARGEST_TURN))
        moved = shift + scale * (change[:, :1] + 1j * change[:, 1:2])
        coefficients = fit.coefficients + change[:, 4:]
        maps = _join(scale * np.exp(turn)[:, None], moved)
        return ShapeFit(self.synthesize(coefficients, maps), coefficients, maps)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The model as named arrays, to be written; `from_arrays` takes them back."""
        return {
            "mean": self.mean,
            "components": self.components,
            "eigenvalues": self.eigenvalues,
            "explained": np.array(self.explained),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ShapeModel:
        """The model that `to_arrays` took apart.

        Raises:
            SemalignError: an array is missing, has another shape than it must, or is not finite.
        """
        names = ("mean", "components", "eigenvalues", "explained")
        for name in names:
            if name not in arrays:
                raise SemalignError(f"shape model: there is no array {name!r}; make the model again.")
        mean, components, eigenvalues, explained = (np.asarray(arrays[name], np.float64) for name in names)
        shapes = (mean.shape, components.shape, eigenvalues.shape, explained.shape)
        count, kept = len(mean) if mean.ndim else 0, len(eigenvalues) if eigenvalues.ndim else 0
        if shapes != ((count, 2), (kept, count, 2), (kept,), ()):
            raise SemalignError(f"shape model: arrays of shapes {shapes} do not go together; make the model again.")
        if not all(np.isfinite(array).all() for array in (mean, components, eigenvalues, explained)):
            raise SemalignError("shape model: there are values that are not finite; make the model again.")
        return cls(mean, components, eigenvalues, float(explained))

    def _shape(self, coefficients: Float[np.ndarray, "b k"]) -> Complex[np.ndarray, "b n"]:
        """Shapes in the model frame."""
        flat = self.components.reshape(len(self.components), self.mean.size)
        moved = self.mean.reshape(-1) + (coefficients * np.sqrt(self.eigenvalues)) @ flat
        return to_complex(moved.reshape(len(coefficients), -1, 2))

    def _jacobian(self, shape: Complex[np.ndarray, "b n"]) -> Float[np.ndarray, "b m p"]:
        """How the m = 2n coordinates change, in the model frame, with shift (x, y), log scale, angle and each coefficient."""
        b, n = shape.shape
        jacobian = np.empty((b, n, 2, 4 + len(self.eigenvalues)))
        jacobian[..., :2] = np.eye(2)
        jacobian[..., 2] = to_points(shape)
        jacobian[..., 3] = to_points(1j * shape)
        jacobian[..., 4:] = np.moveaxis(self.components, 0, -1) * np.sqrt(self.eigenvalues)
        return jacobian.reshape(b, 2 * n, -1)

    def _placed(
        self,
        target: Complex[np.ndarray, "b n"],
        weights: Float[np.ndarray, "b n"],
        coefficients: Float[np.ndarray, "b k"],
    ) -> ShapeFit:
        """The shapes of these coefficients under the similarities that bring them nearest to the target."""
        shape = self._shape(coefficients)
        total = weights.sum(axis=1, keepdims=True)
        middle, centre = ((weights * points).sum(axis=1, keepdims=True) / total for points in (shape, target))
        inner, outer = shape - middle, target - centre
        extent, spread = ((weights * np.abs(points) ** 2).sum(axis=1, keepdims=True) for points in (inner, outer))
        extent = np.maximum(extent, np.finfo(float).tiny)
        scale = (weights * outer * inner.conj()).sum(axis=1, keepdims=True) / extent
        least = SMALLEST_SCALE * np.sqrt(spread / extent)
        scale = np.where(np.abs(scale) < least, least, scale)
        maps = _join(scale, centre - scale * middle)
        return ShapeFit(self.synthesize(coefficients, maps), coefficients, maps)

    def _checked(
        self, points: Float[np.ndarray, "b n 2"], weights: Float[np.ndarray, "b n"] | None
    ) -> tuple[Complex[np.ndarray, "b n"], Float[np.ndarray, "b n"]]:
        """Points and their weights, both 0 where a point is not finite."""
        if points.shape[1] != len(self.mean):
            raise SemalignError(
                f"shape model: it has {len(self.mean)} landmarks and the faces have {points.shape[1]}; use the model of "
                "their scheme."
            )
        present = np.isfinite(points).all(axis=2)
        given = present.astype(np.float64) if weights is None else np.where(present, weights, 0.0).astype(np.float64)
        if not (np.isfinite(given).all() and (given >= 0).all()):
            raise SemalignError("shape model: weights must be finite and not negative; check where they come from.")
        target = np.where(present, to_complex(np.where(present[..., None], points, 0.0)), 0.0)
        alone = np.flatnonzero(~spread_out(to_points(target), given))
        if len(alone):
            raise SemalignError(
                f"shape model: face {alone[0]} has no two points apart with a weight above 0; leave it out."
            )
        return target, given


def spread_out(points: Float[np.ndarray, "b n 2"], weights: Float[np.ndarray, "b n"]) -> np.ndarray:
    """For each face, whether it has two points apart with a weight above 0: no similarity is known without; (b,) bool."""
    counted = np.where((weights > 0)[..., None], points, np.nan)
    low = np.where(np.isnan(counted), np.inf, counted).min(axis=1)
    high = np.where(np.isnan(counted), -np.inf, counted).max(axis=1)
    return (high - low).max(axis=1) > 0


def procrustes(shapes: Complex[np.ndarray, "b n"]) -> tuple[Complex[np.ndarray, "b n"], Complex[np.ndarray, " n"]]:
    """Shapes moved, turned and scaled onto their mean, and that mean in the model frame.

    Each shape's scale is such that its difference from the mean is orthogonal to the mean: the differences lie in one plane
    (the tangent space), where a principal component analysis makes sense, and none of them turns or scales.
    """
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    mean = _unit(centred[0])
    for _ in range(ALIGNMENTS):
        before = mean
        mean = _unit((centred / similarity(centred, mean)).mean(axis=0))
        if np.abs(mean - before).max() < CONVERGED:
            break
    turns = similarity(centred, mean)
    upright = (turns / np.abs(turns)).sum()
    if abs(upright) > 0:
        mean = mean * upright / abs(upright)
    return centred / similarity(centred, mean), mean


def _unit(shape: Complex[np.ndarray, " n"]) -> Complex[np.ndarray, " n"]:
    return shape / np.sqrt((np.abs(shape) ** 2).mean())


def _check_shapes(shapes: Float[np.ndarray, "b n 2"]) -> None:
    if len(shapes) < 2 or shapes.shape[1] < 2:
        raise SemalignError("shape model: it takes two faces of two landmarks at least; give more.")
    if not np.isfinite(shapes).all():
        raise SemalignError("shape model: there are points that are not finite; leave those faces out.")
    if not (np.ptp(shapes, axis=1).max(axis=1) > 0).all():
        raise SemalignError("shape model: there is a face whose points all coincide; leave it out.")


def _split(maps: Float[np.ndarray, "b 2 3"]) -> tuple[Complex[np.ndarray, "b 1"], Complex[np.ndarray, "b 1"]]:
    """Scale with turn, and shift, of similarities."""
    return maps[:, :1, 0] + 1j * maps[:, 1:, 0], maps[:, :1, 2] + 1j * maps[:, 1:, 2]


def _join(scale: Complex[np.ndarray, "b 1"], shift: Complex[np.ndarray, "b 1"]) -> Float[np.ndarray, "b 2 3"]:
    """The inverse of `_split`."""
    rows = [[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag]]
    return np.stack([np.concatenate(row, axis=1) for row in rows], axis=1)
