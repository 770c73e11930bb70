"""Exported models with onnxruntime: from crops to points, as the PyTorch path does it.

Shape legend: b images, n landmarks, s side of the input.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from semalign.core.affine import invert, transform_points
from semalign.data.crops import CropCache
from semalign.errors import SemalignError
from semalign.files import parse_json, reason
from semalign.inference.landmarks import Landmarks
from semalign.inference.processes import computes_alone
from semalign.inference.sessions import open_session
from semalign.models.described import about_in, crop_in, number_in
from semalign.schemes import LandmarkScheme
from semalign.schemes.scheme import in_short
from semalign.shapes import Float, UInt8

FORMAT = 1
MOST_SIZE = 4096  # pixels of the input's side
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
        change: what becomes of the file's bytes before they are opened.

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
        self,
        path: str | Path,
        threads: int | None = None,
        batch_size: int = 32,
        origin: Path | None = None,
        change: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._file, self._threads = _read(Path(path)), threads  # a pickle is to work where the path does not
        if change is not None:
            self._file = change(self._file)
        self.origin = origin
        self._sessions: dict[tuple[int, int], Any] = {}
        self._path = str(path)
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            there = {output.name for output in self._session.get_outputs()}
        except UnicodeDecodeError:
            raise SemalignError(f"{path}: has names that are no text; it may be damaged, export it again.") from None
        description = parse_description(path, metadata)
        self._outputs = [name for name in OUTPUTS if name in there]
        self.batch_size, self.margin = batch_size, 1.0
        try:
            self.scheme = LandmarkScheme.from_dict(description["scheme"])
            self.crop = crop_in(description)
            self.sigma = number_in(description, "sigma", 1000)
            size, pixels = description["input"]["size"], description["input"]["pixels"]
            if type(size) is not int or not 2 <= size <= MOST_SIZE or size % 2 or pixels not in PIXELS:
                raise ValueError("its input is of no size or kind that is known")
            if self._outputs[:2] != list(OUTPUTS[:2]) or [one.name for one in self._session.get_inputs()] != [INPUT]:
                raise ValueError(f"its graph does not lead from {INPUT} to {' and '.join(OUTPUTS[:2])}")
            self.about = about_in(description)
            self.precision = str(description["precision"])
        except SemalignError as error:
            raise SemalignError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise SemalignError(
                f"{path}: is not a complete exported model ({reason(error)}); export it again."
            ) from None
        self.input_size: int = size
        self.pixels: Pixels = pixels

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
            SemalignError: the graph cannot be computed, or gives something else than points.
        """
        wanted = (3, self.input_size, self.input_size)
        if images.shape[1:] != wanted or images.dtype != self.pixels:
            raise ValueError(
                f"crops of shape {images.shape[1:]} and type {images.dtype} for {wanted} and {self.pixels}"
            )
        try:
            found = self._session.run(self._outputs, {INPUT: np.ascontiguousarray(images)})
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise SemalignError(f"{self._path}: cannot be computed ({reason(error)}); export it again.") from error
        return _checked(self._path, CropPoints(*found), len(images), self.scheme.count)

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
    try:
        description: dict[str, Any] = parse_json(metadata[KEY])
    except ValueError as error:
        raise SemalignError(f"{path}: its description is no JSON ({reason(error)}); export it again.") from None
    if not isinstance(description, dict):
        raise SemalignError(f"{path}: its description is no JSON object; export it again.")
    if description.get("format") != FORMAT:
        raise SemalignError(
            f"{path}: is an ONNX file of format {in_short(description.get('format'))}; this version reads format {FORMAT}."
        )
    return description


def _checked(path: str, points: CropPoints, count: int, landmarks: int) -> CropPoints:
    """What a graph gave, if it is what such a graph gives.

    Raises:
        SemalignError: it is not.
    """
    wanted = {"points": (count, landmarks, 2), "confidence": (count, landmarks), "spread": (count, landmarks, 2)}
    for name, value in points._asdict().items():
        if value is not None and (value.shape != wanted[name] or value.dtype.kind != "f"):
            raise SemalignError(
                f"{path}: gives {name} of the shape {value.shape} where {wanted[name]} is due; export it again."
            )
    return points


def input_squares(
    crops: CropCache, rows: np.ndarray, pixels: Pixels = "uint8"
) -> UInt8[np.ndarray, "b 3 s s"] | Float[np.ndarray, "b 3 s s"]:
    """The plain input squares of some crops, which lie in their middle on whole pixels."""
    inset = (crops.images.shape[1] - crops.input_size) // 2
    inner = slice(inset, inset + crops.input_size)
    images = np.ascontiguousarray(crops.images[rows][:, inner, inner].transpose(0, 3, 1, 2))
    return images if pixels == "uint8" else images.astype(np.float32) / np.float32(255)


def _read(path: Path) -> bytes:
    if not os.path.isfile(path):
        raise SemalignError(f"{path}: there is no such model file; check the path.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SemalignError(
            f"{path}: cannot be read ({error.strerror}); check the file and its permissions."
        ) from error
