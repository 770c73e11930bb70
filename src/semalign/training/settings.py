"""What can be set about training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from semalign.core.sizes import REFERENCE


@dataclass(frozen=True)
class HeatmapSettings:
    """The Gaussians that the network learns to draw, and the loss that compares them."""

    sigma: float = 6.0  # pixels of a 256×256 heatmap, scaled with the heatmap; the paper's template sizes suggest 3
    loss: Literal["mse", "chi-square"] = "mse"  # 'chi-square' is Eq. 9
    foreground_weight: float = 20.0  # extra weight of a Gaussian's peak against the background, for 'mse'

    def pixels(self, heatmap_size: int) -> float:
        """σ in pixels of a heatmap of the given size."""
        return self.sigma * heatmap_size / REFERENCE


@dataclass(frozen=True)
class TrainingSettings:
    """One stage of training: how long, how fast, in which precision."""

    epochs: int = 40
    batch_size: int = 16  # over all processes
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "steps"] = "cosine"
    final_rate: float = 0.01  # 'cosine': the rate at the end, as a share of learning_rate
    warmup: float = 1.0  # 'cosine': epochs in which the rate rises from 0
    milestones: tuple[int, ...] = ()  # 'steps': epochs at whose start the rate is divided
    divisors: tuple[float, ...] = ()  # 'steps': by how much
    pretrained_rate: float = 0.3  # of weights that come from an earlier training, as a share of learning_rate
    weight_decay: float = 0.01
    gradient_clip: float = 1.0  # largest norm of the gradient, 0 = none
    ema: float = (
        0.999  # decay of the running average of the weights that is kept as the result, 0 = the weights themselves
    )
    precision: Literal["fp32", "bf16"] = "fp32"
    tensorboard: bool = False  # also write the curves for TensorBoard (needs the extra 'tensorboard')

    def __post_init__(self) -> None:
        if len(self.milestones) != len(self.divisors):
            raise ValueError("milestones and divisors must have the same length")
        if self.epochs < 0 or self.batch_size < 1:
            raise ValueError("epochs must be at least 0 and batch_size at least 1")


@dataclass(frozen=True)
class FinishSettings:
    """The last part of a detector's training, on faces in their own light; what is not set here is as in the part before."""

    epochs: int = 0  # 0 = none
    learning_rate: float = 1e-3  # falls from here along a cosine
    augmentation: float = 0.2  # share that is left of the recipe's changes of light, blurs and occluders

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.augmentation < 0:
            raise ValueError("epochs and augmentation must be at least 0")

    def training(self, before: TrainingSettings) -> TrainingSettings:
        """The settings of this part, after a training with other ones."""
        cosine = replace(before, schedule="cosine", milestones=(), divisors=())
        return replace(cosine, epochs=self.epochs, learning_rate=self.learning_rate)


@dataclass(frozen=True)
class DistillationSettings:
    """How much a detector learns from the teachers that it is given (`semalign train --teacher`)."""

    share: float = 0.7  # of each target that is a teacher's heatmap, the rest is the label's Gaussian

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("share must be 0 to 1")


@dataclass(frozen=True)
class LabelAdaptationSettings:
    """What a finished detector's predictions differ from its labels as a function of the shape, and is taken off them."""

    kind: Literal["linear", "kernel"] = "linear"  # 'kernel': nearer on other faces; of no use on its training faces
    components: tuple[int, ...] = (
        0,
        10,
        20,
        40,
        60,
        80,
    )  # shape components to choose from by cross-validation ('linear'); () = not corrected
    folds: int = 5
    held_out: int = 0  # of 'train': learned from so many further networks, on faces that they were not trained on

    def __post_init__(self) -> None:
        if self.held_out < 0 or self.held_out == 1:
            raise ValueError("held_out must be 0, or 2 and more")


@dataclass(frozen=True)
class DecodingSettings:
    """How a finished detector's heatmaps become points."""

    tta: int = (
        1  # test-time augmentation: versions of a crop whose mean heatmap is decoded, 1 to 4; 2 adds the mirror image
    )

    def __post_init__(self) -> None:
        _check_tta(self.tta)


@dataclass(frozen=True)
class AlternationSettings:
    """The alternation of label search and training (Sec. 4.4)."""

    searches: int = 10  # at most, one before each epoch; later epochs train on the last labels
    update: bool = True  # False: the observation stays the annotation ('SA w/o update')
    tta: int = 4  # versions of each crop whose mean heatmap is searched, 1 to 4; 1 is the paper's plain crop
    adaptation_components: int | Literal["auto"] = (
        60  # shape components on which the network's systematic offset depends; "auto": chosen by cross-validation; -1: none
    )
    stop_movement: float = 0.0  # no more searches once labels move less than this on average, % of the face box's side
    mesh: bool = False  # a search hears a network of other origin, too, which knows faces: MediaPipe's face mesh

    def __post_init__(self) -> None:
        _check_tta(self.tta)
        if self.searches < 0:
            raise ValueError("searches must be at least 0")
        if self.adaptation_components != "auto" and self.adaptation_components < -1:
            raise ValueError("adaptation_components must be 'auto', or -1 and more")


def _check_tta(tta: int) -> None:
    if not 1 <= tta <= 4:
        raise ValueError("tta must be 1 to 4")
