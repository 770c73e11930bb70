"""Audits and cleaned data sets whose faces several processes have looked at are those that one process makes."""

from __future__ import annotations

import tarfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from commands import invoke, succeed

from semalign.auditing import Audit, read_audit
from semalign.auditing.looks import Looks
from semalign.auditing.make import audit
from semalign.auditing.witnesses import Witnesses, heard, packed, unpacked
from semalign.data import open_dataset
from semalign.parts import Share
from semalign.pipeline import crossfit, load_recipe
from semalign.pipeline.witnesses import CrossFitted
from semalign.progress import SilentProgress
from semalign.synthetic import FaceSettings, SynthesisSettings, write_dataset

TINY = (
    "network={input_size=64, heatmap_size=32, stacks=1, width=8, depth=2}",
    "heatmap.sigma=12.0",
    "start={epochs=1, batch_size=10}",
)
FAST = ("--quick", "--model", "fast")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """76 faces, of which the picture of one cannot be read."""
    settings = SynthesisSettings(count=76, test_count=0, seed=3, face=FaceSettings(size=96))
    data = write_dataset(tmp_path_factory.mktemp("shared") / "data", settings)
    broken = sorted(data.rglob("*.jpg"))[40]
    broken.write_bytes(broken.read_bytes()[:400])
    return data


@pytest.fixture(scope="module")
def one(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "clean"
    succeed("clean", faces, "--out", out, *FAST)
    return out


def same(found: Audit, expected: Audit) -> None:
    assert found.ids == expected.ids and found.about["left_out"] == expected.about["left_out"]
    for field in fields(Audit):
        value = getattr(expected, field.name)
        if isinstance(value, np.ndarray):
            assert np.allclose(getattr(found, field.name), value, rtol=1e-3, atol=1e-3, equal_nan=True), field.name


def test_shares_of_a_cleaning_of_which_one_is_lost_and_a_part_damaged(faces: Path, one: Path, tmp_path: Path) -> None:
    options = ["clean", faces, "--out", tmp_path / "c", *FAST]
    assert "2 parts of other shards are missing" in succeed(*options, "--shard", "1/3")
    assert "1 parts of other shards are missing" in succeed(*options, "--shard", "3/3")
    part = min((tmp_path / "c" / "audit" / "parts").rglob("*.npz"))
    part.write_bytes(part.read_bytes()[:-9])
    succeed(*options)
    same(read_audit(tmp_path / "c" / "audit"), read_audit(one / "audit"))
    assert not (tmp_path / "c" / "audit" / "parts").exists()
    assert (tmp_path / "c" / "changes.csv").read_text().count("\n") == (one / "changes.csv").read_text().count("\n")
    refused = invoke(*options, "--shard", "2/3")
    assert refused.exit_code == 2 and "holds a cleaned data set already" in refused.output


def test_shares_of_an_audit(faces: Path, one: Path, tmp_path: Path) -> None:
    options = ["audit", faces, "--out", tmp_path / "a"]
    for shard in ("1/2", "2/2"):
        told = succeed(*options, *FAST, "--shard", shard)
    assert "all shards are done" in told
    other = invoke(*options, "--quick")
    assert other.exit_code == 2 and "holds shares of other data or with other options" in other.output
    succeed(*options, *FAST)
    same(read_audit(tmp_path / "a"), read_audit(one / "audit"))
    assert "holds an audit already" in invoke(*options, *FAST, "--shard", "1/2").output
    untrained = invoke("audit", faces, "--out", tmp_path / "b", "--shard", "1/2")
    assert untrained.exit_code == 2 and "train them with 'semalign crossfit'" in untrained.output


def test_an_audit_of_archives_is_that_of_the_files(faces: Path, one: Path, tmp_path: Path) -> None:
    expected = read_audit(one / "audit")
    (tmp_path / "tars").mkdir()
    for start in range(0, len(expected.ids), 40):
        with tarfile.open(tmp_path / "tars" / f"{start:03d}.tar", "w") as tar:
            for file in map(Path, expected.files[start : start + 40]):
                for path in (file, file.with_suffix(".pts")):
                    tar.add(path, path.name)
    succeed("audit", tmp_path / "tars", "--out", tmp_path / "a", *FAST)
    found = read_audit(tmp_path / "a")
    assert [Path(name).name for name in found.ids] == [Path(name).name for name in expected.ids]
    assert np.allclose(found.proposals, expected.proposals, atol=1e-3)
    assert np.allclose(found.face_probability, expected.face_probability, atol=1e-3)
    refused = invoke("clean", tmp_path / "tars", "--out", tmp_path / "c", *FAST)
    assert refused.exit_code == 2 and "tar archives" in refused.output


def test_networks_of_folds_say_the_same_in_parts(faces: Path, tmp_path: Path) -> None:
    dataset = open_dataset(faces, keep_going=True)
    crossfit(load_recipe("300w-crossfit", TINY), dataset, tmp_path / "cross", folds=3, keep_going=True)
    builder = CrossFitted(tmp_path / "cross")
    looks = Looks(tmp_path / "parts", dataset, builder, "these networks")
    looks.work(Share(2, 2), SilentProgress())
    there, witnesses = looks.together(SilentProgress())
    expected = heard(builder(there, there))
    alike(witnesses, expected)
    assert len(there) == 75 and there.skipped == builder.readable(dataset).skipped
    same(audit(dataset, builder, looks=looks), audit(dataset, builder))


def alike(found: Witnesses, expected: Witnesses) -> None:
    one, other = packed(found), packed(expected)
    assert set(one) == set(other)
    for name, value in other.items():
        assert np.allclose(one[name], value, rtol=1e-4, atol=1e-3), name
    alike_again = unpacked(one, found.predictions.scheme)
    assert len(alike_again.members) == len(found.members) and alike_again.correlation == found.correlation
