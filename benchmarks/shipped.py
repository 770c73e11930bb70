"""Figures of the shipped models on a data set's test faces, and on its training faces: what `semalign evaluate` says.

    python benchmarks/shipped.py --data 300w

Errors are those of the networks with their label adaptation, from the annotated boxes.
"""

from __future__ import annotations

from pathlib import Path

from harness import FIGURES, DataFolder, Row, finish, run

from semalign.models import pretrained
from semalign.pipeline import evaluate_model


def main(data: DataFolder) -> None:
    finish("shipped", [row(name, data, split) for name in pretrained.available() for split in ("test", "train")], 3)


def row(name: str, data: Path, split: str) -> Row:
    result = evaluate_model(name, data, split=split)
    figures = result["subsets"]["all"]
    return {"model": name, "data": result["data"]["name"], "split": split} | {key: figures[key] for key in FIGURES}


if __name__ == "__main__":
    run(main)
