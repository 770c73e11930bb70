"""A run's folder, read for its report: nothing else is looked at, and what a run has not written is absent."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from semalign.errors import SemalignError
from semalign.files import parse_json, reason
from semalign.models.arrays import KEY
from semalign.schemes import LandmarkScheme

STAGES = ("start", "baseline", "aligned")  # the trainings, as they are compared: before, without and with alignment
SUMMARY, RECIPE, FIGURES = "summary.json", "recipe.toml", "figures.npz"

MOST_FIGURES = 256 << 20  # bytes of the arrays; those of a run are some megabytes

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run's folder holds.

    Attributes:
        name: the folder's name.
        summary: of summary.json.
        recipe: the text of recipe.toml; empty if there is none.
        logs: one record an epoch for each stage that has a log.
        arrays: of figures.npz; points and pictures are in the crop frame.
        scheme: the landmarks, from the run's model file; None if it has none yet.
    """

    name: str
    summary: Mapping[str, Any]
    recipe: str
    logs: Mapping[str, tuple[Record, ...]]
    arrays: Mapping[str, np.ndarray]
    scheme: LandmarkScheme | None

    @property
    def reference(self) -> str:
        """What detectors are measured against: "truth" or "annotations"."""
        known = "truth" if "label_error" in self.summary or "truth" in self.arrays else "annotations"
        return str(self.summary.get("data", {}).get("reference", known))

    @property
    def unit(self) -> str:
        """What errors and movements of labels are in % of."""
        return (
            "the face box" if self.scheme is not None and self.scheme.outer_eyes is None else "the outer-eye distance"
        )


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        SemalignError: no summary.json (the run is unfinished or the folder is another), or a file that is damaged.
    """
    folder = Path(folder)
    if not (folder / SUMMARY).is_file():
        raise SemalignError(
            f"{folder / SUMMARY}: there is no such file; finish the run with 'semalign run ... --resume' first."
        )
    summary = _json(folder / SUMMARY, _text(folder / SUMMARY))
    recipe = folder / RECIPE
    return Run(
        name=folder.resolve().name,
        summary=summary,
        recipe=_text(recipe) if recipe.is_file() else "",
        logs={stage: records for stage in STAGES if (records := _log(folder / stage / "log.jsonl"))},
        arrays=_arrays(folder / FIGURES),
        scheme=_scheme(folder),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SemalignError(
            f"{path}: cannot be read as text ({reason(error)}); run the stage that wrote it again."
        ) from error


def _json(path: Path, text: str) -> Record:
    try:
        value = parse_json(text)
    except ValueError as error:
        raise SemalignError(
            f"{path}: is no valid JSON ({reason(error)}); run the stage that wrote it again."
        ) from error
    if not isinstance(value, dict):
        raise SemalignError(f"{path}: holds no JSON object; run the stage that wrote it again.")
    return value


def _log(path: Path) -> tuple[Record, ...]:
    if not path.is_file():
        return ()
    return tuple(_json(path, line) for line in _text(path).splitlines() if line.strip())


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _refuse_large(archive)
            return {name: archive[name] for name in archive.files}
    except (
        MemoryError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise SemalignError(
            f"{path}: cannot be read as the figures of a run ({reason(error)}); evaluate the run again."
        ) from error


def _refuse_large(archive: Any) -> None:
    """Refuse an archive whose arrays are larger than figures are, or than what is in it.

    Raises:
        ValueError: they are.
    """
    members = archive.zip.infolist()
    if (size := sum(item.file_size for item in members)) > MOST_FIGURES:
        raise ValueError(f"they would take {size / 1e9:.1f} GB")
    for item in members:
        with archive.zip.open(item) as file:
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            shape, _, kind = read[np.lib.format.read_magic(file)[0]](file)
            if math.prod(shape) * kind.itemsize > item.file_size:
                raise ValueError(f"{item.filename} says that it is larger than it is")


def _scheme(folder: Path) -> LandmarkScheme | None:
    """The landmark scheme that stands in a model file of the run."""
    for stage in STAGES:
        path = folder / stage / "model.safetensors"
        if not path.is_file():
            continue
        try:
            with safe_open(path, framework="numpy") as file:
                description = parse_json((file.metadata() or {})[KEY])
            return LandmarkScheme.from_dict(description["scheme"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise SemalignError(f"{path}: is not a Semalign model file; train that stage again.") from error
    return None
