"""Crops: exact coordinates, a cache that is made once, clear words about bad images."""

from __future__ import annotations

import os
import pickle
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semalign.core.heatmaps import decode_heatmaps
from semalign.data.crop_file import CropFile
from semalign.data.crops import CropCache, CropSettings, build_crops, crop_maps, cut, face_boxes
from semalign.data.samples import Sample
from semalign.errors import SemalignError


def dot(shape: tuple[int, int], x: float, y: float, sigma: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    value = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(value).astype(np.uint8)[..., None], 3, axis=2)


@given(
    side=st.floats(40, 900),
    x=st.floats(0.3, 0.7),
    y=st.floats(0.3, 0.7),
    corner=st.tuples(st.floats(0, 60), st.floats(0, 60)),
)
@settings(max_examples=30)
def test_a_dot_lies_where_the_map_says_at_every_scale(side, x, y, corner):
    box = np.array([[corner[0], corner[1], corner[0] + side, corner[1] + side]])
    maps, size = crop_maps(box, CropSettings(), 64)
    point = box[0, :2] + side * np.array([x, y])
    scale = maps[0, 0, 0]
    picture = dot((1000, 1000), *point, 2.5 / scale)
    crop = torch.from_numpy(cut(picture, maps[0], size)[..., 0]).float()[None, None] / 250
    expected = maps[0, :, :2] @ point + maps[0, :, 2]
    seen = decode_heatmaps(crop, 2.5).points[0, 0].numpy()
    assert np.abs(seen - expected).max() < 0.06


def test_the_input_square_is_the_scaled_box():
    maps, size = crop_maps(np.array([[10.0, 20.0, 110.0, 60.0]]), CropSettings(scale=1.2, margin=1.5), 60)
    assert size == 90
    inset = (size - 60) / 2
    left_top = maps[0, :, :2] @ np.array([60.0 - 60.0, 40.0 - 60.0]) + maps[0, :, 2]
    assert np.allclose(left_top, [inset - 0.5, inset - 0.5])


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    rng = np.random.default_rng(0)
    result = []
    for index in range(5):
        path = tmp_path / f"face_{index}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (80, 90, 3)).astype(np.uint8))
        points = rng.uniform(20, 60, (68, 2))
        result.append(Sample(f"face_{index}.png", path, points, "train", "afw"))
    return result


def test_boxes_are_given_or_those_of_the_points(samples):
    given_box = Sample("a.png", samples[0].image, samples[0].points, "train", "afw", box=(1.0, 2.0, 3.0, 5.0))
    boxes = face_boxes([given_box, samples[1]])
    assert boxes[0].tolist() == [1.0, 2.0, 3.0, 5.0]
    assert np.allclose(boxes[1], [*samples[1].points.min(0), *samples[1].points.max(0)])


def test_the_cache_is_made_once_and_follows_the_images(samples, tmp_path):
    calls: list[tuple[int, int]] = []

    def build() -> torch.Tensor:
        crops = build_crops(samples, CropSettings(), 32, lambda done, total: calls.append((done, total)))
        return crops.batch(np.arange(5))

    first = build()
    assert calls == [(i, 5) for i in range(1, 6)] and first.shape == (5, 3, 48, 48)
    assert torch.equal(build(), first) and len(calls) == 5
    cv2.imwrite(str(samples[2].image), np.zeros((81, 90, 3), np.uint8))
    again = build()
    assert len(calls) == 10 and float(again[2].max()) == 0 and torch.equal(again[3], first[3])


def test_unreadable_images_raise_or_are_listed(samples, tmp_path):
    samples[1].image.write_bytes(b"")
    with pytest.raises(SemalignError, match=r"face_1\.png"):
        build_crops(samples, CropSettings(), 32)
    bad: list[str] = []
    crops = build_crops(samples, CropSettings(), 32, bad=lambda name, why: bad.append(name))
    assert bad == ["face_1.png"] and crops.ids == tuple(s.id for s in samples if s.id != "face_1.png")
    assert len(crops.images) == len(crops.image_to_crop) == 4


def test_an_interrupted_cache_leaves_nothing(samples, cache):
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_crops(samples, CropSettings(), 32, stop)
    assert os.listdir(cache / "crops") == []
    assert len(build_crops(samples, CropSettings(), 32)) == 5


def counted(samples: list[Sample], *, age: bool = True) -> tuple[CropCache, int]:
    """The crops, and how many were cut for them; with `age`, as when the pictures have been there for a while."""
    calls: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        if age:
            patch.setattr("semalign.data.identity.SETTLED", -1)
        crops = build_crops(samples, CropSettings(), 32, lambda done, total: calls.append(done))
    return crops, len(calls)


def moved(samples: list[Sample], folder: Path) -> list[Sample]:
    folder.mkdir()
    return [replace(s, image=Path(shutil.copyfile(s.image, folder / f"other {s.image.name}"))) for s in samples]


