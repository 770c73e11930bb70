"""Audits of landmarks that are no face's: networks trained out of fold by the command, and what schemes may lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from commands import invoke

from semalign.auditing import Audit, read_audit, write_audit
from semalign.auditing.kinds import NAMES
from semalign.auditing.make import audit
from semalign.auditing.witnesses import Witnesses
from semalign.data import Dataset, open_dataset
from semalign.data.truth import DESCRIPTION
from semalign.errors import SemalignError
from semalign.inference.landmarks import Landmarks
from semalign.pipeline.held_out import deal
from semalign.pipeline.job import Job
from semalign.pipeline.judging import ANY, FACES, FEWEST_EPOCHS, PICTURES, all_training, judging_recipe
from semalign.pipeline.recipe import load_recipe
from semalign.pipeline.witnesses import CrossFitted
from semalign.schemes import LandmarkScheme, load_scheme
from semalign.synthetic import ObjectSetSettings, ObjectSettings, object_size, write_objects

COUNT = 36
TINY = """
[network]
input_size = 32
heatmap_size = 16
stacks = 1
width = 8
depth = 2
[heatmap]
sigma = 24.0
[start]
epochs = 1
batch_size = 8
[search]
method = "calibrated"
[alternation]
tta = 4
mesh = true
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ObjectSetSettings(count=COUNT, seed=1, object=ObjectSettings(size=48))
    return write_objects(tmp_path_factory.mktemp("objects") / "set", settings)


@pytest.fixture
def own(drawn: Path, tmp_path: Path) -> Path:
    """A folder of one's own: pictures, .pts files and a scheme without pairs, curves and regions."""
    folder = tmp_path / "own"
    for path in drawn.rglob("images/*"):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "images" / path.name).write_bytes(path.read_bytes())
    names = [f'"point {index}"' for index in range(12)]
    (folder / "scheme.toml").write_text(f'name = "mine"\nlandmarks = [{", ".join(names)}]\n', encoding="utf-8")
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    return folder


