"""Fitting a correction for hidden landmarks (`semalign.models.correction`) to faces with things in front of them.

The shape prior comes from the annotations. What the landmark network finds in the same faces, bare and behind something, is
brought nearest to the annotations by the correction as a whole: its gradient flows through the shape posterior to the small
network that weighs the landmarks, which learns at the same time which of them are hidden. Every face is also seen in the
mirror, and in a share of the faces the spreads are withheld, so that the result works without them.

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from semalign.core.shape_posterior import ShapePrior, fit_shape_prior
from semalign.errors import SemalignError
from semalign.models.checkpoint import load_tensors, save_tensors
from semalign.models.correction import ShapeCorrection, first_frames, weighed_shapes, what_is_seen
from semalign.models.correction_network import CorrectionNetwork
from semalign.models.network import initialised
from semalign.schemes import LandmarkScheme

USUAL_SLOPE = 0.7  # with which the logarithm of a variance grows with a peak's lowness, before any training
USUALLY_VISIBLE = 1.5  # logit, before any training
LEAST = 1e-5  # variance, squared sizes of the mean shape
ORDER, DROPPED = "order", "dropped"  # states of random numbers in the file that is kept


@dataclass(frozen=True)
class ShapeCorrectionSettings:
    """How a correction is fitted."""

    epochs: int = 6
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    withheld: float = 0.3  # share of the faces whose spreads are withheld
    visibility_weight: float = 1.5  # of the visibility's cross-entropy beside the error in % of the shape's size

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be at least 1")
        if not 0 <= self.withheld <= 1:
            raise ValueError("withheld must be between 0 and 1")


@dataclass(frozen=True, eq=False)
class SeenFaces:
    """What a landmark network finds in faces that are partly hidden, and the truth; points and spreads in one frame each.

    Attributes:
        points: what it finds.
        confidence: heights of the peaks.
        spread: of the peaks; None where the network gives none.
        labels: where the landmarks are.
        hidden: which lie behind something.
    """

    points: Float[np.ndarray, "b n 2"]
    confidence: Float[np.ndarray, "b n"]
    spread: Float[np.ndarray, "b n 2"] | None
    labels: Float[np.ndarray, "b n 2"]
    hidden: Bool[np.ndarray, "b n"]

    def mirrored(self, flip_index: tuple[int, ...]) -> SeenFaces:
        """The same in the mirror."""
        swap, mirror = list(flip_index), np.array([-1.0, 1.0])
        spread = None if self.spread is None else self.spread[:, swap]
        return SeenFaces(
            self.points[:, swap] * mirror,
            self.confidence[:, swap],
            spread,
            self.labels[:, swap] * mirror,
            self.hidden[:, swap],
        )


def together(parts: Iterable[SeenFaces]) -> SeenFaces:
    """All of them, of one network or of networks that give the same."""
    every = list(parts)
    spreads = [part.spread for part in every if part.spread is not None]
    return SeenFaces(
        np.concatenate([part.points for part in every]),
        np.concatenate([part.confidence for part in every]),
        np.concatenate(spreads) if spreads else None,
        np.concatenate([part.labels for part in every]),
        np.concatenate([part.hidden for part in every]),
    )


def fit_shape_correction(
    shapes: Float[np.ndarray, "_ n 2"],
    seen: SeenFaces,
    scheme: LandmarkScheme,
    settings: ShapeCorrectionSettings,
    seed: int = 0,
    base: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
    kept: Path | None = None,
) -> ShapeCorrection:
    """Fit a correction.

    Args:
        shapes: annotated faces whose landmarks are all there, for the prior.
        seen: what the network finds in such faces.
        scheme: the landmarks.
        settings: how.
        seed: of weights, order and what is withheld.
        base: `about` of the landmark network.
        about: kept in the correction, JSON values only.
        advance: told after each batch how many more faces were looked at.
        kept: file in which each epoch is kept. A training that it holds, which must be of the same arguments, goes on to the
            same bits.

    Raises:
        SemalignError: there are fewer than two faces, or landmarks of shapes are absent.
    """
    if len(shapes) < 2 or not np.isfinite(shapes).all() or not len(seen.points):
        raise SemalignError("a correction needs at least two faces whose landmarks are all there; give it more.")
    flip = scheme.flip_index if scheme.mirrors else ()
    prior = fit_shape_prior(shapes, flip)
    faces = [seen, seen.mirrored(flip)] if flip else [seen]
    points, confidence, labels = (
        torch.from_numpy(np.concatenate([getattr(part, name) for part in faces]).astype(np.float64))
        for name in ("points", "confidence", "labels")
    )
    spreads = [part.spread for part in faces if part.spread is not None]
    spread = torch.from_numpy(np.concatenate(spreads).astype(np.float64)) if spreads else None
    visible = torch.from_numpy(~np.concatenate([part.hidden for part in faces])).float()
    size = first_frames(prior, points, confidence).size
    looks = what_is_seen(confidence, spread, size)
    squares = ((points - labels) / size[:, None, None]).square().mean(dim=-1)
    network = initialised(lambda: CorrectionNetwork(scheme.count), seed)
    _begin(network, looks, squares)
    _learn(network, prior, _Known(points, labels, looks, visible), settings, seed, advance, kept)
    return ShapeCorrection(prior, network.reader(), scheme, dict(base or {}), dict(about or {}))


@dataclass(frozen=True, eq=False)
class _Known:
    points: Tensor
    labels: Tensor
    looks: Tensor
    visible: Tensor


@torch.no_grad()
def _begin(network: CorrectionNetwork, looks: Float[Tensor, "b n 2"], squares: Float[Tensor, "b n"]) -> None:
    """What is usual, and a plain guess from each peak's own height."""
    usual = looks.nanmean(dim=0)
    network.usual.copy_(usual.nan_to_num())
    network.deviation.copy_((looks - usual).square().nanmean(dim=0).sqrt().nan_to_num(1.0).clamp(min=1e-4))
    network.bias[:, 0] = (squares + LEAST).log().mean(dim=0)
    network.bias[:, 1] = USUALLY_VISIBLE
    network.own[:, 0, 0], network.own[:, 0, 1] = USUAL_SLOPE, -1.0