def test_copies_of_the_pictures_have_the_same_crops(samples, tmp_path):
    first, cut_first = counted(samples)
    again, cut_again = counted(moved(samples, tmp_path / "there"))
    assert (cut_first, cut_again) == (5, 0)
    np.testing.assert_array_equal(first.images, again.images)


def test_what_crops_depend_on_is_noticed(samples, monkeypatch):
    counted(samples)
    assert counted(samples)[1] == 0
    assert counted(samples[::-1])[1] == 5
    assert counted([replace(samples[0], box=(1.0, 2.0, 30.0, 40.0)), *samples[1:]])[1] == 5
    assert counted([replace(samples[0], id="b.png", subset="ibug"), *samples[1:]])[1] == 0
    twice, other = ([replace(one, box=(1.0, 2.0, 30.0, 40.0)) for one in samples[:2]] for _ in range(2))
    twice.insert(1, replace(twice[0]))
    other.insert(2, replace(other[1]))
    assert counted(twice)[1] == 3 and counted(other)[1] == 3  # the same files and boxes, dealt otherwise
    monkeypatch.setattr("semalign.data.crops.CUT", 2)
    assert counted(samples)[1] == 5


def test_a_picture_that_was_replaced_keeping_its_size_and_time_is_noticed(samples):
    path = samples[2].image
    stat = path.stat()
    counted(samples)
    data = path.read_bytes()
    cv2.imwrite(str(path), cv2.imread(str(path))[::-1])
    path.write_bytes(path.read_bytes().ljust(len(data), b"\0")[: len(data)])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size and counted(samples)[1] == 5


def test_pictures_are_not_read_again_when_nothing_changed(samples, monkeypatch):
    counted(samples)
    counted(samples)
    monkeypatch.setattr("semalign.data.crops.digests_of", None)
    assert counted(samples)[1] == 0
    os.utime(samples[0].image)
    with pytest.raises(TypeError):
        counted(samples)


def test_pictures_that_have_just_changed_are_read_again(samples, monkeypatch):
    counted(samples, age=False)
    counted(samples, age=False)
    monkeypatch.setattr("semalign.data.crops.digests_of", None)
    with pytest.raises(TypeError):
        counted(samples, age=False)


def test_a_picture_that_changes_while_it_is_cut_is_cut_again(samples, cache):
    def change(done: int, total: int) -> None:
        if done == 5 and len(seen) < changes:
            seen.append(cv2.imwrite(str(samples[0].image), np.full((80, 90, 3), 50 * len(seen), np.uint8)))

    seen: list[bool] = []
    changes = 1
    crops = build_crops(samples, CropSettings(), 32, change)
    assert len(seen) == 1 and crops.images[0].max() == 0
    assert file_of(cache) == crops.images.file.path  # nothing is kept under the key of the first picture
    seen, changes = [], 9
    cv2.imwrite(str(samples[1].image), np.zeros((80, 90, 3), np.uint8))
    with pytest.raises(SemalignError, match="its pictures change while they are cut"):
        build_crops(samples, CropSettings(), 32, change)
    assert file_of(cache) == crops.images.file.path
    seen, changes = [], 0
    assert (build_crops(samples, CropSettings(), 32).images[0] == 100).any()


def test_what_could_not_be_read_is_tried_again(samples, monkeypatch):
    from semalign.data.images import read_image

    def fail(path: Path) -> np.ndarray:
        if path == samples[3].image:
            raise SemalignError(f"{path}: cannot be read (Input/output error).")
        return read_image(path)

    bad: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("semalign.data.video.read_image", fail)
        crops = build_crops(samples, CropSettings(), 32, bad=lambda name, why: bad.append(name))
    assert bad == ["face_3.png"] and len(crops) == 4
    assert len(build_crops(samples, CropSettings(), 32)) == 5


def test_a_picture_that_can_be_read_at_times_is_an_error_never_black(samples, cache, monkeypatch):
    from semalign.data.images import read_image

    def fail(path: Path) -> np.ndarray:
        if path == samples[3].image and (times.append(1) or len(times) % 2):
            raise SemalignError(f"{path}: cannot be read (Input/output error).")
        return read_image(path)

    times: list[int] = []
    crops, _ = counted(samples)
    damage(file_of(cache), 5)
    monkeypatch.setattr("semalign.data.video.read_image", fail)
    with pytest.raises(SemalignError, match=r"face_3\.png: cannot be read any more"):
        crops.images[0]
    times.clear()
    with pytest.raises(SemalignError, match="some pictures can be read only at times"):
        build_crops(samples, CropSettings(), 16)


