"""How long the shipped models take for a face, against a hourglass of FAN-4's shape; and from the shell to the result.

    python benchmarks/speed.py [--photo photo.jpg]

The table of `semalign bench speed` for every shipped model, two threads, one crop at a time; then `semalign predict` as a
process of its own on one photo, a synthetic one where none is given, from its start to its end (median of ten, files warm).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from harness import Photo, Row, finish, in_turn, run, synthetic_photo

from semalign.export.timing import BenchSettings, contestants, fresh_models, measure
from semalign.models import pretrained

THREADS, ROUNDS, STARTS = 2, 30, 10


def main(photo: Photo = None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if photo is None:
            photo = folder / "photo.png"
            photo.write_bytes(synthetic_photo(".png"))
        rows = [*crop_rows(folder), shell_row(photo, folder / "out")]
    finish("speed", rows)


def crop_rows(folder: Path) -> list[Row]:
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


def shell_row(photo: Path, out: Path) -> Row:
    """From the start of the command to its end."""
    command = [sys.executable, "-m", "semalign", "predict", str(photo), "--out", str(out)]

    def predict() -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr

    milliseconds = in_turn({"predict": predict}, STARTS)["predict"].milliseconds
    return {"model": "default", "runtime": "semalign predict PHOTO, whole process", "ms": milliseconds}


if __name__ == "__main__":
    run(main)
