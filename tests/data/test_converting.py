"""What is written in a format is read back, of every format, and a rewritten document differs in its new numbers alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import draw_pictures, face_points, made, make_pts, plans
from commands import invoke, succeed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semalign.data import convert_dataset, open_dataset, rewrite_dataset
from semalign.data.formats import FORMATS
from semalign.data.formats.cvat import Cvat
from semalign.data.formats.wflw import READER as WFLW
from semalign.data.opening import find_dataset, scan_dataset
from semalign.data.samples import UNKNOWN, Dataset
from semalign.errors import SemalignError

DOCUMENTS = ("coco", "cvat", "label-studio", "dlib", "wflw", "hrnet", "labelme", "csv", "parquet")
EXACT = {"coco": 0.0, "hrnet": 0.0, "wflw": 0.0, "csv": 0.0, "parquet": 0.0, "cvat": 1e-12, "labelme": 1e-12}
TOLERANCE = {**EXACT, "label-studio": 1e-9, "dlib": 0.5}  # px along an axis
NAMED = ("coco", "cvat", "label-studio", "labelme", "csv", "parquet")
VISIBILITY = ("coco", "cvat", "labelme", "csv", "parquet")
UNSAID = ("labelme", "csv", "parquet")  # a point of which nothing is said stays one
TRACKS = ("coco", "cvat", "labelme", "csv", "parquet")
SQUARE = ("hrnet",)


def path_of(folder: Path, short: str) -> Path:
    return folder / f"set{FORMATS[short].ending}"


def plans_of(short: str) -> st.SearchStrategy[Any]:
    return plans(("wflw98",) if short == "wflw" else ("ibug68", "hand") if short in NAMED else ("ibug68",))


def check_same(before: Dataset, after: Dataset, short: str) -> None:
    """The faces of both are the same as far as the format holds them."""
    assert [sample.name for sample in after.samples] == [sample.name for sample in before.samples]
    assert after.scheme == before.scheme or set(after.scheme.landmarks) == set(before.scheme.landmarks)
    assert len(set(after.ids())) == len(after)
    times = [sample.name for sample in before.samples]
    order = [after.scheme.landmarks.index(name) for name in before.scheme.landmarks]
    for one, other in zip(before.samples, after.samples, strict=True):
        assert other.split == one.split
        if times.count(one.name) == 1:
            assert other.id == one.name
        np.testing.assert_allclose(other.points[order], one.points, rtol=0, atol=TOLERANCE[short] + 1e-15)
        if short in VISIBILITY:
            said = one.visibility
            wanted = said if short in UNSAID else np.where(said == UNKNOWN, 2, said)
            np.testing.assert_array_equal(other.visibility[order], wanted)
        if one.box is not None and short not in SQUARE:
            assert other.box is not None
            np.testing.assert_allclose(other.box, one.box, rtol=0, atol=max(TOLERANCE[short], 1e-9))
        elif one.box is not None:
            assert other.box is not None
            np.testing.assert_allclose(
                np.add(other.box[:2], other.box[2:]), np.add(one.box[:2], one.box[2:]), atol=1e-9
            )
        else:
            assert other.box is None
        if short in TRACKS and one.track:
            assert other.track == one.track


@pytest.mark.parametrize("short", DOCUMENTS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_what_is_written_is_read_back(short: str, data: st.DataObject) -> None:
    dataset = made(data.draw(plans_of(short)))
    with tempfile.TemporaryDirectory() as folder:
        out = path_of(Path(folder), short)
        written = FORMATS[short].write(dataset, out)
        assert all(path.is_file() for path in written.files)
        names = list(dict.fromkeys(sample.name for sample in dataset.samples))
        order = sorted(dataset.samples, key=lambda sample: names.index(sample.name))
        after = scan_dataset(out, pictures=False)
        if short == "labelme":
            order = sorted(order, key=lambda sample: _labelme_key(sample.name))
        check_same(Dataset(dataset.root, "", dataset.scheme, tuple(order)), after, short)


def _labelme_key(name: str) -> Path:
    return Path(name).with_suffix(".json")


def revised(dataset: Dataset, seed: int) -> dict[str, np.ndarray]:
    """New points of some faces: some moved, some the old ones again, some NaN."""
    rng = np.random.default_rng(seed)
    new = {}
    for sample in dataset.samples:
        if rng.random() < 0.7:
            kind = rng.integers(0, 3, len(sample.points))[:, None]
            moved = sample.points + rng.uniform(-1.0, 1.0, sample.points.shape)
            new[sample.id] = np.where(kind == 0, moved, np.where(kind == 1, sample.points, np.nan))
    return new


@pytest.mark.parametrize("short", DOCUMENTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), seed=st.integers(0, 1000))
def test_rewriting_changes_what_is_new_and_nothing_else(short: str, data: st.DataObject, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, out = path_of(Path(folder), short), Path(folder, "out")
        FORMATS[short].write(made(data.draw(plans_of(short))), source)
        before = scan_dataset(source, pictures=False)
        originals = contents(source)
        same = rewrite_dataset(source, {sample.id: sample.points for sample in before.samples}, Path(folder, "same"))
        if short != "parquet":
            assert contents(Path(folder, "same")) == originals
        assert len(same.files) == len(originals)
        new = revised(before, seed)
        rewrite_dataset(source, new, out)
        assert contents(source) == originals
        after = scan_dataset(out, pictures=False)
        assert after.ids() == before.ids() and after.scheme == before.scheme
        for one, other in zip(before.samples, after.samples, strict=True):
            wanted = new.get(one.id, one.points)
            wanted = np.where(np.isnan(wanted) | np.isnan(one.points), one.points, wanted)
            np.testing.assert_allclose(other.points, wanted, rtol=0, atol=TOLERANCE[short] + 1e-12)
            kept = (wanted == one.points).all(axis=1)
            np.testing.assert_array_equal(other.points[kept], one.points[kept])
            np.testing.assert_array_equal(other.visibility, one.visibility)
            assert (other.track, other.size, other.tags) == (one.track, one.size, one.tags)
        if short not in ("parquet", "labelme"):
            assert _without_numbers(next(iter(contents(out).values()))) == _without_numbers(
                next(iter(originals.values()))
            )


def _without_numbers(data: bytes) -> list[str]:
    import re

    return re.split(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", data.decode())


def contents(place: Path) -> dict[str, bytes]:
    if place.is_file():
        return {place.name: place.read_bytes()}
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def test_the_whole_chain_of_commands_gives_the_same_points(tmp_path: Path) -> None:
    root = make_pts(tmp_path / "faces", ("a/one.png", "a/two ü.png", "test/three.jpg"))
    before = open_dataset(root)
    last = root
    for short in ("coco", "cvat", "label-studio", "labelme", "hrnet", "csv", "parquet", "pts"):
        out = tmp_path / f"{short}{FORMATS[short].ending}"
        more = ["--images", str(root)] if last != root else []
        text = succeed("convert", last, out, "--to", short, *more)
        assert text.startswith("3 faces in 3 pictures, 68 points each (ibug68): ")
        last = out
    after = open_dataset(last)
    assert after.ids() == before.ids() and after.scheme.name == "ibug68"
    np.testing.assert_allclose(after.points(), before.points(), rtol=0, atol=1e-9)
    assert [sample.split for sample in after.samples] == ["train", "train", "test"]
    assert open_dataset(tmp_path / "coco.json", images=root).ids() == before.ids()
    assert "note: dlib XML holds whole pixels: points moved by up to 0." in succeed(
        "convert", root, tmp_path / "d.xml", "--to", "dlib"
    )


def test_300w_is_rewritten_beside_copies_of_its_pictures(tmp_path: Path) -> None:
    root = make_pts(tmp_path / "300w", ("afw/a.png", "lfpw/testset/b 1.png"))
    (root / "afw/a.pts").write_bytes((root / "afw/a.pts").read_bytes().replace(b"\n", b"\r\n"))
    dataset = open_dataset(root)
    points = dataset.samples[0].points.copy()
    points[3] += (0.5, 0.0)
    points[5] = (1.0, 1.0)  # it is absent and stays so
    done = rewrite_dataset(root, {"afw/a.png": points}, tmp_path / "out")
    assert [path.name for path in done.files] == ["a.pts", "b 1.pts"]
    old, new = (contents(place) for place in (root, tmp_path / "out"))
    assert set(old) == set(new) and [name for name in old if old[name] != new[name]] == ["afw/a.pts"]
    pairs = zip(old["afw/a.pts"].split(b"\n"), new["afw/a.pts"].split(b"\n"), strict=True)
    lines = [pair for pair in pairs if pair[0] != pair[1]]
    assert len(lines) == 1 and lines[0][0].split()[1] == lines[0][1].split()[1]
    np.testing.assert_allclose(open_dataset(tmp_path / "out").samples[0].points[3], points[3])
    for out in (root, tmp_path / "out"):
        with pytest.raises(SemalignError, match=r"never overwritten|is not empty"):
            rewrite_dataset(root, {}, out)


def test_formats_that_are_only_read_say_so(tmp_path: Path) -> None:
    (tmp_path / "COFW_test_color.mat").write_bytes(b"")
    with pytest.raises(SemalignError, match="COFW is only read; write it anew with 'semalign convert"):
        rewrite_dataset(tmp_path, {}, tmp_path / "out")


def test_wflw_is_rewritten_in_its_official_folders(tmp_path: Path) -> None:
    lists = tmp_path / "WFLW/WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    (tmp_path / "WFLW/WFLW_images").mkdir()
    numbers = [f"{value:.4f}" for value in face_points(0, 98, (100, 80)).ravel()]
    text = " ".join([*numbers, "1 2 50 60", "1 0 0 0 0 1", "a b.png"])
    (lists / "list_98pt_rect_attr_test.txt").write_text(text + "\n\n" + text + "\n")
    root = make_pts(tmp_path / "WFLW/WFLW_images", ("a b.png",)).parent
    dataset = open_dataset(root)
    assert dataset.ids() == ("test/a b-00001.png", "test/a b-00003.png")
    points = dataset.samples[1].points.copy()
    points[7] = (11.5, 12.25)
    done = rewrite_dataset(root, {"test/a b-00003.png": points}, tmp_path / "out")
    new = done.files[0].read_text()
    assert new.startswith(text + "\n\n") and " 11.5 12.25 " in new
    assert len([1 for a, b in zip(new.split(), (text + " " + text).split(), strict=True) if a != b]) == 2
    out = tmp_path / "again"
    done = WFLW.write(dataset, out)
    assert [path.name for path in done.files] == ["list_98pt_rect_attr_test.txt"]


@pytest.mark.parametrize("short", DOCUMENTS)
def test_rewriting_refuses_what_does_not_fit(tmp_path: Path, short: str) -> None:
    count = 98 if short == "wflw" else 68
    source = small(tmp_path, short, count)
    name = scan_dataset(source, pictures=False).ids()[0]
    for points, sentence in (
        ({"none.png": np.zeros((count, 2))}, "has no face 'none.png', of which there are new points"),
        ({name: np.zeros((3, 2))}, f"has {count} points, the new ones have the shape"),
        ({name: np.full((count, 2), np.inf)}, "a new coordinate is not finite"),
    ):
        with pytest.raises(SemalignError, match=sentence):
            rewrite_dataset(source, points, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    rewrite_dataset(source, {}, tmp_path / "out")
    with pytest.raises(SemalignError, match=r"exists already; give overwrite=True|is not empty"):
        rewrite_dataset(source, {}, tmp_path / "out")
    rewrite_dataset(source, {}, tmp_path / "out", overwrite=True)
    with pytest.raises(SemalignError, match="is what is read, and is never overwritten"):
        rewrite_dataset(source, {}, source if short == "labelme" else source.parent, overwrite=True)
    with pytest.raises(SemalignError, match="is what is read, and is never overwritten"):
        rewrite_dataset(source, {}, source if short == "labelme" else source.parent)


def small(folder: Path, short: str, count: int = 68, pictures: bool = False) -> Path:
    """A document of two faces in one picture and one in another."""
    from semalign.data.samples import Sample
    from semalign.schemes import load_scheme

    scheme = load_scheme("wflw98" if count == 98 else "ibug68")
    samples = [
        Sample(str(row), Path("/nowhere", name), points.round(2), "train", "", name=name, size=(100, 80))
        for row, name in enumerate(("a.png", "b/c.png", "a.png"))
        for points in [face_points(row, count, (100, 80))]
    ]
    dataset = Dataset(Path("/nowhere"), "set", scheme, tuple(samples))
    source = folder / "in" / f"set{FORMATS[short].ending}"
    source.parent.mkdir()
    FORMATS[short].write(dataset, source)
    if pictures:
        draw_pictures(dataset, source if source.is_dir() else source.parent)
    return source


@pytest.mark.parametrize("short", DOCUMENTS)
def test_every_way_to_name_it_opens_it_with_its_pictures(tmp_path: Path, short: str) -> None:
    source = small(tmp_path, short, 98 if short == "wflw" else 68, pictures=True)
    dataset = open_dataset(source)
    assert len(dataset) == 3 and sorted(dataset.ids()) == ["a-00001.png", "a-00002.png", "b/c.png"]
    for given_place in (source.parent, tmp_path) if short != "labelme" else (source,):
        assert open_dataset(given_place).ids() == dataset.ids()
    assert succeed("data", "check", source).count("3 usable faces") == 1


@pytest.mark.parametrize("short", ["coco", "cvat", "label-studio", "labelme"])
def test_a_size_that_nothing_tells_is_one_sentence(tmp_path: Path, short: str) -> None:
    source = small(tmp_path, "hrnet")
    out = tmp_path / f"out{FORMATS[short].ending}"
    result = invoke("convert", source, out, "--to", short)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "there is no such picture, and" in result.stderr and "give the pictures with --images" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("short", ["csv", "pts"])
def test_a_data_set_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: str) -> None:
    source = small(tmp_path, "csv", pictures=True) if short == "csv" else make_pts(tmp_path / "in", ("a.png",))
    looked: list[Path] = []

    def look(given: Path, known: Any) -> Any:
        looked.append(given)
        return find_dataset(given, known)

    for module in ("opening", "converting"):
        monkeypatch.setattr(f"semalign.data.{module}.find_dataset", look)
    convert_dataset(source, tmp_path / "out.json", "coco")
    assert looked == [source]


def test_out_is_never_in(tmp_path: Path) -> None:
    source = small(tmp_path, "csv", pictures=True)
    for out, to in ((source, "csv"), (source.parent / "a.png", "csv"), (source.parent, "pts"), (tmp_path, "labelme")):
        place = source.parent if to != "csv" else source
        result = invoke("convert", place, out, "--to", to, "--overwrite")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
        assert "is what is read, and is never overwritten" in result.stderr
    result = invoke("convert", source.parent, source, "--to", "csv", "--overwrite")  # named by its folder
    assert result.exit_code == 2 and "is what is read, and is never overwritten" in result.stderr
    pts = make_pts(tmp_path / "pts", ("a.png",))
    result = invoke("convert", pts, pts / "a.pts", "--to", "csv", "--overwrite")
    assert result.exit_code == 2 and "is what is read, and is never overwritten" in result.stderr
    out = tmp_path / "out.json"
    succeed("convert", source, out, "--to", "coco")
    assert "exists already; give --overwrite" in invoke("convert", source, out, "--to", "coco").stderr
    succeed("convert", source, out, "--to", "coco", "--overwrite")
    assert (
        "the format 'yolo' is unknown; choose from pts, coco, cvat,"
        in invoke("convert", source, out, "--to", "yolo").stderr
    )


def test_json_says_what_was_not_kept(tmp_path: Path) -> None:
    import json

    root = make_pts(tmp_path / "pts", ("a.png",))
    values = json.loads(succeed("convert", root, tmp_path / "out.json", "--to", "coco", "--json"))
    assert (values["faces"], values["scheme"], values["files"]) == (1, "ibug68", 1)
    (note,) = values["not_kept"]
    assert note.startswith(
        "COCO keypoints says of each point whether it is visible: 67 of 68 points, of which the data do not"
    )


def test_faces_of_a_video_have_no_place(tmp_path: Path) -> None:
    from dataclasses import replace

    root = make_pts(tmp_path / "pts", ("a.png",))
    dataset = open_dataset(root)
    filmed = replace(dataset, samples=tuple(replace(sample, frame=3) for sample in dataset.samples))
    for short, known in FORMATS.items():
        with pytest.raises(SemalignError, match="write the frames as pictures first"):
            known.write(filmed, tmp_path / f"out-{short}{known.ending}")


def test_cvat_writes_one_shape_of_points_on_request(tmp_path: Path) -> None:
    dataset = scan_dataset(small(tmp_path, "csv"), pictures=False)
    out = tmp_path / "points.xml"
    Cvat(shape="points").write(dataset, out)
    after = scan_dataset(out, pictures=False)
    np.testing.assert_allclose(after.points(), dataset.points(), atol=1e-12)
    points = {after.ids()[0]: after.samples[0].points + 0.25}
    rewrite_dataset(out, points, tmp_path / "new.xml")
    np.testing.assert_allclose(
        scan_dataset(tmp_path / "new.xml", pictures=False).samples[0].points, points[after.ids()[0]]
    )


def test_a_pts_copy_is_made_of_every_face(tmp_path: Path) -> None:
    source = small(tmp_path, "coco", pictures=True)
    text = succeed("convert", source, tmp_path / "out", "--to", "pts")
    assert "2 pictures were copied for 3 faces" in text
    copy = open_dataset(tmp_path / "out")
    assert copy.ids() == ("a-00001.png", "a-00002.png", "b/c.png")
    assert "share one .pts" not in text
    np.testing.assert_allclose(copy.points(), open_dataset(source).points()[[0, 1, 2]], atol=1e-6)
