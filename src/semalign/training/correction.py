"""The correction unit's training and its use (Sec. 4.5).

The landmark network is frozen. Its heatmaps of augmented pictures, with things in front of them and at low resolution, are
corrupted (`semalign.core.corruption`), and the unit regresses the labels ŷ from them. The network's forward pass is dear: each
batch of heatmaps is used several times, turned, shifted and mirrored as a whole and corrupted anew. Nothing is cached, and a
killed training continues to the same bits as any other.

There are three ways to use a unit. The paper's, *alone*, takes its points as the result. *Gated*, it replaces only those
landmarks whose peak is unconfident (`semalign.core.gate`). *Fused*, its shape and the peaks are weighed against each other by
how sure each is (`semalign.core.fusion`). Gate and fusion are calibrated on faces that the unit was not trained on.

Shape legend: b images, n landmarks, h heatmap, s side of the input, k copies of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int
from torch import Tensor

from semalign.core.affine import rescaling, transform_points
from semalign.core.corruption import CorruptionSettings, apply_corruption, draw_corruption
from semalign.core.fusion import Fusion, fit_fusion, fuse
from semalign.core.gate import Gate, fit_gate, measures, unconfidence
from semalign.core.heatmaps import decode_heatmaps
from semalign.core.sizes import REFERENCE
from semalign.core.wing import wing_loss
from semalign.data.augment import AugmentationSettings, augmented_points, draw_augmentation, moved_pictures
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.inference.heatmaps import heatmap_to_image, heatmaps_of
from semalign.inference.landmarks import Landmarks
from semalign.models.checkpoint import Model
from semalign.models.ghcu import (
    Ghcu,
    GhcuNetwork,
    GhcuSettings,
    build_ghcu,
    from_square,
    load_ghcu,
    reduce_heatmaps,
    save_ghcu,
    to_square,
)
from semalign.models.network import HeatmapNetwork
from semalign.training.settings import TrainingSettings
from semalign.training.task import PictureSource, Read
from semalign.training.trainer import make_accelerator, train_on

MODEL = "model.safetensors"
WING_WIDTH, WING_CURVATURE = 10.0, 2.0  # pixels of a 256×256 heatmap, as the next
SMOOTH_BELOW = 2.0

Use = Literal["alone", "gated", "fused"]


@dataclass(frozen=True)
class CorrectionSettings:
    """What the correction unit is trained on, and how."""

    unit: GhcuSettings = field(default_factory=GhcuSettings)
    corruption: CorruptionSettings = field(default_factory=CorruptionSettings)
    occlusion: float = 0.6  # probability of something in front of a picture's face
    occlusion_size: float = 0.6  # largest side of it, in sides of the input square
    low_resolution: float = 0.4  # probability of a picture enlarged from fewer pixels
    lowest_resolution: float = 0.2  # of them, as a share of the input's side
    copies: int = 4  # uses of each batch of heatmaps, each corrupted in its own way
    rotation: float = 8.0  # degrees, standard deviation; of the copies after the first, as are the next two
    scale: float = 0.05  # standard deviation of the logarithm
    shift: float = 0.03  # standard deviation, in sides of the heatmap
    loss: Literal["wing", "smooth-l1"] = "wing"
    held_out: float = 0.1  # share of the training faces on which gate and fusion are calibrated instead
    gate_passes: int = 4  # differently augmented pictures of each of them

    def __post_init__(self) -> None:
        if self.copies < 1 or self.gate_passes < 1:
            raise ValueError("copies and gate_passes must be at least 1")
        if not 0 < self.lowest_resolution <= 1:
            raise ValueError("lowest_resolution must be above 0 and at most 1")
        if not 0 < self.held_out < 1:
            raise ValueError("held_out must be between 0 and 1")

    @property
    def motion(self) -> AugmentationSettings:
        """What moves heatmaps as a whole and changes nothing else."""
        return AugmentationSettings(
            rotation=self.rotation, scale=self.scale, shift=self.shift, flip=0.5,
            brightness=0.0, contrast=0.0, colour=0.0, grey=0.0, blur=0.0, occlusion=0.0,
        )  # fmt: skip

    def harder(self, augmentation: AugmentationSettings) -> AugmentationSettings:
        """The landmark network's own augmentation with more in front of the face."""
        return replace(augmentation, occlusion=self.occlusion, occlusion_size=self.occlusion_size)


