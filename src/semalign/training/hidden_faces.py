"""What a landmark network finds in faces of a data set when things are in front of them.

A network knows the faces that it was trained on, and its label adaptation all but repeats their labels. So where the faces are
those, the label adaptation that is used here is learned anew, for each part of the faces from the others.

Shape legend: b faces, n landmarks, s side of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from semalign.core.affine import rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, peak_spread
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.data.augment import AugmentationSettings, apply_augmentation, augmented_points, draw_augmentation
from semalign.data.crops import CropCache
from semalign.inference.tta import mean_heatmaps
from semalign.models.checkpoint import Model
from semalign.models.network import HeadedNetwork
from semalign.models.norm import folded
from semalign.synthetic.occlusion import paste_something
from semalign.training.shape_correction import SeenFaces

PARTS = 4  # of the faces, for the label adaptation


@dataclass(frozen=True)
class HiddenFacesSettings:
    """How faces are hidden and changed."""

    passes: int = 6  # over all faces; in the first nothing is in front of them
    most: float = 0.5  # share of the face that is hidden at most
    augmentation: AugmentationSettings = field(
        default_factory=lambda: AugmentationSettings(
            rotation=8.0, scale=0.06, shift=0.02, flip=0.0, brightness=0.08, contrast=0.15, colour=0.08, occlusion=0.0
        )
    )

    def __post_init__(self) -> None:
        if self.passes < 1 or not 0 < self.most <= 1:
            raise ValueError("passes must be at least 1, most above 0 and at most 1")
        if self.augmentation.flip or self.augmentation.occlusion:
            raise ValueError("mirrored faces are added later, and what is in front of faces is drawn here")


def see_hidden_faces(
    model: Model,
    crops: CropCache,
    labels: Float[np.ndarray, "b n 2"],
    settings: HiddenFacesSettings,
    seed: int,
    batch_size: int = 32,
    precision: str = "fp32",
    advance: Callable[[int], None] | None = None,
) -> SeenFaces:
    """Every face in every pass: what the model finds in it, in pixels of the input.

    Args:
        model: the landmark network.
        crops: of faces, with the network's margin.
        labels: in the crop frames, all there.
        settings: how they are hidden.
        seed: of what is in front of whom, and of the changes.
        batch_size: pictures at a time.
        precision: of the network.
        advance: told how many more pictures are done.
    """
    network, device = model.network.eval(), model.network.device
    if device.type == "cpu" and isinstance(network, HeadedNetwork):
        network = folded(network)
    size = model.input_size
    plain = torch.eye(2, 3, dtype=torch.float64)
    parts: list[SeenFaces] = []
    for index in range(settings.passes):
        for start in range(0, len(crops), batch_size):
            rows = np.arange(start, min(start + batch_size, len(crops)))
            pictures, hidden = _hidden(crops, labels, rows, index, settings, seed)
            generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, index, start]).integers(2**62)))
            drawn = draw_augmentation(settings.augmentation, len(rows), pictures.shape[1], size, generator)
            tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255).to(device)
            inputs = apply_augmentation(tensor, drawn, size)
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                heatmaps = mean_heatmaps(network, inputs, plain, min(model.tta, 2), model.scheme.flip_index)
            decoded = decode_heatmaps(heatmaps, model.sigma)
            spread = peak_spread(heatmaps, decoded.points, model.sigma) * (size / heatmaps.shape[-1])
            to_input = rescaling(heatmaps.shape[-1], size)
            known = torch.from_numpy(labels[rows])
            parts.append(
                SeenFaces(
                    transform_points(decoded.points.cpu().double(), to_input).numpy(),
                    decoded.confidence.cpu().double().numpy(),
                    spread.cpu().double().numpy(),
                    augmented_points(known, drawn, torch.arange(labels.shape[1])).numpy(),
                    hidden,
                )
            )
            if advance is not None:
                advance(len(rows))
    seen = SeenFaces(*(np.concatenate(values) for values in zip(*(_values(part) for part in parts), strict=True)))
    return seen if model.adaptation is None else _adapted(seen, len(crops), seed)


def _values(part: SeenFaces) -> tuple[np.ndarray, ...]:
    assert part.spread is not None
    return part.points, part.confidence, part.spread, part.labels, part.hidden


def _hidden(
    crops: CropCache, labels: np.ndarray, rows: np.ndarray, index: int, settings: HiddenFacesSettings, seed: int
) -> tuple[UInt8[np.ndarray, "b _ _ 3"], Bool[np.ndarray, "b n"]]:
    """The crops of some faces in one pass, and which landmarks are hidden."""
    pictures, hidden = [], []
    for row in rows.tolist():
        rng = np.random.default_rng([seed, index, row])
        share = rng.uniform(0, settings.most) if index else 0.0
        other = crops.images[int(rng.integers(len(crops)))]
        found = paste_something(rng, np.asarray(crops.images[row]), labels[row], share, other)
        pictures.append(found.picture)
        hidden.append(found.hidden)
    return np.stack(pictures), np.stack(hidden)


def _adapted(seen: SeenFaces, faces: int, seed: int) -> SeenFaces:
    """After a label adaptation that each face has no part in, learned from the first pass."""
    part = np.random.default_rng(seed).permutation(faces) % PARTS
    all_parts = np.tile(part, len(seen.points) // faces)
    points = seen.points.copy()
    for index in range(PARTS):
        others, own = np.flatnonzero(part != index), all_parts == index
        if len(others) > 1 and own.any():
            adaptation = fit_kernel_adaptation(seen.points[others], seen.labels[others])
            points[own] = adaptation.corrected(points[own])
    return SeenFaces(points, seen.confidence, seen.spread, seen.labels, seen.hidden)
