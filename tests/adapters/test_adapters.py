"""Data sets to and from supervision and FiftyOne, where these are installed (the extra `judges`)."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audits import drawn_audit
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.adapters import fiftyone as to_fo
from semalign.adapters import supervision as to_sv
from semalign.auditing import Audit
from semalign.data import Dataset, Sample
from semalign.detect import Face
from semalign.errors import SemalignError
from semalign.schemes import LandmarkScheme

SCHEME = LandmarkScheme("three", ("a", "b", "c"))
SHAPES = st.lists(
    st.lists(st.tuples(st.floats(0.5, 140), st.floats(0.5, 140)) | st.none(), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return drawn_audit(tmp_path_factory.mktemp("drawn"), count=4)


def dataset_of(audit: Audit, shapes: list[list[tuple[float, float] | None]]) -> Dataset:
    """Faces of these shapes, None = absent, all in the first two pictures of an audit."""
    samples = []
    for index, shape in enumerate(shapes):
        points = np.array([(np.nan, np.nan) if point is None else point for point in shape])
        picture = Path(audit.files[index * 2 // len(shapes)])
        samples.append(Sample(f"face/{index}", picture, points, "train", ""))
    return Dataset(Path(audit.files[0]).parent, "drawn", SCHEME, tuple(samples))


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_a_data_set_comes_back_from_supervision(drawn: Audit, shapes: list[Any]) -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    dataset = dataset_of(drawn, shapes)
    pictures = list(to_sv.dataset_to_supervision(dataset))
    assert sum(len(key_points.xy) for _, key_points in pictures) == len(dataset)
    again = to_sv.dataset_from_supervision(pictures, SCHEME)
    assert again.ids() == dataset.ids()
    np.testing.assert_array_equal(again.points(), dataset.points())


def test_found_faces_become_key_points() -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    faces = [Face(np.arange(6.0).reshape(3, 2) + row, np.array([0.2, 0.5, 0.9]), SCHEME) for row in range(2)]
    found = to_sv.faces_to_supervision(faces)
    assert isinstance(found, sv.KeyPoints) and np.array_equal(found.xy[1], faces[1].points)
    assert len(to_sv.faces_to_supervision([])) == 0
    with pytest.raises(SemalignError, match="has 3 points a face, the scheme four 4"):
        to_sv.dataset_from_supervision([("a.jpg", found)], LandmarkScheme("four", ("a", "b", "c", "d")))


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_a_data_set_comes_back_from_fiftyone(drawn: Audit, shapes: list[Any]) -> None:
    pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    dataset = dataset_of(drawn, shapes)
    samples = to_fo.to_fiftyone(dataset)
    assert len(samples) == len({sample.image for sample in dataset.samples})
    again = to_fo.from_fiftyone(samples, SCHEME)
    assert again.ids() == dataset.ids()
    np.testing.assert_allclose(again.points(), dataset.points(), rtol=0, atol=1e-10)


def test_an_audit_can_be_sorted_by_in_fiftyone(drawn: Audit) -> None:
    pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    samples = tuple(
        Sample(name, Path(file), points, "train", "")
        for name, file, points in zip(drawn.ids, drawn.files, drawn.annotations, strict=True)
    )
    dataset = Dataset(Path(drawn.files[0]).parent, "drawn", drawn.scheme, samples)
    found = to_fo.to_fiftyone(dataset, drawn)
    assert [sample["wrong"] for sample in found] == pytest.approx(drawn.face_probability.tolist())
    assert found[0]["annotation"].keypoints[0]["probability"] == pytest.approx(drawn.point_probability[0].tolist())
    proposed = to_fo.from_fiftyone(found, drawn.scheme, "proposal")
    np.testing.assert_allclose(proposed.points(), drawn.proposals, atol=1e-9)


@pytest.mark.parametrize("name", ["supervision", "fiftyone"])
def test_what_is_not_installed_is_named(drawn: Audit, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(module: str, *rest: Any, **more: Any) -> Any:
        if module == name:
            raise ImportError(module)
        return real(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    dataset = dataset_of(drawn, [[(1.0, 2.0)] * 3])
    with pytest.raises(SemalignError, match=f"pip install {name}"):
        list(to_sv.dataset_to_supervision(dataset)) if name == "supervision" else to_fo.to_fiftyone(dataset)


def test_importing_the_adapters_imports_none_of_the_tools() -> None:
    import subprocess

    code = (
        "import sys, semalign.adapters.fiftyone, semalign.adapters.supervision; "
        "print('supervision' in sys.modules or 'fiftyone' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
