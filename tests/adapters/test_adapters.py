"""Data sets, audits and found faces go to FiftyOne and supervision and come back the same.

Stand-ins take the packages' place; the last tests ask the real ones, where they are installed. If they are in an environment of
their own, SEMALIGN_JUDGES names its Python, as for tests/data/test_judges.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import made, plans
from audits import drawn_audit
from exchanging import audited, check_audits, check_datasets, check_faces
from hypothesis import HealthCheck, given, settings
from strangers import modules

from semalign.adapters import faces_from_supervision, from_fiftyone, from_supervision, to_fiftyone, to_supervision
from semalign.auditing import Audit, write_audit
from semalign.errors import SemalignError
from semalign.schemes import load_scheme

PYTHON = os.environ.get("SEMALIGN_JUDGES", sys.executable)
HELPERS = Path(__file__).resolve().parents[1] / "helpers"
PACKAGES = ("fiftyone", "supervision")
SCHEME = load_scheme("ibug68")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return drawn_audit(tmp_path_factory.mktemp("audit"), count=6)


@pytest.mark.parametrize("package", PACKAGES)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans())
def test_data_sets_come_back(stand_ins: None, package: str, plan: Any) -> None:
    check_datasets(made(plan), package)


@pytest.mark.parametrize("package", PACKAGES)
def test_audits_go_along_and_found_faces_come_back(stand_ins: None, audit: Audit, package: str) -> None:
    check_audits(audited(audit), audit, package)
    check_faces(3, (120, 90), package)


def test_sizes_that_nobody_says_are_those_of_the_pictures(stand_ins: None, audit: Audit) -> None:
    samples = to_fiftyone(audited(audit))
    assert samples[0].metadata.width == samples[0].metadata.height == 144
    for sample in samples:
        sample["metadata"] = None
    np.testing.assert_allclose(from_fiftyone(samples, "ibug68").points(), audit.annotations, atol=1e-9)


def test_what_comes_from_elsewhere_has_names_and_absent_points(stand_ins: None, tmp_path: Path) -> None:
    key_points = modules()["supervision"].KeyPoints
    xy = np.random.default_rng(0).uniform(1, 90, (2, 68, 2)).astype(np.float32)
    xy[0, 3], xy[1, 4] = 0, np.nan
    visible = np.ones((2, 68), bool)
    visible[0, 9] = False
    found = from_supervision({tmp_path / "a" / "x.png": key_points(xy, visible=visible)}, SCHEME)
    assert found.ids() == ("x-00001.png", "x-00002.png") and found.root == tmp_path / "a"
    assert np.argwhere(np.isnan(found.points()[..., 0])).tolist() == [[0, 3], [1, 4]]
    assert np.argwhere(found.visibility() == 1).tolist() == [[0, 9]]
    one, other = (key_points(part) for part in np.split(xy, 2))
    both = from_supervision([(tmp_path / "a" / "x.png", one), (tmp_path / "b" / "x.png", other)], "ibug68")
    assert both.ids() == ("a/x.png", "b/x.png") and {sample.split for sample in both.samples} == {"train"}
    faces = faces_from_supervision(one, "ibug68")
    np.testing.assert_array_equal(faces[0].confidence, np.ones(68))


def test_a_tag_says_which_faces_are_tested_and_samples_without_faces_are_passed_over(
    stand_ins: None, audit: Audit
) -> None:
    fiftyone, samples = modules()["fiftyone"], to_fiftyone(audited(audit), field="mine")
    samples[1].tags.append("test")
    bare = [fiftyone.Sample(filepath="/none.png", tags=[]), fiftyone.Sample(filepath="/no.png", tags=[], mine=None)]
    found = from_fiftyone([*bare, *samples], SCHEME, "mine")
    assert [sample.split for sample in found.samples] == ["train", "test", "train", "train", "train", "train"]


def test_what_cannot_be_is_said(stand_ins: None, audit: Audit) -> None:
    dataset = audited(audit)
    with pytest.raises(SemalignError, match="has a face of 68 points, and wflw98 has 98"):
        from_fiftyone(to_fiftyone(dataset), "wflw98")
    with pytest.raises(SemalignError, match="has a face of 68 points, and wflw98 has 98"):
        from_supervision(to_supervision(dataset), "wflw98")
    with pytest.raises(SemalignError, match="gives no faces"):
        from_fiftyone(to_fiftyone(dataset), SCHEME, "predictions")
    with pytest.raises(SemalignError, match="two faces of the id"):
        from_fiftyone(to_fiftyone(dataset) * 2, SCHEME)
    film = replace(dataset, samples=tuple(replace(sample, frame=3) for sample in dataset.samples))
    for adapter in (to_fiftyone, to_supervision):
        with pytest.raises(SemalignError, match="is a video"):
            adapter(film)
        with pytest.raises(SemalignError, match="the audit does not have its face else/drawn/00000"):
            adapter(dataset.grouped("else"), audit)


@pytest.mark.parametrize(("adapter", "package"), [(to_fiftyone, "fiftyone"), (to_supervision, "supervision")])
def test_a_missing_package_is_said(adapter: Any, package: str, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SemalignError, match=rf"install it with: pip install 'semalign\[{package}\]'"):
        adapter(audited(audit))


# -- the real packages


def ask(package: str, script: str, *arguments: str | Path) -> Any:
    """What a script prints last, as JSON, where the package is; Semalign and what it needs are this environment's."""
    found = subprocess.run([PYTHON, "-c", f"import {package}"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"{package} is not installed: {found.stderr.strip().splitlines()[-1][:120]}")
    paths = [str(HELPERS.parents[1] / "src"), str(HELPERS), *filter(None, sys.path)]
    begin = "import json, sys\nsys.path += json.loads(sys.argv[1])\n"
    words = [PYTHON, "-c", begin + script, json.dumps(paths), *map(str, arguments)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


TWO = ("ibug68", (("a.png", ((641, 479), ((3, True, True, True, True), (4, False, False, False, False)))),))

EVERYTHING = """
from exchanging import check_everything
check_everything(sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])
print(json.dumps(sys.modules[sys.argv[2]].__version__))
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_the_real_packages_do_the_same(audit: Audit, package: str, tmp_path: Path) -> None:
    write_audit(audit, tmp_path)
    assert ask(package, EVERYTHING, package, json.dumps(TWO), tmp_path)


DRAWN = """
import numpy as np
import supervision as sv
from exchanging import audited
from semalign.adapters import to_supervision
from semalign.auditing import read_audit
audit = read_audit(sys.argv[2])
dataset = audited(audit)
dataset.samples[0].points[5] = np.nan
points = to_supervision(dataset, audit)[dataset.samples[0].image]
picture = sv.VertexAnnotator(color=sv.Color.WHITE, radius=0).annotate(np.zeros((144, 144, 3), np.uint8), points)
wrong = points[points.data["probability"] > 2]
box = points.as_detections().xyxy[0].tolist()
print(json.dumps([np.argwhere(picture[..., 0] > 0)[:, ::-1].tolist(), box, len(wrong)]))
"""


@pytest.mark.slow
def test_supervision_draws_points_where_they_are_and_leaves_absent_ones_out(audit: Audit, tmp_path: Path) -> None:
    write_audit(audit, tmp_path)
    drawn, box, wrong = ask("supervision", DRAWN, tmp_path)
    points = np.delete(audit.annotations[0], 5, axis=0)
    inside = points[((points >= 0) & (points < 144)).all(axis=1)].astype(int)
    assert {tuple(point) for point in drawn} == {tuple(point) for point in inside.tolist()}
    np.testing.assert_allclose(box, [*points.min(axis=0), *points.max(axis=0)], rtol=1e-6)
    assert wrong == 0


KEPT = """
import fiftyone as fo
from exchanging import ROUNDED, check_same
from annotated import made
from semalign.adapters import from_fiftyone, to_fiftyone
dataset = made(json.loads(sys.argv[2]))
again = [fo.Sample.from_json(sample.to_json()) for sample in to_fiftyone(dataset)]
check_same(dataset, from_fiftyone(again, dataset.scheme), ROUNDED)
print(json.dumps([len(again), again[0].tags]))
"""


@pytest.mark.slow
def test_samples_survive_fiftyones_own_json() -> None:
    assert ask("fiftyone", KEPT, json.dumps(TWO)) == [1, ["train"]]
