"""The command that writes a model for others to use: without PyTorch, or as a small model file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from semalign.cli.options import Model, Overwrite, argument, flag, option
from semalign.cli.output import claim_file, say

Format = Literal["onnx", "safetensors"]
Pixels = Literal["uint8", "float32"]


def export(
    model: Model,
    out: Annotated[
        Path, argument("OUT", "File to write, such as model.onnx; the ending is added where it is missing.")
    ],
    kind: Annotated[
        Format, option("--format", "FORMAT", "onnx, or safetensors: a model file of half the size.", default=True)
    ] = "onnx",
    pixels: Annotated[
        Pixels,
        option("--pixels", "TYPE", "Crops the file takes: uint8 (0 to 255) or float32 (0 to 1), RGB.", default=True),
    ] = "uint8",
    int8: Annotated[
        bool, flag("--int8", "Quantise to 8-bit integers; the ranges are measured on faces of --data.")
    ] = False,
    data: Annotated[
        Path | None,
        option("--data", "PATH", "Faces for --int8, a data set; also compares the file's answers."),
    ] = None,
    count: Annotated[
        int,
        option("--count", "N", "Training faces of --data to calibrate with and to compare on.", default=True, min=1),
    ] = 64,
    terms: Annotated[str | None, option("--terms", "TEXT", "Terms of use, written into the file.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model with its decoding as an ONNX file: RGB crops in, landmark coordinates and confidences out.

    With --format safetensors it is a model file as before, with float16 weights: half as large, the same answers.

    Input `images` is (b, 3, s, s), any b. Outputs are `points` (b, n, 2), x and y in pixels of the crop with centres at
    integers from 0, and `confidence` (b, n). Landmark names, the crop's size around a face and the model's terms are in
    the file's metadata. With --data, the file's points are compared with those of the model.

    Examples:
        semalign export default landmarks.onnx
        semalign export runs/300w/aligned/model.safetensors model.onnx
        semalign export runs/300w/aligned/model.safetensors small.onnx --int8 --data ~/300w
        semalign export runs/300w/aligned/model.safetensors small.safetensors --format safetensors --terms "research only"
    """
    import tempfile
    from dataclasses import replace

    from semalign.errors import SemalignError
    from semalign.export import export_onnx, quantize_onnx
    from semalign.export.crops import training_crops
    from semalign.export.onnx import refuse_int8
    from semalign.inference.onnx import input_squares
    from semalign.locks import one_writer_of
    from semalign.models import pretrained
    from semalign.models.checkpoint import save_model

    if int8 and kind != "onnx":
        raise SemalignError("--int8 is for ONNX files; leave it out, or choose --format onnx.")
    if int8 and data is None:
        raise SemalignError("--int8 measures ranges on faces; give a data set with --data.")
    out = named(out, kind)
    claim_file(out, overwrite)
    loaded = pretrained.load(model)
    if int8:
        refuse_int8(model, loaded.network.settings)
    if terms is not None:
        loaded = replace(loaded, about={**loaded.about, "terms": terms})
    if kind == "safetensors":
        with one_writer_of(out):
            save_model(out, loaded, half=True)
        say(f"model: {out}")
        return
    with one_writer_of(out), tempfile.TemporaryDirectory(prefix="semalign-") as folder:
        crops = None if data is None else training_crops(loaded, data, count)
        if int8 and crops is not None:
            plain = Path(folder) / "float32.onnx"
            export_onnx(plain, loaded, pixels)
            quantize_onnx(out, plain, input_squares(crops, _rows(crops), pixels))
        else:
            export_onnx(out, loaded, pixels)
        if crops is not None:
            say(_comparison(loaded, out, crops))
    say(f"{kind} model: {out}")


def named(out: Path, kind: Format) -> Path:
    """The file with the format's ending, which is added where there is none: the ending tells how a model file is read."""
    from semalign.errors import SemalignError

    wanted = f".{kind}"
    if out.suffix.lower() == wanted:
        return out.with_suffix(wanted)
    if out.suffix.lower() in (".onnx", ".safetensors", ".pt", ".pth", ".bin", ".pb", ".tflite"):
        raise SemalignError(f"{out}: ends in {out.suffix} and would hold {kind}; give a name that ends in {wanted}.")
    if str(out).endswith(("/", os.sep)) or out.is_dir():
        raise SemalignError(f"{out}: is a folder; give the file to write, such as {out / 'model'}{wanted}.")
    return out.with_name(f"{out.name}{wanted}")


def _rows(crops: Any) -> Any:
    import numpy as np

    return np.arange(len(crops))


def _comparison(model: Any, out: Path, crops: Any) -> str:
    """A sentence on how far the file's points are from the model's, in pixels of the input."""
    import numpy as np

    from semalign.inference import Landmarker, OnnxBackend

    ours = Landmarker(model).on_crops(crops).points
    scale = np.hypot(*crops.image_to_crop[:, :, 0].T)
    distances = np.linalg.norm(Landmarker(OnnxBackend(out)).on_crops(crops).points - ours, axis=2) * scale[:, None]
    median, high, most = np.quantile(distances, [0.5, 0.95, 1.0])
    return (
        f"against the model on {len(crops)} faces, in pixels of the crop: median {median:.4f}, "
        f"95 % within {high:.4f}, largest {most:.4f}"
    )


COMMANDS: dict[str, Callable[..., None]] = {"export": export}
