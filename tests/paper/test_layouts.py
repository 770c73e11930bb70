"""Synthetic data sets in the formats of AFLW, WFLW, COFW and 300-VW: what the readers find is what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from semalign.data import Dataset, check_dataset, read_image
from semalign.data.crops import CropSettings, build_crops
from semalign.data.opening import open_dataset
from semalign.data.video import read_picture
from semalign.errors import SemalignError
from semalign.paper.layouts import (
    AFLW_PLACES,
    COFW_PLACES,
    WFLW_PLACES,
    On,
    Place,
    place,
    write_300vw,
    write_aflw,
    write_cofw,
    write_wflw,
)
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, face_of

pytest.importorskip("scipy")
pytest.importorskip("h5py")
SETTINGS = SynthesisSettings(count=5, test_count=2, seed=4, face=FaceSettings(size=80))
LAYOUTS: dict[str, tuple[Callable[..., Path], tuple[Place, ...]]] = {
    "aflw19": (write_aflw, AFLW_PLACES),
    "wflw98": (write_wflw, WFLW_PLACES),
    "cofw29": (write_cofw, COFW_PLACES),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    write, _ = LAYOUTS[request.param]
    return open_dataset(write(tmp_path_factory.mktemp("layouts") / request.param, SETTINGS))


def test_the_readers_find_the_faces(made: Dataset) -> None:
    _, places = LAYOUTS[made.scheme.name]
    assert made.name == "synthetic" and made.truth is not None and not made.skipped and not made.notes
    assert [sample.split for sample in made.samples] == ["train"] * 3 + ["test"] * 2
    pictures = [face_of(SETTINGS.seed, index, SETTINGS) for index in range(SETTINGS.count)]
    for face, sample in zip(pictures, made.samples, strict=True):
        exact, _ = place(face, places)
        np.testing.assert_array_equal(made.truth[sample.id], exact)
        assert np.abs(read_image(sample.image).astype(int) - face.image).mean() < 6
        size = np.ptp(face.points[[36, 45], 0])
        assert 0.2 < 100 * np.linalg.norm(sample.points - exact, axis=1).mean() / size < 8
        assert sample.box is not None
        low, high = np.array(sample.box[:2]), np.array(sample.box[2:])
        assert (low < face.points.min(0) + 0.5).all() and (face.points.max(0) - 0.5 < high).all()
    assert check_dataset(made.root).ok


def test_flags_say_what_is_hidden(made: Dataset) -> None:
    visible = pd.read_parquet(made.root / "truth.parquet").groupby("image", sort=False)["visible"]
    for sample in made.samples:
        if sample.visible is not None:
            np.testing.assert_array_equal(sample.visible, visible.get_group(sample.id))
    if made.scheme.name != "wflw98":
        assert all(sample.visible is not None for sample in made.samples)


@pytest.mark.parametrize("name", LAYOUTS)
def test_places_follow_their_scheme(name: str) -> None:
    """Pairs mirror each other, and points that share a name with a landmark of ibug68 are that landmark."""
    scheme, ibug = load_scheme(name), load_scheme("ibug68")
    _, places = LAYOUTS[name]
    assert len(places) == scheme.count
    face = face_of(1, 0, SETTINGS)
    points, shares = place(face, places)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares[:, ibug.flip_index][list(scheme.flip_index)], shares)
    for index, label in enumerate(scheme.landmarks):
        if label in ibug.landmarks and not label.startswith(
            ("contour", "left brow", "right brow", "left eye", "right eye")
        ):
            np.testing.assert_array_equal(points[index], face.points[ibug.landmarks.index(label)])
    assert len(set(places)) == len(places)


def test_points_between_landmarks_lie_on_the_curve() -> None:
    face = face_of(1, 0, SETTINGS)
    curves = {curve.name: curve for curve in face.curves}
    for spot in (On("contour", 7.5), On("left eye", 5.25), On("right brow", 0.5)):
        ((point,), (share,)) = place(face, (spot,))
        line = curves[spot.curve].line
        assert np.linalg.norm(line - point, axis=1).min() == 0.0
        members = curves[spot.curve].landmarks
        first, last = members[int(spot.position)], members[(int(spot.position) + 1) % len(members)]
        assert np.linalg.norm(face.points[first] - point) < np.ptp(line, axis=0).max() / 4
        np.testing.assert_allclose(share[[first, last]], [1 - spot.position % 1, spot.position % 1])


def test_perfect_annotators_write_the_truth(tmp_path: Path) -> None:
    settings = replace(SETTINGS, count=2, test_count=0, noise=NoiseSettings(scale=0.0))
    for name, (write, _) in LAYOUTS.items():
        dataset = open_dataset(write(tmp_path / name, settings))
        assert dataset.truth is not None
        for sample in dataset.samples:
            np.testing.assert_allclose(sample.points, dataset.truth[sample.id], atol=1e-6)


def test_a_finished_set_is_kept_and_another_refused(tmp_path: Path) -> None:
    settings = replace(SETTINGS, count=1, test_count=0)
    for name, (write, _) in LAYOUTS.items():
        before = {path: path.read_bytes() for path in write(tmp_path / name, settings).rglob("*") if path.is_file()}
        write(tmp_path / name, settings, progress=lambda *call: pytest.fail("the faces were drawn again"))
        with pytest.raises(SemalignError, match="holds a data set of other settings"):
            write(tmp_path / name, replace(settings, seed=9))
        assert all(path.read_bytes() == data for path, data in before.items())
        (tmp_path / f"full-{name}").mkdir()
        (tmp_path / f"full-{name}/mine").write_text("")
        with pytest.raises(SemalignError, match="is not empty and holds no synthetic data set"):
            write(tmp_path / f"full-{name}", settings)


@dataclass(frozen=True)
class Shots:
    """A clip of a few frames, each another face."""

    name: str
    category: int
    seed: int
    rate: float = 25.0
    count: int = 3
    noise: float = 0.5
    faces: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faces.extend(face_of(self.seed, index, SETTINGS) for index in range(self.count))

    @property
    def frames(self) -> list[np.ndarray]:
        return [face.image for face in self.faces]

    @property
    def truth(self) -> np.ndarray:
        return np.stack([face.points for face in self.faces])

    @property
    def visible(self) -> np.ndarray:
        return np.stack([face.visible for face in self.faces])

    @property
    def annotations(self) -> np.ndarray:
        return self.truth + self.noise


def test_videos(tmp_path: Path) -> None:
    clips = [Shots("one", 3, 11), Shots("two", 1, 12), Shots("three", 3, 13)]
    dataset = open_dataset(write_300vw(tmp_path / "vw", clips, train=[Shots("four", 2, 14)]))
    assert dataset.name == "synthetic" and dataset.truth is not None
    assert dataset.subsets() == {"train": 3, "category-1": 3, "category-3": 6}
    videos = {"001": 14, "114": 12, "410": 11, "411": 13}
    for sample in dataset.samples:
        video, number = sample.id.split("/")
        face = face_of(videos[video], int(number) - 1, SETTINGS)
        np.testing.assert_array_equal(dataset.truth[sample.id], face.points)
        np.testing.assert_allclose(sample.points, face.points + 0.5, atol=1e-6)
        assert np.abs(read_picture(sample).astype(int) - face.image).mean() < 4
    crops = build_crops(dataset.samples, CropSettings(), 32)
    assert crops.ids == dataset.ids() and len(np.unique(np.asarray(crops.images).reshape(12, -1), axis=0)) == 12
    assert check_dataset(tmp_path / "vw").ok


def test_videos_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match="one: 300-VW has no category 4; choose 1, 2 or 3"):
        write_300vw(tmp_path / "a", [Shots("one", 4, 11, count=1)])
    with pytest.raises(SemalignError, match="300-VW has no more videos in category-3; make fewer clips"):
        write_300vw(tmp_path / "b", [Shots("many", 3, 11, count=1)] * 15)
    clip = type("Cut", (Shots,), {"annotations": property(lambda self: self.truth[:1])})("short", 1, 11, count=2)
    with pytest.raises(SemalignError, match="short: has 2 frames but annotations of 1"):
        write_300vw(tmp_path / "c", [clip])
    assert not (tmp_path / "c/114/vid.avi").exists()
    with pytest.raises(SemalignError, match="is not empty and holds no synthetic videos"):
        write_300vw(tmp_path / "c", [])
    with pytest.raises(SemalignError, match="there are no clips to write"):
        write_300vw(tmp_path / "d", [])
