"""Files of named arrays (safetensors) with a JSON object beside them, for NumPy and for PyTorch.

Nothing in such a file executes when it is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from semalign.errors import SemalignError
from semalign.files import atomic_path, parse_json, reason
from semalign.schemes.scheme import in_short

KEY = "semalign"
Built = TypeVar("Built")


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the JSON object of a file that `save_arrays` or `semalign.models.checkpoint.save_tensors` wrote.

    Raises:
        SemalignError: no such file, or not one of ours.
    """
    return read_file(path, "np")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write arrays and a JSON object into one safetensors file, atomically."""
    from safetensors.numpy import save_file

    write_file(path, save_file, {name: np.ascontiguousarray(value) for name, value in arrays.items()}, description)


def read_file(path: Path, framework: Literal["np", "pt"]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's contents as arrays ('np') or tensors ('pt'); raises as `load_arrays`."""
    path = Path(path)
    if not os.path.isfile(path):
        raise SemalignError(f"{path}: there is no such model file; check the path.")
    try:
        with safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise SemalignError(
                    f"{path}: is not a Semalign model file; use one that 'semalign train' or 'semalign run' wrote."
                )
            description = parse_json(metadata[KEY])
            if not isinstance(description, dict):
                raise ValueError("its description is no JSON object")
            return {name: file.get_tensor(name) for name in file.keys()}, description  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise SemalignError(
            f"{path}: cannot be read as a model file ({reason(error)}); it may be damaged, use another copy."
        ) from error


def write_file(
    path: Path, save: Callable[..., None], values: Mapping[str, Any], description: Mapping[str, Any]
) -> None:
    """Write arrays or tensors by the function of safetensors for them, atomically."""
    with atomic_path(Path(path)) as temporary:
        try:
            save(dict(values), temporary, metadata={KEY: json.dumps(description)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_kind(
    path: Path,
    what: str,
    kind: str,
    version: int,
    build: Callable[[dict[str, Any], dict[str, Any]], Built],
    framework: Literal["np", "pt"] = "np",
) -> Built:
    """Read a file of one kind of network, whose description names kind and format.

    Args:
        path: the file.
        what: the kind in words, for messages.
        kind: the kind in the description.
        version: the format that can be read.
        build: makes it from arrays and description.
        framework: what the arrays are: NumPy's ('np') or PyTorch's ('pt').

    Raises:
        SemalignError: no such file, one of another kind or format, or a damaged one.
    """
    arrays, description = read_file(path, framework)
    if description.get("kind") != kind:
        raise SemalignError(f"{path}: holds no {what}; use a file that was saved as one.")
    if description.get("format") != version:
        raise SemalignError(
            f"{path}: is a {what} of format {in_short(description.get('format'))}; this version reads format {version}."
        )
    try:
        return build(arrays, description)
    except SemalignError as error:
        raise SemalignError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, ArithmeticError) as error:
        raise SemalignError(f"{path}: is not a complete {what}; train it again or use another file.") from error
