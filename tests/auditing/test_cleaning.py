"""Cleaned data sets: what moves, what stays byte for byte, what is said of it, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import draw_pictures, made, make_pts, plans
from commands import invoke, succeed
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from running import running

from semalign.auditing import KINDS, Audit, Decision, Decisions, clean, read_audit, write_audit
from semalign.auditing.accepting import changes
from semalign.auditing.cleaning import beside, export_reviewed
from semalign.auditing.judging import SOURCE, Source
from semalign.auditing.kinds import WHOLE
from semalign.data import open_dataset
from semalign.data.formats import FORMATS
from semalign.errors import SemalignError
from semalign.review.server import ReviewServer

SHORTS = ("coco", "cvat", "label-studio", "dlib", "hrnet", "labelme", "csv", "parquet")


def an_audit(source: Source, folder: Path, seed: int) -> Audit:
    """An audit of a data set whose verdicts and proposals are drawn."""
    rng = np.random.default_rng(seed)
    dataset = source.open(pictures=False)
    points = dataset.points()
    faces, shape = len(dataset), points.shape[:2]
    probability = rng.uniform(0, 1, faces)
    point_probability = np.where(np.isnan(points).any(axis=-1), 0.0, rng.uniform(0, 1, shape))
    moves = np.where(rng.random((*shape, 1)) < 0.7, rng.normal(0, 2, points.shape), 0.0)
    audit = Audit(
        ids=dataset.ids(),
        files=tuple(str(sample.image) for sample in dataset.samples),
        frames=np.full(faces, -1, np.int32),
        scheme=dataset.scheme,
        annotations=points,
        proposals=points + moves,
        spread=np.full(points.shape, 0.5),
        face_probability=probability,
        face_kind=np.where(probability < 0.2, -1, rng.integers(0, len(KINDS), faces)),
        point_probability=point_probability,
        point_kind=np.where(point_probability < 0.2, -1, rng.integers(0, 3, shape)),
        about={"judges": "dice", "data": str(dataset.root), SOURCE: source.about()},
        odds=np.zeros(faces),
    )
    write_audit(audit, folder)
    return audit


def files_of(folder: Path) -> dict[str, bytes]:
    place = folder if folder.is_dir() else folder.parent
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "changes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_rows(source: Source, out: Path, labels: Path) -> np.ndarray:
    """What changes.csv lists is what differs between both data sets, and nothing else does; where that is (b, n)."""
    before = source.open(pictures=False)
    after = Source(labels, source.scheme, source.images).open(pictures=False)
    assert after.ids() == before.ids() and after.scheme.landmarks == before.scheme.landmarks
    old, new = before.points(), after.points()
    differ = ((old != new) & ~(np.isnan(old) & np.isnan(new))).any(axis=-1)
    row = {name: index for index, name in enumerate(before.ids())}
    listed = np.zeros(differ.shape, bool)
    for found in rows_of(out):
        at = row[found["image"]], int(found["landmark"])
        assert before.scheme.landmarks[at[1]] == found["name"] and not listed[at]
        listed[at] = True
        np.testing.assert_allclose([float(found["from_x"]), float(found["from_y"])], old[at], rtol=0, atol=1e-9)
        np.testing.assert_allclose([float(found["to_x"]), float(found["to_y"])], new[at], rtol=0, atol=1e-9)
        assert float(found["distance"]) == pytest.approx(np.linalg.norm(new[at] - old[at]), abs=1e-4)
        if found["along"]:
            parts = np.hypot(float(found["along"]), float(found["across"]))
            assert parts == pytest.approx(float(found["distance"]), abs=3e-4)
    np.testing.assert_array_equal(listed, differ)
    said = json.loads((out / "provenance.json").read_text(encoding="utf-8"))["moved"]
    assert said["points_moved"] == differ.sum() and said["faces_changed"] == differ.any(axis=1).sum()
    return differ


def a_source(folder: Path, short: str, plan: Any) -> Source:
    dataset = made(plan)
    path = folder / "in" / f"set{FORMATS[short].ending}"
    path.parent.mkdir()
    FORMATS[short].write(dataset, path)
    return Source(path, None, None)


@settings(max_examples=7, phases=[Phase.generate])
@given(data=st.data())
def test_what_is_listed_is_what_differs_in_every_format(data: st.DataObject) -> None:
    short = data.draw(st.sampled_from(SHORTS))
    named = (
        ("ibug68", "hand") if short in ("coco", "cvat", "label-studio", "labelme", "csv", "parquet") else ("ibug68",)
    )
    plan, seed = data.draw(plans(named)), data.draw(st.integers(0, 99))
    accept = data.draw(st.sampled_from(["auto", "all", "none"]))
    least = data.draw(st.sampled_from([0.0, 0.5, 0.9]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = a_source(folder, short, plan)
        before = files_of(source.path)
        audit = an_audit(source, folder / "audit", seed)
        done = clean(source.path, folder / "out", accept=accept, least=least, audit=folder / "audit")
        assert files_of(source.path) == before
        differ = check_rows(source, folder / "out", done.labels)
        wanted = changes(audit, accept, least)
        asked = np.zeros(differ.shape, bool)
        asked[wanted.face, wanted.landmark] = True
        if accept == "none":
            assert files_of(folder / "out" / "labels") == before and not asked.any()
        if short == "dlib":  # a small move ends on the same whole pixel
            assert not (differ & ~asked).any()
        else:
            np.testing.assert_array_equal(differ, asked)


@given(seed=st.integers(0, 999), least=st.floats(0.01, 1))
def test_auto_takes_the_findings_and_nothing_else(seed: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    audit = drawn_verdicts(rng)
    found = changes(audit, "auto", least)
    taken = np.zeros(audit.point_kind.shape, bool)
    for finding in audit.findings(least):
        row = audit.ids.index(finding.image)
        taken[row, slice(None) if finding.landmark is None else finding.landmark] = True
    moving = np.abs(audit.proposals - audit.annotations).max(axis=-1) >= 5e-4
    expected = taken & moving & audit.there()
    listed = np.zeros_like(taken)
    listed[found.face, found.landmark] = True
    np.testing.assert_array_equal(listed, expected)
    np.testing.assert_allclose(found.points[expected], audit.proposals[expected], rtol=0, atol=5.001e-4)
    stays = found.points[~expected], audit.annotations[~expected]
    np.testing.assert_array_equal(*stays)
    whole = (audit.face_probability >= least) & np.isin(audit.face_kind, WHOLE)
    for face, landmark, probability in zip(found.face, found.landmark, found.probability, strict=True):
        own = audit.face_probability[face] if whole[face] else audit.point_probability[face, landmark]
        assert probability == own >= least


def drawn_verdicts(rng: np.random.Generator) -> Audit:
    from semalign.schemes import load_scheme

    scheme = load_scheme("cofw29")
    annotations = rng.uniform(0, 100, (5, 29, 2))
    annotations[rng.random((5, 29)) < 0.1] = np.nan
    moves = rng.choice([0.0, 1e-4, 1.0], annotations.shape) * rng.normal(size=annotations.shape)
    return Audit(
        ids=tuple("abcde"),
        files=("",) * 5,
        frames=np.full(5, -1, np.int32),
        scheme=scheme,
        annotations=annotations,
        proposals=annotations + moves,
        spread=np.ones_like(annotations),
        face_probability=rng.uniform(0, 1, 5),
        face_kind=rng.integers(-1, len(KINDS), 5),
        point_probability=rng.uniform(0, 1, (5, 29)),
        point_kind=rng.integers(-1, 3, (5, 29)),
        about={},
        odds=np.zeros(5),
    )


def test_single_points_of_a_face_that_is_improbably_wrong_as_a_whole_are_found() -> None:
    audit = drawn_verdicts(np.random.default_rng(0))
    audit.face_kind[:], audit.face_probability[:] = WHOLE[0], 0.3
    audit.point_probability[:] = 0.0
    there = np.flatnonzero(audit.there()[2])[0]
    audit.point_probability[2, there] = 0.9
    assert [(one.image, one.landmark) for one in audit.findings()] == [("c", there)]
    assert [(one.image, one.landmark) for one in audit.findings(0.25)][1:] == [(name, None) for name in "abcde"][
        :4
    ] or {one.landmark for one in audit.findings(0.25)} == {None}


@pytest.fixture
def folder_of_pts(tmp_path: Path) -> Source:
    return Source(make_pts(tmp_path / "faces", ("a.png", "sub/b.jpg", "test/c.png")))


def document(tmp_path: Path, pictures: bool = True) -> Source:
    plan = ("hand", [("a.png", ((100, 80), [(1, True, True, True, True), (2, False, True, False, False)])),
                     ("in it/a.png", ((641, 479), [(3, True, False, False, False)]))])  # fmt: skip
    source = a_source(tmp_path, "cvat", plan)
    if pictures:
        draw_pictures(made(plan), source.path.parent)
    return source


@pytest.mark.parametrize("kind", ["pts", "cvat"])
def test_reviewed_is_exactly_what_people_decided(tmp_path: Path, kind: str) -> None:
    source = document(tmp_path) if kind == "cvat" else Source(make_pts(tmp_path / "faces", ("a.png", "b.png", "c.png")))
    audit = an_audit(source, tmp_path / "audit", 3)
    there = np.flatnonzero(audit.there()[0]).tolist()
    store = Decisions(tmp_path / "audit", audit.ids, audit.scheme.count)
    store.decide([Decision(1, None, "accept"), Decision(0, there[0], "move", 11.25, 12.5)], "Ann")
    store.decide([Decision(1, 0, "reject"), Decision(0, there[1], "accept"), Decision(0, there[2], "flag")], "Bob")
    store.decide([Decision(2, None, "accept")], "Bob")
    store.undo("Bob")
    expected, _ = store.labels(audit)
    store.close()
    done = clean(source.path, tmp_path / "out", accept="reviewed", audit=tmp_path / "audit")
    check_rows(source, tmp_path / "out", done.labels)
    got = Source(done.labels).open(pictures=False).points()
    np.testing.assert_allclose(got, expected, rtol=0, atol=5.001e-4)
    assert got[0, there[0]].tolist() == [11.25, 12.5]
    np.testing.assert_array_equal(got[2], audit.annotations[2])
    by_hand = [row for row in rows_of(tmp_path / "out") if row["spread_x"] == ""]
    assert [(row["image"], int(row["landmark"]), row["who"]) for row in by_hand] == [(audit.ids[0], there[0], "Ann")]
    who = {(row["image"], int(row["landmark"])): row["who"] for row in rows_of(tmp_path / "out")}
    assert {who[key] for key in who if key[0] == audit.ids[1]} == {"Ann"}
    assert who.get((audit.ids[0], there[1]), "Bob") == "Bob"


def test_an_export_lies_beside_the_audit_and_replaces_only_its_own(tmp_path: Path) -> None:
    source = document(tmp_path)
    audit = an_audit(source, tmp_path / "set-audit", 3)
    with pytest.raises(SemalignError, match="nobody has decided anything"):
        export_reviewed(tmp_path / "set-audit")
    assert not (tmp_path / "set-reviewed").exists()
    store = Decisions(tmp_path / "set-audit", audit.ids, audit.scheme.count)
    store.decide([Decision(1, None, "accept")], "Ann")
    first = export_reviewed(tmp_path / "set-audit")
    assert first.out == tmp_path / "set-reviewed" == beside(tmp_path / "set-audit")
    store.decide([Decision(1, None, "reject")], "Ann")
    store.close()
    before = files_of(source.path)
    again = export_reviewed(tmp_path / "set-audit")
    assert len(first.changes) and not len(again.changes)
    assert (tmp_path / "set-reviewed" / "labels" / "set.xml").read_bytes() == before["set.xml"]
    shutil.rmtree(tmp_path / "set-reviewed")
    (tmp_path / "set-reviewed").mkdir()
    (tmp_path / "set-reviewed" / "mine").touch()
    with pytest.raises(SemalignError, match="is not empty and holds no cleaned data set"):
        export_reviewed(tmp_path / "set-audit")
    assert beside(Path("x/audit")).name == "reviewed"


def other_points(audit: Audit) -> Audit:
    annotations = audit.annotations.copy()
    annotations[1, 1] += 1e-6
    return replace(audit, annotations=annotations)


def other_landmarks(audit: Audit) -> Audit:
    from semalign.schemes import LandmarkScheme

    return replace(audit, scheme=LandmarkScheme("other", tuple(f"p{row}" for row in range(audit.scheme.count))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_points, "of other annotations: those of 1 of its 3 faces have changed"),
        (lambda audit: replace(audit, ids=("x", *audit.ids[1:])), "of other faces: .* has not 1 of its 3, such as x"),
        (other_landmarks, "of the landmarks other"),
    ],
)
def test_an_audit_of_something_else_is_refused(tmp_path: Path, change: Callable[[Audit], Audit], words: str) -> None:
    source = document(tmp_path)
    write_audit(change(an_audit(source, tmp_path / "audit", 3)), tmp_path / "audit")
    with pytest.raises(SemalignError, match=words):
        clean(source.path, tmp_path / "out", audit=tmp_path / "audit")
    assert not (tmp_path / "out").exists()


def test_faces_that_the_audit_has_not_seen_stay_and_are_named(tmp_path: Path) -> None:
    source = Source(make_pts(tmp_path / "faces", ("a.png", "b.png")))
    an_audit(source, tmp_path / "audit", 3)
    make_pts(tmp_path / "faces", ("a.png", "b.png", "c.png"))
    done = clean(source.path, tmp_path / "out", accept="all", audit=tmp_path / "audit")
    assert done.left_out == (("c.png", "it is not in the audit"),)
    assert (done.labels / "c.pts").read_bytes() == (source.path / "c.pts").read_bytes()
    assert {row["image"] for row in rows_of(tmp_path / "out")} == {"a.png", "b.png"}


def test_a_bad_face_of_a_folder_is_copied_as_it_is(tmp_path: Path) -> None:
    source = Source(make_pts(tmp_path / "faces", ("a.png", "b.png", "c.png")))
    (source.path / "c.pts").write_text("broken")
    an_audit(source, tmp_path / "audit", 3)
    done = clean(source.path, tmp_path / "out", accept="none", audit=tmp_path / "audit")
    assert files_of(done.labels) == files_of(source.path)


def test_out_is_never_in_the_data_set_and_never_something_else(tmp_path: Path, folder_of_pts: Source) -> None:
    an_audit(folder_of_pts, tmp_path / "audit", 1)
    for out in (folder_of_pts.path, folder_of_pts.path / "sub", folder_of_pts.path / "new"):
        with pytest.raises(SemalignError, match="is where the data set is"):
            clean(folder_of_pts.path, out, audit=tmp_path / "audit", overwrite=True)
    xml = document(tmp_path)
    an_audit(xml, tmp_path / "audit of xml", 1)
    with pytest.raises(SemalignError, match="is where the data set is"):
        clean(xml.path, xml.path, audit=tmp_path / "audit of xml", overwrite=True)
    with pytest.raises(SemalignError, match="is not empty and holds no cleaned data set"):
        clean(xml.path, xml.path.parent, audit=tmp_path / "audit of xml", overwrite=True)
    clean(xml.path, tmp_path / "out", audit=tmp_path / "audit of xml")
    with pytest.raises(SemalignError, match="holds a cleaned data set already"):
        clean(xml.path, tmp_path / "out", audit=tmp_path / "audit of xml")
    with pytest.raises(SemalignError, match="is for the data set"):
        clean(folder_of_pts.path, tmp_path / "out", audit=tmp_path / "audit", overwrite=True)
    before = files_of(tmp_path / "out" / "labels")
    clean(xml.path, tmp_path / "out", audit=tmp_path / "audit of xml", accept="none", overwrite=True)
    assert files_of(tmp_path / "out" / "labels") != before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["changes.csv", "labels", "provenance.json"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = document(tmp_path)
    an_audit(source, tmp_path / "audit", 1)
    clean(source.path, tmp_path / "out", audit=tmp_path / "audit")
    before = files_of(tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semalign.auditing.cleaning.write_changes", full)
    with pytest.raises(SemalignError, match="the disk is full"):
        clean(source.path, tmp_path / "out", audit=tmp_path / "audit", accept="all", overwrite=True)
    assert files_of(tmp_path / "out") == before
    with pytest.raises(SemalignError, match="the disk is full"):
        clean(source.path, tmp_path / "new", audit=tmp_path / "audit")
    assert not (tmp_path / "new").exists()


def test_a_format_that_is_only_read_is_one_sentence_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "COFW" / "x").mkdir(parents=True)
    for name in ("COFW_train_color.mat", "COFW_test_color.mat"):
        (tmp_path / "COFW" / name).write_bytes(b"")
    result = invoke("clean", tmp_path / "COFW", "--quick", "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
    assert "COFW is only read" in result.stderr and "semalign convert" in result.stderr
    assert not (tmp_path / "out").exists()


# -- the real commands


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces as a folder of .pts files and as a CVAT document; some annotations are wrong, one picture is damaged."""
    folder = tmp_path_factory.mktemp("drawn")
    options = ("--count", "32", "--test-count", "0", "--size", "96", "--workers", "1", "--seed", "4")
    succeed("data", "synthesize", folder / "synthetic", *options)
    (folder / "faces").mkdir()
    for path in (folder / "synthetic").rglob("*.pts"):
        for one in path.parent.glob(f"{path.stem}.*"):
            shutil.copy(one, folder / "faces")
    from semalign.data import read_pts, write_pts

    paths = sorted((folder / "faces").glob("*.pts"))
    for path in paths[3:6]:
        write_pts(path, read_pts(path) + np.array([9.0, -7.0]))
    succeed("convert", folder / "faces", folder / "faces.xml", "--to", "cvat")
    damaged = next(folder.joinpath("faces").glob(f"{paths[8].stem}.[jp][pn]g"))
    damaged.write_bytes(damaged.read_bytes()[:700])
    return folder


