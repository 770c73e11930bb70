"""ONNX files whose graph ends in points: network and decoding in one, with everything needed to use them as metadata.

Input `images`: RGB (b, 3, s, s), bytes or float32 in [0, 1]. Outputs `points` (b, n, 2), (x, y) in pixels of the input with
centres at integers, `confidence` (b, n), and `spread` (b, n, 2), how wide the heatmap's peak is along x and y, in the same
pixels. The number of images b is free.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semalign.errors import SemalignError
from semalign.export.graph import LandmarkGraph
from semalign.extras import TRAIN
from semalign.files import atomic_path
from semalign.inference.onnx import FORMAT, INPUT, KEY, OUTPUTS, PIXELS, Pixels, parse_description
from semalign.inference.sessions import INSTALL as INSTALL_RUNTIME
from semalign.models.checkpoint import Model
from semalign.models.kinds import ADAPTED

HALF = "/half"  # ends the names of weights that are stored as half-precision numbers
BROKEN_BY_INT8 = {ADAPTED: "an adapted model", "mesh": "a model of kind 'mesh'"}  # kinds of networks
_QUANTIZED = ("Conv", "MaxPool", "Add", "Relu", "Resize", "ConvTranspose")


def export_onnx(path: str | Path, model: Model, pixels: Pixels = "uint8", half: bool = False) -> None:
    """Write a model as an ONNX file, atomically; batch normalisation is folded into the convolutions.

    With `half`, weights that are half-precision numbers, as in the files of shipped models, are stored as such, in half the
    size. They become float32 when the file is opened, so that nothing else changes.

    The file's metadata holds, under `semalign`, one JSON object: format, scheme (with the landmarks' names), crop, sigma
    (heatmap pixels), network, about (data and its terms, recipe, versions), input (size, pixels) and precision.

    Raises:
        SemalignError: ONNX is not installed, an unknown `pixels`, or the file cannot be written.
    """
    if pixels not in PIXELS:
        raise SemalignError(f"crops cannot be of {pixels!r} pixels; choose one of {', '.join(PIXELS)}.")
    module = LandmarkGraph(model, pixels)
    graph = traced(module, (module.example(),), (INPUT,), OUTPUTS, ({0: torch.export.Dim("b")},))
    graph.graph.name = "landmarks"
    _fold_division(graph)
    if half:
        in_half(graph)
    _describe(graph, _description(model, pixels))
    write_graph(path, graph)


def _fold_division(graph: Any) -> None:
    """Let the first convolution's weights do what the pictures are divided by, where nothing lies between."""
    onnx = _onnx()
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type != "Div" or node.input[1] not in tensors:
            continue
        divisor = onnx.numpy_helper.to_array(tensors[node.input[1]])
        after = [other for other in graph.graph.node if node.output[0] in other.input]
        if divisor.size != 1 or len(after) != 1 or after[0].op_type != "Conv" or after[0].input[1] not in tensors:
            continue
        weights = tensors[after[0].input[1]]
        scaled = onnx.numpy_helper.to_array(weights) / divisor.reshape(())
        weights.CopyFrom(onnx.numpy_helper.from_array(scaled.astype(np.float32), weights.name))
        after[0].input[0] = node.input[0]
        graph.graph.node.remove(node)
        if not any(node.input[1] in other.input for other in graph.graph.node):
            graph.graph.initializer.remove(tensors[node.input[1]])
        return


def _widen(graph: Any) -> None:
    """Undo `in_half`: float32 numbers in the file itself, as quantisation wants them."""
    onnx = _onnx()
    for tensor in graph.graph.initializer:
        if tensor.name.endswith(HALF):
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name.removesuffix(HALF)))
    nodes = [node for node in graph.graph.node if not (node.op_type == "Cast" and node.input[0].endswith(HALF))]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


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
        wide, prepared, quantized = (Path(folder) / f"{name}.onnx" for name in ("wide", "prepared", "int8"))
        graph = onnx.load(source)
        _widen(graph)
        onnx.save(graph, wide)
        _quantize(wide, prepared, quantized, images)
        graph = onnx.load(quantized)
    _describe(graph, {**description, "precision": "int8"})
    write_graph(path, graph)


def broken_by_int8(network: object) -> str | None:
    """What a network is that 8 bits break, by its settings or their table; None of any other.

    Points of an adapted network and of the face mesh are made of others' points: by-mesh errs by 22 % in int8, and by 3.9 %.
    """
    kind = network.get("kind") if isinstance(network, dict) else getattr(network, "kind", None)
    return BROKEN_BY_INT8.get(str(kind))


def refuse_int8(name: str | Path, network: object) -> None:
    """Raise a SemalignError for the settings of a network that 8 bits break, or their table."""
    what = broken_by_int8(network)
    if what is not None:
        raise SemalignError(f"{name}: is {what}, which is exported in float32 alone; leave --int8 out.")


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
        raise SemalignError(f"ONNX files need the package onnx; install it with: {TRAIN}.") from error
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


def traced(
    module: torch.nn.Module, example: tuple[Any, ...], inputs: Sequence[str], outputs: Sequence[str], shapes: Any
) -> Any:
    """A module as an ONNX graph (onnx.ModelProto) without the exporter's notes.

    Args:
        module: in evaluation mode.
        example: its arguments.
        inputs: their names.
        outputs: names of what it gives.
        shapes: for each argument which of its sides are free (`torch.onnx.export`).

    Raises:
        SemalignError: ONNX is not installed.
    """
    _onnx()
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SemalignError(f"exporting to ONNX needs the package onnxscript; install it with: {TRAIN}.") from error
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    _tidy(graph)
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself: a deprecation within PyTorch, and that torchvision is not there."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
            warnings.filterwarnings("ignore", message=r".*The axis name", category=UserWarning)  # two sides are one
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


def _describe(graph: Any, description: dict[str, Any]) -> None:
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(description)
    graph.producer_name = "semalign"
    graph.doc_string = (
        f"Facial landmarks ({description['scheme']['name']}): RGB crops to points (x, y) in pixels of the crop, centres at "
        "integers, and confidences."
    )


def in_half(graph: Any) -> None:
    """Store weights (arrays of two and more dimensions) that float16 holds exactly as such; loaded, they are float32 again."""
    onnx = _onnx()
    casts = []
    for tensor in graph.graph.initializer:
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if np.array_equal(halved.astype(np.float32), values):
            tensor.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}{HALF}"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def write_graph(path: str | Path, graph: Any) -> None:
    """Check a graph and write it, atomically; raises a SemalignError if it cannot be written."""
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
        raise SemalignError(f"int8 needs the package onnxruntime; {INSTALL_RUNTIME}.") from error

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
