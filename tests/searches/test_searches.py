"""Label searches: each against its definition, and what all of them promise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dots import Dots
from hypothesis import given, settings
from hypothesis import strategies as st

from semalign.core.affine import invert, transform_points
from semalign.core.search import SearchSettings, search_labels
from semalign.data.crops import CropCache, crop_maps, cut
from semalign.errors import SemalignError
from semalign.inference.landmarks import Landmarks
from semalign.searches import (
    SEARCHES,
    Beside,
    Evidence,
    FoundLabels,
    Joint,
    LabelSearch,
    NetworkEvidence,
    Observations,
    OutOfFold,
    make_search,
)
from semalign.searches.adapted import Adapted
from semalign.searches.average import Average, AverageSettings
from semalign.searches.calibrated import CalibratedSettings
from semalign.searches.evidence import APART, POOLED, heard_together
from semalign.searches.semantic_alignment import SemanticAlignment

COUNT = 60


@dataclass(frozen=True)
class Seen:
    """Dotted faces whose network sees their points exactly, and annotations that miss them."""

    evidence: NetworkEvidence
    truth: np.ndarray
    observations: Observations


@pytest.fixture(scope="module")
def seen() -> Seen:
    dots, rng = Dots(), np.random.default_rng(0)
    truth = np.stack([dots.points(*rng.uniform(70, 90, 2), rng.uniform(45, 60)) for _ in range(COUNT)])
    model = dots.model()
    maps, size = crop_maps(np.stack([np.array(dots.box(points)) for points in truth]), model.crop, model.input_size)
    images = np.stack([cut(dots.picture([p]), matrix, size) for p, matrix in zip(truth, maps, strict=True)])
    crops = CropCache(tuple(map(str, range(COUNT))), images, maps, model.input_size)
    annotations = truth + rng.normal(0, 2.0, truth.shape)
    evidence = NetworkEvidence(model.network, crops, model.sigma, dots.scheme)
    return Seen(evidence, truth, Observations(annotations, annotations))


SETTINGS = SearchSettings(likelihood_weight=5.0, region=49)


def test_the_paper_s_search_is_the_cost_s_minimum_face_by_face(seen):
    told: list[int] = []
    found = SemanticAlignment(SETTINGS)(seen.observations, seen.evidence, told.append)
    o = seen.observations.points
    for rows, heatmaps, to_image in seen.evidence.heatmaps():
        for place, row in enumerate(rows):
            back = to_image[place : place + 1]
            point = transform_points(torch.from_numpy(o[row : row + 1]), invert(back)).float()
            alone = search_labels(heatmaps[place : place + 1].clone(), point, seen.evidence.sigma, SETTINGS)
            expected = transform_points(alone.points.double(), back)[0].numpy()
            assert np.allclose(found.points[row][alone.moved[0]], expected[alone.moved[0]], atol=1e-4)
            scale = (256 / 32) ** 2
            assert np.allclose(found.prior_cost[row], alone.prior[0] * scale, rtol=1e-3, atol=1e-3)
            assert np.allclose(found.likelihood_cost[row], alone.chi_square[0] * scale, rtol=1e-3, atol=1e-2)
    assert sum(told) == COUNT and found.spread is None
    assert found.moved.any() and np.array_equal(found.points[~found.moved], o[~found.moved])
    errors = [np.linalg.norm(points - seen.truth, axis=2).mean() for points in (o, found.points)]
    assert errors[1] < 0.6 * errors[0]


def test_without_weight_labels_are_the_observations_to_the_bit(seen):
    found = SemanticAlignment(SearchSettings(likelihood_weight=0.0))(seen.observations, seen.evidence)
    assert not found.moved.any() and np.array_equal(found.points, seen.observations.points)


def test_label_adaptation_keeps_labels_from_the_network_s_bias(seen):
    """Annotators mark everything 4 px to the right of where the network sees it: a convention, no noise."""
    habit = np.array([4.0, 0.0])
    annotations = seen.observations.points + habit
    observations = Observations(annotations, annotations)
    plain, adapted = (make_search(SETTINGS, components)(observations, seen.evidence) for components in (-1, 0))
    errors = [np.linalg.norm(f.points - (seen.truth + habit), axis=2).mean() for f in (plain, adapted)]
    assert errors[1] < 0.6 * errors[0]
    assert isinstance(make_search(SETTINGS, 0), SemanticAlignment) and isinstance(
        make_search(AverageSettings(), 0), Adapted
    )


def test_an_adapted_search_moves_the_observations_and_takes_the_offsets_off_again(seen):
    given_points = []

    def down(observations: Observations, evidence: Evidence, advance: Any = None) -> FoundLabels:
        """Every label a pixel below its observation, but the first face's, which stay."""
        given_points.append(observations.points)
        found = Average(AverageSettings(prediction_weight=0.0))(observations, evidence)
        moved = np.arange(COUNT)[:, None] > np.zeros(3)
        return replace(found, points=observations.points + [0.0, 1.0], moved=moved)

    found = Adapted(down, 0)(seen.observations, seen.evidence)
    o = seen.observations.points
    assert np.abs(given_points[0] - o).max() > 0.05  # the mean difference of predictions and annotations
    assert np.array_equal(found.points[0], o[0])
    assert np.allclose(found.points[1:], o[1:] + [0.0, 1.0])


