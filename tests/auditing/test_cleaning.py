"""Data sets written once more: only what was taken moves, the rest keeps its bytes, and every change is accounted for."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audits import drawn_audit
from commands import invoke

from semalign.auditing import Audit, Decision, Decisions, write_audit
from semalign.auditing.cleaning import AUDIT, CHANGES, CLEANED, PROVENANCE, clean, exporter, read_provenance
from semalign.auditing.source import Source
from semalign.data import convert_dataset, open_dataset
from semalign.data.pts import write_pts
from semalign.errors import SemalignError

FORMATS = {"pts": "faces", "cvat": "faces.xml", "coco": "faces.json", "csv": "faces.csv", "labelme": "shapes"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Audit]:
    """A folder of pictures with .pts files, and the audit that found what was planted in them."""
    folder = tmp_path_factory.mktemp("drawn")
    found = drawn_audit(folder, count=12)
    for file, points in zip(found.files, found.annotations, strict=True):
        write_pts(Path(file).with_suffix(".pts"), points)
    return folder / "pictures", found


def opened(drawn: tuple[Path, Audit], to: str, folder: Path) -> tuple[Source, Audit]:
    """The data set in a format, and its audit in `folder`/audit."""
    pictures, found = drawn
    source = Source(folder / FORMATS[to], images=None if to == "pts" else pictures)
    convert_dataset(pictures, source.path, to)
    dataset = source.opened()
    about = found.about | {"source": source.said(), "judges": "drawn", "name": dataset.name}
    audit = replace(found, ids=dataset.ids(), annotations=dataset.points(), about=about)
    write_audit(audit, folder / AUDIT)
    return source, audit


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / CHANGES).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cleaned(source: Source, out: Path) -> np.ndarray:
    path = out / CLEANED if source.path.is_dir() else out / CLEANED / source.path.name
    return open_dataset(path, images=source.images).points()


def bytes_of(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_listed_moves_and_nothing_else(drawn: tuple[Path, Audit], to: str, tmp_path: Path) -> None:
    source, audit = opened(drawn, to, tmp_path)
    before = bytes_of(source.path)
    done = clean(audit, source, tmp_path / "out")
    assert bytes_of(source.path) == before
    listed = audit.listed()
    taken = listed.faces[:, None] | listed.points
    points = cleaned(source, tmp_path / "out")
    assert np.array_equal(points[~taken], audit.annotations[~taken])
    np.testing.assert_allclose(points[taken], audit.proposals[taken], atol=2e-3)
    assert done.points == taken.sum() == len(rows_of(tmp_path / "out"))
    assert done.faces == taken.any(axis=1).sum() > 0


@pytest.mark.parametrize("to", FORMATS)
def test_where_nothing_is_taken_the_bytes_stay(drawn: tuple[Path, Audit], to: str, tmp_path: Path) -> None:
    source, audit = opened(drawn, to, tmp_path)
    clean(audit, source, tmp_path / "out", "none")
    assert bytes_of(tmp_path / "out" / CLEANED) == bytes_of(source.path)
    assert rows_of(tmp_path / "out") == []


def test_every_change_is_accounted_for(drawn: tuple[Path, Audit], tmp_path: Path) -> None:
    source, audit = opened(drawn, "cvat", tmp_path)
    clean(audit, source, tmp_path / "out")
    points = cleaned(source, tmp_path / "out")
    moved = {
        (name, str(point))
        for name, row in zip(audit.ids, points != audit.annotations, strict=True)
        for point in np.flatnonzero(row.any(axis=1))
    }
    rows = rows_of(tmp_path / "out")
    assert {(row["image"], row["landmark"]) for row in rows} == moved
    place = {name: index for index, name in enumerate(audit.ids)}
    for row in rows:
        face, point = place[row["image"]], int(row["landmark"])
        new = np.array([float(row["new_x"]), float(row["new_y"])])
        np.testing.assert_allclose(new, points[face, point], atol=1e-5)
        assert float(row["distance"]) == pytest.approx(np.linalg.norm(new - audit.annotations[face, point]), abs=2e-3)
        if row["along"]:
            assert np.hypot(float(row["along"]), float(row["across"])) == pytest.approx(
                float(row["distance"]), abs=5e-3
            )
        assert row["kind"] and float(row["probability"]) >= 0.5 and row["decided_by"] == "auto"
    said = read_provenance(tmp_path / "out")
    assert said["points_moved"] == len(rows) and said["judges"] == "drawn" and said["files"] == ["cleaned/faces.xml"]


def test_reviewed_takes_exactly_what_people_decided(drawn: tuple[Path, Audit], tmp_path: Path) -> None:
    source, audit = opened(drawn, "coco", tmp_path)
    with pytest.raises(SemalignError, match="nobody has decided anything"):
        clean(audit, source, tmp_path / "out", "reviewed", decisions=tmp_path / AUDIT)
    assert not (tmp_path / "out").exists()
    made = Decisions(tmp_path / AUDIT, audit.ids, 68)
    made.decide([Decision(0, 3, "accept"), Decision(1, 5, "move", 20.0, 30.0), Decision(2, 7, "reject")], "Ann")
    made.decide([Decision(4, None, "accept"), Decision(4, 1, "reject")], "Bob")
    made.decide([Decision(5, None, "accept")], "Bob")
    made.undo("Bob")
    made.close()
    clean(audit, source, tmp_path / "out", "reviewed", decisions=tmp_path / AUDIT)
    expected = audit.annotations.copy()
    expected[0, 3], expected[1, 5] = audit.proposals[0, 3], (20.0, 30.0)
    expected[4, np.arange(68) != 1] = audit.proposals[4, np.arange(68) != 1]
    np.testing.assert_allclose(cleaned(source, tmp_path / "out"), expected, atol=2e-3)
    rows = rows_of(tmp_path / "out")
    who = {(row["image"], row["landmark"]): row["decided_by"] for row in rows}
    assert who[audit.ids[0], "3"] == who[audit.ids[1], "5"] == "Ann" and who[audit.ids[4], "9"] == "Bob"
    assert read_provenance(tmp_path / "out")["decided_by"] == ["Ann", "Bob"]


def test_all_moves_every_point(drawn: tuple[Path, Audit], tmp_path: Path) -> None:
    source, audit = opened(drawn, "csv", tmp_path)
    clean(audit, source, tmp_path / "out", "all")
    np.testing.assert_allclose(cleaned(source, tmp_path / "out"), audit.proposals, atol=1e-6)


def test_the_command_uses_the_audit_that_is_there_and_refuses_another_sets(
    drawn: tuple[Path, Audit], tmp_path: Path
) -> None:
    source, _ = opened(drawn, "cvat", tmp_path)
    words = ["clean", str(source.path), "--images", str(source.images), "--out", str(tmp_path / "out")]
    there = [*words, "--audit", str(tmp_path / AUDIT)]
    result = invoke(*there)
    assert result.exit_code == 0, result.stderr
    assert "points moved, in" in result.stdout and (tmp_path / "out" / PROVENANCE).is_file()
    again = invoke(*there)
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    assert invoke(*there, "--accept", "none", "--overwrite").exit_code == 0
    assert bytes_of(tmp_path / "out" / CLEANED) == bytes_of(source.path)
    reviewed = invoke(*there, "--accept", "reviewed", "--overwrite")
    assert reviewed.exit_code == 2 and "nobody has decided" in reviewed.stderr
    text = source.path.read_text(encoding="utf-8")
    source.path.write_text(text.replace('points="', 'points="1', 1), encoding="utf-8")
    other = invoke(*there, "--overwrite")
    assert other.exit_code == 2 and "1 of its faces have other annotations by now" in other.stderr
    within = invoke("clean", str(drawn[0]), "--out", str(drawn[0]), "--quick")
    assert within.exit_code == 2 and "is or holds what is read" in within.stderr
    unknown = invoke(*words, "--accept", "some")
    assert unknown.exit_code == 2 and "auto, all, none, reviewed" in unknown.stderr


def test_the_page_exports_beside_the_audit(drawn: tuple[Path, Audit], tmp_path: Path) -> None:
    source, audit = opened(drawn, "labelme", tmp_path)
    export = exporter(tmp_path / AUDIT)
    assert export is not None
    with pytest.raises(SemalignError, match="nobody has decided"):
        export(tmp_path / AUDIT)
    made = Decisions(tmp_path / AUDIT, audit.ids, 68)
    made.decide([Decision(0, None, "accept")], "Ann")
    made.close()
    for _ in range(2):  # the second replaces the first
        told = export(tmp_path / AUDIT)
    out = Path(told["folder"])
    assert told["faces changed"] == 1 and out == tmp_path / "audit-clean"
    np.testing.assert_allclose(cleaned(source, out)[0], audit.proposals[0], atol=2e-3)


def test_results_of_audit_and_clean_are_not_read_as_data(drawn: tuple[Path, Audit], tmp_path: Path) -> None:
    source, audit = opened(drawn, "pts", tmp_path)
    clean(audit, source, tmp_path / "out")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == len(audit) and {name.split("/")[0] for name in dataset.ids()} == {source.path.name}
    assert any("semalign clean" in note for note in dataset.notes)
    assert len(open_dataset(tmp_path / "out")) == len(open_dataset(tmp_path / "out" / CLEANED)) == len(audit)
