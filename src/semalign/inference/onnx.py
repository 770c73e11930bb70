"""Exported models with onnxruntime: from crops to points, as the PyTorch path does it.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from semalign.core.affine import invert, transform_points
from semalign.data.crops import CropCache, CropSettings
from semalign.errors import SemalignError
from semalign.inference.landmarks import Landmarks
from semalign.inference.processes import computes_alone
from semalign.inference.sessions import open_session
from semalign.schemes import LandmarkScheme
from semalign.shapes import Float, UInt8

FORMAT = 1
KEY = "semalign"
INPUT, OUTPUTS = "images", ("points", "confidence", "spread")  # files of version 0.1 have no spread
Pixels = Literal["uint8", "float32"]
PIXELS: tuple[Pixels, ...] = get_args(Pixels)


class CropPoints(NamedTuple):
    """Points (x, y) of the input frame, the heatmaps' peaks, and how wide these are along x and y, in pixels of the input."""

    points: Float[np.ndarray, "b n 2"]
    confidence: Float[np.ndarray, "b n"]
    spread: Float[np.ndarray, "b n 2"] | None = None  # of a file of version 0.1


class OnnxBackend:
    """A model file that `semalign export` wrote, ready to use on the CPU; calls from several threads are safe.

    Args:
        path: the file.
        threads: of one call; None is one per core, or one alone where there is a caller for each core
            (`semalign.inference.processes.compute_alone`).
        batch_size: crops at a time, in `predict`.
        origin: the model file that it was made of, where that is known: whoever asks for heatmaps gets that one's.

    Attributes:
        scheme: the landmarks.
        crop: which square of an image the model sees.
        margin: sides of the square that a crop must have: the square itself is enough.
        input_size: s, in pixels.
        pixels: type of the crops' values: "uint8" (0 to 255) or "float32" (0 to 1).
        precision: "float32" or "int8".
        about: where the model comes from.

    Raises:
        SemalignError: onnxruntime is not installed; no such file, no ONNX file, or none of ours.
    """

    def __init__(
        self, path: str | Path, threads: int | None = None, batch_size: int = 32, origin: Path | None = None
    ) -> None:
        self._file, self._threads = _read(Path(path)), threads  # a pickle is to work where the path does not
        self.origin = origin
        self._sessions: dict[tuple[int, int], Any] = {}
        self._path = str(path)
        description = parse_description(path, self._session.get_modelmeta().custom_metadata_map)
        there = {output.name for output in self._session.get_outputs()}
        self._outputs = [name for name in OUTPUTS if name in there]
        self.batch_size, self.margin = batch_size, 1.0
        self.scheme = LandmarkScheme.from_dict(description["scheme"])
        self.crop = CropSettings(**description["crop"])
        self.sigma: float = description["sigma"]
        self.input_size: int = description["input"]["size"]
        self.pixels: Pixels = description["input"]["pixels"]
        self.precision: str = description["precision"]
        self.about: dict[str, Any] = description["about"]

    @property
    def _session(self) -> Any:
        """This process's own, for the threads of a parent's are not there in a forked one; and for a number of threads."""
        key = os.getpid(), self._threads or int(computes_alone())
        if key not in self._sessions:
            advice = "it may be damaged, export it again"
            self._sessions[key] = open_session(self._file, self._path, key[1], advice)
        return self._sessions[key]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the sessions, which are made anew where the pickle or the copy is used."""
        return {**self.__dict__, "_sessions": {}}

    def __call__(self, images: UInt8[np.ndarray, "b 3 s s"] | Float[np.ndarray, "b 3 s s"]) -> CropPoints:
        """Points and confidences of RGB crops.

        Raises:
            ValueError: crops of another size or type than the model's.
        """
        wanted = (3, self.input_size, self.input_size)
        if images.shape[1:] != wanted or images.dtype != self.pixels:
            raise ValueError(
                f"crops of shape {images.shape[1:]} and type {images.dtype} for {wanted} and {self.pixels}"
            )
        return CropPoints(*self._session.run(self._outputs, {INPUT: np.ascontiguousarray(images)}))

    def predict(self, crops: CropCache, advance: Callable[[int], None] | None = None) -> Landmarks:
        """The landmarks on every crop, in the image frames; `advance` is told how many more are done."""
        parts = []
        for start in range(0, len(crops), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(crops)))
            parts.append(self(input_squares(crops, rows, self.pixels)))
            if advance is not None:
                advance(len(rows))
        points, confidence = (
            np.concatenate([getattr(part, name) for part in parts]).astype(np.float64)
            for name in CropPoints._fields[:2]
        )
        to_image = invert(crops.image_to_input)
        side = np.hypot(to_image[:, 0, 0], to_image[:, 0, 1])[:, None, None]  # of a pixel of the input, in the image's
        spreads = [part.spread for part in parts if part.spread is not None]
        spread = np.concatenate(spreads).astype(np.float64) * side if spreads else None
        return Landmarks(transform_points(points, to_image), confidence, self.scheme, spread)


def parse_description(path: str | Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Our JSON object out of an ONNX file's metadata.

    Raises:
        SemalignError: there is none, or one of another format.
    """
    if KEY not in metadata:
        raise SemalignError(f"{path}: is not a Semalign model; use a file that 'semalign export' wrote.")
    description: dict[str, Any] = json.loads(metadata[KEY])
    if description.get("format") != FORMAT:
        raise SemalignError(
            f"{path}: is an ONNX file of format {description.get('format')}; this version reads format {FORMAT}."
        )
    return description


def input_squares(
    crops: CropCache, rows: np.ndarray, pixels: Pixels = "uint8"
) -> UInt8[np.ndarray, "b 3 s s"] | Float[np.ndarray, "b 3 s s"]:
    """The plain input squares of some crops, which lie in their middle on whole pixels."""
    inset = (crops.images.shape[1] - crops.input_size) // 2
    inner = slice(inset, inset + crops.input_size)
    images = np.ascontiguousarray(crops.images[rows][:, inner, inner].transpose(0, 3, 1, 2))
    return images if pixels == "uint8" else images.astype(np.float32) / np.float32(255)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise SemalignError(f"{path}: there is no such model file; check the path.")
    return path.read_bytes()