def fake(predicted: np.ndarray) -> Any:
    """Evidence of which only the predictions are used; a pixel of a 256×256 heatmap is half a pixel of the image."""
    found = Landmarks(predicted, np.full(predicted.shape[:2], 0.7), Dots.scheme)
    return SimpleNamespace(predictions=found, reference_pixels=np.full(len(predicted), 0.5))


@pytest.mark.parametrize("habit", [0.0, 0.4])
def test_cross_validation_tells_on_how_many_components_the_difference_depends(habit):
    rng = np.random.default_rng(0)
    bent = rng.normal(0, 1, (400, 1, 1))  # the only way in which shapes differ
    shape = np.array([[0.0, 0.0], [60.0, 0.0], [30.0, 30.0], [10.0, 60.0], [50.0, 60.0]])
    predicted = (
        100 + shape + bent * np.array([[0, 0], [0, 0], [0, 6], [0, 2], [0, 2]]) + rng.normal(0, 0.05, (400, 5, 2))
    )
    o = predicted + 2.0 + habit * bent * [[3, 0], [-3, 0], [0, 0], [0, 0], [0, 0]] + rng.normal(0, 1.0, predicted.shape)
    found = [Adapted(Average(AverageSettings()), k)(Observations(o, o), fake(predicted)).points for k in ("auto", 0, 5)]
    assert np.array_equal(found[0], found[2 if habit else 1])
    assert not np.array_equal(found[1], found[2])


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_an_average_lies_between_its_witnesses(weight, seed):
    rng = np.random.default_rng(seed)
    o, p = rng.normal(100, 30, (2, 5, 3, 2))
    found = Average(AverageSettings(prediction_weight=weight))(Observations(o, o), fake(p))
    assert np.allclose(found.points, (1 - weight) * o + weight * p)
    apart = np.linalg.norm(o - p, axis=2)
    assert np.allclose(np.sqrt(found.prior_cost) * 0.5, weight * apart, atol=1e-6)
    assert np.allclose(np.sqrt(found.likelihood_cost) * 0.5, (1 - weight) * apart, atol=1e-6)
    assert (found.confidence == 0.7).all() and found.moved.all() == (weight > 0)


