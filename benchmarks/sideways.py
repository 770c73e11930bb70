"""Is a shift of a whole set told where there is one, and only there? (`semalign.auditing.sideways`)

    semalign data synthesize small --count 600 --test-count 0 --size 128 --noise 0 --seed 128
    semalign data synthesize large --count 600 --test-count 0 --size 224 --noise 0 --seed 224
    python benchmarks/sideways.py --data small --data large --data 300w --data frames

Of each data set the training faces are looked at once. The first row of each says what is told of all of them together. Then
sets of a few faces are drawn, without what was told of all of them: `false` is the share of which a shift
is told all the same, `found` the share of which it is told once all points are moved right and down by `--pixels`, `as pixels`
how often it is then told to be the same in faces of all sizes. `--shrunk` makes the same faces smaller, points and meshes
alike. Thresholds were chosen on these faces and on drawn ones; no test face was looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from harness import Row, finish, run, track

from semalign.auditing.sideways import SEEN, SIDE, axes_of, compared, symmetric_landmarks
from semalign.core.metrics import landmark_boxes
from semalign.data import open_dataset
from semalign.data.crops import build_crops
from semalign.inference.meshes import meshes_of
from semalign.schemes import load_scheme


def main(
    data: Annotated[list[Path], typer.Option(exists=True, help="Data sets of 68 points; may be given several times.")],
    faces: Annotated[list[int], typer.Option(help="Faces of a set that is drawn.")] = [30, 50, 100, 300],  # noqa: B006
    shrunk: Annotated[list[float], typer.Option(help="By how much faces are made smaller.")] = [1.0, 0.5],  # noqa: B006
    draws: Annotated[int, typer.Option(help="Sets that are drawn of each kind.")] = 500,
    pixels: Annotated[float, typer.Option(help="Planted shift.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 1,
) -> None:
    scheme = load_scheme("ibug68")
    rows: list[Row] = []
    for path in data:
        dataset = open_dataset(path, scheme, keep_going=True).select("train")
        meshes, points = meshes_of(build_crops(dataset.samples, SEEN, SIDE)), dataset.points()
        said, axes = symmetric_landmarks(meshes, scheme), axes_of(meshes)
        told = compared(points, said, axes, scheme)
        assert told is not None
        boxes = landmark_boxes(said)
        sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        rows.append({"data": path.name, "faces": len(dataset), "draws": 1, "told": told.sure} | told.about())
        print(path.name, told.sentence(), flush=True)
        own = points.copy()
        own[..., 0] -= (told.constant + told.growing * sizes / told.size)[:, None]
        draw = np.random.default_rng(seed)
        for count in faces:
            for scale in shrunk:
                false, found, same = 0, 0, 0
                for _ in track(range(draws), f"{path.name}, {count} faces"):
                    some = draw.choice(len(own), count, replace=False)
                    without = compared(own[some] * scale, said[some] * scale, axes[some], scheme)
                    planted = compared(own[some] * scale + pixels, said[some] * scale, axes[some], scheme)
                    false += without is not None and without.sure
                    if planted is not None and planted.sure:
                        found, same = found + 1, same + (planted.goes_by == "pixels")
                figures = {"false": false / draws, "found": found / draws, "as pixels": same / draws}
                size = float(np.median(sizes) * scale)
                rows.append({"data": path.name, "faces": count, "draws": draws, "size": size} | figures)
                print(path.name, count, round(size), figures, flush=True)
    finish("sideways", rows, digits=4)


if __name__ == "__main__":
    run(main)
