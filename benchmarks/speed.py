"""How long the shipped models take for a face, against a hourglass of FAN-4's shape; and from the shell to the result.

    python benchmarks/speed.py [--photo photo.jpg]

The table of `semalign bench` for every shipped model, two threads, one crop at a time; then `semalign predict` as a process
of its own on one photo, a synthetic one where none is given, from its start to its end (median of ten, files warm).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import cv2
from results import write_results
from rich.console import Console
from rich.table import Table

from semalign.export.timing import BenchSettings, contestants, fresh_models, measure
from semalign.models import pretrained
from semalign.synthetic import FaceSettings, SynthesisSettings, face_of

THREADS, ROUNDS, STARTS = 2, 30, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a picture with one face; default: a synthetic one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = crop_rows(Path(folder))
        rows.append(shell_row(options.photo or synthetic_photo(Path(folder)), Path(folder) / "out"))
    table = Table("model", "runtime", "input", "ms", "times the yardstick's speed")
    for row in rows:
        ratio = row.get("times the yardstick's speed")
        shown = "" if ratio is None else f"{ratio:.1f}"
        table.add_row(row["model"], row["runtime"], str(row.get("input", "")), f"{row['ms']:.1f}", shown)
    Console().print(table)
    Console().print(f"written: {write_results('speed', rows)}")


def crop_rows(folder: Path) -> list[dict[str, Any]]:
    """Milliseconds of one crop to coordinates, for every model and runtime, in turn."""
    settings = BenchSettings(THREADS, ROUNDS)
    fresh = fresh_models()
    fresh.pop(next(iter(fresh)))
    models = {name: pretrained.load(name) for name in pretrained.available()} | fresh
    timings = [asdict(timing) for timing in measure(list(contestants(models, folder, settings)), settings)]
    yardstick = next(t["milliseconds"] for t in timings if t["model"] in fresh and t["runtime"] == "PyTorch")
    return [
        {
            "model": t["model"],
            "runtime": t["runtime"],
            "threads": THREADS,
            "input": t["input_size"],
            "parameters": t["parameters"],
            "ms": t["milliseconds"],
            "lower quartile": t["lower_quartile"],
            "upper quartile": t["upper_quartile"],
            "times the yardstick's speed": yardstick / t["milliseconds"],
        }
        for t in timings
    ]


def synthetic_photo(folder: Path) -> Path:
    face = face_of(0, 3, SynthesisSettings(count=4, seed=0, face=FaceSettings(size=320)))
    path = folder / "photo.png"
    cv2.imwrite(str(path), cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))
    return path


def shell_row(photo: Path, out: Path) -> dict[str, Any]:
    """From the start of the command to its end."""
    command = [sys.executable, "-m", "semalign", "predict", str(photo), "--out", str(out)]
    seconds = []
    for _ in range(STARTS + 1):
        begin = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        seconds.append(time.perf_counter() - begin)
        assert done.returncode in (0, 1), done.stderr
    return {"model": "default", "runtime": "semalign predict PHOTO, whole process", "ms": 1000 * median(seconds[1:])}


if __name__ == "__main__":
    main()