def test_an_average_says_how_sure_it_is():
    """With the right weight of two independent witnesses the spread is the labels' true standard deviation."""
    rng, truth = np.random.default_rng(3), np.random.default_rng(4).normal(100, 20, (4000, 3, 2))
    people, network = np.array([3.0, 2.0, 4.0])[:, None], np.array([1.0, 2.0, 2.0])[:, None]
    o, p = (truth + rng.normal(size=truth.shape) * sd for sd in (people, network))
    for landmark in range(3):
        weight = float((people**2 / (people**2 + network**2))[landmark, 0])
        found = Average(AverageSettings(prediction_weight=weight))(Observations(o, o), fake(p))
        error = (found.points - truth)[:, landmark].std()
        assert found.spread is not None
        assert found.spread[:, landmark].mean() == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize("given_settings", [kind() for kind in SEARCHES])
@pytest.mark.parametrize("components", [-1, 0])
def test_every_search_has_the_same_signature(seen, given_settings, components):
    search = make_search(given_settings, components)
    found = search(seen.observations, Joint([seen.evidence, seen.evidence]))
    assert isinstance(search, LabelSearch)
    assert found.points.shape == (COUNT, 3, 2) and found.points.dtype == np.float64
    for part in (found.prior_cost, found.likelihood_cost, found.confidence, found.moved):
        assert part.shape == (COUNT, 3)
    assert (found.prior_cost >= 0).all()
    assert (
        found.likelihood_cost > -1
    ).all()  # between pixels χ² is that of a fitted peak, which may be a little too deep
    assert found.spread is None or (found.spread.shape == (COUNT, 3, 2) and (found.spread >= 0).all())


@pytest.mark.parametrize("given_settings", [kind() for kind in SEARCHES])
@pytest.mark.parametrize("components", [-1, 0])
def test_absent_points_stay_absent_and_change_nothing_else(seen, given_settings, components):
    absent = np.zeros((COUNT, 3), bool)
    absent[::3, 1] = True
    points = np.where(absent[..., None], np.nan, seen.observations.points)
    search = make_search(given_settings, components)
    both = Joint([seen.evidence, seen.evidence])
    whole, found = (search(Observations(given, given), both) for given in (seen.observations.points, points))
    for part in (found.points, found.prior_cost, found.likelihood_cost, found.confidence):
        assert np.array_equal(np.isnan(part).reshape(COUNT, 3, -1).all(axis=2), absent)
    assert not found.moved[absent].any()
    if not isinstance(given_settings, CalibratedSettings):  # it takes a face's landmarks together
        others = [0, 2]  # the offset of landmark 1 is learned from fewer faces
        assert np.array_equal(found.points[:, others], whole.points[:, others])
        assert np.array_equal(found.prior_cost[:, others], whole.prior_cost[:, others])
    if found.spread is not None:
        assert np.array_equal(np.isnan(found.spread).all(axis=2), absent)


def test_weights_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        AverageSettings(prediction_weight=1.5)


def test_evidence_fold_by_fold_is_that_of_the_faces_in_their_order(seen):
    folds = np.random.default_rng(2).integers(0, 3, COUNT)
    whole = seen.evidence
    parts = [replaced(whole, np.flatnonzero(folds == fold)) for fold in range(3)]
    dealt = OutOfFold(parts, folds)
    assert isinstance(dealt, Evidence) and len(dealt) == COUNT
    assert np.allclose(dealt.predictions.points, whole.predictions.points, atol=1e-4)
    assert np.allclose(dealt.predictions.spread, whole.predictions.spread, atol=1e-4)
    assert np.array_equal(dealt.reference_pixels, whole.reference_pixels)
    one, other = (SemanticAlignment(SETTINGS)(seen.observations, evidence) for evidence in (whole, dealt))
    assert np.allclose(one.points, other.points, atol=1e-3)


def replaced(evidence: NetworkEvidence, rows: np.ndarray) -> NetworkEvidence:
    return NetworkEvidence(evidence.network, evidence.crops.take(rows), evidence.sigma, evidence.scheme)


