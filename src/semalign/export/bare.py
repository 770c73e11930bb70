"""Exported graphs without the label adaptation that their points go through at last."""

from __future__ import annotations

from typing import Any

from semalign.inference.onnx import OUTPUTS

POINTS = OUTPUTS[0]


def bare_graph(file: bytes) -> bytes:
    """An ONNX file of `semalign.export.onnx` whose points are the network's own, before its label adaptation.

    Args:
        file: the bytes of a file of a model that has a label adaptation.

    Raises:
        ImportError: the package onnx is not installed.
        ValueError: its points do not come from a label adaptation.
    """
    import onnx

    model = onnx.load_from_string(file)
    graph, makers = model.graph, {output: node for node in model.graph.node for output in node.output}
    last = makers.get(POINTS)
    if last is None or last.op_type != "Sub":  # what is systematic is taken off in the last step
        raise ValueError("the graph's points do not come from a label adaptation")
    last.CopyFrom(onnx.helper.make_node("Identity", [last.input[0]], [POINTS], name=last.name))
    wanted = _needed(makers, [output.name for output in graph.output])
    nodes = [node for node in graph.node if wanted & set(node.output)]
    tensors = [tensor for tensor in graph.initializer if tensor.name in wanted]
    for field, kept in ((graph.node, nodes), (graph.initializer, tensors)):
        copies = [type(one).FromString(one.SerializeToString()) for one in kept]
        del field[:]
        field.extend(copies)
    bare: bytes = model.SerializeToString()
    return bare


def _needed(makers: dict[str, Any], outputs: list[str]) -> set[str]:
    """Names of all values that these are made of."""
    needed: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].input if name in makers else ()
    return needed
