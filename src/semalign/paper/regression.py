"""Training and use of coordinate regression ('Reg' of Table 7), on annotations or on labels that were found.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import compose, invert, transform_points
from semalign.core.sizes import REFERENCE
from semalign.core.wing import wing_loss
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.inference.landmarks import Landmarks
from semalign.paper.networks import outputs_of
from semalign.paper.regressor import Regressor, RegressorSettings, build_regressor
from semalign.schemes import LandmarkScheme
from semalign.training.settings import TrainingSettings
from semalign.training.task import PictureSource, Read
from semalign.training.trainer import train_on


@dataclass(frozen=True)
class WingSettings:
    """The Wing loss, in pixels of a 256×256 input, scaled with the input."""

    width: float = 10.0  # w: errors below it are enlarged
    curvature: float = 2.0  # ε: the smaller, the steeper near 0

    def __post_init__(self) -> None:
        if self.width <= 0 or self.curvature <= 0:
            raise ValueError("width and curvature must be positive")


@dataclass(frozen=True)
class RegressionTask:
    """Pictures to points, compared by the Wing loss."""

    source: PictureSource
    wing: WingSettings

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.source.crops)

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """As `Task.read`."""
        return self.source.read(rows, labels, generator, share, device)

    def batch(
        self, read: Read, generator: torch.Generator, device: torch.device
    ) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b n 2"]]:
        """Pictures and their points in the input frame."""
        images, points = self.source.pictures(read, device), read.points
        return images, points.float().to(device)

    def loss(self, outputs: Float[Tensor, "b n 2"], targets: Float[Tensor, "b n 2"]) -> Float[Tensor, ""]:
        """The Wing loss in sides of the input; a landmark whose label is NaN does not count."""
        size = self.source.input_size
        return wing_loss(outputs / size, targets / size, self.wing.width / REFERENCE, self.wing.curvature / REFERENCE)


def train_regressor(
    folder: Path,
    crops: CropCache,
    labels: np.ndarray,
    scheme: LandmarkScheme,
    training: TrainingSettings,
    augmentation: AugmentationSettings,
    settings: RegressorSettings,
    seed: int,
    advance: Callable[[int, str], None] | None = None,
    wing: WingSettings | None = None,
) -> Regressor:
    """A regressor trained on labels; a training that was cut off is continued from its folder to the same bits.

    Args:
        folder: for checkpoint and log.
        crops: the training faces.
        labels: (b, n, 2) float64 in the image frames, in the order of the crops; NaN = no label.
        scheme: of the labels, for the exchange of left and right in mirrored pictures.
        training: how long, how fast.
        augmentation: how far pictures are changed.
        settings: which network.
        seed: of the network and of all draws.
        advance: called after each batch with (1, a note for the progress bar).
        wing: of the loss; None = the defaults.

    Returns:
        The network with its averaged weights, in evaluation mode, on the training's device.

    Raises:
        SemalignError: crops of another size than the network's input; a folder of a training with other settings.
    """
    _check_size(settings, crops)
    points = crops.to_crop(labels)
    network = build_regressor(settings, scheme.count, seed, mean=_mean_face(points, crops))
    task = RegressionTask(PictureSource(crops, scheme, augmentation, settings.input_size), wing or WingSettings())
    return train_on(folder, network, task, points, training, seed, advance)


def predict_regressor(
    network: Regressor,
    crops: CropCache,
    scheme: LandmarkScheme,
    batch_size: int = 32,
    precision: str = "fp32",
    advance: Callable[[int], None] | None = None,
) -> Landmarks:
    """The network's landmarks on every plain crop, in the image frames; the confidence is NaN, as a regressor has none.

    Args:
        network: put into evaluation mode.
        crops: of the network's input size.
        scheme: what the landmarks are.
        batch_size: of one pass.
        precision: of the network, 'bf16' or 'fp32'.
        advance: told how many images are done.

    Raises:
        SemalignError: crops of another size than the network's input.
    """
    _check_size(network.settings, crops)
    parts = []
    for rows, found in outputs_of(network, crops, batch_size, precision, advance):
        image_to_input = compose(crops.crop_to_input[None], torch.from_numpy(crops.image_to_crop[rows]))
        parts.append(transform_points(found, invert(image_to_input)).numpy())
    points = np.concatenate(parts)
    return Landmarks(points, np.full(points.shape[:2], np.nan), scheme)


def _check_size(settings: RegressorSettings, crops: CropCache) -> None:
    if settings.input_size != crops.input_size:
        raise SemalignError(
            f"the regressor's input_size is {settings.input_size}, but the crops were made for {crops.input_size}; "
            "make the crops for the network's size."
        )


def _mean_face(points: np.ndarray, crops: CropCache) -> Float[Tensor, "n 2"]:
    """The mean of the labels (crop frames) in the plain input frame; NaN for a landmark that no face has."""
    inputs = transform_points(torch.from_numpy(points), crops.crop_to_input[None])
    return inputs.nanmean(dim=0)