@dataclass(frozen=True)
class CorrectionTask:
    """Corrupted heatmaps of a frozen network to the labels.

    Attributes:
        source: pictures; its augmentation is used as it is, see `CorrectionSettings.harder`.
        base: the landmark network, in evaluation mode.
        faces: rows of the source's crops that are trained on.
        settings: the rest.
        precision: of the landmark network.
    """

    source: PictureSource
    base: HeatmapNetwork
    faces: np.ndarray
    settings: CorrectionSettings
    precision: str = "fp32"

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.faces)

    def read(
        self, rows: np.ndarray, labels: np.ndarray, generator: torch.Generator, share: slice, device: torch.device
    ) -> Read:
        """As `Task.read`; `rows` are places in `faces`."""
        return self.source.read(self.faces[rows], labels, generator, share, device)

    def batch(
        self, read: Read, generator: torch.Generator, device: torch.device
    ) -> tuple[Float[Tensor, "kb n h h"], Float[Tensor, "kb n 2"]]:
        """All copies of the batch's heatmaps, one copy after the other, and their points in the normalised square."""
        heatmaps, points = self.seen(read, generator, device)
        share = read.share
        size = self.settings.unit.fitted(heatmaps.shape[-1]).input_size
        points = transform_points(points, rescaling(heatmaps.shape[-1], size))
        heatmaps = reduce_heatmaps(heatmaps, size)
        maps, targets = [], []
        for index in range(self.settings.copies):
            moved, moved_points = heatmaps, points
            if index:
                moved, moved_points = self._move(heatmaps, points, read.faces, generator, share)
            drawn = draw_corruption(self.settings.corruption, read.faces, heatmaps.shape[1], size, generator)
            maps.append(apply_corruption(moved, drawn.rows(share.start, share.stop)))
            targets.append(to_square(moved_points, size).float())
        return torch.cat(maps).contiguous(memory_format=torch.channels_last), torch.cat(targets).to(device)

    def seen(
        self, read: Read, generator: torch.Generator, device: torch.device
    ) -> tuple[Float[Tensor, "b n h h"], Float[Tensor, "b n 2"]]:
        """What the network makes of harder pictures, and the labels in its heatmaps' frame (float64, on the CPU)."""
        images, size = self.source.pictures(read, device), self.source.input_size
        sides = draw_resolutions(self.settings, read.faces, size, generator)[read.share]
        images = lower_resolution(images, sides).contiguous(memory_format=torch.channels_last)
        # Not inference mode: what it makes cannot be an input of layers that learn.
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            heatmaps = self.base(images)[-1].float().contiguous()
        return heatmaps, transform_points(read.points, rescaling(size, heatmaps.shape[-1]))

    def _move(
        self,
        heatmaps: Float[Tensor, "b n h h"],
        points: Float[Tensor, "b n 2"],
        batch: int,
        generator: torch.Generator,
        share: slice,
    ) -> tuple[Float[Tensor, "b n h h"], Float[Tensor, "b n 2"]]:
        """The heatmaps turned, enlarged, shifted and perhaps mirrored as a whole, and their points."""
        size = heatmaps.shape[-1]
        drawn = draw_augmentation(self.settings.motion, batch, size, size, generator).rows(share.start, share.stop)
        flip = torch.tensor(self.source.scheme.flip_index)
        moved = moved_pictures(heatmaps, drawn, size)
        flipped = drawn.flipped.to(heatmaps.device)
        moved[flipped] = moved[flipped][:, flip.to(heatmaps.device)]
        return moved, augmented_points(points, drawn, flip)

    def loss(self, outputs: Float[Tensor, "b n 2"], targets: Float[Tensor, "b n 2"]) -> Float[Tensor, ""]:
        """In pixels of a 256×256 heatmap, the mean over the coordinates that there are."""
        outputs, targets = outputs.float() * REFERENCE, targets * REFERENCE
        if self.settings.loss == "wing":
            return wing_loss(outputs, targets, WING_WIDTH, WING_CURVATURE)
        known = targets.isfinite()
        losses = F.smooth_l1_loss(
            outputs, torch.where(known, targets, outputs.detach()), reduction="sum", beta=SMOOTH_BELOW
        )
        return losses / known.sum().clamp(min=1)


def draw_resolutions(
    settings: CorrectionSettings, batch: int, size: int, generator: torch.Generator
) -> Int[Tensor, " {batch}"]:
    """The side in pixels that each picture is lowered to; `size` for those that keep theirs."""
    lowered = torch.rand(batch, generator=generator) < settings.low_resolution
    low = settings.lowest_resolution
    share = low + (1 - low) * torch.rand(batch, generator=generator).square()
    return torch.where(lowered, (share * size).round().long().clamp(min=1), size)