def test_a_folder_with_its_scheme_is_audited_and_a_stopped_audit_goes_on(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "audit"
    words = ("audit", own, "--out", out, "--recipe", tmp_path / "tiny.toml", "--folds", "3")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semalign.pipeline.cross_fitting.search_out_of_fold", stopped)
        assert invoke(*words).exit_code != 0
    models = sorted(out.glob("crossfit/networks/*/model.safetensors"))
    assert len(models) == 3 and not (out / "audit.json").exists()
    before = [path.stat().st_mtime_ns for path in models]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    assert [path.stat().st_mtime_ns for path in models] == before
    found = read_audit(out)
    assert found.ids == open_dataset(own).ids() and found.scheme.name == "mine"
    assert np.isfinite(found.proposals).all() and np.isfinite(found.odds).all()
    # nothing was mirrored, in training or in judging, as nobody says which points change places
    builder = CrossFitted(out / "crossfit")
    assert [tta for _, tta in builder.kinds] == [1]
    assert all(model.tta == 1 and model.mesh is None for models, _ in builder.kinds for model in models)

    again = invoke("audit", own, "--out", tmp_path / "again", "--crossfit", out / "crossfit")
    assert again.exit_code == 0, again.output
    np.testing.assert_allclose(read_audit(tmp_path / "again").odds, found.odds, atol=1e-6)


def test_too_few_pictures_are_refused_before_anything_is_trained(own: Path, tmp_path: Path) -> None:
    for path in sorted(own.glob("images/*"))[20:]:
        path.unlink()
    result = invoke("audit", own, "--out", tmp_path / "audit", "--recipe", tmp_path / "tiny.toml")
    assert result.exit_code == 2 and "has 10 faces" in result.stderr
    assert not (tmp_path / "audit").exists()


def test_the_recipe_follows_the_scheme_and_the_number_of_pictures(drawn: Path) -> None:
    objects = open_dataset(drawn)
    few = judging_recipe(objects)
    assert few == load_recipe(ANY)
    many = judging_recipe(replace(objects, samples=objects.samples * (2 * PICTURES // COUNT)))
    assert FEWEST_EPOCHS <= many.start.epochs < few.start.epochs
    huge = judging_recipe(replace(objects, samples=objects.samples * 1000))
    assert huge.start.epochs == FEWEST_EPOCHS
    assert judging_recipe(replace(objects, scheme=load_scheme("ibug68"))) == load_recipe(FACES)
    held = replace(objects, samples=tuple(replace(sample, split="test") for sample in objects.samples))
    assert len(all_training(held).select(split="train")) == COUNT


def test_pictures_that_all_look_alike_are_dealt_one_by_one(own: Path) -> None:
    first = sorted(own.glob("images/*.jpg"))[0]
    for path in own.glob("images/*"):
        path.write_bytes(first.with_suffix(path.suffix).read_bytes())
    said: list[str] = []
    dataset = replace(open_dataset(own), name="own")
    job = SimpleNamespace(
        train=SimpleNamespace(dataset=dataset),
        recipe=SimpleNamespace(seed=0),
        scheme=dataset.scheme,
        progress=SimpleNamespace(say=said.append),
    )
    folds = deal(cast(Job, job), 4, "--folds")
    assert np.bincount(folds).tolist() == [COUNT // 4] * 4 and "file by file" in said[0]
    job.scheme = load_scheme("ibug68")  # a face's copies are copies of a photograph
    with pytest.raises(SemalignError, match="do not make 4 independent folds"):
        deal(cast(Job, job), 4, "--folds")


# -- by witnesses that know the truth up to errors of their own


class Knowing:
    name, learns = "knowing", False

    def __init__(self, objects: Dataset) -> None:
        assert objects.truth is not None
        self.truth = objects.truth

    def notes(self, judge: Dataset) -> list[str]:
        return []

    def __call__(self, learn: Dataset, judge: Dataset) -> Witnesses:
        truth = np.stack([self.truth[name] for name in judge.ids()])
        size, members = object_size(truth)[:, None, None], []
        for seed in (1, 2):
            noise = np.random.default_rng([seed, len(judge)]).normal(0, 0.012, truth.shape) * size
            members.append(
                Landmarks(truth + noise, np.full(truth.shape[:2], 0.8), judge.scheme, np.full(truth.shape, 0.7))
            )
        both = replace(members[0], points=(members[0].points + members[1].points) / 2)
        return Witnesses(both, tuple(members), np.full(len(truth), 0.5), 1.0, 32, (0.3, 0.8))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Samples of which only the points are looked at: their pictures are copies of one."""
    from semalign.synthetic.aeroplane import SCHEME, Build
    from semalign.synthetic.objects import _framed, _pose

    folder = tmp_path_factory.mktemp("many")
    first = write_objects(folder / "set", ObjectSetSettings(count=1, object=ObjectSettings(size=48)))
    one = open_dataset(first).samples[0]
    truth, samples = {}, []
    for index in range(120):
        rng = np.random.default_rng([7, index])
        build, look = Build.drawn(rng), ObjectSettings(size=48)
        turn, _ = _pose(rng, look)
        points, _ = _framed(rng, turn, build.landmarks(), look, 48)(build.landmarks())
        truth[f"{index}"] = points
        size = float(object_size(points))
        samples.append(replace(one, id=f"{index}", points=points + rng.normal(0, 0.008 * size, points.shape)))
    return Dataset(first, "synthetic", SCHEME, tuple(samples), truth=truth)


def _shift(points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    return np.roll(points, 1, axis=0)


def _exchange(points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    return points[list(scheme.flip_index)]


def _move_one(points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    points = points.copy()
    points[3] += 0.1 * float(object_size(points))
    return points


@pytest.mark.parametrize(("change", "kind"), [(_shift, "shifted"), (_exchange, "exchanged"), (_move_one, "point")])
@pytest.mark.parametrize("bare", [False, True])
def test_planted_errors_come_first_with_what_a_scheme_has(
    many: Dataset, change: Callable[[np.ndarray, LandmarkScheme], np.ndarray], kind: str, bare: bool
) -> None:
    rows, samples = [3, 40, 77, 101, 110, 119], list(many.samples)
    for row in rows:
        samples[row] = replace(samples[row], points=change(samples[row].points, many.scheme))
    for row in range(0, 120, 9):  # points that nobody annotated
        points = samples[row].points.copy()
        points[row % 12] = np.nan
        samples[row] = replace(samples[row], points=points)
    scheme = LandmarkScheme("bare", many.scheme.landmarks) if bare else many.scheme
    found = audit(replace(many, samples=tuple(samples), scheme=scheme), Knowing(many), duplicates=False)
    assert set(np.argsort(-found.odds)[: len(rows)]) == set(rows)
    assert np.isnan(found.proposals).sum() == 2 * len(range(0, 120, 9))
    named = [NAMES[found.face_kind[row]] for row in rows]
    if bare and kind == "exchanged":  # no pairs: what is exchanged cannot be known
        kind = "shape"
    assert named.count(kind) >= len(rows) - 1, named


def test_a_scheme_in_the_folder_counts_unless_another_is_given(own: Path) -> None:
    assert open_dataset(own).scheme.name == "mine" and not (own / DESCRIPTION).exists()
    other = LandmarkScheme("other", tuple(f"p{index}" for index in range(12)))
    assert open_dataset(own, other).scheme.name == "other"


def test_a_folder_with_its_scheme_is_cleaned_with_it(own: Path, tmp_path: Path) -> None:
    dataset = open_dataset(own)
    shifted = dataset.points() + 2.0
    found = Audit(
        ids=dataset.ids(),
        files=tuple(str(sample.image) for sample in dataset.samples),
        frames=np.full(COUNT, -1, np.int32),
        scheme=dataset.scheme,
        annotations=dataset.points(),
        proposals=shifted,
        spread=np.ones_like(shifted),
        face_probability=np.where(np.arange(COUNT) < 3, 0.9, 0.0),
        face_kind=np.full(COUNT, NAMES.index("misplaced"), np.int8),
        point_probability=np.zeros(shifted.shape[:2]),
        point_kind=np.full(shifted.shape[:2], -1, np.int8),
        about={"judges": "nobody", "data": str(own)},
        odds=np.zeros(COUNT),
    )
    write_audit(found, tmp_path / "audit")
    result = invoke("clean", str(own), "--audit", str(tmp_path / "audit"), "--out", str(tmp_path / "cleaned"))
    assert result.exit_code == 0, result.stderr
    again = open_dataset(tmp_path / "cleaned" / "labels")
    assert again.scheme == dataset.scheme
    np.testing.assert_allclose(again.points()[:3], shifted[:3], atol=2e-3)
    np.testing.assert_array_equal(again.points()[3:], dataset.points()[3:])
