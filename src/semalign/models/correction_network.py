"""The network of a correction for hidden landmarks while it learns (`semalign.models.correction.PeakReader` afterwards).

Shape legend: b faces, n landmarks.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semalign.models.correction import PeakReader

HIDDEN = 64  # values between what is seen and what it means
DROPPED = 0.1  # of the hidden values, while it learns


class CorrectionNetwork(nn.Module):
    """From heights and spreads of all peaks to the logarithm of each landmark's variance and the logit of its visibility.

    Args:
        landmarks: n.
    """

    usual: Float[Tensor, "n 2"]
    deviation: Float[Tensor, "n 2"]

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(landmarks, 2))
        self.register_buffer("deviation", torch.ones(landmarks, 2))
        self.own = nn.Parameter(torch.zeros(landmarks, 2, 2))
        self.bias = nn.Parameter(torch.zeros(landmarks, 2))
        self.hidden = nn.Linear(2 * landmarks, HIDDEN)
        self.dropout = nn.Dropout(DROPPED)
        self.output = nn.Linear(HIDDEN, 2 * landmarks)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def _weights(self) -> PeakReader:
        hidden, output = self.hidden, self.output
        return PeakReader(
            self.usual,
            self.deviation,
            self.own,
            self.bias,
            hidden.weight,
            hidden.bias,
            output.weight,
            output.bias,
        )

    def forward(self, seen: Float[Tensor, "b n 2"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """As `PeakReader`."""
        return self._weights(seen, self.dropout)

    def reader(self) -> PeakReader:
        """What it has learned, without PyTorch."""
        return PeakReader(*(value.detach().cpu().numpy().copy() for value in self._weights))
