"""The training loss on heatmaps that are enlarged bilinearly, computed exactly without enlarging them.

A head of `300w-paper` predicts maps X of t×t pixels; the heatmaps are U X Uᵀ, enlarged `factor` times along each axis
by the matrix U, and are compared with Gaussians T = r cᵀ (r, c: profiles along rows and columns) under the weights 1
+ λT. At 256×256 that is 18 MB a face and stack, read and written ten times over. But everything in it is separable:

    Σ (1 + λT) (U X Uᵀ - T)²  =  <X, B X B> - 2 (Uᵀr)ᵀ X (Uᵀc) + Σ T²  +  λ (<X, R X C> - 2 (Uᵀr²)ᵀ X (Uᵀc²) + Σ T³)

with B = UᵀU, R = Uᵀ diag(r) U and C = Uᵀ diag(c) U: products of t×t matrices, and nothing larger is kept.

Shape legend: b images, n landmarks, t side of the maps, s = factor·t side of the heatmaps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Target(NamedTuple):
    """What the maps of every stack are compared with."""

    rows: Tensor  # (b, n, t, t) R
    columns: Tensor  # (b, n, t, t) C
    first: tuple[Tensor, Tensor]  # (b, n, t) each: Uᵀr, Uᵀc
    second: tuple[Tensor, Tensor]  # (b, n, t) each: Uᵀr², Uᵀc²
    constant: Tensor  # scalar: Σ T² + λ Σ T³


class EnlargedLoss:
    """Foreground-weighted MSE of enlarged maps against Gaussians; as `weighted_mse` of the enlarged maps, to rounding.

    Args:
        coarse: side t of the maps.
        factor: of the enlargement (bilinear, corners not aligned).
        sigma: of the Gaussians, pixels of the enlarged heatmap.
        foreground: λ.
        device, dtype: of the maps.
    """

    def __init__(
        self,
        coarse: int,
        factor: int,
        sigma: float,
        foreground: float,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.sigma, self.foreground = sigma, foreground
        self.size = coarse * factor
        enlarge = F.interpolate(
            torch.eye(coarse, dtype=torch.float64)[None], scale_factor=float(factor), mode="linear", align_corners=False
        )[0].T  # U
        self.steps = torch.arange(self.size, dtype=dtype, device=device)
        self.enlarge = enlarge.to(device, dtype)
        self.gram = (enlarge.T @ enlarge).to(device, dtype)

    def target(self, points: Tensor) -> Target:
        """For points (b, n, 2) of the enlarged heatmap's frame."""
        r = torch.exp(-((self.steps - points[..., 1:]) ** 2) / (2 * self.sigma**2))
        c = torch.exp(-((self.steps - points[..., :1]) ** 2) / (2 * self.sigma**2))
        u = self.enlarge
        squares = r.square().sum(-1) * c.square().sum(-1)
        cubes = (r**3).sum(-1) * (c**3).sum(-1)
        return Target(
            rows=u.T @ (r[..., None] * u),
            columns=u.T @ (c[..., None] * u),
            first=(r @ u, c @ u),
            second=(r.square() @ u, c.square() @ u),
            constant=(squares + self.foreground * cubes).sum(),
        )

    def __call__(self, maps: Tensor, target: Target) -> Tensor:
        """The mean over the enlarged pixels of (1 + λT)·(error)², for maps (b, n, t, t)."""
        plain = self.gram @ maps @ self.gram - 2 * _outer(target.first)
        near = target.rows @ maps @ target.columns - 2 * _outer(target.second)
        total = (maps * (plain + self.foreground * near)).sum() + target.constant
        return total / (maps.shape[0] * maps.shape[1] * self.size**2)


def _outer(profiles: tuple[Tensor, Tensor]) -> Tensor:
    return profiles[0][..., :, None] * profiles[1][..., None, :]
