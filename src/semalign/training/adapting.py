"""What a few dozen annotated faces can teach a trained network: another convention, or other landmarks.

Everything is judged on faces that it was not learned from. Of the same landmarks a label adaptation may do; of any landmarks
an `AdaptedNetwork` is made: what the network and the face mesh found is mapped to them, by ridge regression and with mirrored
copies of all faces, and features around the points so found correct them, if that helps.

Shape legend: b faces, c copies of them (b, or 2b with the mirrored ones behind), n landmarks, k points of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from semalign.core.adaptation import choose_components, fit_linear_adaptation
from semalign.core.affine import compose, invert, transform_points
from semalign.core.carrying import alike, held_out, ridge, warp_weights
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.core.metrics import mean_errors
from semalign.data.crops import CropCache, CropSettings
from semalign.inference.onnx import input_squares
from semalign.models.adapted import AROUND, AdaptedNetwork, AdaptedSettings, log_doubt
from semalign.models.checkpoint import Model
from semalign.models.face_mesh import INPUT, POINTS, Scales
from semalign.models.mesh_network import LOCAL, centred, in_pixels
from semalign.models.network import build_network
from semalign.schemes import LandmarkScheme

COMPONENTS = (0, 1, 2, 3, 5)  # of a linear label adaptation
PENALTIES = tuple(10.0**exponent for exponent in np.arange(-4, 4.1, 0.5))  # of the map
LOCAL_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the correction
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)  # of the doubt
GAIN = 0.99  # a method that is less simple must have at most this share of the error
BATCH, CHUNK = 16, 16  # faces looked at, and landmarks learned, at a time


@dataclass(frozen=True, eq=False)
class Candidate:
    """A way to adapt a model.

    Attributes:
        method: in words.
        points: of the faces, each by what was learned from the others (b, n, 2), in the images' frames.
        error: their mean error in %, by the scheme's first normaliser (`semalign.core.metrics.mean_errors`).
        model: makes the model; None where there is none to make.
    """

    method: str
    points: Float[np.ndarray, "b n 2"]
    error: float
    model: Callable[[], Model] | None


class View(NamedTuple):
    """How a network is to see faces whose boxes are drawn around other landmarks.

    Attributes:
        side: of the box of its own landmarks, in larger sides of the faces' boxes.
        shift: of that box's middle, in the same unit (x, y).
    """

    side: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


def error_of(
    points: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme
) -> float:
    """The mean error in %, by the scheme's first normaliser."""
    return next(iter(mean_errors(points, annotated, scheme).values()))


