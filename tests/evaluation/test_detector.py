from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semalign.core import metrics
from semalign.data.samples import Dataset, Sample
from semalign.errors import SemalignError
from semalign.evaluation import compare_predictions, evaluate_predictions
from semalign.schemes import LandmarkScheme, load_scheme

IBUG68 = load_scheme("ibug68")
PARTS = (("afw", "", 3), ("lfpw/testset", "common", 4), ("ibug", "challenging", 2))


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    samples = [
        Sample(f"{subset}/{k}.jpg", Path(f"{subset}/{k}.jpg"), rng.uniform(0, 200, (68, 2)), "test", subset, group)
        for subset, group, count in PARTS
        for k in range(count)
    ]
    return Dataset(Path("300w"), "300w", IBUG68, tuple(samples))


def noisy(dataset: Dataset) -> np.ndarray:
    return dataset.points() + np.random.default_rng(1).normal(size=(len(dataset), 68, 2))


def test_subsets_and_groups(dataset: Dataset) -> None:
    figures = evaluate_predictions(noisy(dataset), dataset)["subsets"]
    counts = {name: subset["count"] for name, subset in figures.items()}
    assert counts == {
        "afw": 3, "lfpw/testset": 4, "ibug": 2, "common": 4, "challenging": 2, "full": 6, "all": 9
    }  # fmt: skip
    weighted = (4 * figures["common"]["nme_interpupil"] + 2 * figures["challenging"]["nme_interpupil"]) / 6
    assert figures["full"]["nme_interpupil"] == pytest.approx(weighted)


def test_half_of_the_official_test_set_is_not_called_full(dataset: Dataset) -> None:
    partial = dataset.select(subsets=["lfpw/testset"])
    names = set(evaluate_predictions(noisy(partial), partial)["subsets"])
    assert names == {"lfpw/testset", "common", "all"}


def test_every_figure_is_what_its_name_says(dataset: Dataset) -> None:
    predicted, points = noisy(dataset), dataset.points()
    figures = evaluate_predictions(predicted, dataset)["subsets"]["all"]
    off = np.linalg.norm(predicted - points, axis=2)
    pupils = np.linalg.norm(points[:, 36:42].mean(1) - points[:, 42:48].mean(1), axis=1)
    corners = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    box = np.sqrt(np.prod(points.max(1) - points.min(1), axis=1))
    interpupil, interocular = 100 * off.mean(1) / pupils, 100 * off.mean(1) / corners
    assert figures["nme_interpupil"] == pytest.approx(interpupil.mean())
    assert figures["nme_interocular"] == pytest.approx(interocular.mean())
    assert figures["rmse_interocular"] == pytest.approx((100 * np.sqrt((off**2).mean(1)) / corners).mean())
    assert figures["nme_box"] == pytest.approx((100 * off.mean(1) / box).mean())
    assert figures["box"] == "landmarks"
    assert figures["auc_interocular_8"] == metrics.auc(interocular, 8.0)
    assert figures["failure_rate_interocular_8"] == 100 * (interocular > 8).mean()
    assert figures["auc_interpupil_10"] == metrics.auc(interpupil, 10.0)
    assert figures["failure_rate_interpupil_10"] == 100 * (interpupil > 10).mean()
    by_landmark = 100 * (off / corners[:, None]).mean(0)
    assert figures["by_landmark"] == pytest.approx(by_landmark.tolist())
    assert figures["by_region"]["mouth"] == pytest.approx(by_landmark[48:].mean())
    curve = figures["cumulative_interocular"]
    assert curve["error"][-1] == 8.0
    assert curve["share"] == [(interocular <= error).mean() for error in curve["error"]]
    assert figures["undefined"] == {"interpupil": 0, "interocular": 0, "box": 0}


def test_perfect_predictions(dataset: Dataset) -> None:
    figures = evaluate_predictions(dataset.points(), dataset)["subsets"]["all"]
    assert figures["nme_interpupil"] == figures["rmse_interocular"] == figures["nme_box"] == 0.0
    assert figures["auc_interocular_8"] == 1.0
    assert figures["failure_rate_interocular_8"] == 0.0


def test_truth_takes_the_annotations_place(dataset: Dataset) -> None:
    truth = {sample.id: sample.points + 1.0 for sample in dataset.samples}
    predicted = dataset.points() + 1.0
    assert evaluate_predictions(predicted, dataset, truth=truth)["subsets"]["all"]["nme_interocular"] == 0.0
    assert evaluate_predictions(predicted, dataset)["subsets"]["all"]["nme_interocular"] > 0.0
    del truth["ibug/1.jpg"]
    with pytest.raises(SemalignError, match=r"ibug/1\.jpg.*truth"):
        evaluate_predictions(predicted, dataset, truth=truth)


