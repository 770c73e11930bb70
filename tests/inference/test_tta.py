"""Test-time augmentation: heatmaps come back into the plain frame exactly, and mirrors exchange left and right."""

from __future__ import annotations

import pytest
import torch
from worlds import NETWORK

from semalign.core.heatmaps import decode_heatmaps, render_gaussians
from semalign.inference.tta import TRANSFORMS, mean_heatmaps
from semalign.models.hourglass import StackedHourglass
from semalign.training.settings import AlternationSettings

SIZE, CROP = 64, 96
INSET = (CROP - SIZE) / 2
TO_INPUT = torch.tensor([[1.0, 0.0, -INSET], [0.0, 1.0, -INSET]], dtype=torch.float64)


class Seeing(StackedHourglass):
    """Its heatmaps are the picture's own colours at half resolution: red the one dot, green the other."""

    def __init__(self) -> None:
        super().__init__(NETWORK, landmarks=2)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.nn.functional.avg_pool2d(images[:, :2], 2)]


def test_every_view_puts_a_dot_back_where_it_was():
    points = torch.tensor([[[40.0, 45.0], [56.0, 52.0]]])
    dots = render_gaussians(points, CROP, 3.0)
    crops = torch.cat([dots, torch.zeros(1, 1, CROP, CROP)], 1)
    expected = (points - INSET + 0.5) / 2 - 0.5
    for tta in range(1, len(TRANSFORMS) + 1):
        maps = mean_heatmaps(Seeing(), crops, TO_INPUT, tta, (0, 1))  # colours are no left and right
        assert maps.shape == (1, 2, SIZE // 2, SIZE // 2)
        assert float((decode_heatmaps(maps, 1.6).points - expected).abs().max()) < 0.05


def test_a_mirrored_crop_exchanges_the_landmarks(small):
    network = small.network().eval()
    crops = torch.rand(1, 3, CROP, CROP)
    crops = (crops + crops.flip(3)) / 2  # a face that is its own mirror image
    flip = small.dataset.scheme.flip_index
    with torch.no_grad():
        both = mean_heatmaps(network, crops, TO_INPUT, 2, flip)
        plain = mean_heatmaps(network, crops, TO_INPUT, 1, flip)
    assert torch.allclose(both, both[:, list(flip)].flip(3), atol=1e-4)
    assert torch.allclose(both, (plain + plain[:, list(flip)].flip(3)) / 2, atol=1e-4)


def test_a_mirror_image_is_the_same_with_and_without_resampling(small):
    network, crops, flip = small.network().eval(), torch.rand(2, 3, CROP, CROP), small.dataset.scheme.flip_index
    nearly = TO_INPUT + 1e-9  # no whole pixels, so that the crops are resampled
    with torch.no_grad():
        cut_out, resampled = (mean_heatmaps(network, crops, where, 2, flip) for where in (TO_INPUT, nearly))
    assert torch.allclose(cut_out, resampled, atol=1e-4)


@pytest.mark.parametrize("tta", [0, 5])
def test_other_numbers_of_crops_are_refused(tta):
    with pytest.raises(ValueError, match="1 to 4"):
        AlternationSettings(tta=tta)