def _learn(
    network: CorrectionNetwork,
    prior: ShapePrior,
    known: _Known,
    settings: ShapeCorrectionSettings,
    seed: int,
    advance: Callable[[int], None] | None,
    kept: Path | None,
) -> None:
    count, size = len(known.points), min(settings.batch_size, len(known.points))
    steps = settings.epochs * (count // size)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=max(steps, 2))
    generator = torch.Generator().manual_seed(seed)
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of what is dropped
        begun = 0 if kept is None else _resumed(kept, network, optimizer, schedule, generator)
        if begun and advance is not None:
            advance(begun * (count // size) * size)
        for epoch in range(begun, settings.epochs):
            order = torch.randperm(count, generator=generator)
            for rows in order[: count // size * size].split(size):
                withheld = torch.rand(size, 1, generator=generator) < settings.withheld
                looks = known.looks[rows].clone()
                looks[..., 1] = torch.where(withheld, torch.nan, looks[..., 1])
                variance, logit = network(looks)
                frames, shapes = weighed_shapes(prior, known.points[rows], variance)
                error = 100 * (shapes - frames.to_mean(known.labels[rows])).norm(dim=-1).mean()
                unseen = functional.binary_cross_entropy_with_logits(logit, known.visible[rows])
                optimizer.zero_grad()
                (error + settings.visibility_weight * unseen).backward()
                optimizer.step()
                schedule.step()
                if advance is not None:
                    advance(size)
            if kept is not None:
                _keep(kept, epoch + 1, network, optimizer, schedule, generator)


def _keep(
    file: Path,
    epochs: int,
    network: CorrectionNetwork,
    optimizer: Optimizer,
    schedule: LRScheduler,
    generator: torch.Generator,
) -> None:
    """Write a training as it stands after some epochs."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors |= {ORDER: generator.get_state(), DROPPED: torch.get_rng_state()}
    groups, steps = optimizer.state_dict()["param_groups"], schedule.state_dict()
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    save_tensors(file, tensors, {"epochs": epochs, "groups": groups, "schedule": steps})


def _resumed(
    file: Path, network: CorrectionNetwork, optimizer: Optimizer, schedule: LRScheduler, generator: torch.Generator
) -> int:
    """Bring a training to where a file has it; how many epochs are done, 0 where there is no such file."""
    if not file.is_file():
        return 0
    tensors, description = load_tensors(file)
    generator.set_state(tensors.pop(ORDER))
    torch.set_rng_state(tensors.pop(DROPPED))
    weights: dict[str, Tensor] = {}
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "network":
            weights[rest] = value
        else:
            index, _, key = rest.partition(".")
            states.setdefault(int(index), {})[key] = value
    network.load_state_dict(weights)
    groups = [{**group, "betas": tuple(group["betas"])} for group in description["groups"]]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    schedule.load_state_dict(description["schedule"])
    return int(description["epochs"])
