"""The command `predict`: what it writes and prints, its exit status, bad input; once with a real model file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import commands
import cv2
import numpy as np
import pytest
from PIL import Image
from worlds import NETWORK

from semalign.core.shape_posterior import fit_shape_prior
from semalign.data import images, read_pts
from semalign.data.crops import CropSettings
from semalign.data.images import open_picture
from semalign.detect import (
    CascadeFinder,
    CenterFaceFinder,
    Detector,
    DetectorSettings,
    Face,
    Frame,
    detector,
    folders,
    sources,
)
from semalign.models.checkpoint import Model, save_model
from semalign.models.correction import ShapeCorrection, save_correction
from semalign.models.correction_network import CorrectionNetwork
from semalign.models.hourglass import build_hourglass
from semalign.schemes import LandmarkScheme, load_scheme

SQUARE = LandmarkScheme("square", ("a", "b", "c", "d"))


class White(Detector):
    """A detector without a network: a face is what is white, below the middle another; without white there is none."""

    scheme = SQUARE  # type: ignore[assignment]

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings = settings

    def batch(self, images: Any, boxes: Any = None) -> list[list[Face]]:
        return [self(image) for image in images]

    def __call__(self, image: Any, boxes: Any = None) -> list[Face]:
        opened = open_picture(image)
        faces = []
        for half in (slice(0, 48), slice(48, None)):
            rows, columns = np.nonzero(opened.pixels[half, :, 1] > 127)
            if len(rows):
                x0, x1, y0, y1 = columns.min(), columns.max(), rows.min() + half.start, rows.max() + half.start
                faces.append(Face(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float), np.full(4, 0.9), SQUARE))
        return faces

    def follow(self, picture: np.ndarray, boxes: np.ndarray) -> list[Face]:
        found = self(picture) or [Face(np.zeros((4, 2)), np.zeros(4), SQUARE)]
        return [found[0] for _ in boxes]


def picture(x: int = 10, face: bool = True) -> np.ndarray:
    pixels = np.zeros((48, 64, 3), np.uint8)
    if face:
        pixels[12:36, x : x + 24] = 255
    return pixels


def save(path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(**options)).save(path)
    return path


def save_clip(path: Path, count: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for number in range(count):
        writer.write(picture(10 + number))
    writer.release()
    return path


def invoke(*arguments: str | Path) -> Any:
    return commands.invoke("predict", *arguments)


def results(folder: Path) -> Any:
    return json.loads((folder / "landmarks.json").read_text())


@pytest.fixture
def white(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replaces the model by `White`, works in a new folder, and notes what was asked for."""
    noted: dict[str, Any] = {}

    def from_pretrained(name: str, device: Any, finder: Any, settings: DetectorSettings) -> White:
        noted.update(name=name, device=device, finder=finder, settings=settings)
        return White(settings)

    monkeypatch.setattr(detector.Detector, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    return noted


def test_a_photo_gives_landmarks_and_a_picture(white: dict[str, Any]) -> None:
    save(Path("photo.png"))
    result = invoke("photo.png")
    assert result.exit_code == 0, result.output
    assert result.stdout == "1 face in 1 picture: predictions/landmarks.json\n"
    assert sorted(path.name for path in Path("predictions").iterdir()) == ["landmarks.json", "photo.jpg"]
    (face,) = results(Path("predictions"))["images"][0]["faces"]
    assert face["points"][0] == [10.0, 12.0]
    assert (white["name"], white["device"], white["settings"]) == ("default", None, DetectorSettings())
    assert "give --resume to add what is missing, or --overwrite" in invoke("photo.png").stderr
    assert invoke("photo.png", "--overwrite").exit_code == 0  # again


def test_folders_options_and_formats(white: dict[str, Any]) -> None:
    save(Path("in/a.png")), save(Path("in/sub/b.png"), x=20)
    result = invoke(
        "in", "--out", "o", "--format", "pts", "--format", "csv", "--model", "m", "--tta", "4",
        "--score-threshold", "0.5", "--device", "cpu",
    )  # fmt: skip
    assert result.stdout.startswith("2 faces in 2 pictures")
    assert read_pts("o/sub/b.pts")[0].tolist() == [20.0, 12.0]
    assert not Path("o/a.jpg").exists() and Path("o/landmarks.csv").exists()
    assert (white["name"], white["device"]) == ("m", "cpu")
    assert white["settings"] == DetectorSettings(tta=4, score_threshold=0.5)
    assert "the scheme square has no left-right pairs" in result.stderr and "--tta 4 is left out" in result.stderr


def test_options_by_their_names_of_version_0_1_are_taken(white: dict[str, Any]) -> None:
    save(Path("a.png"))
    assert invoke("a.png", "--views", "4", "--least-score=0.5").exit_code == 0
    assert white["settings"].tta == 4 and white["settings"].score_threshold == 0.5


def test_finders_and_which_faces_are_options(white: dict[str, Any]) -> None:
    save(Path("a.png"))
    assert invoke("a.png", "--min-face", "12", "--largest").exit_code == 0
    assert white["finder"] == CenterFaceFinder(12.0) and white["settings"].max_faces == 1
    assert invoke("a.png", "--finder", "cascades", "--max-faces", "3", "--overwrite").exit_code == 0
    assert isinstance(white["finder"], CascadeFinder) and white["settings"].max_faces == 3


def test_no_face_is_said_and_gives_status_1(white: dict[str, Any]) -> None:
    save(Path("a.png")), save(Path("b.png"), face=False)
    result = invoke("a.png", "b.png")
    assert result.exit_code == 1
    assert "b.png: no face was found" in result.stderr
    assert all(word in result.stderr for word in ("--min-face", "--score-threshold", "--boxes"))
    assert [len(item["faces"]) for item in results(Path("predictions"))["images"]] == [1, 0]


def test_one_bad_image_among_good_ones_gives_status_1_and_alone_status_2(white: dict[str, Any]) -> None:
    save(Path("a.png"))
    Path("bad.jpg").write_text("no image")
    result = invoke("bad.jpg", "a.png")
    assert result.exit_code == 1 and "bad.jpg: is no image that can be read" in result.stderr
    assert len(results(Path("predictions"))["images"]) == 1
    result = invoke("bad.jpg", "--out", "other")
    assert result.exit_code == 2 and "error: bad.jpg" in result.stderr and "Traceback" not in result.stderr


def test_large_pictures_pass_without_a_warning_and_bombs_are_refused(
    white: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(Path("a.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 3)  # is the caller's, and no matter here
    assert invoke("a.png").exit_code == 0
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 48 - 1)
    result = invoke("a.png", "--out", "other")
    assert result.exit_code == 2 and "too many pixels" in result.stderr


def test_a_video_is_tracked_with_its_times(white: dict[str, Any]) -> None:
    save_clip(Path("clip.avi"))
    result = invoke("clip.avi", "--out", "o")
    assert result.exit_code == 0, result.output
    frames = results(Path("o"))["images"]
    assert [frame["frame"] for frame in frames] == list(range(12))
    assert np.allclose([frame["seconds"] for frame in frames], np.arange(12) / 25, atol=2e-3)
    assert {face["track"] for frame in frames for face in frame["faces"]} == {1}
    left = [frame["faces"][0]["points"][0][0] for frame in frames]
    assert np.abs(np.array(left) - (10 + np.arange(12))).max() < 1.5
    assert Path("o/clip.mp4").stat().st_size > 0
    assert len(results(Path("o"))["images"]) == 12
    assert invoke("clip.avi", "--out", "p", "--limit", "5", "--no-smoothing").exit_code == 0
    assert len(results(Path("p"))["images"]) == 5


def test_a_truncated_video_is_said_and_its_frames_are_kept(white: dict[str, Any]) -> None:
    data = save_clip(Path("whole.avi"), 30).read_bytes()
    Path("cut.avi").write_bytes(data[: len(data) // 2])
    result = invoke("cut.avi", "--out", "o")
    assert result.exit_code == 1
    assert "cut.avi: says that it has" in result.stderr and "truncated" in result.stderr
    assert 5 < len(results(Path("o"))["images"]) < 28


def test_ctrl_c_ends_a_camera_and_interrupts_a_folder(white: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def frames() -> Any:
        for number in range(5):
            yield Frame(picture(), number, number / 25)
        raise KeyboardInterrupt

    footage = sources.Footage(25.0, 0, frames)
    monkeypatch.setattr("semalign.detect.open_footage", lambda source: footage)
    result = invoke("camera", "--out", "live")
    assert result.exit_code == 0, result.output
    assert results(Path("live"))["complete"] is True and len(results(Path("live"))["images"]) == 5

    for number in range(12):
        save(Path(f"in/{number:02}.png"))
    original = folders.detect_pictures

    def interrupted(*arguments: Any) -> Any:
        for count, outcome in enumerate(original(*arguments), 1):
            yield outcome
            if count == folders.BATCH:
                raise KeyboardInterrupt

    monkeypatch.setattr(folders, "detect_pictures", interrupted)
    result = invoke("in", "--out", "o")
    assert result.exit_code == 130 and "--resume to continue" in result.stderr
    kept = results(Path("o"))
    assert kept["complete"] is False and 8 <= len(kept["images"]) < 13
    monkeypatch.setattr(folders, "detect_pictures", original)
    result = invoke("in", "--out", "o", "--resume")
    assert result.exit_code == 0, result.output
    assert [item["image"] for item in results(Path("o"))["images"]] == [f"in/{number:02}.png" for number in range(12)]
    assert results(Path("o"))["complete"] is True
    assert not Path("o/landmarks.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.png"], "no such file"),
        (["a.png", "--format", "xml"], "'xml' is unknown"),
        (["a.png", "--boxes", "missing.csv"], "no such file"),
        (["a.png", "--finder", "missing.onnx"], "no such file"),
        (["a.png", "--finder", "magic"], "choose from centerface, cascades"),
        (["a.png", "--min-face", "-3"], "the smallest face is -3"),
        (["a.png", "--out", "."], "--out"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_status_2(white: dict[str, Any], arguments: list[str], words: str) -> None:
    save(Path("a.png"))
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_a_real_model_and_boxes_from_a_file(tmp_path: Path) -> None:
    scheme = load_scheme("ibug68")
    model = tmp_path / "tiny.safetensors"
    save_model(model, Model(build_hourglass(NETWORK, 68, 0), scheme, CropSettings(), 2.0))
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)).save(photo)
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nphoto.jpg,20,20,70,75\nphoto.jpg,60,10,100,50\n")
    out = tmp_path / "out"
    result = invoke(photo, "--model", model, "--boxes", tmp_path / "boxes.csv", "--out", out, "--format", "pts")
    assert result.exit_code == 0, result.output
    direct = Detector.from_pretrained(model)(photo, [[20, 20, 70, 75], [60, 10, 100, 50]])
    for name, face in zip(("photo.pts", "photo_2.pts"), direct, strict=True):
        assert np.allclose(read_pts(out / name), face.points, atol=1e-3)


def test_correct_is_for_models_that_have_a_correction(tmp_path: Path) -> None:
    scheme = load_scheme("ibug68")
    model, photo, boxes = tmp_path / "m.safetensors", tmp_path / "photo.png", tmp_path / "boxes.csv"
    save_model(model, Model(build_hourglass(NETWORK, 68, 0), scheme, CropSettings(), 2.0))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)).save(photo)
    boxes.write_text("image,x0,y0,x1,y1\nphoto.png,20,20,70,75\n")
    usual = (photo, "--model", model, "--boxes", boxes)
    refused = invoke(*usual, "--correct", "--out", tmp_path / "refused")
    assert refused.exit_code == 2 and "this model has no correction for hidden landmarks" in refused.stderr
    assert not (tmp_path / "refused").exists()
    assert invoke(*usual, "--out", tmp_path / "bare").exit_code == 0
    prior = fit_shape_prior(np.random.default_rng(1).normal(size=(20, 68, 2)))
    made = ShapeCorrection(prior, CorrectionNetwork(68).reader(), scheme)
    save_correction(tmp_path / "m.correction.safetensors", made)
    for name, more in (("told", ()), ("corrected", ("--correct",))):
        assert invoke(*usual, *more, "--out", tmp_path / name).exit_code == 0
    bare, told, corrected = (
        results(tmp_path / name)["images"][0]["faces"][0] for name in ("bare", "told", "corrected")
    )
    assert "visibility" not in bare and told["visibility"] == [0.5] * 68
    assert told["points"] == bare["points"] != corrected["points"]
    assert results(tmp_path / "corrected")["settings"]["correct"] is True
    resumed = invoke(*usual, "--out", tmp_path / "told", "--correct", "--resume")
    assert resumed.exit_code == 2 and "continue with the same options" in resumed.stderr


def test_two_faces_and_a_picture_of_that_name_are_all_kept(white: dict[str, Any]) -> None:
    two = np.concatenate([picture(4), picture(30)])
    Path("in/sub").mkdir(parents=True)
    Image.fromarray(two).save("in/photo.png")
    save(Path("in/photo_2.png"), x=20), save(Path("in/sub/photo.png"), x=25), save(Path("in/Photo.bmp"), x=15)
    words = [word for name in ("pts", "overlay", "csv", "coco", "parquet") for word in ("--format", name)]
    result = invoke("in", "--out", "o", *words)
    assert result.exit_code == 0, result.output
    found = {item["image"]: item for item in results(Path("o"))["images"]}
    assert len(found) == 4
    for item in found.values():
        for face in item["faces"]:
            points = read_pts(Path("o", f"{face.get('stem', item['stem'])}.pts"))
            assert np.allclose(points, face["points"], atol=1e-3)
    stems = [face.get("stem", item["stem"]).lower() for item in found.values() for face in item["faces"]]
    assert len(set(stems)) == 5 == len(list(Path("o").rglob("*.pts"))) and len(list(Path("o").rglob("*.jpg"))) == 4
    assert len(json.loads(Path("o/coco.json").read_text())["annotations"]) == 5


def test_names_that_are_no_utf8_and_missing_pictures_end_nothing(white: dict[str, Any]) -> None:
    save(Path("in/a.png")), save(Path("in/b.png"))
    try:
        Path("in/a.png").rename(os.fsdecode(b"in/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes no such names")
    result = invoke("in", "gone.png", "--out", "o", "--format", "pts", "--format", "csv", "--format", "coco")
    assert result.exit_code == 1 and "gone.png: there is no such file" in result.stderr
    assert sorted(item["image"] for item in results(Path("o"))["images"]) == ["in/b.png", "in/caf\\xe9.png"]
    assert sorted(path.name for path in Path("o").glob("*.pts")) == ["b.pts", "caf%e9.pts"]
    assert (
        invoke("in", "--out", "o", "--format", "pts", "--format", "csv", "--format", "coco", "--resume").exit_code == 0
    )
    assert len(results(Path("o"))["images"]) == 2


def test_a_dry_run_and_printed_lines_write_nothing(white: dict[str, Any]) -> None:
    save(Path("in/a.png")), save(Path("in/sub/a.png"))
    result = invoke("in", "--dry-run", "--out", "o")
    assert result.stdout.splitlines() == ["in/a.png -> o/a", "in/sub/a.png -> o/sub/a"] and not Path("o").exists()
    result = invoke("in", "--out", "-")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("image") for line in lines] == [None, "in/a.png", "in/sub/a.png", None]
    assert sorted(path.name for path in Path().iterdir()) == ["in"]
    assert result.stderr.endswith("2 faces in 2 pictures\n")
    assert invoke("in", "--out", "-", "-q").stderr == ""


def test_a_box_outside_the_picture_is_named_and_the_rest_done(white: dict[str, Any]) -> None:
    save(Path("a.png")), save(Path("b.png"))
    Path("boxes.csv").write_text("image,x0,y0,x1,y1\na.png,-20,5,30,40\nb.png,100,5,130,40\n")
    result = invoke("a.png", "b.png", "--boxes", "boxes.csv")
    assert result.exit_code == 1
    assert "b.png: the box [100.0, 5.0, 130.0, 40.0] lies outside the picture of 64 × 48 pixels" in result.stderr
    assert [item["image"] for item in results(Path("predictions"))["images"]] == ["a.png"]