def lower_resolution(images: Float[Tensor, "b 3 s s"], sides: Int[Tensor, " b"]) -> Float[Tensor, "b 3 s s"]:
    """Pictures as if enlarged from `sides` pixels: area-averaged down, interpolated back. Their own side changes nothing."""
    size = images.shape[-1]
    result = images.clone()
    for row in (sides < size).nonzero().flatten().tolist():
        small = F.interpolate(images[row : row + 1], (int(sides[row]),) * 2, mode="area")
        result[row] = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)[0]
    return result


def train_ghcu(
    folder: Path,
    base: Model,
    crops: CropCache,
    labels: np.ndarray,
    training: TrainingSettings,
    settings: CorrectionSettings,
    augmentation: AugmentationSettings,
    seed: int,
    about: Mapping[str, Any] | None = None,
    advance: Callable[[int, str], None] | None = None,
) -> Ghcu:
    """Train a correction unit for a landmark network and calibrate its gate; a finished one is only read.

    Args:
        folder: for log, checkpoint and the unit's file.
        base: the landmark network; it is moved to the training's device and not changed.
        crops: of the training faces.
        labels: ŷ, (b, n, 2) float64 in the crop frames; NaN where a landmark has none.
        training: how long, how fast.
        settings: what the unit is trained on.
        augmentation: the landmark network's; its occlusion is replaced by the settings'.
        seed: of weights, draws and which faces are held out.
        about: kept in the unit's file, JSON values only.
        advance: as for `Trainer.fit`.

    Raises:
        SemalignError: fewer than two faces, or a checkpoint of other settings in the folder.
    """
    if len(crops) < 2:
        raise SemalignError(
            f"{folder}: a correction unit needs at least 2 faces to train and to calibrate on; give it more."
        )
    accelerator = make_accelerator()
    path = Path(folder) / MODEL
    if path.is_file():
        ghcu = load_ghcu(path, base.scheme)
        ghcu.network.to(accelerator.device)
        return ghcu
    base.network.to(accelerator.device).eval()
    source = PictureSource(crops, base.scheme, settings.harder(augmentation), base.network.input_size)
    taught, held_out = split_rows(len(crops), settings.held_out, seed)
    task = CorrectionTask(source, base.network, taught, settings, training.precision)
    unit = _new_unit(base, crops, labels[taught], settings, seed)
    network = train_on(folder, unit, task, labels, training, seed, advance)
    gate, fusion = calibrate(network, replace(task, faces=held_out), labels, base.sigma, seed)
    ghcu = Ghcu(network, base.scheme, gate, fusion, dict(about or {}))
    _save_once(path, ghcu, accelerator)
    return ghcu