def test_several_networks_speak_by_their_mean_and_are_heard_one_by_one(seen):
    joint = Joint([seen.evidence, seen.evidence])
    assert isinstance(joint, Evidence) and len(joint.members) == 2
    assert np.array_equal(joint.predictions.points, seen.evidence.predictions.points)
    for (rows, maps, _), (own_rows, own, _) in zip(joint.heatmaps(), seen.evidence.heatmaps(), strict=True):
        assert np.array_equal(rows, own_rows) and torch.allclose(maps, own)


def test_the_calibrated_search_wants_two_witnesses(seen):
    with pytest.raises(SemalignError, match="weighs two witnesses that have not seen the faces, and there are 1"):
        make_search(CalibratedSettings())(seen.observations, seen.evidence)


def test_each_witness_is_brought_into_the_annotators_terms_by_itself():
    rng = np.random.default_rng(5)
    shape = np.array([[0.0, 0.0], [60.0, 0.0], [30.0, 30.0], [10.0, 60.0], [50.0, 60.0]])
    truth = 100 + shape + rng.normal(0, 2, (200, 5, 2))
    o, p, q = (truth + rng.normal(0, noise, truth.shape) for noise in (1.5, 1.0, 4.0))

    def found(first: np.ndarray, second: np.ndarray, components: int) -> np.ndarray:
        members = tuple(Landmarks(points, np.ones(points.shape[:2]), Dots.scheme) for points in (first, second))
        evidence = fake((first + second) / 2)
        evidence.members, evidence.correlation = members, (0.3, 0.8)
        return make_search(CalibratedSettings(), components)(Observations(o, o), evidence).points

    habits = np.array([[3.0, 0.0], [0.0, -4.0]])
    plain, moved = found(p, q, 0), found(p + habits[0], q + habits[1], 0)
    assert np.abs(plain - moved).max() < 0.2 and np.abs(found(p, q, -1) - plain).max() < 0.5
    assert np.abs(found(p + habits[0], q + habits[1], -1) - plain).mean() > 0.3


def test_few_faces_get_labels_half_way_to_the_prediction(seen):
    few = Joint([replaced(seen.evidence, np.arange(20))] * 2)
    points = seen.observations.points[:20]
    found = make_search(CalibratedSettings())(Observations(points, points), few)
    assert np.allclose(found.points, (points + few.predictions.points) / 2)


def test_network_and_mesh_have_half_a_word_each_and_the_heatmaps_are_the_network_s(seen):
    mesh = seen.truth + 1.0
    evidence = Beside(seen.evidence, [mesh])
    assert isinstance(evidence, Evidence) and len(evidence) == COUNT
    network = seen.evidence.predictions
    assert np.allclose(evidence.predictions.points, (network.points + mesh) / 2)
    for member, points in zip(evidence.members, (network.points, mesh), strict=True):
        assert np.array_equal(member.points, points)
    assert np.array_equal(evidence.predictions.spread, network.spread)
    for (_, own, _), (_, inner, _) in zip(evidence.heatmaps(), seen.evidence.heatmaps(), strict=True):
        assert torch.equal(own, inner)
    assert np.array_equal(evidence.reference_pixels, seen.evidence.reference_pixels)


@pytest.mark.parametrize("of_the_mesh", [True, False])
def test_of_three_witnesses_those_of_one_origin_share_a_word(seen, of_the_mesh):
    network, other, mesh = seen.evidence.predictions.points, seen.truth + 2.0, seen.truth + 1.0
    both = heard_together(seen.evidence, of_the_mesh, other, mesh)
    wanted = ((network + mesh) / 2, other) if of_the_mesh else (network, (other + mesh) / 2)
    for member, points in zip(both.members, wanted, strict=True):
        assert np.allclose(member.points, points)
    assert both.correlation == POOLED
    for one in (heard_together(seen.evidence, of_the_mesh, None, mesh), Beside(seen.evidence, [mesh])):
        assert np.array_equal(one.members[1].points, mesh) and one.correlation == APART
    assert heard_together(seen.evidence, of_the_mesh, None, None) is seen.evidence