@pytest.mark.parametrize("name", ["faces", "faces.xml"])
def test_audit_clean_and_review_of_a_data_set(drawn: Path, tmp_path: Path, name: str) -> None:
    path, pictures = drawn / name, drawn / "faces"
    words = ["--images", pictures] if name == "faces.xml" else []
    source = Source(path, None, pictures if words else None)
    before, out = files_of(drawn), tmp_path / "clean"
    said = succeed("clean", path, "--quick", "--model", "synthetic-demo", "--out", out, *words)
    assert f"next: semalign review {out / 'audit'}" in said and f"labels: {out / 'labels'}" in said
    labels = out / "labels" / ("faces.xml" if words else "")
    differ = check_rows(source, out, labels)
    assert differ.all(axis=1).sum() >= 3 and (differ.all(axis=1) | ~differ.any(axis=1)).sum() >= 24
    provenance = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    (bad,) = provenance["left_out"]
    assert "copy it again" in bad["why"] or "cannot be" in bad["why"] or "damaged" in bad["why"]
    assert provenance["data"]["path"] == str(path) and provenance["judges"] == "synthetic-demo"
    assert (out / "audit" / "review" / "index.json").is_file()
    again = invoke("clean", path, "--quick", "--model", "synthetic-demo", "--out", out, *words)
    assert again.exit_code == 2 and "holds a cleaned data set already" in again.stderr

    none = tmp_path / "none"
    succeed("clean", path, "--audit", out / "audit", "--accept", "none", "--out", none)
    if words:
        assert (none / "labels" / "faces.xml").read_bytes() == path.read_bytes()
    else:
        assert files_of(none / "labels") == files_of(path)
        every = ("--audit", out / "audit", "--accept", "all", "--out", tmp_path / "all", "--json")
        assert json.loads(succeed("clean", path, *every))["moved"]["faces_changed"] == 31
    assert files_of(drawn) == before