def split_rows(count: int, held_out: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, in rising order; at least one of each."""
    order = np.random.default_rng([seed, count]).permutation(count)
    aside = min(max(round(count * held_out), 1), count - 1)
    return np.sort(order[aside:]), np.sort(order[:aside])


def _new_unit(
    base: Model, crops: CropCache, labels: np.ndarray, settings: CorrectionSettings, seed: int
) -> GhcuNetwork:
    """A unit that begins at the mean of the labels (crop frames)."""
    network = base.network
    try:
        unit = settings.unit.fitted(network.heatmap_size)
    except ValueError as error:
        raise SemalignError(f"correction unit: {error}; choose another input_size.") from error
    points = transform_points(torch.from_numpy(labels), crops.crop_to_input[None])
    mean = to_square(points, network.input_size).nanmean(dim=0).nan_to_num()
    return build_ghcu(unit, base.scheme.count, seed, mean.float())


def _save_once(path: Path, ghcu: Ghcu, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        save_ghcu(path, ghcu)
    accelerator.wait_for_everyone()


class Corrected(NamedTuple):
    """Points of the heatmap frame, where they are not the heatmaps' own peaks, and the heights of those."""

    points: Float[Tensor, "b n 2"]
    replaced: Bool[Tensor, "b n"]
    confidence: Float[Tensor, "b n"]


@torch.no_grad()
def correct(ghcu: Ghcu, heatmaps: Float[Tensor, "b n h h"], sigma: float, use: Use = "fused") -> Corrected:
    """Correct the landmarks that a network's heatmaps show.

    Args:
        ghcu: on the heatmaps' device, in evaluation mode.
        heatmaps: the network's, float32; their side must be a multiple of the unit's input.
        sigma: σ of the Gaussians that the network was trained on, in heatmap pixels.
        use: "alone" takes all points from the unit, as the paper does, "gated" those that are unconfident in the heatmaps;
            "fused" the most probable shape given both (`semalign.core.fusion`).

    Raises:
        SemalignError: the use needs a calibration that the unit lacks.
    """
    decoded = decode_heatmaps(heatmaps, sigma)
    unit = from_square(ghcu.network(heatmaps), heatmaps.shape[-1])
    everywhere = torch.ones_like(decoded.confidence, dtype=torch.bool)
    if use == "alone":
        return Corrected(unit, everywhere, decoded.confidence)
    measured = measures(*decoded, unit)
    if use == "gated" and ghcu.gate is not None:
        replaced = unconfidence(ghcu.gate, measured) > 0
        return Corrected(torch.where(replaced[..., None], unit, decoded.points), replaced, decoded.confidence)
    if use == "fused" and ghcu.fusion is not None:
        return Corrected(fuse(ghcu.fusion, unit, decoded.points, measured), everywhere, decoded.confidence)
    raise SemalignError(f"this correction unit was not calibrated to be used {use}; use it alone or train it again.")


def predict_corrected(
    base: Model,
    ghcu: Ghcu,
    crops: CropCache,
    use: Use = "fused",
    batch_size: int = 32,
    precision: str = "fp32",
    tta: int = 1,
    advance: Callable[[int], None] | None = None,
) -> Landmarks:
    """The corrected landmarks on every crop, and the heights of the heatmaps' peaks; `tta` as for `heatmaps_of`.

    Raises:
        SemalignError: the unit is for other landmarks or other heatmaps than the network's, or lacks the calibration.
    """
    _refuse_misfit(base, ghcu)
    device = base.network.device
    ghcu.network.to(device).eval()
    points, confidence = [], []
    for rows, heatmaps in heatmaps_of(base.network, crops, batch_size, precision, tta, base.scheme.flip_index):
        corrected = correct(ghcu, heatmaps, base.sigma, use)
        to_image = heatmap_to_image(base.network, crops, rows)
        points.append(transform_points(corrected.points.cpu().double(), to_image).numpy())
        confidence.append(corrected.confidence.cpu().numpy())
        if advance is not None:
            advance(len(rows))
    return Landmarks(np.concatenate(points), np.concatenate(confidence).astype(np.float64), base.scheme)


def _refuse_misfit(base: Model, ghcu: Ghcu) -> None:
    if base.scheme != ghcu.scheme:
        raise SemalignError(
            f"the correction unit is for the landmark scheme {ghcu.scheme.name!r}, the network for {base.scheme.name!r}; "
            "use a unit that was trained for this network."
        )
    side, unit = base.network.heatmap_size, ghcu.network.settings.input_size
    if side % unit:
        raise SemalignError(
            f"the correction unit takes heatmaps of {unit}×{unit}, the network gives {side}×{side}; "
            "use a unit that was trained for this network."
        )


@torch.no_grad()
def calibrate(
    network: GhcuNetwork,
    task: CorrectionTask,
    labels: np.ndarray,
    sigma: float,
    seed: int,
    batch_size: int = 32,
) -> tuple[Gate, Fusion]:
    """The gate that gains most on the task's faces, and the fusion that fits them.

    They are seen in harder pictures, whose heatmaps are not corrupted further.

    Args:
        network: in evaluation mode.
        task: its faces are those to calibrate on, which the unit should not have been trained on.
        labels: as for `train_ghcu`.
        sigma: of the landmark network's Gaussians, heatmap pixels.
        seed: of the pictures.
        batch_size: pictures at a time.
    """
    device = next(network.parameters()).device
    seen: list[tuple[Tensor, ...]] = []
    for index in range(task.settings.gate_passes):
        for start in range(0, len(task), batch_size):
            draw = int(np.random.default_rng([seed, index, start]).integers(2**62))
            rows = np.arange(start, min(start + batch_size, len(task)))
            generator = torch.Generator().manual_seed(draw)
            read = task.read(rows, labels, generator, slice(0, len(rows)), device)
            heatmaps, target = task.seen(read, generator, device)
            decoded = decode_heatmaps(heatmaps, sigma)
            unit = from_square(network(heatmaps), heatmaps.shape[-1])
            seen.append((decoded.points, unit, measures(*decoded, unit), target.to(unit)))
    peaks, unit, measured, target = (torch.cat(parts).cpu() for parts in zip(*seen, strict=True))
    gain = (peaks - target).norm(dim=-1) - (unit - target).norm(dim=-1)
    known = gain.isfinite()
    gate = fit_gate(measured[known].double().numpy(), gain[known].double().numpy())
    return gate, fit_fusion(unit, peaks, measured, target)
