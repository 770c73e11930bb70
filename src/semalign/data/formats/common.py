"""What several readers need: folders by name, modules for MATLAB files, boxes, ids, counts."""

from __future__ import annotations

import importlib
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from semalign.data.samples import Box
from semalign.errors import SemalignError


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without hidden files; nothing where there is no such folder.

    Raises:
        SemalignError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SemalignError(f"{folder}: cannot be read ({error.strerror}); check the folder's permissions.") from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, by name.

    Raises:
        SemalignError: it cannot be read.
    """
    return [Path(entry.path) for entry in list_folder(folder) if is_folder(entry)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or leads to one; a link that leads in a circle does not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def load_extra(module: str, path: Path) -> Any:
    """A module of the optional extra `mat`, which reads MATLAB files.

    Raises:
        SemalignError: it is not installed; names `path`, which needs it, and the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SemalignError(
            f"{path}: reading it needs {module.partition('.')[0]}; install it with pip install 'semalign[mat]'."
        ) from None


def usable_box(box: np.ndarray) -> Box | None:
    """The box (4,) of x0, y0, x1, y1, or None where it is empty or not finite."""
    x0, y0, x1, y1 = (float(value) for value in box)
    good = bool(np.isfinite(box).all()) and x0 < x1 and y0 < y1
    return (x0, y0, x1, y1) if good else None


def face_id(prefix: str, name: str, number: int) -> str:
    """A unique id for face `number` of a list, made like the path of its image, which may hold several faces."""
    path = PurePosixPath(name)
    return str(PurePosixPath(prefix) / path.with_name(f"{path.stem}-{number:05d}{path.suffix}"))


def count_note(title: str, have: int, official: int) -> tuple[str, ...]:
    """A sentence where a set and the official one differ in their number of faces, else none."""
    return () if have == official else (f"{title} has {have} of the official {official} faces.",)
