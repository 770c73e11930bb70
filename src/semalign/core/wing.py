"""The Wing loss for coordinates (Feng and others, *Wing Loss for Robust Facial Landmark Localisation*, CVPR 2018).

    wing(x) = w · log(1 + |x| / ε)  where |x| < w,  else |x| - C,  with C = w - w · log(1 + w / ε)

Small and medium errors weigh more than under L1, whose gradient is the same for all; beyond w it is L1. Under a change of
resolution by a factor s it keeps its form: wing(s·x; s·w, s·ε) = s · wing(x; w, ε).

Shape legend: b images, n landmarks.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def wing_loss(
    predicted: Float[Tensor, "b n 2"], target: Float[Tensor, "b n 2"], width: float, curvature: float
) -> Float[Tensor, ""]:
    """The mean of wing(predicted - target) over the coordinates that the target has; NaN in the target does not count.

    Args:
        predicted: points of any frame.
        target: of the same frame.
        width: w > 0, in that frame's unit; errors below it are enlarged.
        curvature: ε > 0, in the same unit; the smaller, the steeper near 0.

    Returns:
        The loss in the frame's unit; 0 where the target has no coordinates at all.
    """
    present = ~target.isnan()
    error = (predicted - torch.where(present, target, predicted.detach())).abs()
    constant = width - width * math.log1p(width / curvature)
    loss = torch.where(error < width, width * torch.log1p(error / curvature), error - constant)
    return torch.where(present, loss, 0.0).sum() / present.sum().clamp(min=1)
