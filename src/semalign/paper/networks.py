"""What the networks on a ResNet share: how they are put to use, and how their settings are read.

Shape legend: b images, s side of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from semalign.core.warp import warp
from semalign.data.crops import CropCache

Settings = TypeVar("Settings")


def plain_inputs(crops: CropCache, rows: np.ndarray, device: torch.device) -> Float[Tensor, "b 3 s s"]:
    """The un-augmented input squares of some crops, in [0, 1], channels last in memory."""
    pictures = warp(crops.batch(rows, device), crops.crop_to_input[None], crops.input_size)
    return pictures.contiguous(memory_format=torch.channels_last)


def outputs_of(
    network: nn.Module,
    crops: CropCache,
    batch_size: int,
    precision: str = "fp32",
    advance: Callable[[int], None] | None = None,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """The network's output for every plain crop: the rows of a batch, and float64 on the CPU.

    Args:
        network: put into evaluation mode.
        crops: of a size that the network takes.
        batch_size: of one pass.
        precision: of the network, 'bf16' or 'fp32'.
        advance: told how many images are done.
    """
    network.eval()
    device = next(network.parameters()).device
    for start in range(0, len(crops), batch_size):
        rows = np.arange(start, min(start + batch_size, len(crops)))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = network(plain_inputs(crops, rows, device)).cpu().double()
        yield rows, outputs
        if advance is not None:
            advance(len(rows))


def settings_in(description: Mapping[str, Any], kind: Callable[..., Settings]) -> Settings:
    """A network's settings from the description in its file."""
    shape = dict(description["network"])
    return kind(**shape | {"blocks": tuple(shape["blocks"])})
