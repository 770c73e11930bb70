"""Normalisation of the in-plane rotation ('Norm' of Table 2): each face's angle from a trained network, and righted crops.

The angle of a face is that of the similarity which brings the mean shape nearest to its landmarks; the mean shape is its own
mirror image, and its axis of symmetry is vertical. Points are (x, y) with y downwards, so that a positive angle is a turn
clockwise on the screen. Labels give the angles of the training pictures only; a test face's angle comes from its picture
alone.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semalign.core.affine import compose
from semalign.core.warp import warp
from semalign.data.augment import AugmentationSettings
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.files import atomic_path
from semalign.paper.networks import outputs_of
from semalign.paper.rotation import RotationNetwork, RotationSettings, build_rotation
from semalign.paper.shape_model import ShapeModel
from semalign.schemes import LandmarkScheme
from semalign.training.settings import TrainingSettings
from semalign.training.task import PictureSource, Read
from semalign.training.trainer import train_on

AUGMENTATION = AugmentationSettings(rotation=35.0)  # the turns to be learnt


def upright_shape(points: Float[np.ndarray, "b n 2"], scheme: LandmarkScheme) -> ShapeModel:
    """The mean shape of faces and their mirror images: what angles are counted from.

    Args:
        points: of any frames; faces with a landmark missing (NaN) are left out.
        scheme: for the mirror images; one without pairs has none, and upright is then the faces' mean direction.

    Raises:
        SemalignError: fewer than two complete faces.
    """
    complete = points[np.isfinite(points).all(axis=(1, 2))]
    if len(complete) < 2:
        raise SemalignError(
            f"{len(complete)} of {len(points)} faces have all landmarks, which is too few for a mean shape; give more faces."
        )
    if scheme.pairs:
        complete = np.concatenate([complete, complete[:, list(scheme.flip_index)] * [-1.0, 1.0]])
    return ShapeModel.fit(complete, components=0)


def rotations_in(points: Float[np.ndarray, "b n 2"], upright: ShapeModel) -> Float[np.ndarray, " b"]:
    """The angle of each face in radians, -π to π, from its landmarks.

    Args:
        points: of any frames; NaN does not count.
        upright: from `upright_shape`.

    Raises:
        SemalignError: a face with fewer than two landmarks.
    """
    maps = upright.place(points).model_to_target
    return np.arctan2(maps[:, 1, 0], maps[:, 0, 0])


@dataclass(frozen=True)
class RotationTask:
    """Pictures to the cosine and the sine of the face's angle."""

    source: PictureSource
    upright: ShapeModel

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
    ) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 2"]]:
        """Pictures and (cos, sin) of their faces' angles."""
        images, points = self.source.pictures(read, device), read.points
        angles = torch.from_numpy(rotations_in(points.numpy(), self.upright))
        return images, torch.stack([angles.cos(), angles.sin()], dim=1).float().to(device)

    def loss(self, outputs: Float[Tensor, "b 2"], targets: Float[Tensor, "b 2"]) -> Float[Tensor, ""]:
        """The mean squared distance on the unit circle's plane."""
        return (outputs - targets).square().sum(dim=1).mean()


def train_rotation(
    folder: Path,
    crops: CropCache,
    labels: np.ndarray,
    scheme: LandmarkScheme,
    training: TrainingSettings,
    settings: RotationSettings,
    seed: int,
    augmentation: AugmentationSettings = AUGMENTATION,
    advance: Callable[[int, str], None] | None = None,
) -> RotationNetwork:
    """A rotation network trained on labels; a training that was cut off is continued from its folder to the same bits.

    Args:
        folder: for checkpoint and log.
        crops: the training faces, not righted; the network sees their input squares, at any resolution.
        labels: (b, n, 2) float64 in the image frames, in the order of the crops; NaN = no label.
        scheme: of the labels.
        training: how long, how fast.
        settings: which network.
        seed: of the network and of all draws.
        augmentation: its rotation is what the network learns to tell.
        advance: called after each batch with (1, a note for the progress bar).

    Returns:
        The network with its averaged weights, in evaluation mode, on the training's device.

    Raises:
        SemalignError: fewer than two complete faces, a face with fewer than two landmarks, or a folder of a training with
            other settings.
    """
    points = crops.to_crop(labels)
    source = PictureSource(crops, scheme, augmentation, crops.input_size)
    task = RotationTask(source, upright_shape(points, scheme))
    return train_on(folder, build_rotation(settings, seed), task, points, training, seed, advance)


def rotations_of(
    network: RotationNetwork,
    crops: CropCache,
    batch_size: int = 64,
    precision: str = "fp32",
    advance: Callable[[int], None] | None = None,
) -> Float[np.ndarray, " b"]:
    """The angle of every plain crop's face in radians, -π to π, as the network sees it.

    Args:
        network: put into evaluation mode.
        crops: of any size.
        batch_size: of one pass.
        precision: of the network, 'bf16' or 'fp32'.
        advance: told how many images are done.
    """
    parts = []
    for _, found in outputs_of(network, crops, batch_size, precision, advance):
        cosine, sine = found.unbind(dim=1)
        parts.append(torch.atan2(sine, cosine).numpy())
    return np.concatenate(parts)


def righted(
    crops: CropCache, angles: Float[np.ndarray, " b"], file: Path | None = None, batch_size: int = 32
) -> CropCache:
    """The crops turned back about their middle by the faces' angles; everything else about them stays.

    `image_to_crop` holds the turn: what is found in a righted crop comes back into the image frame unturned, and labels of the
    image frame come into a righted crop turned. The corners of a turned crop are black; its input square is not, as long as
    the crop's margin is √2 at least (`CropSettings.margin` is 1.5).

    Args:
        crops: as they were cut.
        angles: in radians, from `rotations_of`.
        file: where to keep the pixels, memory-mapped; None = in memory.
        batch_size: crops warped at a time.

    Raises:
        ValueError: not one angle for each crop.
        SemalignError: the file cannot be written.
    """
    if angles.shape != (len(crops),):
        raise ValueError(f"{angles.shape} angles for {len(crops)} crops")
    turns = _turns_back(angles, crops.images.shape[1])
    maps = compose(turns, torch.from_numpy(crops.image_to_crop)).numpy()
    if file is None:
        images = np.empty(crops.images.shape, np.uint8)
        _warp_into(images, crops, turns, batch_size)
    else:
        with atomic_path(file) as temporary:
            written = np.memmap(temporary, np.uint8, "w+", shape=crops.images.shape)
            _warp_into(written, crops, turns, batch_size)
            written.flush()
            del written
        images = np.memmap(file, np.uint8, "r", shape=crops.images.shape)
    return replace(crops, images=images, image_to_crop=maps)


def _turns_back(angles: Float[np.ndarray, " b"], size: int) -> Float[Tensor, "b 2 3"]:
    """Maps (float64) that turn by minus the angles about the middle of a square of `size` pixels."""
    cosine, sine = np.cos(angles), np.sin(angles)
    linear = np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1)
    middle = np.full(2, (size - 1) / 2)
    offset = middle - linear @ middle
    return torch.from_numpy(np.concatenate([linear, offset[:, :, None]], axis=2))


def _warp_into(images: np.ndarray, crops: CropCache, turns: Float[Tensor, "b 2 3"], batch_size: int) -> None:
    """Fill `images` (b, s, s, 3) uint8 with the turned crops."""
    for start in range(0, len(crops), batch_size):
        rows = np.arange(start, min(start + batch_size, len(crops)))
        turned = warp(crops.batch(rows), turns[rows], images.shape[1])
        images[rows] = turned.mul_(255.0).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).numpy()
