"""Trains the small network in a process of its own: `train_small.py WORLD OUT [slowly]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from worlds import small_world


def main(world: Path, out: Path, slowly: bool) -> None:
    small = small_world(world)
    trainer = small.trainer(out)
    trainer.resume()
    labels = small.labels()
    trainer.advance = lambda done, note: time.sleep(0.5) if slowly else None
    trainer.fit(labels)
    if trainer.accelerator.is_main_process:
        torch.save(trainer.averaged.state_dict(), out / "average.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "slowly" in sys.argv[3:])
