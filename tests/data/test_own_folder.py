"""A folder of one's own in any shape: what is read, what is passed over and said, and that nothing hangs."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from semalign.data import LabelStore, check_dataset, export_labels, open_dataset, write_pts
from semalign.data.results import kind_of_results
from semalign.errors import SemalignError


def face(path: Path, seed: int = 0) -> Path:
    """A grey picture with 68 points beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", np.full((60, 60, 3), 90, np.uint8))
    assert done
    path.write_bytes(data.tobytes())
    write_pts(path.with_suffix(".pts"), np.random.default_rng(seed).uniform(5, 55, (68, 2)).round(2))
    return path


def predictions(folder: Path) -> Path:
    """What `semalign predict --format pts --format overlay` leaves."""
    face(folder / "x.png")
    (folder / "landmarks.json").write_text('{"format": 1, "semalign": "0.2", "images": []}')
    return folder


def run_folder(folder: Path) -> Path:
    face(folder / "data/afw/x.png")
    (folder / "recipe.toml").write_text("")
    (folder / "origin.json").write_text("{}")
    return folder


def export(folder: Path) -> Path:
    face(folder / "x.png")
    (folder / "provenance.json").write_text('{"label_version": 2}')
    return folder


def reproduction(folder: Path) -> Path:
    face(folder / "x.png")
    (folder / "reproduce.json").write_text("{}")
    (folder / "asked.json").write_text("{}")
    return folder


@pytest.mark.parametrize("make", [predictions, run_folder, export, reproduction])
@pytest.mark.parametrize("place", ["results", "deep/in it/results", "test/results"])
def test_own_results_are_never_data(tmp_path: Path, make, place: str) -> None:
    face(tmp_path / "a.png")
    make(tmp_path / place)
    dataset = open_dataset(tmp_path)
    assert dataset.ids() == ("a.png",)
    (note,) = dataset.notes
    assert note.startswith(f"{place} was written by 'semalign ") and note.endswith(" and is not read as data.")
    assert check_dataset(tmp_path).notes == dataset.notes


def test_results_beside_the_folders_of_a_known_layout(tmp_path: Path) -> None:
    face(tmp_path / "300w/afw/x.png")
    face(predictions(tmp_path / "300w/found") / "afw/y.png")
    face(export(tmp_path / "cleaned") / "afw/x.png")
    for given in (tmp_path, tmp_path / "300w"):
        assert open_dataset(given).ids() == ("afw/x.png",)
    assert "found was written by 'semalign predict' and is not read as data." in open_dataset(tmp_path / "300w").notes


def test_annotated_pictures_beside_a_known_layout_are_named(tmp_path: Path) -> None:
    face(tmp_path / "300w/afw/x.png")
    face(tmp_path / "300w/more/deep/y.png")
    face(tmp_path / "own/z.png")
    for given, name in ((tmp_path, "own"), (tmp_path / "300w", "more"), (tmp_path / "300w/afw", "more")):
        dataset = open_dataset(given)
        assert dataset.ids() == ("afw/x.png",)
        notes = [note for note in dataset.notes if "is passed over" in note]
        assert len(notes) == 1 and notes[0].startswith(f"{name} holds annotated pictures, too, but is no part of 300W")


def test_a_label_export_is_data_when_it_is_asked_for_and_predictions_never_are(tmp_path: Path) -> None:
    assert open_dataset(export(tmp_path / "cleaned")).ids() == ("x.png",)
    face(predictions(tmp_path / "found") / "test/z.png")
    for given in (tmp_path / "found", tmp_path / "found/test"):
        with pytest.raises(SemalignError, match="was written by 'semalign predict' and holds found landmarks"):
            open_dataset(given)
    (tmp_path / "paper").mkdir()
    for name in ("reproduce.json", "asked.json"):
        (tmp_path / "paper" / name).write_text("{}")
    with pytest.raises(SemalignError, match="paper: was written by 'semalign reproduce' and is no data set"):
        open_dataset(tmp_path / "paper")