def test_given_boxes_are_used_and_named(dataset: Dataset) -> None:
    boxed = replace(dataset, samples=tuple(replace(sample, box=(10, 10, 110, 35)) for sample in dataset.samples))
    figures = evaluate_predictions(boxed.points() + [3.0, 4.0], boxed)["subsets"]["all"]
    assert figures["nme_box"] == pytest.approx(10.0)  # 5 px of √(100·25)
    assert figures["box"] == "given"
    mixed = replace(dataset, samples=boxed.samples[:1] + dataset.samples[1:])
    assert evaluate_predictions(noisy(mixed), mixed)["subsets"]["all"]["box"] == "mixed"


def test_what_does_not_exist_is_none_and_counted(dataset: Dataset) -> None:
    points = dataset.points()
    points[0, 45] = points[0, 36]  # a profile: no outer-eye distance
    points[1, 5] = np.nan  # an absent landmark
    points[:, 6] = np.nan
    samples = [replace(sample, points=own) for sample, own in zip(dataset.samples, points, strict=True)]
    partial = replace(dataset, samples=tuple(samples))
    result = evaluate_predictions(np.nan_to_num(points) + [3.0, 4.0], partial)
    json.dumps(result, allow_nan=False)
    figures = result["subsets"]["all"]
    assert figures["undefined"] == {"interpupil": 0, "interocular": 1, "box": 0}
    assert figures["by_landmark"][6] is None
    corners = np.linalg.norm(points[1:, 36] - points[1:, 45], axis=1)
    assert figures["nme_interocular"] == pytest.approx((500 / corners).mean())
    assert figures["failure_rate_interocular_8"] >= 100 / 9


def test_a_scheme_without_eyes_is_measured_by_its_box() -> None:
    scheme = LandmarkScheme("eyeless", ("a", "b"), regions={"both": (0, 1)})
    sample = Sample("a.jpg", Path("a.jpg"), np.array([[0.0, 0.0], [30.0, 30.0]]), "test", "other")
    dataset = Dataset(Path("other"), "other", scheme, (sample,))
    result = evaluate_predictions(dataset.points() + [[[3.0, 0.0]]], dataset)
    json.dumps(result, allow_nan=False)
    figures = result["subsets"]["other"]
    assert figures["nme_box"] == pytest.approx(10.0)
    for name in (
        "nme_interpupil",
        "nme_interocular",
        "rmse_interocular",
        "auc_interocular_8",
        "cumulative_interocular",
    ):
        assert figures[name] is None
    assert figures["regions_by"] == "nme_box" and figures["by_region"] == {"both": pytest.approx(figures["nme_box"])}


def test_predictions_that_are_not_finite_are_refused(dataset: Dataset) -> None:
    predicted = noisy(dataset)
    predicted[4, 3, 1] = np.nan
    with pytest.raises(SemalignError, match=r"lfpw/testset/1\.jpg.*not finite"):
        evaluate_predictions(predicted, dataset)


def test_predictions_of_other_samples_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="shape"):
        evaluate_predictions(noisy(dataset)[:-1], dataset)


def test_an_empty_data_set_is_refused(dataset: Dataset) -> None:
    empty = dataset.select(split="train")
    with pytest.raises(SemalignError, match="no samples"):
        evaluate_predictions(np.empty((0, 68, 2)), empty)


def test_two_detectors_are_compared_face_by_face(dataset: Dataset) -> None:
    near = noisy(dataset)
    far = dataset.points() + 2 * (near - dataset.points())
    compared = compare_predictions(near, far, dataset)["subsets"]
    figures, others = (evaluate_predictions(points, dataset)["subsets"] for points in (near, far))
    assert set(compared) == set(figures)
    for subset, name in (("all", "nme_interpupil"), ("ibug", "nme_box"), ("full", "nme_interocular")):
        item = compared[subset][name]
        assert item["mean"] == pytest.approx(figures[subset][name])
        assert item["other"] == pytest.approx(others[subset][name])
        assert item["difference"] == pytest.approx(item["mean"] - item["other"])
        assert item["low"] <= item["difference"] <= item["high"] < 0
        assert item["verdict"] == "lower"
    mouth = compared["all"]["nme_interocular mouth"]
    assert mouth["mean"] == pytest.approx(figures["all"]["by_region"]["mouth"])
    assert compare_predictions(far, near, dataset)["subsets"]["all"]["nme_box"]["verdict"] == "higher"
    same = compare_predictions(near, near, dataset)["subsets"]["all"]["nme_box"]
    assert (same["difference"], same["low"], same["high"], same["verdict"]) == (0, 0, 0, "undecided")
    json.dumps(compared, allow_nan=False)


def test_a_comparison_without_a_normaliser_is_none(dataset: Dataset) -> None:
    everywhere_one = np.zeros((len(dataset), 68, 2))
    truth = dict(zip(dataset.ids(), everywhere_one, strict=True))
    compared = compare_predictions(noisy(dataset), noisy(dataset), dataset, truth)["subsets"]["all"]
    assert compared["nme_interocular"] is None
