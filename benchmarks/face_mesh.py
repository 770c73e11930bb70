"""The face mesh's weights, from MediaPipe's file to Semalign's, and whether they are those that ship.

    pip install --no-deps --target FOLDER mediapipe==0.10.14
    pip install tflite
    python benchmarks/face_mesh.py --file FOLDER/mediapipe/modules/face_landmark/face_landmark_with_attention.tflite --out OUT

It follows the file's graph from the picture on, side by side with `semalign.models.face_mesh`, and gives each layer its
weights; a layer that does not fit stops it. Which points change places in a mirror is no weight, and comes from the file
that ships. MediaPipe's own answers for two pictures are kept in tests/models/face_mesh.npz, to which a test holds the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from harness import run
from safetensors.torch import save_file
from torch import Tensor, nn

from semalign.models.face_mesh import FaceMesh, Residual, face_mesh

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


class Operation(NamedTuple):
    """A node of the file's graph."""

    kind: str
    inputs: tuple[int, ...]
    output: int


class Graph:
    """A .tflite file whose weights are half-precision numbers."""

    def __init__(self, path: Path) -> None:
        import tflite  # the file's format, which nothing else needs

        kinds = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
        self.model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        self.graph = self.model.Subgraphs(0)
        self.half: dict[int, int] = {}
        self.operations: list[Operation] = []
        self.taken: set[int] = set()
        for index in range(self.graph.OperatorsLength()):
            node = self.graph.Operators(index)
            code = self.model.OperatorCodes(node.OpcodeIndex())
            kind = kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            kind = code.CustomCode().decode() if kind == "CUSTOM" else kind
            operation = Operation(kind, tuple(node.InputsAsNumpy()), node.Outputs(0))
            if kind == "DEQUANTIZE":
                self.half[operation.output] = operation.inputs[0]
            else:
                self.operations.append(operation)

    def weight(self, tensor: int) -> Tensor:
        """The numbers of a tensor, in the file's shape."""
        stored = self.graph.Tensors(self.half.get(tensor, tensor))
        raw = self.model.Buffers(stored.Buffer()).DataAsNumpy().tobytes()
        return torch.from_numpy(np.frombuffer(raw, np.float16).reshape(stored.ShapeAsNumpy()).copy())

    def after(self, tensor: int, *kinds: str) -> Iterator[Operation]:
        """What of some kinds takes a tensor, in the file's order, once each."""
        for operation in self.operations:
            if operation.kind in kinds and tensor in operation.inputs and operation.output not in self.taken:
                yield operation

    def kernel(self, operation: Operation) -> Tensor:
        """A convolution's weights as PyTorch has them."""
        depthwise = operation.kind == "DEPTHWISE_CONV_2D"
        return self.weight(operation.inputs[1]).permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))


class Copy:
    """Weights by the names of our network."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.weights: dict[str, Tensor] = {}

    def chain(self, name: str, tensor: int, layers: nn.Sequential) -> int:
        """The weights of a chain of layers that begins at a tensor; returns the tensor at its end."""
        for index, layer in enumerate(layers):
            own = f"{name}.{index}"
            if isinstance(layer, Residual):
                tensor = self.residual(own, tensor, layer)
            elif isinstance(layer, nn.Conv2d):
                tensor = self.convolution(own, tensor, layer)
            elif isinstance(layer, nn.PReLU):
                tensor = self.slopes(own, tensor)
        return tensor

    def residual(self, name: str, tensor: int, layer: Residual) -> int:
        """Both convolutions, the sum, the activation."""
        seen = self.convolution(f"{name}.depthwise", tensor, layer.depthwise)
        seen = self.convolution(f"{name}.pointwise", seen, layer.pointwise)
        return self.slopes(f"{name}.activation", next(self.graph.after(seen, "ADD")).output)

    def convolution(self, name: str, tensor: int, layer: nn.Conv2d) -> int:
        """The first convolution there whose weights have the layer's shape."""
        for operation in self.graph.after(tensor, *CONVOLUTIONS):
            kernel = self.graph.kernel(operation)
            if kernel.shape == layer.weight.shape:
                self.graph.taken.add(operation.output)
                self.weights[f"{name}.weight"] = kernel.contiguous()
                self.weights[f"{name}.bias"] = self.graph.weight(operation.inputs[2])
                return operation.output
        raise SystemExit(f"{name}: the file has no convolution of shape {tuple(layer.weight.shape)} there.")

    def slopes(self, name: str, tensor: int) -> int:
        """Of a PReLU."""
        operation = next(self.graph.after(tensor, "PRELU"))
        self.weights[f"{name}.weight"] = self.graph.weight(operation.inputs[1]).flatten()
        return operation.output


def main(
    file: Annotated[Path, typer.Option(help="MediaPipe's .tflite file.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
) -> None:
    graph, network = Graph(file), FaceMesh()
    copy = Copy(graph)
    fine = copy.chain("fine", copy.chain("stem", 0, network.stem), network.fine)
    copy.chain("output", copy.chain("coarse", fine, network.coarse), network.output)
    parts = ("lips", "left_eye", "right_eye")
    for name, cut in zip(parts, graph.after(fine, "TransformTensorBilinear"), strict=True):
        branch = getattr(network, name)
        shared = copy.chain(f"{name}.shared", cut.output, branch.shared)
        for index, output in enumerate(branch.outputs):
            copy.chain(f"{name}.outputs.{index}", shared, output)
    copy.weights["mirror"] = face_mesh().mirror
    network.load_state_dict(copy.weights)
    save_file(copy.weights, out)
    same = all(
        torch.equal(value.float(), face_mesh().state_dict()[name].float()) for name, value in copy.weights.items()
    )
    print(f"{out}: {len(copy.weights)} tensors, {'as' if same else 'not as'} they ship")


if __name__ == "__main__":
    run(main)
