"""ONNX files whose graph ends in points: network and decoding in one, with everything needed to use them as metadata.

Input `images`: RGB (b, 3, s, s), bytes or float32 in [0, 1]. Outputs `points` (b, n, 2), (x, y) in pixels of the input with
centres at integers, and `confidence` (b, n). The number of images b is free.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semalign.errors import SemalignError
from semalign.export.graph import LandmarkGraph
from semalign.files import atomic_path
from semalign.inference.onnx import FORMAT, INPUT, KEY, OUTPUTS, PIXELS, Pixels, parse_description
from semalign.inference.sessions import INSTALL
from semalign.models.checkpoint import Model
from semalign.models.kinds import ADAPTED

_QUANTIZED = ("Conv", "MaxPool", "Add", "Relu", "Resize", "ConvTranspose")


def export_onnx(path: str | Path, model: Model, pixels: Pixels = "uint8") -> None:
    """Write a model as an ONNX file, atomically; batch normalisation is folded into the convolutions.

    The file's metadata holds, under `semalign`, one JSON object: format, scheme (with the landmarks' names), crop, sigma
    (heatmap pixels), network, about (data and its terms, recipe, versions), input (size, pixels) and precision.

    Raises:
        SemalignError: ONNX is not installed, an unknown `pixels`, or the file cannot be written.
    """
    if pixels not in PIXELS:
        raise SemalignError(f"crops cannot be of {pixels!r} pixels; choose one of {', '.join(PIXELS)}.")
    graph = _trace(LandmarkGraph(model, pixels))
    _tidy(graph)
    _describe(graph, _description(model, pixels))
    _write(path, graph)


def quantize_onnx(path: str | Path, source: str | Path, images: np.ndarray) -> None:
    """Write an int8 version of an exported file: static quantisation of the network's convolutions and what lies between.

    Activations are bytes, weights 7 bits wide for each output channel, which no processor's integer instructions
    overflow. The last heatmaps and their decoding stay float32. The ranges of activations are those seen on the images.

    Args:
        path: the file to write.
        source: an ONNX file that `export_onnx` wrote.
        images: crops (b, 3, s, s) for calibration, in the source's type of pixels; some dozens of typical faces.

    Raises:
        SemalignError: ONNX or onnxruntime is not installed, the source is none of ours, int8 already or an adapted model,
            there are no images, or the file cannot be written.
    """
    onnx = _onnx()
    description = read_description(source)
    refuse_int8(source, description["network"])
    if not len(images):
        raise SemalignError(f"{source}: int8 needs crops of faces to calibrate with; give some dozens.")
    if description["precision"] != "float32":
        raise SemalignError(f"{source}: is {description['precision']} already; quantise the float32 file.")
    with tempfile.TemporaryDirectory(prefix="semalign-") as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        _quantize(Path(source), prepared, quantized, images)
        graph = onnx.load(quantized)
    _describe(graph, {**description, "precision": "int8"})
    _write(path, graph)


def refuse_int8(name: str | Path, network: object) -> None:
    """Raise a SemalignError for the settings of an adapted network, or their table: its points are made of others' points."""
    kind = network.get("kind") if isinstance(network, dict) else getattr(network, "kind", None)
    if kind == ADAPTED:
        raise SemalignError(f"{name}: is an adapted model, which is exported in float32 alone; leave --int8 out.")


def read_description(path: str | Path) -> dict[str, Any]:
    """The metadata of one of our ONNX files.

    Raises:
        SemalignError: no such file, no ONNX file, or none of ours; or ONNX is not installed.
    """
    onnx = _onnx()
    if not Path(path).is_file():
        raise SemalignError(f"{path}: there is no such model file; check the path.")
    try:
        graph = onnx.load(path)
    except Exception as error:  # protobuf's own errors, which differ between its versions
        raise SemalignError(f"{path}: cannot be read as an ONNX file; it may be damaged, export it again.") from error
    return parse_description(path, {item.key: item.value for item in graph.metadata_props})


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise SemalignError(f"ONNX files need the package onnx; {INSTALL}.") from error
    return onnx


def _description(model: Model, pixels: Pixels) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "scheme": model.scheme.to_dict(),
        "crop": asdict(model.crop),
        "sigma": model.sigma,
        "network": _network(model),
        "about": dict(model.about),
        "input": {"size": model.input_size, "pixels": pixels, "channels": "RGB"},
        "precision": "float32",
    }


def _network(model: Model) -> dict[str, Any]:
    """The network's settings; of one from outside its name as the kind, and its sizes."""
    network = model.network
    if network.settings is not None:
        return asdict(network.settings)
    return {"kind": network.name, "input_size": network.input_size, "heatmap_size": network.heatmap_size}


def _trace(module: LandmarkGraph) -> Any:
    """The module as an ONNX graph (onnx.ModelProto)."""
    _onnx()
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SemalignError(f"exporting to ONNX needs the package onnxscript; {INSTALL}.") from error
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (module.example(),),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("b")},),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself: a deprecation within PyTorch, and that torchvision is not there."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _tidy(graph: Any) -> None:
    """Drop the exporter's notes, which hold the paths of the source files on the machine that exported."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for values in (graph.graph.input, graph.graph.output, graph.graph.value_info):
        for value in values:
            del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
    del graph.graph.metadata_props[:]
    graph.graph.name = "landmarks"


def _describe(graph: Any, description: dict[str, Any]) -> None:
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(description)
    graph.producer_name = "semalign"
    graph.doc_string = (
        f"Facial landmarks ({description['scheme']['name']}): RGB crops to points (x, y) in pixels of the crop, centres at "
        "integers, and confidences."
    )


def _write(path: str | Path, graph: Any) -> None:
    onnx = _onnx()
    onnx.checker.check_model(graph)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(graph.SerializeToString())


def _quantize(source: Path, prepared: Path, quantized: Path, images: np.ndarray) -> None:
    """The quantised graph of `source` as the file `quantized`, by way of one with all shapes inferred."""
    onnx = _onnx()
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise SemalignError(f"int8 needs the package onnxruntime; {INSTALL}.") from error

    class Reader(CalibrationDataReader):
        """One crop after the other."""

        def __init__(self) -> None:
            self.crops = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            crop = next(self.crops, None)
            return None if crop is None else {INPUT: crop[None]}

    quant_pre_process(str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(quantized),
        Reader(),
        op_types_to_quantize=list(_QUANTIZED),
        nodes_to_quantize=_quantized_nodes(onnx.load(prepared)),
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _quantized_nodes(graph: Any) -> list[str]:
    """Names of the nodes up to the last features; the last head, the graph's last convolution, draws them in float32."""
    nodes = list(graph.graph.node)
    head = max(index for index, node in enumerate(nodes) if node.op_type in ("Conv", "ConvTranspose"))
    return [node.name for node in nodes[:head] if node.op_type in _QUANTIZED]
