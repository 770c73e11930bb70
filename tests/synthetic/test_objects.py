"""Pictures of objects: the truth lies in the picture and on the object, and follows from the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import invoke, succeed
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.data import open_dataset
from semalign.errors import SemalignError
from semalign.schemes import load_scheme
from semalign.synthetic import ObjectNoise, ObjectSetSettings, ObjectSettings, object_of, object_size, write_objects
from semalign.synthetic.aeroplane import NAMES, SCHEME, Build, Part
from semalign.synthetic.raster import NOTHING, hidden, rasterise

SMALL = ObjectSettings(size=64)
PLAIN = replace(SMALL, occlusion=0.0, clutter=0, blur=0.0, low_resolution=0.0, noise=0.0, compression=0.0, grey=0.0)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 500))
def test_all_points_lie_inside_and_as_large_as_wanted(seed: int, index: int) -> None:
    picture = object_of(seed, index, SMALL)
    assert picture.image.shape == (64, 64, 3) and picture.image.dtype == np.uint8
    assert (picture.points >= 0).all() and (picture.points <= 63).all()
    share = np.ptp(picture.points, axis=0).max() / 64
    assert SMALL.least_share - 0.01 <= share <= SMALL.most_share + 0.01


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31))
def test_left_and_right_mirror_each_other_and_points_lie_on_the_surface(seed: int) -> None:
    build = Build.drawn(np.random.default_rng(seed))
    points, mesh = build.landmarks(), build.mesh()
    for left, right in SCHEME.pairs:
        np.testing.assert_allclose(points[left] * (1, -1, 1), points[right])
        assert points[left, 1] < 0 < points[right, 1]
    nearest = np.linalg.norm(points[:, None] - mesh.vertices, axis=2).min(axis=1)
    assert (nearest < 0.09).all(), dict(zip(NAMES, nearest.round(3).tolist(), strict=True))


def test_the_seed_makes_the_picture() -> None:
    first, again, other = object_of(1, 2, SMALL), object_of(1, 2, SMALL), object_of(1, 3, SMALL)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.points, again.points)
    assert not np.array_equal(first.image, other.image)


def test_hidden_points_are_rare_and_have_a_cause() -> None:
    free = [object_of(3, index, PLAIN) for index in range(8)]
    behind = [object_of(3, index, replace(PLAIN, occlusion=1.0)) for index in range(8)]
    share, more = (np.mean([~picture.visible for picture in pictures]) for pictures in (free, behind))
    assert 0 < share < 0.25 and more > share


def test_a_triangle_before_another_hides_it() -> None:
    pixels = np.array([(1.0, 1), (12, 1), (1, 12), (0, 0), (14, 0), (0, 14)])
    near = np.array([0.5, 0.5, 0.5, 0.25, 0.25, 0.25])
    seen = rasterise(pixels, near, np.array([(0, 1, 2), (3, 4, 5)]), 16)
    assert seen.triangle[3, 3] == 0 and seen.triangle[0, 5] == 1 and seen.triangle[15, 15] == NOTHING
    drawn = seen.triangle != NOTHING
    np.testing.assert_allclose(seen.weights[drawn].sum(axis=1), 1.0)
    y, x = np.nonzero(seen.triangle == 0)
    np.testing.assert_allclose(seen.weights[y, x] @ pixels[:3], np.stack([x, y], 1), atol=1e-9)
    points, corners = np.array([(3.0, 3), (0.5, 8)]), pixels[None, :3]
    assert hidden(points, np.full(2, 0.25), corners, near[None, :3], 0.01).tolist() == [True, False]
    assert not hidden(points, np.full(2, 0.5), corners, near[None, :3], 0.01).any()  # on it, not behind it


def test_every_part_has_a_place() -> None:
    mesh = Build.drawn(np.random.default_rng(0)).mesh()
    assert set(mesh.part.tolist()) == {int(part) for part in Part}
    assert mesh.triangles.max() == len(mesh.vertices) - 1
    assert (np.linalg.norm(mesh.normals, axis=1) <= 1 + 1e-9).all()


# -- written as a data set


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


SET = ObjectSetSettings(count=18, seed=5, object=SMALL)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_objects(tmp_path_factory.mktemp("objects") / "set", SET)


def test_it_is_read_with_its_scheme_and_truth(made: Path) -> None:
    dataset = open_dataset(made)
    assert dataset.scheme == SCHEME and len(dataset) == SET.count and not dataset.skipped and not dataset.notes
    assert dataset.truth is not None
    truth = np.stack([dataset.truth[name] for name in dataset.ids()])
    percent = 100 * np.linalg.norm(dataset.points() - truth, axis=2) / object_size(truth)[:, None]
    visible = pq.read_table(made / "truth.parquet")["visible"].to_numpy().reshape(-1, SCHEME.count)
    assert 0.7 < percent[visible].mean() < 1.3 and percent[~visible].mean() > 1.5 * percent[visible].mean()
    assert load_scheme(made / "scheme.toml") == SCHEME


def test_two_processes_write_what_one_does_and_an_unfinished_set_is_completed(made: Path, tmp_path: Path) -> None:
    def stop(done: int, whole: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    out = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        write_objects(out, SET, stop)
    with pytest.raises(SemalignError, match="unfinished"):
        open_dataset(out)
    assert contents(write_objects(out, SET, workers=2)) == contents(made)
    with pytest.raises(SemalignError, match="of other settings"):
        write_objects(out, replace(SET, seed=6))


def test_without_noise_annotations_are_the_truth(tmp_path: Path) -> None:
    few = replace(SET, count=2, noise=ObjectNoise(scale=0.0))
    dataset = open_dataset(write_objects(tmp_path / "set", few))
    assert dataset.truth is not None
    np.testing.assert_allclose(dataset.points()[1], dataset.truth[dataset.ids()[1]], atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"seed": -1}, {"object": ObjectSettings(size=8)}, {"noise": ObjectNoise(habit=2.0)}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match="choose"):
        write_objects(tmp_path / "set", replace(SET, **wrong))  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_the_commands(made: Path, tmp_path: Path) -> None:
    words = ("--object", "--count", "18", "--seed", "5", "--size", "64", "--workers", "1")
    assert succeed("data", "synthesize", tmp_path / "set", *words).startswith("18 objects")
    assert contents(tmp_path / "set") == contents(made)
    assert invoke("data", "synthesize", tmp_path / "set", "--object", "--test-count", "3").exit_code == 2
    assert succeed("data", "sheet", tmp_path / "x.png", "--object", "--count", "2").startswith("2 objects")