def test_sentences_name_the_pictures_of_this_folder(samples, tmp_path):
    samples[1].image.write_bytes(b"no picture")
    with pytest.raises(SemalignError, match="face_1"):
        build_crops(samples, CropSettings(), 32)
    with pytest.raises(SemalignError, match="there/other face_1"):
        build_crops(moved(samples, tmp_path / "there"), CropSettings(), 32)
    samples[1].image.unlink()
    with pytest.raises(SemalignError, match="there is no such"):
        build_crops(samples, CropSettings(), 32)


def file_of(cache: Path) -> Path:
    (path,) = (cache / "crops").glob("*.crops")
    return path


def damage(path: Path, at: int, bits: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bits]))


@given(st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_is_noticed_and_the_crops_are_made_anew(samples, cache, caplog, data):
    good = np.asarray(counted(samples)[0].images)
    path = file_of(cache)
    before = path.read_bytes()
    at, bits = data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(1, 255))
    damage(path, at, bits)
    caplog.clear()
    crops, cut_at_opening = counted(samples)
    found = np.asarray(crops.images)
    np.testing.assert_array_equal(found, good)
    row = at // crops.images.file.row_bytes
    (said,) = caplog.messages
    if row < 5:
        assert (
            cut_at_opening == 0
            and said == f"{path}: the crop of face_{row}.png in it is damaged; all 5 crops are cut anew."
        )
    else:
        assert cut_at_opening == 5 and said == f"{path}: is damaged; the crops in it are cut anew."
    assert file_of(cache).read_bytes() == before
    assert [path.name for path in (cache / "crops").iterdir() if path.is_file()] == [path.name]


def test_a_file_that_was_cut_short_under_a_reader_is_made_anew(samples, cache, caplog):
    crops, _ = counted(samples)
    good = counted(moved(samples, cache.parent / "there"))[0].images[3]
    os.truncate(file_of(cache), 100)
    np.testing.assert_array_equal(crops.images[3], good)
    assert "the crop of face_3.png in it is damaged" in caplog.text


def test_a_crop_is_checked_once(samples, monkeypatch):
    counted(samples)
    crops, _ = counted(samples)
    checksum, sums = zlib.crc32, []
    monkeypatch.setattr("semalign.data.crop_file.zlib.crc32", lambda data: (sums.append(len(data)), checksum(data))[1])
    crops.batch(np.array([1, 3]))
    crops.batch(np.array([1, 3, 4]))
    assert sums == [crops.images.file.row_bytes] * 3


def test_damaged_crops_of_pictures_that_have_changed_are_refused(samples, cache):
    crops, _ = counted(samples)
    damage(file_of(cache), 5)
    cv2.imwrite(str(samples[4].image), np.zeros((81, 90, 3), np.uint8))
    with pytest.raises(SemalignError, match=r"face_0\.png in it is damaged, and the pictures in .* are others"):
        crops.batch(np.arange(2))
    assert crops.images[2].any()


def test_a_disk_that_loses_bytes_is_named(samples, cache, monkeypatch):
    crops, _ = counted(samples)
    write = CropFile.write
    monkeypatch.setattr(CropFile, "write", lambda self, row, crop: (write(self, row, crop), damage_sum(self, row)))
    damage(file_of(cache), 5)
    with pytest.raises(SemalignError, match="gives other bytes than were written to it"):
        crops.images[0]


def damage_sum(file: CropFile, row: int) -> None:
    file.sums[row] ^= 1


@given(
    st.one_of(
        st.integers(-4, 3),
        st.slices(4),
        st.lists(st.integers(-4, 3), max_size=6),
        st.lists(st.booleans(), min_size=4, max_size=4).map(np.array),
        st.lists(st.integers(0, 3), min_size=1, max_size=4).map(np.array),
    ),
    st.lists(st.one_of(st.integers(0, 2), st.slices(3)), max_size=3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_crops_in_a_file_are_indexed_as_an_array(samples, first, rest):
    images = build_crops([*samples[:3], samples[4]], CropSettings(), 32).images
    array = np.asarray(images)
    assert array.shape == images.shape and array.dtype == images.dtype and len(images) == 4
    first = np.array(first, dtype=int) if isinstance(first, list) else first
    np.testing.assert_array_equal(images[(first, *rest)], array[(first, *rest)])
    np.testing.assert_array_equal(images[..., 1], array[..., 1])
    np.testing.assert_array_equal(np.stack(list(images)), pickle.loads(pickle.dumps(images)))
    for wrong in (4, -5, [0, 9]):
        with pytest.raises(IndexError):
            images[wrong]


def test_crops_without_some_pictures_are_the_right_ones(samples):
    whole = np.asarray(build_crops(samples, CropSettings(), 32).images)
    samples[1].image.write_bytes(b"")
    crops = build_crops(samples, CropSettings(), 32, bad=lambda name, why: None)
    np.testing.assert_array_equal(crops.images, whole[[0, 2, 3, 4]])
    np.testing.assert_array_equal(crops.take(np.array([2, 1])).images, whole[[3, 2]])
