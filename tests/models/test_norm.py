"""Networks without their batch normalisation give what they gave with it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from semalign.models.hourglass import HourglassSettings
from semalign.models.mobile import MobileSettings
from semalign.models.network import NetworkSettings, build_network
from semalign.models.norm import BatchNorm, folded


@pytest.mark.parametrize(
    "settings",
    [
        HourglassSettings(input_size=64, heatmap_size=32, width=16, depth=2),
        HourglassSettings(input_size=64, heatmap_size=16, width=16, depth=2, block="bottleneck", upsampling="bilinear"),
        MobileSettings(input_size=64, heatmap_size=16),
    ],
)
def test_folding_changes_no_heatmap(settings: NetworkSettings) -> None:
    network = build_network(settings, 5, seed=0).train()
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        for module in network.modules():  # statistics and weights that are not those of the beginning
            if isinstance(module, BatchNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
        network(images)
        network.eval()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        quicker = folded(network)
        assert not any(isinstance(module, BatchNorm) for module in quicker.modules())
        assert torch.allclose(quicker(images)[-1], network(images)[-1], atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
