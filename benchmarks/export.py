"""What exporting a model costs in accuracy: PyTorch, ONNX in float32, ONNX in int8, on the same test faces.

    python benchmarks/export.py --data 300w [--model default]

int8 is calibrated on 64 training faces, spread evenly over the data set. Errors are in %, from the annotated boxes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from results import finish

from semalign.core.metrics import mean_errors
from semalign.data import open_dataset
from semalign.data.crops import build_crops
from semalign.export import export_onnx, quantize_onnx
from semalign.inference import Landmarker, OnnxBackend
from semalign.inference.onnx import input_squares
from semalign.models import pretrained

CALIBRATION = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(options.model, options.data, Path(folder))
    finish("export", rows, digits=3)


def compare(name: str, data: Path, folder: Path) -> list[dict[str, Any]]:
    model = pretrained.load(name)
    dataset = open_dataset(data, model.scheme)
    size = model.input_size
    train, test = dataset.select(split="train"), dataset.select(split="test")
    chosen = np.linspace(0, len(train) - 1, CALIBRATION).round().astype(int)
    seen = build_crops(folder / "crops", [train.samples[row] for row in chosen], model.crop, size)
    crops = build_crops(folder / "crops", test.samples, model.crop, size)
    plain, int8 = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(plain, model)
    quantize_onnx(int8, plain, input_squares(seen, np.arange(len(seen)), "uint8"))
    ours = Landmarker(model).on_crops(crops).points
    found = (
        ("PyTorch", pretrained.resolve(name), ours),
        ("ONNX float32", plain, Landmarker(OnnxBackend(plain)).on_crops(crops).points),
        ("ONNX int8", int8, Landmarker(OnnxBackend(int8)).on_crops(crops).points),
    )
    scale = np.hypot(*crops.image_to_crop[:, :, 0].T)[:, None]
    return [
        {
            "model": pretrained.resolve(name).name,
            "data": dataset.name,
            "test faces": len(test),
            "form": form,
            **mean_errors(points, test.points(), model.scheme),
            "largest difference, px of the crop": float((np.linalg.norm(points - ours, axis=2) * scale).max()),
            "MiB": path.stat().st_size / 2**20,
        }
        for form, path, points in found
    ]


if __name__ == "__main__":
    main()
