"""How much a detector minds where a face lies on its grid.

    python benchmarks/resampling.py MODEL [MODEL ...] --data 300w [--split test]

Each model reads every face's crop as it is and moved by some pixels of the input, without label adaptation. Given
are the root mean square distance between the two answers for the same face, in pixels of the input, the error of the first,
and that of their mean: what the mean gains is noise that one answer has.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from harness import DataFolder, Row, faces_of, finish, run

from semalign.core.affine import compose
from semalign.core.metrics import distances, mean_errors
from semalign.data import open_dataset
from semalign.data.crops import CropCache
from semalign.inference.heatmaps import predict
from semalign.models import pretrained
from semalign.models.checkpoint import Model

MOVES = ((1, 0), (2, 2), (4, 4), (-4, 4))


def main(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Shipped models or model files.")],
    data: DataFolder,
    split: str = "test",
) -> None:
    finish("resampling", [row for name in models for row in measure(name, data, split)])


def measure(name: str, data: Path, split: str) -> list[Row]:
    """A row for each move."""
    model = pretrained.load(name)
    dataset = open_dataset(data, model.scheme).select(split=split)

    def error(points: np.ndarray) -> float:
        return mean_errors(points, dataset.points(), model.scheme)["nme_interpupil"]

    rows = []
    crops = faces_of(dataset, model.crop, model.input_size).crops
    plain = look(model, crops, (0, 0))
    scale = np.sqrt(np.abs(np.linalg.det(crops.image_to_crop[:, :, :2])))[:, None]
    for move in MOVES:
        moved = look(model, crops, move)
        rows.append(
            {
                "model": pretrained.resolve(name).name,
                "resampling": getattr(model.network.settings, "resampling", ""),  # of hourglasses
                "data": dataset.name,
                "split": split,
                "faces": len(dataset),
                "moved by": f"{move[0]} {move[1]}",
                "rms apart, px of the input": float(np.sqrt(((distances(moved, plain) * scale) ** 2).mean())),
                "nme_interpupil": error(plain),
                "nme_interpupil of the mean": error((plain + moved) / 2),
            }
        )
    return rows


def look(model: Model, crops: CropCache, move: tuple[int, int]) -> np.ndarray:
    """The network's landmarks where the crops' contents are moved by whole pixels; in the image frames."""
    shift = torch.tensor([[1.0, 0.0, move[0]], [0.0, 1.0, move[1]]], dtype=torch.float64)
    moved = replace(
        crops,
        images=np.roll(crops.images, move, (2, 1)),
        image_to_crop=compose(shift[None], torch.from_numpy(crops.image_to_crop)).numpy(),
    )
    return predict(model.network, moved, model.sigma, model.scheme).points


if __name__ == "__main__":
    run(main)
