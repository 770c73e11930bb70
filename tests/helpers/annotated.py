"""Annotated faces of any kind for tests of formats: data sets in memory, as strategies of Hypothesis, and pictures for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st

from semalign.data import write_pts
from semalign.data.formats.pictures import split_of
from semalign.data.samples import Dataset, Sample
from semalign.schemes import LandmarkScheme, load_scheme

NAMES = st.lists(
    st.sampled_from(
        [
            "a.png",
            "b b.jpg",
            "in it/a.png",
            "Grüße/é 顔.png",
            "test/a.png",
            'x & <y> "z".png',
            "a-00001.png",
            "1,2;3.png",
        ]
    ),
    min_size=1,
    max_size=4,
    unique=True,
)
HAND = LandmarkScheme("hand", ("wrist", "thumb, tip", 'index "one"', "middle & ring", "little"))
SCHEMES = {"ibug68": load_scheme("ibug68"), "wflw98": load_scheme("wflw98"), "hand": HAND}


def face_points(seed: int, count: int, size: tuple[int, int]) -> np.ndarray:
    """Points (count, 2) with all digits inside a picture, wide enough to be a face."""
    points = np.random.default_rng(seed).uniform(1.0, np.array(size) - 2.0, (count, 2))
    points[0], points[-1] = (2.0, 3.25), np.array(size) - 3.0
    return points


FACES = st.tuples(st.integers(0, 2**32 - 1), *[st.booleans()] * 4)  # seed; absent points, visibility, box, track
PICTURES = st.tuples(st.sampled_from([(100, 80), (641, 479), (3000, 4001)]), st.lists(FACES, min_size=1, max_size=3))


def plans(schemes: tuple[str, ...] = ("ibug68", "hand")) -> st.SearchStrategy[Any]:
    """What `made` makes a data set of. (No strategy may call checked code, as the checker draws random numbers.)"""
    pictures = NAMES.flatmap(lambda names: st.tuples(*(st.tuples(st.just(name), PICTURES) for name in names)))
    return st.tuples(st.sampled_from(schemes), pictures)


def made(plan: Any) -> Dataset:
    """A data set whose pictures do not exist but have sizes: one to three faces each, with all that a face may have."""
    scheme, root = SCHEMES[plan[0]], Path("/nowhere")
    samples: list[Sample] = []
    for name, (size, faces) in plan[1]:
        for number, (seed, absent, seen, boxed, tracked) in enumerate(faces):
            rng = np.random.default_rng(seed)
            points = face_points(seed, scheme.count, size)
            gone = rng.random(scheme.count) < 0.3
            gone[[0, -1]] = False
            if absent:
                points[gone] = np.nan
            low = rng.uniform(0.0, 20.0, 2)
            high = low + rng.uniform(30.0, 50.0, 2)
            samples.append(
                Sample(
                    id=f"{number}/{name}",
                    image=root / name,
                    points=points,
                    split=split_of(name, Path("")),
                    subset="",
                    box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])) if boxed else None,
                    visible=rng.random(scheme.count) < 0.7 if seen else None,
                    name=name,
                    size=size,
                    track=str(seed % 10**6 + 1 + 10**6 * len(samples)) if tracked else "",
                )
            )
    return Dataset(root, "set", scheme, tuple(samples))


def draw_pictures(dataset: Dataset, folder: Path) -> None:
    """A plain picture of the right size for each name."""
    for sample in dataset.samples:
        path = folder / sample.name
        if not path.exists() and sample.size is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            done, data = cv2.imencode(path.suffix, np.full((sample.size[1], sample.size[0], 3), 90, np.uint8))
            assert done
            path.write_bytes(data.tobytes())


def make_pts(root: Path, names: tuple[str, ...], absent: bool = True) -> Path:
    """Pictures with `.pts` files of 68 points."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix, np.full((80, 100, 3), 90, np.uint8))[1].tobytes())
        points = face_points(seed, 68, (100, 80)).round(3)
        if absent and not seed:
            points[5] = np.nan
        write_pts(path.with_suffix(".pts"), points, absent=True)
    return root
