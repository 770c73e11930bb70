"""Figures of the shipped models on a data set's test faces, and on its training faces: what `semalign evaluate` says.

python benchmarks/shipped.py --data 300w
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from results import finish
from run_figures import FIGURES

from semalign.models import pretrained
from semalign.pipeline import evaluate_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    rows = [row(name, options.data, split) for name in pretrained.available() for split in ("test", "train")]
    finish("shipped", rows, digits=3)


def row(name: str, data: Path, split: str) -> dict[str, Any]:
    result = evaluate_model(name, data, split=split)
    figures = result["subsets"]["all"]
    return {"model": name, "data": result["data"]["name"], "split": split} | {key: figures[key] for key in FIGURES}


if __name__ == "__main__":
    main()
