"""What exporting a model costs in accuracy: PyTorch, ONNX in float32, ONNX in int8, on the same test faces.

    python benchmarks/export.py --data 300w [--model default]

int8 is calibrated on 64 training faces, spread evenly over the data set. Errors are in %, from the annotated boxes.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import DataFolder, ModelName, Row, faces_of, finish, predicted, run

from semalign.core.metrics import mean_errors
from semalign.data import open_dataset
from semalign.export import export_onnx, quantize_onnx
from semalign.inference import OnnxBackend
from semalign.inference.onnx import input_squares
from semalign.models import pretrained

CALIBRATION = 64


def main(data: DataFolder, model: ModelName = "default") -> None:
    with tempfile.TemporaryDirectory() as folder:
        finish("export", compare(model, data, Path(folder)), digits=3)


def compare(name: str, data: Path, folder: Path) -> list[Row]:
    model = pretrained.load(name)
    dataset = open_dataset(data, model.scheme)
    train, test = dataset.select(split="train"), dataset.select(split="test")
    chosen = np.linspace(0, len(train) - 1, CALIBRATION).round().astype(int)
    train = replace(train, samples=tuple(train.samples[row] for row in chosen))
    seen, faces = (faces_of(part, model.crop, model.input_size) for part in (train, test))
    plain, int8 = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(plain, model)
    quantize_onnx(int8, plain, input_squares(seen.crops, np.arange(CALIBRATION), "uint8"))
    ours = predicted(model, faces)
    found = (
        ("PyTorch", pretrained.resolve(name), ours),
        ("ONNX float32", plain, predicted(OnnxBackend(plain), faces)),
        ("ONNX int8", int8, predicted(OnnxBackend(int8), faces)),
    )
    scale = np.hypot(*faces.crops.image_to_crop[:, :, 0].T)[:, None]
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
    run(main)
