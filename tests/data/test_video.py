"""Videos: exact frame numbers, whatever is wrong with the file, and one pass for many samples of a video."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data.crops import CropSettings, build_crops
from semalign.data.samples import Sample
from semalign.data.video import by_video, open_video, read_picture, read_pictures
from semalign.errors import SemalignError

FRAMES, SIZE = 40, (48, 36)  # width, height
POINTS = np.array([[10.0, 8.0], [30.0, 28.0]])


def level(number: int) -> int:
    return 20 + 5 * number


def write_video(path: Path, frames: int = FRAMES) -> Path:
    """Frame k is red of brightness 20 + 5 k above, blue below."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, SIZE)
    for number in range(frames):
        frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        frame[:18, :, 2] = level(number)
        frame[18:, :, 0] = 200
        writer.write(frame)
    writer.release()
    return path


def spoil(path: Path, frames: set[int]) -> None:
    """Overwrite the compressed data of some frames by zeros."""
    data = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(rb"00dc", data[: data.rindex(b"idx1")])]
    chunks = [at for at in starts if data[at + 8 : at + 10] == b"\xff\xd8"]  # those that hold a JPEG image
    assert len(chunks) == FRAMES
    for number in frames:
        at = chunks[number]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        data[at + 8 : at + 8 + length] = bytes(length)
    path.write_bytes(data)


def number_of(frame: np.ndarray) -> int:
    return round((float(frame[2:12, :, 0].mean()) - 20) / 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_video(tmp_path / "vid.avi")


def sample(path: Path, frame: int) -> Sample:
    return Sample(f"001/{frame + 1:06d}", path, POINTS, "train", "train", frame=frame)


def test_frames_are_rgb_in_order(path: Path) -> None:
    video = open_video(path)
    assert (video.path, video.size, video.claimed_frames) == (path, SIZE, FRAMES)
    assert video.fps == pytest.approx(25.0)
    frames = list(video.frames())
    assert [number_of(frame) for frame in frames] == list(range(FRAMES))
    assert all(frame.shape == (36, 48, 3) and frame.dtype == np.uint8 for frame in frames)
    assert frames[0][30, 24, 2] > 150 and frames[0][30, 24, 0] < 60  # blue below


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (7, 12), (39, None), (30, 100), (12, 12), (50, None)])
def test_a_part_of_the_frames(path: Path, start: int, stop: int | None) -> None:
    found = [number_of(frame) for frame in open_video(path).frames(start, stop)]
    assert found == list(range(FRAMES))[start:stop]


def test_broken_frames_keep_their_numbers(path: Path) -> None:
    spoil(path, {3, 10, 11, 39})
    video = open_video(path)
    numbered = [(number, number_of(frame)) for number, frame in video.numbered()]
    assert numbered == [(number, number) for number in range(FRAMES) if number not in {3, 10, 11, 39}]
    assert [number_of(frame) for frame in video.frames()] == [0, 1, 2]
    assert [number_of(frame) for frame in video.frames(4)] == [4, 5, 6, 7, 8, 9]
    assert list(video.frames(10, 12)) == []


def test_a_truncated_video_ends_early(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = [number_of(frame) for frame in open_video(path).frames()]
    assert 5 < len(found) < 35 and found == list(range(len(found)))


def test_what_is_no_video(path: Path, tmp_path: Path) -> None:
    spoil(path, {0})
    (tmp_path / "empty.avi").write_bytes(b"")
    (tmp_path / "text.avi").write_text("no video " * 50)
    for name, sentence in {
        "none.avi": "there is no such video; check the path",
        "empty.avi": "is empty; copy it again",
        "text.avi": "is no video that can be read; copy it again",
        "": "cannot be read (Is a directory); check the path",
        "vid.avi": "its first frame cannot be decoded",
    }.items():
        with pytest.raises(SemalignError) as caught:
            open_video(tmp_path / name)
        assert sentence in str(caught.value) and str(tmp_path / name) in str(caught.value)
    with pytest.raises(SemalignError, match="has no frame -1"):
        next(open_video(write_video(tmp_path / "good.avi")).frames(-1))


def test_pictures_of_samples(path: Path, tmp_path: Path) -> None:
    image = tmp_path / "face.png"
    cv2.imwrite(str(image), np.full((8, 9, 3), 77, np.uint8))
    still = Sample("face.png", image, POINTS, "train", "train")
    other = write_video(tmp_path / "other/vid.avi")
    spoil(path, {4})
    samples = [sample(path, 9), still, sample(other, 2), sample(path, 4), sample(path, 2), sample(path, 9)]
    assert list(by_video(samples)) == [[0, 3, 4, 5], [1], [2]]
    found = list(read_pictures(samples, [0, 3, 4, 5]))
    assert [row for row, _ in found] == [4, 0, 5, 3]
    assert [number_of(picture) for _, picture in found[:3] if isinstance(picture, np.ndarray)] == [2, 9, 9]
    assert isinstance(found[3][1], SemalignError)
    assert read_picture(still).mean() == 77 and number_of(read_picture(samples[2])) == 2
    with pytest.raises(SemalignError, match=r"frame 4 \(from 0\) cannot be decoded"):
        read_picture(samples[3])


def test_crops_of_frames_equal_those_of_images(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = [9, 4, 30, 0]
    samples = [sample(path, number) for number in order]
    passes: list[Path] = []
    monkeypatch.setattr("semalign.data.video.open_video", lambda path: passes.append(path) or open_video(path))
    calls: list[tuple[int, int]] = []
    crops = build_crops(samples, CropSettings(), 32, lambda *call: calls.append(call))
    assert passes == [path] and calls == [(done, 4) for done in range(1, 5)]
    assert crops.ids == tuple(sample.id for sample in samples)

    stills = []
    for row, number in enumerate(order):
        image = tmp_path / f"{row}.png"
        cv2.imwrite(str(image), read_picture(samples[row])[..., ::-1])
        stills.append(Sample(f"{number}.png", image, POINTS, "train", "train"))
    passes.clear()
    expected = build_crops(stills, CropSettings(), 32)
    np.testing.assert_array_equal(crops.images, expected.images)
    assert len({crop.tobytes() for crop in crops.images}) == 4

    again = build_crops(samples, CropSettings(), 32, lambda *call: calls.append(call))
    np.testing.assert_array_equal(again.images, crops.images)
    assert passes == [] and len(calls) == 4  # read from the cache
    shifted = build_crops([sample(path, number + 1) for number in order], CropSettings(), 32)
    assert passes == [path] and not np.array_equal(shifted.images, crops.images)


def test_frames_that_cannot_be_decoded_are_listed(path: Path, tmp_path: Path) -> None:
    spoil(path, {4})
    samples = [sample(path, number) for number in (3, 4, 5, 99)]
    bad: dict[str, str] = {}
    crops = build_crops(samples, CropSettings(), 32, bad=bad.__setitem__)
    assert list(bad) == ["001/000005", "001/000100"] and crops.ids == ("001/000004", "001/000006")
    assert all("cannot be decoded; copy the video again" in reason for reason in bad.values())
    with pytest.raises(SemalignError, match="cannot be decoded"):
        build_crops(samples, CropSettings(), 32)
