"""What comes with extras of the installation, and the sentence about one that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from semalign.errors import SemalignError

TRAIN = "pip install 'semalign[train]'"
PARTS = {  # what the extra 'train' brings, by the name that is imported, as it is called
    "torch": "PyTorch",
    "accelerate": "Accelerate",
    "jinja2": "Jinja2",
    "markupsafe": "MarkupSafe",
    "matplotlib": "Matplotlib",
    "onnx": "the package onnx",
    "onnxscript": "the package onnxscript",
}


class MissingError(SemalignError):
    """Something needs an extra that is not installed."""


@contextmanager
def needs_training(what: str) -> Iterator[None]:
    """A block that imports what the extra 'train' brings.

    Args:
        what: what it is for, as the beginning of a sentence.

    Raises:
        MissingError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (part := missing_part(error)) is None:
            raise
        raise MissingError(f"{what} needs {part}; install it with: {TRAIN}") from error


def missing_part(error: ModuleNotFoundError) -> str | None:
    """What of the extra 'train' could not be imported; None if it was something else."""
    return PARTS.get((error.name or "").partition(".")[0])
