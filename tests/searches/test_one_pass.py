"""A label search sees each picture once: the labels are those of two passes, and memory does not grow with the faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from dots import Dots
from torch import Tensor

from semalign.core.search import SearchSettings
from semalign.data.crops import CropCache, crop_maps, cut
from semalign.files import forget
from semalign.models.network import HeatmapNetwork
from semalign.searches import Beside, Evidence, FoundLabels, Joint, NetworkEvidence, Observations, OutOfFold
from semalign.searches.adapted import Adapted, offsets
from semalign.searches.semantic_alignment import SemanticAlignment
from semalign.searches.windows import Windows

COUNT = 70
SETTINGS = SearchSettings(likelihood_weight=5.0, region=49)


class Counting:
    """How many pictures a network was shown."""

    def __init__(self, network: HeatmapNetwork) -> None:
        self.pictures = 0
        network.register_forward_pre_hook(self.count)

    def count(self, network: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
        self.pictures += len(given[0])


@pytest.fixture
def faces() -> tuple[CropCache, np.ndarray]:
    """Crops of dotted faces, and annotations that miss the dots by noise and by a habit."""
    dots, rng = Dots(), np.random.default_rng(0)
    truth = np.stack([dots.points(*rng.uniform(70, 90, 2), rng.uniform(45, 60)) for _ in range(COUNT)])
    model = dots.model()
    maps, size = crop_maps(np.stack([np.array(dots.box(points)) for points in truth]), model.crop, model.input_size)
    images = np.stack([cut(dots.picture([p]), matrix, size) for p, matrix in zip(truth, maps, strict=True)])
    crops = CropCache(tuple(map(str, range(COUNT))), images, maps, model.input_size)
    annotations = truth + rng.normal(0, 2.0, truth.shape) + [3.0, -2.0]
    annotations[::7, 1] = np.nan
    return crops, annotations


def seen(crops: CropCache, rows: np.ndarray | None = None) -> tuple[NetworkEvidence, Counting]:
    model = Dots().model()
    evidence = NetworkEvidence(model.network, crops, model.sigma, Dots.scheme, tta=1, rows=rows)
    return evidence, Counting(evidence._computed)


def in_two_passes(annotations: np.ndarray, evidence: Evidence, components: int) -> FoundLabels:
    """The search around the moved observations in whole heatmaps, after the predictions of all faces."""
    return Adapted(SemanticAlignment(SETTINGS), components)(Observations(annotations, annotations), evidence)


def alike(one: FoundLabels, other: FoundLabels) -> None:
    assert np.array_equal(one.moved, other.moved)
    for name in ("points", "prior_cost", "likelihood_cost", "confidence"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-3, equal_nan=True), name


@pytest.mark.parametrize("components", [0, 2, "auto"])
def test_one_pass_finds_what_two_find(faces, components):
    crops, annotations = faces
    told: list[int] = []
    evidence, counting = seen(crops)
    one = SemanticAlignment(SETTINGS, components)(Observations(annotations, annotations), evidence, told.append)
    assert counting.pictures == COUNT == sum(told)
    two = in_two_passes(annotations, seen(crops)[0], components)
    alike(one, two)
    assert one.moved.any() and np.isnan(one.points[::7, 1]).all()


@pytest.mark.parametrize("precision", ["integer", "subpixel"])
def test_heatmaps_channels_last_are_searched_alike(faces, precision):
    crops, annotations = faces
    search = SemanticAlignment(replace(SETTINGS, precision=precision))
    evidence = seen(crops)[0]
    evidence.network.register_forward_hook(lambda *given: [given[-1][-1].contiguous(memory_format=torch.channels_last)])
    one = search(Observations(annotations, annotations), evidence)
    alike(one, search(Observations(annotations, annotations), seen(crops)[0]))
    assert one.moved.any()


def test_each_search_shows_the_network_each_picture_once(faces):
    crops, annotations = faces
    observations = Observations(annotations, annotations)
    for components in (-1, 0):
        evidence, counting = seen(crops)
        search = SemanticAlignment(SETTINGS, components)
        search(observations, evidence)
        assert counting.pictures == COUNT
        assert len(evidence.predictions) == COUNT  # which were decoded on the way
        assert counting.pictures == COUNT


def test_several_networks_and_folds_see_each_picture_once(faces):
    crops, annotations = faces
    folds = np.arange(COUNT) % 3
    parts, counts = [], []
    for fold in range(3):
        pairs = [seen(crops, np.flatnonzero(folds == fold)) for _ in range(2)]
        parts.append(Joint([evidence for evidence, _ in pairs]))
        counts += [counting for _, counting in pairs]
    other = np.where(np.isnan(annotations), 80.0, annotations)
    evidence = Beside(OutOfFold(parts, folds), [other])
    one = SemanticAlignment(SETTINGS, 0)(Observations(annotations, annotations), evidence)
    assert sum(counting.pictures for counting in counts) == 2 * COUNT
    whole = Beside(seen(crops)[0], [other])
    alike(one, in_two_passes(annotations, whole, 0))


def test_predictions_are_the_same_whoever_asks_first(faces):
    crops, _ = faces
    first, second = seen(crops)[0], seen(crops)[0]
    for _ in first.heatmaps():
        pass
    for name in ("points", "confidence", "spread"):
        assert np.array_equal(getattr(first.predictions, name), getattr(second.predictions, name))


def test_a_pass_that_was_not_finished_leaves_no_predictions(faces):
    evidence, counting = seen(faces[0])
    next(evidence.heatmaps())
    assert len(evidence.predictions) == COUNT and counting.pictures == 32 + COUNT


def test_faces_whose_observations_move_far_are_looked_at_again(faces):
    crops, annotations = faces
    annotations = annotations.copy()
    annotations[:, 2] += 40.0  # the mean offset is farther than any window shows
    evidence, counting = seen(crops)
    one = SemanticAlignment(SETTINGS, 0)(Observations(annotations, annotations), evidence)
    assert COUNT < counting.pictures <= 2 * COUNT
    assert np.abs(offsets(evidence.predictions.points, annotations, 0)).max() > 30
    alike(one, in_two_passes(annotations, seen(crops)[0], 0))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_windows_show_what_the_heatmaps_do_and_zeros_beyond(memory):
    draws = torch.Generator().manual_seed(0)
    maps = torch.rand((5, 2, 16, 16), generator=draws).contiguous(memory_format=memory)
    points = torch.tensor([[[3.4, 8.6], [0.0, 15.0]]]).repeat(5, 1, 1)
    points[2, 0] = torch.nan
    windows = Windows(5, 3)
    for rows in (np.array([3, 4]), np.array([0, 1, 2])):
        windows.keep(rows, maps[rows], points[rows], torch.zeros(len(rows), 2, 3).double())
    (view,) = windows.views()
    assert view.rows.tolist() == [3, 4, 0, 1, 2]
    assert torch.equal(view.maps[0, 0], maps[3, 0, 6:13, 0:7])
    assert torch.equal(view.maps[0, 1, :4, 3:], maps[3, 1, 12:16, :4]) and (view.maps[0, 1, 4:] == 0).all()
    assert (view.maps[4, 0] == 0).all()
    near, far = points[view.rows] + 1.0, points[view.rows] + torch.tensor([2.0, 0.0])
    assert windows.cover(near, view.corners, 2).all()
    assert windows.cover(far, view.corners, 2).tolist() == [False] * 5
    assert not list(Windows(0, 3).views())


def resident() -> Iterator[int]:
    """Bytes of mapped files in this process's memory."""
    with open("/proc/self/status") as status:
        yield from (1024 * int(line.split()[1]) for line in status if line.startswith("RssFile"))


@pytest.mark.skipif(not hasattr(__import__("mmap"), "MADV_DONTNEED"), reason="the system cannot give memory back")
def test_what_was_read_of_a_file_does_not_stay_in_memory(faces, tmp_path):
    crops, annotations = faces
    many = 20
    images = np.memmap(tmp_path / "images.u8", np.uint8, "w+", shape=(many * COUNT, *crops.images.shape[1:]))
    images[:] = np.tile(crops.images, (many, 1, 1, 1))
    forget(images)
    large = CropCache(
        tuple(map(str, range(many * COUNT))), images, np.tile(crops.image_to_crop, (many, 1, 1)), crops.input_size
    )
    observations = Observations(*[np.tile(annotations, (many, 1, 1))] * 2)
    evidence, _ = seen(large)
    (before,) = resident()
    most = [0]
    found = SemanticAlignment(SETTINGS, 0)(
        observations, evidence, lambda count: most.append(max(most[-1], *resident()))
    )
    assert len(found.points) == many * COUNT
    assert most[-1] - before < images.nbytes / 4
    assert np.array_equal(images[-COUNT:], crops.images)
