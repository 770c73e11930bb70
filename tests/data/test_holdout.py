"""Test faces drawn from a data set that has none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semalign.data import Dataset, Sample, open_dataset, write_pts
from semalign.data.holdout import hold_out
from semalign.schemes import load_scheme


def folder(root: Path, *names: str, alike: bool = False) -> Dataset:
    root.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        seed = 0 if alike else index
        coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(coarse, (60, 60), interpolation=cv2.INTER_CUBIC))
        write_pts(path.with_suffix(".pts"), np.random.default_rng(seed).uniform(12, 48, (68, 2)).round(3))
    return open_dataset(root)


def held(dataset: Dataset, share: float = 0.1, seed: int = 0) -> tuple[str, ...]:
    return hold_out(dataset, share, seed).select(split="test").ids()


def test_a_share_is_held_out_by_the_seed_alone(tmp_path: Path) -> None:
    dataset = folder(tmp_path, *(f"{index}.png" for index in range(30)))
    drawn = held(dataset)
    assert len(drawn) == 3 and drawn == held(dataset) and drawn != held(dataset, seed=1)
    assert hold_out(dataset, 0.1, 0).ids() == dataset.ids()
    assert held(dataset, 0.0) == () and len(held(dataset, 0.001)) == 1 and len(held(dataset, 0.5)) == 15


@pytest.mark.parametrize(
    "alike",
    [("photo.png", "photo_2.png"), ("a_0012_1.png", "a_0012_2.png"), ("b.png", "b (1).png"), ("c.png", "c_mirror.png")],
)
def test_files_of_one_photograph_by_their_names_stay_together(tmp_path: Path, alike: tuple[str, str]) -> None:
    dataset = folder(tmp_path, *alike, "x.png", "y.png")
    sides = [set(alike) & set(held(dataset, 0.5, seed)) for seed in range(12)]
    assert {len(side) for side in sides} == {0, 2}


def test_near_duplicates_stay_together_whatever_they_are_called(tmp_path: Path) -> None:
    folder(tmp_path / "one", "me.png", alike=True)
    folder(tmp_path / "two", "holiday.png", alike=True)
    dataset = folder(tmp_path, *(f"{index}/z.png" for index in range(1, 6)))
    same = {"one/me.png", "two/holiday.png"}
    for seed in range(12):
        assert len(same & set(held(dataset, 0.5, seed))) in (0, 2)


def test_names_that_only_count_are_different_photographs(tmp_path: Path) -> None:
    dataset = folder(tmp_path, *(f"face_{index:02d}.png" for index in range(10)))
    assert len(held(dataset, 0.2)) == 2


def test_faces_of_one_file_stay_together_and_alone_are_not_held_out(tmp_path: Path) -> None:
    first = folder(tmp_path, "a.png").samples[0]
    faces = [Sample(f"a-{n}.png", first.image, first.points + n, "train", "a", frame=0) for n in range(4)]
    dataset = Dataset(tmp_path, "a", load_scheme("ibug68"), tuple(faces))
    assert held(dataset, 0.5) == ()


def test_a_picture_that_cannot_be_read_is_like_no_other(tmp_path: Path) -> None:
    folder(tmp_path, *(f"{index}.jpg" for index in range(5)))
    damaged = tmp_path / "0.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-40])  # its header is sound
    assert len(held(open_dataset(tmp_path), 0.2)) == 1


@given(st.integers(2, 40), st.floats(0.01, 0.9), st.integers(0, 5))
def test_the_share_is_kept_to_one_photograph(count: int, share: float, seed: int) -> None:
    samples = tuple(
        Sample(f"{n}", Path(f"{n}"), np.zeros((68, 2)), "train", "a", frame=0) for n in range(count)
    )  # frames are not compared
    drawn = held(Dataset(Path(), "a", load_scheme("ibug68"), samples), share, seed)
    assert len(drawn) == max(1, round(share * count))
