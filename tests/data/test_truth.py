"""Synthetic data sets are read as ordinary ones, with their truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from semalign.data import open_dataset
from semalign.errors import SemalignError


@pytest.fixture
def root(make_synthetic: Callable[..., Path]) -> Path:
    return make_synthetic({"helen/trainset": 2, "lfpw/testset": 1}, moved=(1.0, -2.0))


def test_truth_by_id(root: Path) -> None:
    dataset = open_dataset(root)
    assert (dataset.name, dataset.notes) == ("synthetic", ())
    assert {sample.group for sample in dataset.samples} == {""}
    assert dataset.truth is not None and set(dataset.truth) == set(dataset.ids())
    for sample in dataset.samples:
        np.testing.assert_allclose(dataset.truth[sample.id], sample.points + (1.0, -2.0))
    assert dataset.select("test").truth == dataset.truth


def test_what_the_synthesizer_writes(tmp_path: Path) -> None:
    from semalign.synthetic import NoiseSettings, SynthesisSettings, write_dataset

    settings = SynthesisSettings(count=4, test_count=1, noise=NoiseSettings(scale=0.0))
    dataset = open_dataset(write_dataset(tmp_path / "faces", settings))
    assert (dataset.name, dataset.notes, dataset.skipped) == ("synthetic", (), ())
    assert [sample.split for sample in dataset.samples] == ["train"] * 3 + ["test"]
    assert dataset.truth is not None
    for sample in dataset.samples:  # without noise the annotations are the truth, as far as their polyline follows it
        np.testing.assert_allclose(sample.points, dataset.truth[sample.id], atol=0.01)


def damage_json(root: Path) -> None:
    (root / "synthetic.json").write_text("{}")


def forget_a_face(root: Path) -> None:
    table = pd.read_parquet(root / "truth.parquet")
    table.iloc[:-68].to_parquet(root / "truth.parquet")


def lose_a_row(root: Path) -> None:
    pd.read_parquet(root / "truth.parquet").iloc[1:].to_parquet(root / "truth.parquet")


def make_infinite(root: Path) -> None:
    pd.read_parquet(root / "truth.parquet").assign(x=np.inf).to_parquet(root / "truth.parquet")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda root: (root / "truth.parquet").unlink(), "truth.parquet: there is no such file"),
        (lambda root: (root / "truth.parquet").write_bytes(b"PAR1"), "truth.parquet: cannot be read"),
        (forget_a_face, "truth.parquet: knows nothing of lfpw/testset/image_0001.png"),
        (lose_a_row, "truth.parquet: does not hold 68 landmarks for each image"),
        (make_infinite, "truth.parquet: holds a point that is not finite"),
        (damage_json, "synthetic.json: cannot be read as a description"),
        (
            lambda root: (root / "synthetic.json").rename(root / "synthetic.started.json"),
            "is an unfinished synthetic data set",
        ),
    ],
)
def test_damage_is_named(root: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    spoil(root)
    with pytest.raises(SemalignError) as caught:
        open_dataset(root, keep_going=True)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
