"""What must hold of the adapters, whether the packages are real or stand-ins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from annotated import made

from semalign.adapters import (
    faces_from_fiftyone,
    faces_from_supervision,
    faces_to_fiftyone,
    faces_to_supervision,
    from_fiftyone,
    from_supervision,
    to_fiftyone,
    to_supervision,
)
from semalign.auditing import Audit, read_audit
from semalign.auditing.kinds import NAMES
from semalign.data.samples import Dataset, Sample
from semalign.detect import Face
from semalign.schemes import load_scheme

ROUNDED = 1e-9  # pixels, of pictures of thousands of them


def check_same(one: Dataset, other: Dataset, atol: float) -> None:
    """The same faces, to so many pixels, in the order of the pictures."""
    assert sorted(one.ids()) == sorted(other.ids()) and one.scheme == other.scheme
    faces = {sample.id: sample for sample in other.samples}
    for face in one.samples:
        back = faces[face.id]
        np.testing.assert_allclose(back.points, face.points, rtol=0, atol=atol, equal_nan=True)
        np.testing.assert_array_equal(back.visibility, face.visibility)
        assert back.image == face.image.absolute() and (back.box is None) == (face.box is None)
        if face.box is not None and back.box is not None:
            np.testing.assert_allclose(back.box, face.box, rtol=0, atol=atol)
        for name in ("split", "subset", "group", "track", "tags"):
            assert getattr(back, name) == getattr(face, name), name


def check_datasets(dataset: Dataset, package: str) -> None:
    """Data sets come back, from supervision to the bit, from FiftyOne to rounding."""
    if package == "supervision":
        check_same(dataset, from_supervision(to_supervision(dataset), dataset.scheme), 0.0)
        return
    samples = to_fiftyone(dataset)
    check_same(dataset, from_fiftyone(samples, dataset.scheme), ROUNDED)
    for sample in samples:
        faces = [face for face in dataset.samples if str(face.image.absolute()) == sample.filepath]
        assert [one["face"] for one in sample["ground_truth"].keypoints] == [face.id for face in faces]
        for one, face in zip(sample["ground_truth"].keypoints, faces, strict=True):
            width, height = face.size or (0, 0)
            shares = np.array([((x + 0.5) / width, (y + 0.5) / height) for x, y in face.points])
            np.testing.assert_allclose(np.array(one.points, float), shares, rtol=1e-12)


def check_audits(dataset: Dataset, audit: Audit, package: str) -> None:
    """What an audit says of each face goes along."""
    row = {name: index for index, name in enumerate(audit.ids)}
    if package == "supervision":
        for points in to_supervision(dataset, audit).values():
            rows = [row[name] for name in points.data["id"]]
            np.testing.assert_array_equal(points.data["probability"], audit.face_probability[rows])
            np.testing.assert_array_equal(points.data["proposal"], audit.proposals[rows])
        return
    for sample in to_fiftyone(dataset, audit):
        rows = [row[one["face"]] for one in sample["ground_truth"].keypoints]
        worst = max(rows, key=lambda index: audit.face_probability[index])
        kind = audit.face_kind[worst]
        assert sample["probability"] == audit.face_probability[worst]
        assert sample["kind"] == (None if kind < 0 else NAMES[kind])
        for index, one in zip(rows, sample["ground_truth"].keypoints, strict=True):
            assert one["probability"] == audit.face_probability[index]
            np.testing.assert_array_equal(one["point_probability"], audit.point_probability[index])
    proposed = from_fiftyone(to_fiftyone(dataset, audit), audit.scheme, "proposals")
    for face in proposed.samples:
        np.testing.assert_allclose(face.points, audit.proposals[row[face.id]], rtol=0, atol=ROUNDED)


def check_faces(seed: int, size: tuple[int, int], package: str) -> None:
    """Found faces come back."""
    scheme, random = load_scheme("ibug68"), np.random.default_rng(seed)
    plain = Face(random.uniform(0, 80, (68, 2)), random.uniform(0, 1, 68), scheme)
    faces = [plain, replace(plain, points=plain.points + 3, spread=random.uniform(0, 2, (68, 2)), track=4)]

    def back_of(given: list[Face]) -> list[Face]:
        if package == "supervision":
            return faces_from_supervision(faces_to_supervision(given), "ibug68")
        return faces_from_fiftyone(faces_to_fiftyone(given, size), size, scheme)

    for face, back in zip(faces, back_of(faces), strict=True):
        np.testing.assert_allclose(back.points, face.points, rtol=0, atol=ROUNDED)
        np.testing.assert_array_equal(back.confidence, face.confidence)
        assert back.track == face.track and (back.spread is None) == (face.spread is None)
        if face.spread is not None and back.spread is not None:
            np.testing.assert_array_equal(back.spread, face.spread)
    assert back_of([]) == []


def audited(audit: Audit) -> Dataset:
    """The faces of an audit."""
    given = zip(audit.ids, audit.files, audit.annotations, strict=True)
    faces = tuple(Sample(id, Path(file), points, "train", "") for id, file, points in given)
    return Dataset(Path(audit.files[0]).parent, "drawn", audit.scheme, faces)


def check_everything(package: str, plan: Any, folder: str) -> None:
    """All of it, of a data set that `plan` makes and of the audit in a folder."""
    check_datasets(made(plan), package)
    audit = read_audit(folder)
    check_audits(audited(audit), audit, package)
    check_faces(5, (640, 479), package)