def test_review_of_a_data_set_audits_it_once_and_exports(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[ReviewServer] = []
    monkeypatch.setattr("semalign.cli.page.run_page", lambda server, browse: opened.append(server))
    folder = tmp_path / "faces-audit"
    words = (
        "review",
        drawn / "faces.xml",
        "--images",
        drawn / "faces",
        "--out",
        folder,
        "--port",
        "0",
        "--name",
        "Ann",
    )
    first = invoke(*words, "--model", "synthetic-demo")
    assert first.exit_code == 0 and "not judged: " in first.stderr and "going on" not in first.stderr
    second = invoke(*words)
    assert second.exit_code == 0 and "going on with the audit in" in second.stderr
    third = invoke("review", folder, "--port", "0", "--name", "Ann")
    assert third.exit_code == 0
    for server in opened[:-1]:
        server.close()
    audit = read_audit(folder)
    with running(opened[-1]) as server, closing(Decisions(folder, audit.ids, audit.scheme.count)) as store:
        store.decide([Decision(0, 3, "move", 20.5, 30.25)], "Bob")
        status, said = post(server, "/api/export")
    assert status == 200, said
    labels = tmp_path / "faces-reviewed" / "labels" / "faces.xml"
    assert said["result"]["labels"] == str(labels) and said["result"]["points_moved"] == 1
    source = Source(drawn / "faces.xml", None, drawn / "faces")
    assert np.argwhere(check_rows(source, tmp_path / "faces-reviewed", labels)).tolist() == [[0, 3]]
    assert invoke("review", tmp_path / "faces-reviewed", "--port", "0").exit_code == 0  # the same audit
    opened[-1].close()


def post(server: ReviewServer, path: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "X-Semalign": "1"}
    request = urllib.request.Request(f"{server.url.rstrip('/')}{path}", b"{}", headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.loads(answer.read())


def test_unfinished_work_goes_on_and_an_audit_is_used_again(drawn: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "clean", ("clean", drawn / "faces", "--quick", "--model", "synthetic-demo")
    started = json.dumps({"made_by": "semalign clean", "data": {"absolute": str(drawn / "faces")}})
    (out / "audit" / "crops").mkdir(parents=True)  # as if it had been broken off while faces were cut out
    (out / "provenance.started.json").write_text(started)
    first = invoke(*words, "--out", out)
    assert first.exit_code == 0, first.stderr
    stamp = (out / "audit" / "faces.parquet").stat().st_mtime_ns
    for name in ("provenance.json", "changes.csv"):  # as if it had been broken off before them
        (out / name).unlink()
    shutil.rmtree(out / "labels")
    (out / "provenance.started.json").write_text(started)
    again = invoke(*words, "--out", out)
    assert again.exit_code == 0 and "using the audit in" in again.stderr
    assert (out / "audit" / "faces.parquet").stat().st_mtime_ns == stamp
    assert not (out / "provenance.started.json").exists()
    other = invoke(*words, "--no-duplicates", "--out", out, "--overwrite")
    assert other.exit_code == 0 and (out / "audit" / "faces.parquet").stat().st_mtime_ns != stamp
    with pytest.raises(SemalignError, match="was written by 'semalign audit' and is no data set"):
        open_dataset(out / "audit")


def test_an_audit_that_was_broken_off_while_it_was_written_goes_on(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "audit"
    words = ("audit", drawn / "faces", "--quick", "--model", "synthetic-demo", "--no-duplicates", "--out", out)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semalign.auditing.result.atomic_path", stop)
        assert invoke(*words).exit_code == 130
    assert {path.name for path in out.iterdir()} == {"begun.json", "labels"}
    assert invoke(*words).exit_code == 0
    assert (out / "audit.json").is_file() and not (out / "begun.json").exists()


def test_too_few_faces_leave_nothing_behind(tmp_path: Path) -> None:
    source = make_pts(tmp_path / "faces", ("a.png", "b.png"))
    result = invoke("clean", source, "--quick", "--model", "synthetic-demo", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "has 2 faces" in result.stderr
    assert not (tmp_path / "out").exists()


def test_pictures_are_not_needed_where_an_audit_is_given(tmp_path: Path) -> None:
    source = document(tmp_path, pictures=False)
    an_audit(source, tmp_path / "audit", 1)
    done = clean(source.path, tmp_path / "out", audit=tmp_path / "audit", accept="all")
    assert len(done.changes) and check_rows(source, tmp_path / "out", done.labels).any()
