"""All points of a set moved to one side, by meshes that are drawn and by the mesh's own look at drawn faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semalign.auditing import listing, read_audit, sideways, write_audit
from semalign.auditing.accepting import changes
from semalign.auditing.kinds import NUMBERS
from semalign.auditing.make import audit
from semalign.auditing.sideways import measured, symmetric_landmarks, whole_shift
from semalign.data import Dataset, open_dataset
from semalign.errors import SemalignError
from semalign.progress import SilentProgress
from semalign.schemes import load_scheme
from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, write_dataset

COUNT = 50
EVERY = np.ones(COUNT, bool)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("faces") / "data"
    settings = SynthesisSettings(
        count=COUNT, test_count=0, seed=2, face=FaceSettings(size=96), noise=NoiseSettings(scale=0.0)
    )
    return open_dataset(write_dataset(folder, settings, workers=2))


@pytest.fixture(scope="module")
def meshes() -> np.ndarray:
    """Meshes of faces from 40 to 200 px, turned a little; a shape that is no face's will do."""
    draw = np.random.default_rng(0)
    mean = sideways._translation().mean
    mesh = np.concatenate([mean, np.zeros((478, 1))], axis=1)
    mesh = (mesh + mesh[sideways._exchange()] * (-1, 1, 1)) / 2
    mesh /= np.ptp(mesh[:, 0])
    sizes = draw.uniform(40, 200, 200)[:, None, None]
    return mesh * sizes + draw.normal(0, 0.01, (200, 478, 3)) * sizes


def moved(faces: Dataset, by: float) -> Dataset:
    return replace(faces, samples=tuple(replace(one, points=one.points + by) for one in faces.samples))


def test_landmarks_of_a_mirrored_mesh_are_those_mirrored(meshes: np.ndarray) -> None:
    scheme = load_scheme("ibug68")
    turned = meshes[:, sideways._exchange()] * (-1, 1, 1)
    back = symmetric_landmarks(turned, scheme)[:, list(scheme.flip_index)] * (-1, 1)
    np.testing.assert_allclose(back, symmetric_landmarks(meshes, scheme), atol=1e-9)


@pytest.mark.parametrize(
    ("pixels", "share", "goes_by"), [(1.0, 0.0, "pixels"), (0.0, 0.01, "size"), (-1.0, -0.01, "both")]
)
def test_sizes_tell_what_a_shift_goes_by(meshes: np.ndarray, pixels: float, share: float, goes_by: str) -> None:
    scheme, draw = load_scheme("ibug68"), np.random.default_rng(1)
    said = symmetric_landmarks(meshes, scheme)
    sizes = np.ptp(said, axis=1).max(axis=1)[:, None]
    noise = draw.normal(0, 0.004, (len(said), 1)) * sizes
    points = said.copy()
    points[..., 0] += pixels + share * sizes + noise
    points[:, 5] = np.nan
    found = measured(points, meshes, scheme)
    assert found is not None
    assert found.sure
    assert found.goes_by == goes_by
    assert abs(found.constant - pixels) < 4 * found.constant_error
    assert abs(found.growing - share * found.size) < 4 * found.growing_error
    plain = measured(said + np.stack([noise, noise], axis=2), meshes, scheme)
    assert plain is not None
    assert not plain.sure


def test_a_set_that_counts_from_another_number_is_told(faces: Dataset, tmp_path: Path) -> None:
    plain = whole_shift(faces, EVERY, SilentProgress())
    assert plain is not None
    assert not plain.sure
    assert abs(plain.right) < 0.2
    found = whole_shift(moved(faces, 1.0), EVERY, SilentProgress())
    assert found is not None
    assert found.sure
    assert 0.8 < found.right < 1.2
    assert "to the right of where faces are" in found.sentence()
    assert whole_shift(faces, EVERY[:10].repeat(5) & (np.arange(COUNT) < 10), SilentProgress()) is None


def test_an_audit_has_a_finding_for_the_whole_set(faces: Dataset, tmp_path: Path) -> None:
    from semalign.auditing.judging import _quick

    made = audit(moved(faces, -1.0), _quick("default"), duplicates=False)
    write_audit(made, tmp_path)
    again = read_audit(tmp_path)
    assert again.shift() is not None
    (row,) = (one for one in listing.rows(again, list(again.findings())) if one["image"] is None)
    assert (row["face"], row["landmark"], row["kind"], row["dy"]) == (None, None, "origin", None)
    assert 0.8 < row["dx"] < 1.2
    listing.write_csv(tmp_path / "found.csv", [row])
    assert f"{row['rank']},,,,origin,0.9,{row['dx']},\n" in (tmp_path / "found.csv").read_text()
    table = again.to_pandas()
    assert table["image"].isna().sum() == table["face"].isna().sum() == 1
    assert not np.array_equal(again.proposals, again.annotations)
    assert abs(np.median(again.moves()[..., 0])) < 0.5, "nothing is moved by it"
    plain, taken = changes(again, "auto"), changes(again, "auto", unshift=True)
    assert len(plain) < len(taken) == again.there().sum()
    back = (taken.points - plain.points)[..., 0]
    np.testing.assert_allclose(back, row["dx"], atol=0.002)
    assert (taken.kind == NUMBERS["origin"]).sum() == len(taken) - len(plain)
    with pytest.raises(SemalignError, match="no shift"):
        changes(replace(again, about={}), "none", unshift=True)


def test_pictures_that_cannot_be_read_are_not_heard_and_without_any_nothing_is_told(
    faces: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []

    class Said(SilentProgress):
        def say(self, text: str) -> None:
            said.append(text)

    gone = tuple(replace(one, image=tmp_path / "gone" / one.image.name) for one in faces.samples)
    assert whole_shift(replace(faces, samples=gone), EVERY, Said()) is None
    assert len(said) == 1 and "is not told" in said[0] and "gone" in said[0]
    found = whole_shift(replace(faces, samples=(*faces.samples[:-1], gone[-1])), EVERY, SilentProgress())
    assert found is not None and found.faces < COUNT
