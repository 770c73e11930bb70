"""Label search from Python with a network and a landmark scheme of one's own, and with the light network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from dots import SCHEME, Dots
from PIL import Image
from torch import Tensor, nn

import semalign
from semalign.core.search import SearchSettings
from semalign.data.crops import CropSettings
from semalign.data.pts import write_pts
from semalign.errors import SemalignError
from semalign.models import HeatmapModule, Model
from semalign.models.checkpoint import load_model
from semalign.pipeline import Recipe
from semalign.training.settings import AlternationSettings

COUNT = 8


class Seeing(nn.Module):
    """Three dots in three colours are what it looks for: its heatmaps are the colours at half the resolution."""

    def forward(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder of dotted faces whose annotations are noisy, and the dots' places (b, 3, 2)."""
    folder, rng, dots = tmp_path_factory.mktemp("dots"), np.random.default_rng(0), Dots()
    truth = []
    for index in range(COUNT):
        points = dots.points(*rng.uniform(75, 85, 2), rng.uniform(60, 70))
        Image.fromarray(dots.picture([points], (160, 160))).save(folder / f"{index}.png")
        write_pts(folder / f"{index}.pts", points + rng.normal(0, 1.5, points.shape))
        truth.append(points)
    return folder, np.array(truth)


def model(**about: object) -> Model:
    return Model(HeatmapModule(Seeing(), 64, 32, 3), SCHEME, CropSettings(scale=1.6), sigma=1.6, about=about)


def test_a_network_and_a_scheme_of_ones_own_search_labels(world, tmp_path):
    folder, truth = world
    recipe = Recipe(
        search=SearchSettings(likelihood_weight=10.0), alternation=AlternationSettings(tta=1, adaptation_components=-1)
    )
    version = semalign.search(model(), folder, tmp_path / "labels", recipe=recipe)
    annotated = semalign.LabelStore(tmp_path / "labels").read(0).points
    errors = [np.linalg.norm(points - truth, axis=2).mean() for points in (annotated, version.points)]
    assert errors[1] < 0.5 * errors[0]
    assert (version.index, version.iteration, version.provenance["model"]) == (1, 1, "Seeing")
    again = semalign.search(model(), folder, tmp_path / "labels")
    assert (again.index, again.iteration) == (2, 2)
    assert again.provenance["likelihood_weight"] == Recipe().search.likelihood_weight


def test_a_recipe_says_how_to_search_and_the_model_for_which_landmarks(world, tmp_path):
    recipe = Recipe(search=SearchSettings(likelihood_weight=0.0))
    version = semalign.search(model(), world[0], tmp_path / "labels", recipe=recipe)
    assert version.provenance["likelihood_weight"] == 0.0
    own = semalign.search(model(recipe_text="[search]\nlikelihood_weight = 3.0\n"), world[0], tmp_path / "other")
    assert own.provenance["likelihood_weight"] == 3.0


def test_a_network_that_breaks_its_promise_is_named(world, tmp_path):
    wrong = Model(HeatmapModule(Seeing(), 64, 64, 3), SCHEME, CropSettings(), sigma=2.0)
    with pytest.raises(SemalignError, match=r"Seeing: gives \(8, 3, 32, 32\).*\(8, 3, 64, 64\) were promised"):
        semalign.search(wrong, world[0], tmp_path / "labels")


def test_the_light_network_is_trained_by_a_recipe_and_searches(tmp_path):
    network = "network={kind='mobile', input_size=64, width=8, growth=1.5, scales=2, blocks=1, decoder=16}"
    faces = ("synthesis.count=10", "synthesis.test_count=2", "synthesis.face.size=80")
    recipe = semalign.load_recipe(
        "demo", [*faces, network, "heatmap.sigma=12.0", "start={epochs=1, batch_size=4}", "alignment.epochs=1"]
    )
    file = semalign.train(recipe, None, tmp_path / "trained")
    trained = load_model(file)
    assert trained.network.settings == recipe.network and trained.network.name == "MobileNetwork"
    version = semalign.search(file, tmp_path / "trained" / "data", tmp_path / "labels")
    assert version.index == 1 and version.provenance["model"] == "model.safetensors"
    further = load_model(semalign.align(file, tmp_path / "trained" / "data", tmp_path / "aligned"))
    assert further.network.settings == recipe.network
