"""What every command shares: JSON in place of tables, files that are not replaced unasked, dry runs, silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import invoke, succeed

from semalign.cli.options import complain, with_options
from semalign.data import LabelStore, open_dataset, read_pts
from semalign.errors import SemalignError
from semalign.files import refuse_existing


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("faces") / "set"
    options = ("--count", "6", "--test-count", "2", "--size", "144", "--workers", "1", "--seed", "4", "--noise", "0")
    assert succeed("data", "synthesize", out, *options, "--quiet") == ""
    return out


@pytest.fixture(scope="module")
def labels(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of labels: the annotations, and these moved by a pixel."""
    folder = tmp_path_factory.mktemp("labels") / "labels"
    (version,) = json.loads(succeed("search", "default", "--data", faces, "--out", folder, "--json"))
    assert version["version"] == 1 and version["landmarks"] == 68
    return folder


def as_json(*arguments: str | Path) -> Any:
    """Standard output of a command, which must be JSON and nothing else."""
    result = invoke(*arguments)
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def test_a_check_as_json(faces: Path) -> None:
    found = as_json("data", "check", faces, "--json")
    assert found["usable"] == 6 and found["subsets"] == {"helen/trainset": 4, "lfpw/testset": 2}
    assert (found["scheme"], found["bad"], found["suspicious"]) == ("ibug68", [], [])


def test_a_check_with_found_faces(faces: Path) -> None:
    found = as_json("data", "check", faces, "--faces", "--json")
    assert found["suspicious"] == []
    assert any("annotations were compared with the faces" in note for note in found["notes"])


def test_label_versions_as_json(labels: Path) -> None:
    versions = as_json("labels", "list", labels, "--json")
    assert [version["version"] for version in versions] == [0, 1]
    assert set(versions[1]) >= {"iteration", "images", "landmarks", "mean_movement", "largest_movement", "confidence"}


def test_an_evaluation_as_json_on_standard_output_or_in_a_file(faces: Path, tmp_path: Path) -> None:
    printed = as_json("evaluate", "default", "--data", faces, "--json")
    assert as_json("evaluate", "default", "--json", "--data", faces) == printed
    file = tmp_path / "errors.json"
    assert "nme_interocular" in succeed("evaluate", "default", "--data", faces, "--json", file)
    assert json.loads(file.read_text()) == printed


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("errors.json", ("evaluate", "default", "--data", "nowhere", "--json", "errors.json")),
        ("bench.json", ("bench", "speed", "--json", "bench.json")),
        ("model.onnx", ("export", "default", "model")),
        ("sheet.png", ("data", "sheet", "sheet.png")),
        ("own.toml", ("scheme", "new", "nowhere", "--out", "own.toml")),
    ],
)
def test_no_file_is_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("mine")
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr == f"error: {name}: exists already; give --overwrite to replace it, or choose another name.\n"
    assert (tmp_path / name).read_text() == "mine"


def test_what_may_be_replaced_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    file.write_text("mine")
    succeed("data", "sheet", file, "--count", "1", "--overwrite")
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SemalignError, match="is a folder"):
        refuse_existing(tmp_path, True)


def test_a_sheet_is_a_png(tmp_path: Path) -> None:
    result = invoke("data", "sheet", tmp_path / "sheet.jpg")
    assert result.exit_code == 2 and "ends in .png" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_export_can_be_tried_and_replaced(faces: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("labels", "export", labels, out, "--data", faces)
    lines = succeed(*command, "--dry-run").splitlines()
    assert len(lines) == 6 and not out.exists()
    assert lines[0] == f"{(out / open_dataset(faces).ids()[0]).with_suffix('.pts')} <- labels"
    assert lines[-1].endswith("<- annotation")
    succeed(*command, "--version", "0")
    result = invoke(*command)
    assert result.exit_code == 2 and "give --overwrite to replace them" in result.stderr
    assert succeed(*command, "--overwrite", "--quiet") == ""
    version = LabelStore(labels).read(1)
    np.testing.assert_allclose(read_pts((out / version.ids[0]).with_suffix(".pts")), version.points[0], atol=1e-3)
    assert open_dataset(out).notes[0].startswith("The training labels are label version 1")


def test_an_export_of_another_data_set_is_never_replaced(faces: Path, labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "provenance.json").write_text(json.dumps({"label_version": 0, "data": "another", "faces": 6}))
    result = invoke("labels", "export", labels, out, "--data", faces, "--overwrite")
    assert result.exit_code == 2 and "the export of another data set" in result.stderr


def test_problems_are_plain_where_colours_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    complain("error: a\nb\udce9")
    assert capsys.readouterr().err == "error: a\\nb\\xe9\n"


def test_quiet_commands_say_nothing_but_results(faces: Path) -> None:
    result = invoke("data", "check", faces, "--quiet")
    assert result.stderr == "" and "6 usable faces" in result.stdout


def test_errors_speak_of_options_here_and_of_arguments_in_python(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("")
    with pytest.raises(SemalignError, match="exists already; give overwrite=True to replace it"):
        refuse_existing(tmp_path / "there.csv", overwrite=False)
    sentence = (
        "/a=b: holds it; give overwrite=True, or dry_run=True with another out=FOLDER. Or aflw=PATH, scheme=NAME."
    )
    wanted = "/a=b: holds it; give --overwrite, or --dry-run with another --out FOLDER. Or aflw=PATH, --scheme NAME."
    assert with_options(sentence) == wanted
