"""Audits of drawn faces with planted errors, by witnesses whose errors are drawn, too."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import invoke
from hypothesis import given
from hypothesis import strategies as st

from semalign.auditing import KINDS, Audit, make, probability, read_audit, write_audit
from semalign.auditing.groups import shifted_groups
from semalign.auditing.hypotheses import mirrored, moved, movements, orders, windows
from semalign.auditing.kinds import NAMES
from semalign.auditing.make import audit
from semalign.auditing.tails import fit_tail
from semalign.auditing.witnesses import Witnesses
from semalign.core import adaptation
from semalign.core.residuals import fit_residuals, flat_pairs, pairs
from semalign.data import Dataset, open_dataset
from semalign.errors import SemalignError
from semalign.inference.landmarks import Landmarks
from semalign.schemes import LandmarkScheme, load_scheme
from semalign.synthetic import FaceSettings, NoiseSettings, SynthesisSettings, write_dataset

COUNT, WRONG = 160, 8


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("faces") / "data"
    settings = SynthesisSettings(
        count=COUNT, test_count=0, seed=4, face=FaceSettings(size=96), noise=NoiseSettings(scale=0.5)
    )
    return open_dataset(write_dataset(folder, settings, workers=2))


class Knowing:
    """Witnesses that know the truth up to errors of their own, and see a face wherever it is looked for."""

    name, learns = "knowing", False

    def __init__(self, faces: Dataset) -> None:
        assert faces.truth is not None
        self.truth = faces.truth

    def notes(self, judge: Dataset) -> list[str]:
        return []

    def __call__(self, learn: Dataset, judge: Dataset) -> Witnesses:
        random = [np.random.default_rng([seed, len(judge)]) for seed in (1, 2)]
        truth = np.stack([self.truth[name] for name in judge.ids()])
        members = []
        for draw in random:
            noise = draw.normal(0, 0.4, (len(truth), 1, 2)) + draw.normal(0, 0.6, truth.shape)
            spread = np.full(truth.shape, 0.7)
            members.append(Landmarks(truth + noise, np.full(truth.shape[:2], 0.8), judge.scheme, spread))
        both = replace(members[0], points=(members[0].points + members[1].points) / 2)
        return Witnesses(both, tuple(members), np.full(len(truth), 0.5), 1.0, 32, (0.3, 0.8))


def planted(faces: Dataset, change: Callable[[np.ndarray, int], np.ndarray]) -> tuple[Dataset, np.ndarray]:
    rows = np.random.default_rng(5).permutation(len(faces))[:WRONG]
    samples = list(faces.samples)
    for row in rows:
        samples[row] = replace(samples[row], points=change(samples[row].points.copy(), int(row)))
    return replace(faces, samples=tuple(samples)), rows


SIZE = 40.0  # about the distance of the outer eye corners of these faces, pixels


def one_point(points: np.ndarray, row: int) -> np.ndarray:
    points[row % 68] += 0.25 * SIZE
    return points


def exchanged(points: np.ndarray, row: int) -> np.ndarray:
    return points[list(load_scheme("ibug68").flip_index)]


def shifted(points: np.ndarray, row: int) -> np.ndarray:
    points[:17] = np.concatenate([2 * points[:1] - points[1:2], points[:16]])
    return points


def misplaced(points: np.ndarray, row: int) -> np.ndarray:
    return points + np.array([0.2 * SIZE, -0.15 * SIZE])


def resized(points: np.ndarray, row: int) -> np.ndarray:
    return (points + 0.5) * 1.3 - 0.5


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (one_point, {"point"}),
        (exchanged, {"exchanged", "mirrored"}),
        (shifted, {"shifted"}),
        (misplaced, {"misplaced"}),
        (resized, {"scaled"}),
    ],
)
def test_planted_errors_come_first_with_their_kind_and_are_mended(
    faces: Dataset, change: Callable[[np.ndarray, int], np.ndarray], kinds: set[str]
) -> None:
    wrong, rows = planted(faces, change)
    found = audit(wrong, Knowing(faces), duplicates=False)
    assert set(np.argsort(-found.odds)[:WRONG]) == set(rows)
    assert (found.face_probability[rows] > 0.5).all()
    assert sum(NAMES[found.face_kind[row]] in kinds for row in rows) >= WRONG - 1
    truth = np.stack([Knowing(faces).truth[faces.samples[row].id] for row in rows])
    before = np.linalg.norm(wrong.points()[rows] - truth, axis=-1).max(axis=1)
    after = np.linalg.norm(found.proposals[rows] - truth, axis=-1).max(axis=1)
    assert (after < before).all() and np.median(after) < 5.0
    assert np.median(after / before) < 0.4


def test_what_is_usual_may_be_learned_from_some_of_the_faces(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, rows = planted(faces, one_point)
    whole = audit(wrong, Knowing(faces), duplicates=False)
    monkeypatch.setattr(probability, "CHUNK", 50)
    parts = audit(wrong, Knowing(faces), duplicates=False)
    assert parts.odds == pytest.approx(whole.odds, rel=1e-9)
    for module in (make, adaptation, probability):
        monkeypatch.setattr(module, "MOST_FACES", 110)
    some = audit(wrong, Knowing(faces), duplicates=False)
    assert (some.odds != whole.odds).any()
    assert set(np.argsort(-some.odds)[:WRONG]) == set(rows)
    assert (some.face_probability[rows] > 0.5).all()


def test_points_of_the_next_frame_are_named_so(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semalign.auditing.make.picture_size", lambda sample: (96, 96))
    monkeypatch.setattr("semalign.auditing.make.read_pictures", lambda samples, rows: iter(()))
    one = faces.samples[0].image
    samples = [replace(sample, image=one, frame=number) for number, sample in enumerate(faces.samples)]
    rows = [10, 40, 41, 42, 43, 90]
    for row in rows:
        samples[row] = replace(samples[row], points=faces.samples[row + 1].points)
    found = audit(replace(faces, samples=tuple(samples)), Knowing(faces))
    assert set(np.argsort(-found.odds)[: len(rows)]) == set(rows)
    known = [row for row in rows if row != 40]  # of frame 40 there are its points nowhere, nor its own in a neighbour
    assert [NAMES[found.face_kind[row]] for row in known] == ["frame"] * len(known)


def test_a_folder_that_counts_from_another_number_is_named_so(faces: Dataset) -> None:
    samples = [
        replace(sample, subset="other", points=sample.points + 1) if row % 4 == 0 else sample
        for row, sample in enumerate(faces.samples)
    ]
    found = audit(replace(faces, samples=tuple(samples)), Knowing(faces), duplicates=False)
    named = found.face_kind == NAMES.index("origin")
    assert named[::4].mean() > 0.9 and not named[np.arange(COUNT) % 4 > 0].any()
    moves = found.moves()[::4].mean(axis=(0, 1))
    assert (moves < -0.6).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([-1.0, 1.0]), st.floats(0.3, 0.8))
def test_groups_are_shifted_by_whole_pixels_only(seed: int, step: float, noise: float) -> None:
    random = np.random.default_rng(seed)
    groups = np.array(["a"] * 150 + ["b"] * 60)
    offsets = random.normal(0, noise, (210, 2))
    good = np.ones(210, bool)
    assert shifted_groups(offsets, groups, good) == {}
    assert shifted_groups(offsets + 0.3 * step * (groups == "b")[:, None], groups, good) == {}
    found = shifted_groups(offsets + step * (groups == "b")[:, None], groups, good)
    assert set(found) <= {"b"} and (noise > 0.6 or set(found) == {"b"})
    assert all((value == step).all() for value in found.values())


def test_the_copy_of_a_photograph_with_other_points_is_named_so(faces: Dataset, tmp_path: Path) -> None:
    rows = np.random.default_rng(5).permutation(COUNT)[:WRONG]
    witness, samples = Knowing(faces), list(faces.samples)
    for row in rows:
        original = faces.samples[row]
        picture = tmp_path / f"copy-{row}.png"
        picture.write_bytes(original.image.read_bytes())
        name = f"{original.id}-copy"
        witness.truth = {**witness.truth, name: witness.truth[original.id]}
        samples.append(replace(original, id=name, image=picture, points=one_point(original.points.copy(), int(row))))
    found = audit(replace(faces, name="faces", samples=tuple(samples)), witness)
    assert (found.face_probability[COUNT:] > 0.5).all()
    assert {NAMES[kind] for kind in found.face_kind[COUNT:]} == {"duplicate"}


def test_hidden_points_that_lie_off_were_guessed(faces: Dataset) -> None:
    wrong, rows = planted(faces, one_point)
    samples = [replace(sample, visible=np.ones(68, bool)) for sample in wrong.samples]
    for row in rows:
        samples[row].visible[row % 68] = False
    found = audit(replace(wrong, samples=tuple(samples)), Knowing(faces), duplicates=False)
    assert [NAMES[found.point_kind[row, row % 68]] for row in rows] == ["guessed"] * WRONG


def test_few_findings_where_nothing_was_planted(faces: Dataset) -> None:
    found = audit(faces, Knowing(faces), duplicates=False)
    assert (found.face_probability > 0.5).sum() <= 0.05 * COUNT
    assert np.linalg.norm(found.proposals - faces.points(), axis=-1).mean() < 3.0


def test_an_audit_comes_back_from_its_folder(faces: Dataset, tmp_path: Path) -> None:
    wrong, _ = planted(faces, one_point)
    found = audit(wrong, Knowing(faces), duplicates=False)
    for _ in range(2):  # written over itself the second time
        write_audit(found, tmp_path / "audit")
    again = read_audit(tmp_path / "audit")
    assert again.ids == found.ids and again.scheme == found.scheme
    assert np.array_equal(again.proposals, found.proposals) and np.array_equal(again.face_kind, found.face_kind)
    assert next(again.findings()) == next(found.findings())
    (tmp_path / "audit" / "faces.parquet").write_bytes(b"PAR1")
    with pytest.raises(SemalignError, match="make it again"):
        read_audit(tmp_path / "audit")


def test_too_few_faces_are_refused(faces: Dataset) -> None:
    with pytest.raises(SemalignError, match="has 10 faces"):
        audit(replace(faces, samples=faces.samples[:10]), Knowing(faces))


def test_the_command_writes_table_csv_and_json(faces: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    listed, values = tmp_path / "found.csv", tmp_path / "found.json"
    words = ["audit", str(faces.root), "--quick", "--model", "synthetic-demo", "--out", str(out), "--least", "0"]
    result = invoke(*words, "--csv", str(listed), "--json", str(values), "--fail-above", "0")
    assert result.exit_code == 1, result.stderr
    with listed.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows[:2]] == ["1", "2"] and {row["kind"] for row in rows} <= {"", *NAMES}
    assert json.loads(values.read_text(encoding="utf-8"))["faces"] == COUNT
    assert isinstance(read_audit(out), Audit)
    again = invoke(*words)
    assert again.exit_code == 2 and "holds an audit already" in again.stderr


# -- the parts


def test_left_out_points_are_judged_as_the_conditional_gaussian_says() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(0, 30, (400, 6, 2)) + 100
    mixed = random.normal(size=(12, 12)) * 0.3 + np.eye(12)
    observed = truth + pairs(random.normal(size=(400, 12)) @ mixed)
    model = fit_residuals(observed, truth, np.ones((1, 400, 6)))
    x = model.whitened(observed, truth, np.ones((1, 400, 6))).x
    left_out = model.left_out(x)
    calm = left_out.squares.max(axis=1) < 16  # nothing was taken away
    for point in range(6):
        own, rest = [point, point + 6], [at for at in range(12) if at not in (point, point + 6)]
        covariance = model.covariance
        gain = covariance[np.ix_(own, rest)] @ np.linalg.inv(covariance[np.ix_(rest, rest)])
        z = x[:, own] - x[:, rest] @ gain.T
        within = covariance[np.ix_(own, own)] - gain @ covariance[np.ix_(rest, own)]
        expected = np.einsum("bi,ij,bj->b", z, np.linalg.inv(within), z)
        np.testing.assert_allclose(left_out.squares[calm, point], expected[calm], rtol=1e-6)


@given(st.floats(1.5, 20), st.sampled_from([1, 2]))
def test_a_tail_is_recovered_from_its_middle(exponent: float, half: int) -> None:
    random = np.random.default_rng(0)
    x = random.gamma(half, size=20_000) / random.gamma(exponent, size=20_000)
    tail = fit_tail(x, half)
    assert 0.6 * exponent < tail.exponent < 1.7 * exponent
    assert tail.log_factor(np.array([1e4 * np.median(x)])) > tail.log_factor(np.array([np.median(x)]))


def test_movements_are_undone() -> None:
    random = np.random.default_rng(1)
    points, amounts = random.normal(100, 30, (3, 5, 2)), random.normal(0, 0.1, (3, 5))
    unit = np.full((3, 5), 2.0 + 0j)
    step = pairs(np.einsum("bw,bwm->bm", amounts, movements(points, unit))) * 2.0
    np.testing.assert_allclose(moved(points, amounts), points + step)


def test_orders_are_permutations_but_for_the_ends_of_open_curves() -> None:
    scheme = load_scheme("ibug68")
    found = orders(scheme)
    assert {order.kind for order in found} == {"exchanged", "shifted"}
    for order in found:
        known = order.index[order.index >= 0]
        assert len(set(known)) == len(known) >= scheme.count - 1
    assert orders(LandmarkScheme("three", ("a", "b", "c"))) == []


def test_a_mirrored_annotation_is_found_by_mirroring_it_again() -> None:
    scheme = load_scheme("ibug68")
    points = np.random.default_rng(2).normal(100, 30, (2, 68, 2))
    widths = np.array([200.0, 300.0])
    over, exchanged_over = mirrored(points, widths, scheme)
    np.testing.assert_allclose(next(mirrored(over, widths, scheme)), points)
    np.testing.assert_allclose(exchanged_over[:, list(scheme.flip_index)], over)


def test_runs_of_points_lie_on_one_curve() -> None:
    scheme = load_scheme("ibug68")
    curves = [set(curve.landmarks) for curve in scheme.curves]
    for run in windows(scheme):
        assert any(set(run.members) <= curve for curve in curves) and len(run.members) >= 3


def test_kinds_have_names_of_their_own() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) == len(NAMES)


def test_flat_pairs_is_the_inverse_of_pairs() -> None:
    flat = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(flat_pairs(pairs(flat)), flat)
