"""`semalign.audit` in Python, and audits as data frames."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audits import drawn_audit
from commands import invoke

import semalign
from semalign.auditing import Audit
from semalign.auditing.kinds import NAMES
from semalign.data import convert_dataset, open_dataset
from semalign.errors import SemalignError
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

COUNT = 30


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SynthesisSettings(count=COUNT, test_count=0, seed=4, face=FaceSettings(size=96))
    return write_dataset(tmp_path_factory.mktemp("faces") / "data", settings)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return drawn_audit(tmp_path_factory.mktemp("drawn"))


def test_a_path_and_an_open_data_set_give_the_same_and_nothing_is_left(faces: Path, tmp_path: Path) -> None:
    there = sorted(faces.rglob("*"))
    one = semalign.audit(faces, quick=True, model="synthetic-demo", duplicates=False)
    out = tmp_path / "audit"
    other = semalign.audit(open_dataset(faces), quick=True, model="synthetic-demo", out=out, duplicates=False)
    assert sorted(faces.rglob("*")) == there
    frame = one.to_pandas("points")
    assert len(one) == COUNT and len(frame) == COUNT * 68 and set(frame["image"]) == set(open_dataset(faces).ids())
    pd.testing.assert_frame_equal(frame, other.to_pandas("points"))
    pd.testing.assert_frame_equal(frame, semalign.read_audit(out).to_pandas("points"))
    with pytest.raises(SemalignError, match="holds an audit already"):
        semalign.audit(faces, quick=True, model="synthetic-demo", out=out)


def test_networks_are_trained_only_where_they_can_be_continued(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(SemalignError, match="give out=FOLDER, or quick=True"):
        semalign.audit(faces)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(SemalignError, match="holds no audit"):
        semalign.audit(faces, out=tmp_path / "full")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "notes.txt"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"quick": True, "crossfit": "cross"}, "crossfit would be ignored beside quick"),
        ({"quick": True, "recipe": "any-crossfit", "folds": 3}, "recipe and folds would be ignored beside quick"),
        ({"crossfit": "cross", "recipe": "any-crossfit"}, "recipe would be ignored beside crossfit"),
        ({"crossfit": "cross", "model": "synthetic-demo"}, "model would be ignored beside crossfit"),
        ({"model": "synthetic-demo"}, "model would be ignored without quick"),
    ],
)
def test_nothing_is_ignored(faces: Path, tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SemalignError, match=sentence):
        semalign.audit(faces, out=tmp_path / "audit", **given)
    words = [
        word for name, value in given.items() for word in ([f"--{name}"] if value is True else [f"--{name}", value])
    ]
    for command in ("audit", "clean"):
        result = invoke(command, faces, *words, "--out", tmp_path / "audit")
        assert result.exit_code == 2 and sentence in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("given", [{"scheme": "wflw98"}, {"images": "elsewhere"}])
def test_an_open_data_set_has_its_scheme_and_pictures_already(faces: Path, given: dict[str, str]) -> None:
    with pytest.raises(SemalignError, match=f"no {next(iter(given))} beside an open data set"):
        semalign.audit(open_dataset(faces), quick=True, model="synthetic-demo", duplicates=False, **given)  # type: ignore[arg-type]


def test_an_open_document_is_remembered(faces: Path, tmp_path: Path) -> None:
    document = tmp_path / "faces.json"
    convert_dataset(faces, document, "coco")
    opened = open_dataset(document, images=faces)
    made = semalign.audit(opened, quick=True, model="synthetic-demo", duplicates=False)
    assert made.about["source"]["path"] == str(document)


def test_findings_are_a_row_each_worst_first(drawn: Audit) -> None:
    frame, found = drawn.to_pandas(), list(drawn.findings())
    assert frame.index.name == "rank" and frame.index[0] == 1 and len(frame) == len(found) > 10
    assert frame["probability"].is_monotonic_decreasing and set(frame["kind"]) <= set(NAMES)
    for row, one in zip(frame.itertuples(), found, strict=True):
        assert (row.image, row.kind, row.probability, row.dx, row.dy) == (
            one.image,
            one.kind,
            one.probability,
            one.dx,
            one.dy,
        )
        assert drawn.ids[row.face] == one.image
        assert (pd.isna(row.landmark) and pd.isna(row.name)) if one.landmark is None else row.landmark == one.landmark
    assert frame["landmark"].isna().any() and frame["landmark"].notna().any()
    assert len(drawn.to_pandas(least=0.9)) == (frame["probability"] >= 0.9).sum()
    assert drawn.to_pandas(least=1.1).columns.tolist() == frame.columns.tolist()


def test_faces_and_points_are_the_audits_own_arrays(drawn: Audit) -> None:
    annotations = drawn.annotations.copy()
    annotations[3, 5] = np.nan
    audit = replace(drawn, annotations=annotations, frames=np.where(np.arange(len(drawn)) == 2, 7, drawn.frames))
    points, faces = audit.to_pandas("points"), audit.to_pandas("faces")
    shape = (len(audit), audit.scheme.count)
    assert points["x"].isna().sum() == points["dx"].isna().sum() == 1
    for name, values in {"": audit.annotations, "proposed_": audit.proposals, "spread_": audit.spread}.items():
        columns = points[[f"{name}x", f"{name}y"]].to_numpy().reshape(*shape, 2)
        np.testing.assert_array_equal(columns, values)
    np.testing.assert_array_equal(points["dy"], points["proposed_y"] - points["y"])
    row = points.iloc[4 * audit.scheme.count + 9]
    assert (row["face"], row["landmark"], row["name"]) == (4, 9, audit.scheme.landmarks[9])
    kinds = [NAMES[kind] if kind >= 0 else None for kind in audit.point_kind.ravel()]
    assert [None if pd.isna(kind) else kind for kind in points["kind"]] == kinds
    assert faces["image"].tolist() == list(audit.ids) and faces["file"].tolist() == list(audit.files)
    assert faces["frame"].dropna().to_dict() == {2: 7}
    np.testing.assert_array_equal(faces["probability"], audit.face_probability)


def test_what_is_missing_is_said(drawn: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SemalignError, match="no rows 'curves'"):
        drawn.to_pandas("curves")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SemalignError, match=r"install it with: pip install 'semalign\[pandas\]'"):
        drawn.to_pandas()
