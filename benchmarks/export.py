"""What exporting a model costs in accuracy: PyTorch, ONNX in float32, ONNX in int8, on the same test faces.

    python benchmarks/export.py --data 300w [--model default]

int8 is calibrated on 64 training faces, spread evenly over the data set. Errors are in %, from the annotated boxes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from results import write_results
from rich.console import Console
from rich.table import Table

from semalign.data import open_dataset
from semalign.data.crops import CropCache, build_crops
from semalign.export import OnnxModel, export_onnx, quantize_onnx
from semalign.export.runtime import input_squares
from semalign.models import pretrained
from semalign.pipeline.stages import quick_nme
from semalign.training.inference import detect

CALIBRATION = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(options.model, options.data, Path(folder))
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=150).print(table)
    Console().print(f"written: {write_results('export', rows)}")


def compare(name: str, data: Path, folder: Path) -> list[dict[str, Any]]:
    model = pretrained.load(name)
    dataset = open_dataset(data, model.scheme)
    size = model.network.settings.input_size
    train, test = dataset.select(split="train"), dataset.select(split="test")
    chosen = np.linspace(0, len(train) - 1, CALIBRATION).round().astype(int)
    seen = build_crops(folder / "crops", [train.samples[row] for row in chosen], model.crop, size)
    crops = build_crops(folder / "crops", test.samples, model.crop, size)
    plain, int8 = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(plain, model)
    quantize_onnx(int8, plain, input_squares(seen, np.arange(len(seen)), "uint8"))
    finders: dict[str, tuple[Callable[[CropCache], np.ndarray], Path]] = {
        "PyTorch": (lambda _: ours, pretrained.resolve(name)),
        "ONNX float32": (lambda faces: OnnxModel(plain).predict(faces).points, plain),
        "ONNX int8": (lambda faces: OnnxModel(int8).predict(faces).points, int8),
    }
    common = {"model": pretrained.resolve(name).name, "data": dataset.name, "test faces": len(test)}
    scale = np.hypot(*crops.image_to_crop[:, :, 0].T)[:, None]
    ours = detect(model, crops).points
    rows = []
    for title, (find, path) in finders.items():
        points = find(crops)
        moved = np.linalg.norm(points - ours, axis=2) * scale
        error = quick_nme(points, test.points(), model.scheme)
        most = {"largest difference, px of the crop": float(moved.max()), "MiB": path.stat().st_size / 2**20}
        rows.append(common | {"form": title} | error | most)
    return rows


if __name__ == "__main__":
    main()
