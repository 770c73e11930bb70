"""A new network may begin with another's weights, whatever the landmarks of either."""

from __future__ import annotations

import pytest
import torch

from semalign.errors import SemalignError
from semalign.models import pretrained
from semalign.models.network import build_network
from semalign.pipeline import load_recipe
from semalign.pipeline.job import begin_with


def test_all_but_the_heads_is_taken_over() -> None:
    settings = load_recipe("any-crossfit").network
    fresh, network = build_network(settings, 12, 0), build_network(settings, 12, 0)
    begin_with(network, load_recipe("any-crossfit").features)
    learned = pretrained.load(load_recipe("any-crossfit").features).network.state_dict()
    for name, value in network.state_dict().items():
        origin = fresh.state_dict() if name.startswith("heads.") else learned
        assert torch.equal(value, origin[name]), name
    assert network.landmarks == 12


def test_another_shape_is_refused() -> None:
    small = load_recipe("any-crossfit", ["network.width=16"])
    with pytest.raises(SemalignError, match="has another shape"):
        begin_with(build_network(small.network, 12, 0), small.features)
    with pytest.raises(SemalignError):
        begin_with(build_network(small.network, 12, 0), "no-such-model")