def same_landmarks(
    model: Model, found: Float[np.ndarray, "b n 2"], annotated: Float[np.ndarray, "b n 2"], folds: Int[np.ndarray, " b"]
) -> list[Candidate]:
    """The model as it is, and with a label adaptation learned anew.

    Args:
        model: finds the landmarks that are annotated.
        found: by its network alone, without its label adaptation, in the images' frames.
        annotated: of the same faces.
        folds: of the faces.
    """
    before = found if model.adaptation is None else model.adaptation.corrected(found)
    flip = list(model.scheme.flip_index) if model.scheme.mirrors else None

    def copies(points: np.ndarray) -> np.ndarray:
        return points if flip is None else np.concatenate([points, points[:, flip] * (-1, 1)])

    both = copies(found), copies(annotated)
    rows = np.tile(folds, len(both[0]) // len(found))

    def linear(part: np.ndarray) -> Model:
        known, wanted = both[0][part], both[1][part]
        count = choose_components(known, wanted, COMPONENTS)
        return replace(model, adaptation=fit_linear_adaptation(known, wanted, count))

    def kernel(part: np.ndarray) -> Model:
        return replace(model, adaptation=fit_kernel_adaptation(both[0][part], both[1][part]))

    made = [Candidate("the model as it is", before, error_of(before, annotated, model.scheme), lambda: model)]
    for method, fit in (("a linear label adaptation", linear), ("a kernel label adaptation", kernel)):
        points = np.empty_like(found)
        for fold in np.unique(folds):
            adaptation = fit(rows != fold).adaptation
            assert adaptation is not None
            points[folds == fold] = adaptation.corrected(found[folds == fold])
        make = partial(fit, np.ones(len(rows), bool))
        made.append(Candidate(method, points, error_of(points, annotated, model.scheme), make))
    return made


def untaught(model: Model, scheme: LandmarkScheme, view: View) -> tuple[AdaptedNetwork, CropSettings]:
    """A network around the model's that knows nothing of the landmarks yet, and the crops for it."""
    own = model.network
    assert own.settings is not None
    step = 2 * own.input_size // own.heatmap_size  # so that the heatmap's pixels are whole, and as large as the model's
    size = -int(-own.input_size * AROUND // step) * step
    scale = model.crop.scale * view.side * size / own.input_size
    shift = [round(value * size / scale) for value in view.shift]
    corner = [min(max((size - own.input_size) // 2 + value, 0), size - own.input_size) for value in shift]
    settings = AdaptedSettings(
        base=own.settings,
        base_landmarks=own.landmarks,
        base_sigma=model.sigma,
        mirrored=model.tta > 1 and model.scheme.mirrors,
        input_size=size,
        heatmap_size=size * own.heatmap_size // own.input_size,
        corner=(corner[0], corner[1]),
        corrected=True,
    )
    network = build_network(settings, scheme.count, seed=0)
    assert isinstance(network, AdaptedNetwork)
    network.base.load_state_dict(own.state_dict())
    network.flip.copy_(torch.tensor(model.scheme.flip_index))
    return network.eval(), CropSettings(scale, model.crop.margin)


class Lesson:
    """Faces as an `AdaptedNetwork` sees them, with what is to be learned.

    Args:
        network: untaught.
        crops: of the faces, as it wants them.
        annotated: their landmarks in the images' frames, NaN where absent.
        scheme: of the landmarks.
        folds: of the faces.
        advance: told how many more faces were looked at.
    """

    def __init__(
        self,
        network: AdaptedNetwork,
        crops: CropCache,
        annotated: Float[np.ndarray, "b n 2"],
        scheme: LandmarkScheme,
        folds: Int[np.ndarray, " b"],
        advance: Callable[[int], None],
    ) -> None:
        self.network, self.scheme, self.annotated = network, scheme, annotated
        self.sides = 2 if scheme.mirrors else 1
        self.folds = np.tile(folds, self.sides)
        to_input = torch.from_numpy(crops.image_to_input)
        self._to_image = invert(to_input)
        wanted = transform_points(torch.from_numpy(annotated), to_input)
        self._look(crops, advance)
        if self.sides == 2:
            mirrored = torch.stack([network.input_size - 1 - wanted[..., 0], wanted[..., 1]], -1)
            wanted = torch.cat([wanted, mirrored[:, list(scheme.flip_index)]])
        self.wanted = centred(transform_points(wanted, invert(self.to_input))).double()  # (c, n, 2)
        self.there = ~self.wanted.isnan().any(-1).numpy()

    def _look(self, crops: CropCache, advance: Callable[[int], None]) -> None:
        """Take from each face, and from its mirror image, all that is needed of it."""
        looks: list[list[tuple[Tensor, ...]]] = [[] for _ in range(self.sides)]
        for start in range(0, len(crops), BATCH):
            rows = np.arange(start, min(start + BATCH, len(crops)))
            images = torch.from_numpy(input_squares(crops, rows, "float32"))
            with torch.inference_mode():
                for own, pictures in zip(looks, (images, images.flip(-1)), strict=False):
                    look = self.network.look(pictures)
                    small = tuple(scale.half() for scale in look.features)
                    own.append((look.points, look.mesh, look.confidence, look.to_input, *small))
            advance(len(rows))
        points, mesh, confidence, to_input, *features = (
            torch.cat(parts) for parts in zip(*(batch for own in looks for batch in own), strict=True)
        )
        self.points, self.mesh, self.to_input = points.double(), mesh.double(), to_input.double()
        self.confidence, self.features = confidence, Scales(*features)

    def in_images(self, points: Float[Tensor, "c n 2"]) -> Float[np.ndarray, "b n 2"]:
        """Points of the mesh's picture, in half sides, in the images' frames, of the faces as they are."""
        count = len(self.annotated)
        to_image = compose(self._to_image, self.to_input[:count])
        return transform_points(in_pixels(points[:count]), to_image).numpy()

    def around(self, points: Float[Tensor, "c m 2"]) -> Float[Tensor, "m c f"]:
        """The features around some points."""
        found = []
        for start in range(0, len(points), 64):
            rows = slice(start, start + 64)
            scales = Scales(*(scale[rows].float() for scale in self.features))
            found.append(self.network.around(in_pixels(points[rows]).float(), scales))
        return torch.cat(found).transpose(0, 1).double()


def any_landmarks(lesson: Lesson, crop: CropSettings, advance: Callable[[int], None]) -> list[Candidate]:
    """The landmarks carried over by a warp alone, mapped, and mapped and corrected.

    Args:
        lesson: what is to be learned; its network is taught by the first model that is made.
        crop: which square the network sees.
        advance: told how many more landmarks are learned.
    """
    scheme = lesson.scheme

    def judged(method: str, points: Tensor, make: Callable[[], Model] | None) -> Candidate:
        found = lesson.in_images(points)
        return Candidate(method, found, error_of(found, lesson.annotated, scheme), make)

    def taught(points: Tensor, correction: _Correction | None) -> Model:
        network = lesson.network
        if correction is None:
            network = _without_correction(network)
        else:
            network.correction["weight"].copy_(correction.weight)
            network.correction["bias"].copy_(correction.bias)
        _fill_map(network, best.weight, best.bias)
        _fill_doubts(network, lesson, points)
        return Model(network, scheme, crop, network.sigma)

    best = min(_maps(lesson), key=lambda one: _missed(one.points - lesson.wanted))
    correction = _correction(lesson, best.points, advance)
    return [
        judged("carried over by a warp", _carried(lesson), None),
        judged(f"mapped from {best.source}", best.points, lambda: taught(best.points, None)),
        judged(
            f"mapped from {best.source}, corrected by features",
            correction.points,
            lambda: taught(correction.points, correction),
        ),
    ]


class _Map(NamedTuple):
    """A linear map, and what it finds in faces held out."""

    source: str
    points: Float[Tensor, "c n 2"]
    weight: Float[Tensor, "f m"]
    bias: Float[Tensor, " m"]


class _Correction(NamedTuple):
    points: Float[Tensor, "c n 2"]  # of faces held out
    weight: Float[Tensor, "n f 2"]
    bias: Float[Tensor, "n 2"]


def _missed(differences: Float[Tensor, "*c n 2"]) -> float:
    """Mean distance over what is there."""
    return float(differences.norm(dim=-1).nanmean())


def _mean(points: Float[Tensor, "c n 2"]) -> np.ndarray:
    return points.nanmean(dim=0).numpy()


def _warp(lesson: Lesson, known: Tensor) -> Tensor:
    """Weights (n, k) of known points."""
    return torch.from_numpy(warp_weights(_mean(known[..., :2]), _mean(lesson.wanted)))


def _carried(lesson: Lesson) -> Float[Tensor, "c n 2"]:
    """The landmarks by the warp of the network's points alone."""
    return torch.einsum("nk,ckd->cnd", _warp(lesson, lesson.points), lesson.points)


def _maps(lesson: Lesson) -> list[_Map]:
    """From the network's points, from the mesh, and from both, each with the penalty that is best on faces held out."""
    k = lesson.points.shape[1]
    even = (k / POINTS) ** 0.5  # of a mesh's point, so that all of them weigh as much as all of the network's
    sources = {
        "the network's points": (1.0, 0.0),
        "the face mesh": (0.0, even),
        "the network's points and the face mesh": (1.0, even),
    }
    known = torch.cat([lesson.points.flatten(1), lesson.mesh.flatten(1)], 1)
    made = []
    for source, (network, mesh) in sources.items():
        weights = torch.cat([torch.full((2 * k,), network), torch.full((3 * POINTS,), mesh)]).double()
        carrier, first = (lesson.mesh[..., :2], 2 * k) if mesh else (lesson.points, 0)
        warp = _warp(lesson, carrier)
        rest = (lesson.wanted - torch.einsum("nk,ckd->cnd", warp, carrier)).flatten(1)
        features = (known * weights)[:, weights > 0]
        weight = torch.zeros(known.shape[1], rest.shape[1], dtype=torch.float64)
        for axis in (0, 1):
            step = 3 if mesh else 2
            weight[first + axis : first + step * carrier.shape[1] : step, axis::2] = warp.T
        found = torch.full((len(PENALTIES), *rest.shape), torch.nan, dtype=torch.float64)
        groups = list(alike(lesson.there))
        for columns, rows in groups:
            places = _coordinates(columns)
            part = held_out(features[rows], rest[rows][:, places], lesson.folds[rows], PENALTIES)
            found[:, torch.from_numpy(rows)[:, None], places] = part
        best = int(np.argmin([_missed((one - rest).unflatten(1, (-1, 2))) for one in found]))
        bias = torch.zeros(rest.shape[1], dtype=torch.float64)
        inner = torch.zeros(features.shape[1], rest.shape[1], dtype=torch.float64)
        for columns, rows in groups:
            places = _coordinates(columns)
            inner[:, places], bias[places] = ridge(features[rows], rest[rows][:, places], PENALTIES[best])
        weight[weights > 0] += inner * weights[weights > 0, None]
        points = lesson.wanted - (rest - found[best]).unflatten(1, (-1, 2))
        whole = (known @ weight + bias).unflatten(1, (-1, 2))
        made.append(_Map(source, torch.where(points.isnan(), whole, points), weight, bias))
    return made


def _coordinates(landmarks: np.ndarray) -> Tensor:
    """Columns of the landmarks' coordinates, where x and y of each follow each other."""
    return torch.from_numpy((2 * landmarks[:, None] + (0, 1)).ravel())


def _correction(lesson: Lesson, points: Float[Tensor, "c n 2"], advance: Callable[[int], None]) -> _Correction:
    """From features around each landmark, as faces held out show it, to the step that is still missing."""
    rest = (lesson.wanted - points).transpose(0, 1)  # (n, c, 2)
    found = torch.full((len(LOCAL_PENALTIES), *rest.shape), torch.nan, dtype=torch.float64)
    groups = [
        (torch.from_numpy(part), torch.from_numpy(rows))
        for columns, rows in alike(lesson.there)
        for part in np.split(columns, range(CHUNK, len(columns), CHUNK))
    ]
    for columns, rows in groups:
        features = _evened(lesson.around(points[:, columns])[:, rows])[0]
        part = held_out(features, rest[columns][:, rows], lesson.folds[rows.numpy()], LOCAL_PENALTIES)
        found[:, columns[:, None], rows] = part
        advance(len(columns))
    best = int(np.argmin([_missed(one - rest) for one in found]))
    weight = torch.zeros(rest.shape[0], LOCAL, 2, dtype=torch.float64)
    bias = torch.zeros(rest.shape[0], 2, dtype=torch.float64)
    for columns, rows in groups:
        features, middle, scale = _evened(lesson.around(points[:, columns])[:, rows])
        slopes, constant = ridge(features, rest[columns][:, rows], LOCAL_PENALTIES[best])
        weight[columns] = slopes * scale.mT
        bias[columns] = constant - (middle * scale @ slopes)[:, 0]
    corrected = points + torch.nan_to_num(found[best]).transpose(0, 1)
    return _Correction(corrected, weight * (INPUT / 2), bias * (INPUT / 2))  # steps in pixels


def _evened(features: Float[Tensor, "m c f"]) -> tuple[Tensor, Tensor, Tensor]:
    """Features of mean 0 and about the same deviation, whose squares sum to about 1; the mean and the factors."""
    middle = features.mean(dim=1, keepdim=True)
    scale = 1 / ((features.std(dim=1, keepdim=True) + 1e-3) * features.shape[-1] ** 0.5)
    return (features - middle) * scale, middle, scale


def _without_correction(network: AdaptedNetwork) -> AdaptedNetwork:
    """The network with a map alone."""
    made = build_network(replace(network.settings, corrected=False), network.landmarks, seed=0)
    assert isinstance(made, AdaptedNetwork)
    made.load_state_dict({name: value for name, value in network.state_dict().items() if "correction" not in name})
    return made.eval()


def _fill_map(network: AdaptedNetwork, weight: Tensor, bias: Tensor) -> None:
    network.map.weight.copy_(weight.T)
    network.map.bias.copy_(bias)


def _fill_doubts(network: AdaptedNetwork, lesson: Lesson, points: Float[Tensor, "c n 2"]) -> None:
    """How far off points of faces held out are, and how that goes with the confidence of the nearest known point."""
    known, wanted = lesson.points.mean(dim=0), lesson.wanted.nanmean(dim=0)
    network.nearest.copy_(torch.cdist(wanted, known).argmin(1))
    seen = log_doubt(lesson.confidence.double())[:, network.nearest]
    usual = seen.mean(dim=0)
    square = (in_pixels(points) - in_pixels(lesson.wanted)).square().sum(-1) / 2  # (c, n), of a coordinate
    there = ~square.isnan()
    likelihoods, doubts = [], []
    for slope in SLOPES:
        shares = torch.exp(slope * (seen - usual))
        doubt = (square / shares.square()).nanmean(dim=0).clamp_min(1e-4).sqrt()
        variance = (doubt * shares).square()
        likelihoods.append(float((-variance.log() - square / variance)[there].mean()))
        doubts.append(doubt)
    best = int(np.argmax(likelihoods))
    network.usual.copy_(usual)
    network.slope.fill_(SLOPES[best])
    network.doubt.copy_(doubts[best])