def test_files_of_the_same_names_that_are_not_ours_change_nothing(tmp_path: Path) -> None:
    for name in ("landmarks.json", "provenance.json", "recipe.toml", "summary.json"):
        face(tmp_path / name.partition(".")[0] / "a.png")
        (tmp_path / name.partition(".")[0] / name).write_text('{"points": 68}')
    assert len(open_dataset(tmp_path)) == 4 and kind_of_results(tmp_path / "nowhere") is None


def test_a_real_export_is_recognised_before_and_after_its_end(tmp_path: Path) -> None:
    face(tmp_path / "a.png")
    dataset = open_dataset(tmp_path)
    version = LabelStore(tmp_path / "labels").start(dataset, {"source": "annotations"})
    out = export_labels(version, dataset, tmp_path / "cleaned")
    assert kind_of_results(out) == "export" and open_dataset(tmp_path).ids() == ("a.png",)
    (out / "provenance.json").rename(out / "provenance.started.json")
    assert kind_of_results(out) == "export"


def refused(monkeypatch: pytest.MonkeyPatch, *locked: Path) -> None:
    """Folders as for a user without the right to look into them; a superuser may, so the refusal is simulated."""
    scandir, stat = os.scandir, os.stat

    def refuse(path: str | Path) -> object:
        if Path(path) in locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refuse_inside(path: str | Path, *args: object, **kwargs: object) -> object:
        if isinstance(path, str | Path) and any(folder in Path(path).parents for folder in locked):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "stat", refuse_inside)


@pytest.mark.parametrize("name", ["lost+found", "a/System Volume Information", "test/geheim ß"])
def test_a_folder_that_cannot_be_read_is_named_and_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    face(tmp_path / "good.png")
    face(tmp_path / "later/good.png")
    face(tmp_path / name / "hidden.png")
    refused(monkeypatch, tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert dataset.ids() == ("good.png", "later/good.png")
    assert dataset.notes == (f"{name} cannot be read (Permission denied) and was passed over.",)
    assert check_dataset(tmp_path).ok


def test_the_folder_itself_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    face(tmp_path / "own/a.png")
    refused(monkeypatch, tmp_path / "own")
    with pytest.raises(SemalignError, match=r"own: cannot be read \(Permission denied\); check"):
        open_dataset(tmp_path / "own")


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "own"
    face(root / "a/x.png")
    face(tmp_path / "elsewhere/y.png")
    for link, target in {"b": tmp_path / "elsewhere", "a/up": root, "c": root / "a", "above": tmp_path}.items():
        (root / link).symlink_to(target, target_is_directory=True)
    (root / "self").symlink_to("self")
    (root / "gone").symlink_to("nowhere")
    dataset = open_dataset(root)
    assert dataset.ids() == ("a/x.png", "b/y.png")
    assert dataset.notes == (
        "above leads to a folder that is read already.",
        "c leads to a folder that is read already.",
        "a/up leads to a folder that is read already.",
    )
    (tmp_path / "alias").symlink_to(root, target_is_directory=True)
    assert open_dataset(tmp_path / "alias").ids() == dataset.ids()


@pytest.mark.parametrize(
    "name", ["IMG 0001.PNG", "é à/Grüße 🙂.png", "a.b/c.d.png", "x/y/z/1.Jpg", "t.TIFF", "u.webp", "v.bmp"]
)
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    path = face(tmp_path / name)
    if path.suffix.isupper():
        path.with_suffix(".pts").rename(path.with_suffix(".PTS"))
    dataset = open_dataset(tmp_path)
    assert dataset.ids() == (name,) and check_dataset(tmp_path).ok
    out = export_labels(LabelStore(tmp_path / "labels").start(dataset), dataset, tmp_path / "out")
    assert open_dataset(out).ids() == (name,)


def test_an_accent_may_be_one_character_or_two(tmp_path: Path) -> None:
    path = face(tmp_path / "caf\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    path.with_suffix(".pts").rename(tmp_path / "cafe\N{COMBINING ACUTE ACCENT}.pts")
    assert open_dataset(tmp_path).ids() == (path.name,)
