"""What a landmark network finds in faces of a data set when things are in front of them.

A network knows the faces that it was trained on, and its label adaptation all but repeats their labels. So where the faces are
those, the label adaptation that is used here is learned anew, for each part of the faces from the others.

Shape legend: b faces, n landmarks, s side of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from semalign.core.affine import rescaling, transform_points
from semalign.core.heatmaps import decode_heatmaps, peak_spread
from semalign.core.kernel_adaptation import fit_kernel_adaptation
from semalign.data.augment import AugmentationSettings, apply_augmentation, augmented_points, draw_augmentation
from semalign.data.crops import CropCache, as_pictures
from semalign.files import atomic_path
from semalign.inference.tta import mean_heatmaps
from semalign.models.checkpoint import Model
from semalign.models.network import HeadedNetwork, HeatmapNetwork
from semalign.models.norm import folded
from semalign.synthetic.occlusion import paste_something
from semalign.training.shape_correction import SeenFaces, together

PARTS = 4  # of the faces, for the label adaptation
BATCHES = 8  # in a file of what is kept


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
    kept: Path | None = None,
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
        kept: folder in which what is seen is kept, some batches a file. What it holds, which must be of the same arguments, is
            not looked at again, and the result is the same to the bit.
    """
    network, device = model.network.eval(), model.network.device
    if device.type == "cpu" and isinstance(network, HeadedNetwork):
        network = folded(network)
    looker = _Looker(model, network, crops, labels, settings, seed, precision)
    parts: list[SeenFaces] = []
    block = batch_size * BATCHES
    for index in range(settings.passes):
        for first in range(0, len(crops), block):
            file = None if kept is None else kept / f"seen-{index}-{first}.npz"
            found = None if file is None else _read(file)
            if found is not None and advance is not None:
                advance(len(found.points))
            if found is None:
                starts = range(first, min(first + block, len(crops)), batch_size)
                found = together(looker.batch(index, start, batch_size, advance) for start in starts)
                if file is not None:
                    _write(file, found)
            parts.append(found)
    seen = together(parts)
    return seen if model.adaptation is None else _adapted(seen, len(crops), seed)


@dataclass(frozen=True, eq=False)
class _Looker:
    """What `see_hidden_faces` looks at, and with what; each batch is a function of its number alone."""

    model: Model
    network: HeatmapNetwork
    crops: CropCache
    labels: Float[np.ndarray, "b n 2"]
    settings: HiddenFacesSettings
    seed: int
    precision: str

    def batch(self, index: int, start: int, batch_size: int, advance: Callable[[int], None] | None) -> SeenFaces:
        """Some faces in one pass."""
        model, device, size = self.model, self.model.network.device, self.model.input_size
        rows = np.arange(start, min(start + batch_size, len(self.crops)))
        pictures, hidden = _hidden(self.crops, self.labels, rows, index, self.settings, self.seed)
        generator = torch.Generator().manual_seed(int(np.random.default_rng([self.seed, index, start]).integers(2**62)))
        drawn = draw_augmentation(self.settings.augmentation, len(rows), pictures.shape[1], size, generator)
        tensor, plain = as_pictures(torch.from_numpy(pictures), device), torch.eye(2, 3, dtype=torch.float64)
        inputs = apply_augmentation(tensor, drawn, size)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            heatmaps = mean_heatmaps(self.network, inputs, plain, min(model.tta, 2), model.scheme.flip_index)
        decoded = decode_heatmaps(heatmaps, model.sigma)
        spread = peak_spread(heatmaps, decoded.points, model.sigma) * (size / heatmaps.shape[-1])
        known = augmented_points(torch.from_numpy(self.labels[rows]), drawn, torch.arange(self.labels.shape[1]))
        if advance is not None:
            advance(len(rows))
        return SeenFaces(
            transform_points(decoded.points.cpu().double(), rescaling(heatmaps.shape[-1], size)).numpy(),
            decoded.confidence.cpu().double().numpy(),
            spread.cpu().double().numpy(),
            known.numpy(),
            hidden,
        )


def _write(file: Path, seen: SeenFaces) -> None:
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, *_values(seen))


def _read(file: Path) -> SeenFaces | None:
    """What was kept in a file; None where there is none, or a damaged one."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return SeenFaces(*(arrays[f"arr_{index}"] for index in range(len(fields(SeenFaces)))))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


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
