"""Write what an installation without PyTorch computes: each shipped model and the face mesh as ONNX files beside their weights.

    python benchmarks/shipped_onnx.py --data 300w

`300w-detector`, which is twice as fast so, is written as int8, its ranges measured on training faces of the data; the others
compute in float32 and keep their weights as float16. The table compares each file with the model file on the test faces, from
the annotated boxes. After new weights run it again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import QUANTISED, DataFolder, Row, finish, run

from semalign.export import export_onnx, quantize_onnx
from semalign.export.crops import training_crops
from semalign.export.mesh import export_face_mesh
from semalign.inference.meshes import WEIGHTS
from semalign.inference.onnx import input_squares
from semalign.models import pretrained
from semalign.pipeline import evaluate_model

MOST = 9 * 2**20  # bytes of a file that ships
FIGURES = ("count", "nme_interocular", "nme_interpupil", "nme_box")


def main(
    data: DataFolder,
    count: Annotated[int, typer.Option(help="Training faces by which the ranges of int8 are measured.")] = 64,
    mesh: Annotated[bool, typer.Option(help="Whether the face mesh is written, too, which takes minutes.")] = True,
) -> None:
    rows: list[Row] = []
    for name, path in pretrained.available().items():
        file = path.with_suffix(pretrained.EXPORTED)
        precision = write(name, file, data, count)
        for form, model in (("PyTorch, float32", path), (f"ONNX Runtime, {precision}", file)):
            figures = evaluate_model(model, data)["subsets"]["all"]
            size = round(model.stat().st_size / 2**20, 2)
            rows.append({"model": name, "form": form, "MiB": size} | {key: figures[key] for key in FIGURES})
    if mesh:
        export_face_mesh(WEIGHTS)
    finish("shipped-onnx", rows, 4)


def write(name: str, file: Path, data: Path, count: int) -> str:
    """Write a model's file; its precision."""
    model = pretrained.load(name)
    if name in QUANTISED:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "float32.onnx"
            export_onnx(plain, model)
            crops = training_crops(model, data, count)
            quantize_onnx(file, plain, input_squares(crops, np.arange(len(crops))))
    else:
        export_onnx(file, model, half=True)
    if file.stat().st_size > MOST:
        raise SystemExit(f"{file}: is larger than {MOST / 2**20:.0f} MiB, and must not ship.")
    return "int8" if name in QUANTISED else "float32"


if __name__ == "__main__":
    run(main)
