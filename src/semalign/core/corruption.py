"""Corruption of heatmaps as occlusion and bad pictures do it: peaks dropped, blurred, displaced, doubled, and a floor of noise.

A correction unit that is trained on the heatmaps of clean training faces sees hardly a failure. Here failures are made. An
occluder takes neighbouring landmarks together: a *group* is whatever peaks lie within a radius of one of them, and suffers the
same fate; single landmarks fail on their own. Everything random is drawn for the whole batch of all processes from one
generator, and each process takes its rows.

Shape legend: b images, n landmarks, g groups, k groups or landmarks, m maps, h heatmap, c side of the noise's grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

GRID = 8  # values of the noise across a heatmap
SHARPEST = 0.5  # smallest blur, heatmap pixels
OWN_SHARE = 0.3  # of a displacement that is each landmark's own and not the group's


@dataclass(frozen=True)
class CorruptionSettings:
    """How often and how far heatmaps are corrupted; lengths are in sides of the heatmap."""

    groups: int = 2  # of neighbouring landmarks, at most
    group: float = 0.4  # probability of each group
    group_radius: float = 0.25  # largest radius around the landmark in its middle
    single: float = 0.04  # probability that a landmark fails on its own
    drop: float = 0.4  # how often a failure is a dropped peak, in proportion to the next three
    blur: float = 0.2  # ... a blurred and thereby flattened one
    displace: float = 0.25  # ... a peak in another place
    double: float = 0.15  # ... a peak with a second one elsewhere
    blur_sigma: float = 0.06  # largest blur
    displacement: float = 0.06  # standard deviation of a displaced peak's way, along x and along y
    second_distance: float = 0.15  # standard deviation of the second peak's way
    height: float = 0.2  # standard deviation of the logarithm of the height of all of a picture's peaks
    floor: float = 0.3  # probability of noise under all of a picture's heatmaps
    floor_height: float = 0.1  # highest noise, 1 = a clean peak

    def __post_init__(self) -> None:
        if min(self.drop, self.blur, self.displace, self.double) < 0 or not any(self.kinds):
            raise ValueError("drop, blur, displace and double must not be negative, and one of them positive")
        if self.groups < 0:
            raise ValueError("groups must not be negative")

    @property
    def kinds(self) -> tuple[float, float, float, float]:
        """Proportions of dropped, blurred, displaced and doubled peaks."""
        return self.drop, self.blur, self.displace, self.double


class Failures(NamedTuple):
    """What happens to peaks; lengths in heatmap pixels."""

    height: Float[Tensor, "b k"]  # factor
    blur: Float[Tensor, "b k"]  # sigma, 0 = sharp
    shift: Float[Tensor, "b k 2"]
    second: Float[Tensor, "b k"]  # height of a second peak, 0 = none
    second_shift: Float[Tensor, "b k 2"]  # where it is, from the first's undisplaced place


class Corruption(NamedTuple):
    """What is done to the heatmaps of each picture of a batch."""

    middle: Int[Tensor, "b g"]  # landmark around whose peak the group lies
    radius: Float[Tensor, "b g"]  # heatmap pixels, negative = no group
    of_groups: Failures
    of_landmarks: Failures
    own: Float[Tensor, "b n 2"]  # added to the shift of a displaced group's landmarks, heatmap pixels
    height: Float[Tensor, " b"]  # factor for all peaks
    floor: Float[Tensor, " b"]  # height of the noise
    noise: Float[Tensor, "b n c c"]  # 0 to 1

    def rows(self, start: int, stop: int) -> Corruption:
        """The part for some of the pictures."""
        part = slice(start, stop)
        return Corruption(
            self.middle[part],
            self.radius[part],
            Failures(*(value[part] for value in self.of_groups)),
            Failures(*(value[part] for value in self.of_landmarks)),
            self.own[part],
            self.height[part],
            self.floor[part],
            self.noise[part],
        )


def draw_corruption(
    settings: CorruptionSettings, batch: int, landmarks: int, size: int, generator: torch.Generator
) -> Corruption:
    """Draw what to do with `batch` pictures' heatmaps of size×size (on the CPU; the draws depend on the generator alone)."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    groups = settings.groups
    there = uniform(batch, groups) < settings.group
    radius = uniform(batch, groups) * settings.group_radius * size
    return Corruption(
        middle=torch.randint(landmarks, (batch, groups), generator=generator),
        radius=torch.where(there, radius, torch.full_like(radius, -1.0)),
        of_groups=_draw_failures(settings, there, size, generator),
        of_landmarks=_draw_failures(settings, uniform(batch, landmarks) < settings.single, size, generator),
        own=normal(batch, landmarks, 2) * OWN_SHARE * settings.displacement * size,
        height=torch.exp(normal(batch).clamp(-2.5, 2.5) * settings.height),
        floor=(uniform(batch) < settings.floor) * uniform(batch) * settings.floor_height,
        noise=uniform(batch, landmarks, GRID, GRID),
    )


def _draw_failures(
    settings: CorruptionSettings, there: Bool[Tensor, "b k"], size: int, generator: torch.Generator
) -> Failures:
    """A kind of failure for each place where there is to be one, and what it needs."""
    b, k = there.shape
    weights = torch.tensor(settings.kinds)
    kind = torch.multinomial(weights, max(b * k, 1), replacement=True, generator=generator)[: b * k].view(b, k)
    dropped, blurred, displaced, doubled = (there & (kind == index) for index in range(len(settings.kinds)))
    uniforms = torch.rand(3, b, k, generator=generator)
    shifts = torch.randn(2, b, k, 2, generator=generator) * size
    low, high = 0.1 * uniforms[0], 0.3 + 0.7 * uniforms[0]
    return Failures(
        height=torch.where(dropped, low, torch.where(displaced | doubled, high, torch.ones(b, k))),
        blur=torch.where(blurred, (uniforms[1] * settings.blur_sigma * size).clamp(min=SHARPEST), torch.zeros(b, k)),
        shift=displaced[..., None] * shifts[0] * settings.displacement,
        second=doubled * (0.3 + 0.7 * uniforms[2]),
        second_shift=doubled[..., None] * shifts[1] * settings.second_distance,
    )


def apply_corruption(heatmaps: Float[Tensor, "b n h h"], corruption: Corruption) -> Float[Tensor, "b n h h"]:
    """Corrupted copies of the heatmaps, on their device."""
    device = heatmaps.device
    failures = Failures(*(value.to(device) for value in _failure_of_each(heatmaps, corruption)))
    height = failures.height * corruption.height.to(device)[:, None]
    result = heatmaps * height[..., None, None]
    moved = (failures.blur > 0) | (failures.shift != 0).any(-1)
    if bool(moved.any()):
        changed = _move(heatmaps[moved], failures.shift[moved], failures.blur[moved])
        result[moved] = changed * height[moved][:, None, None]
    doubled = failures.second > 0
    if bool(doubled.any()):
        second = _move(heatmaps[doubled], failures.second_shift[doubled], torch.zeros_like(failures.blur[doubled]))
        result[doubled] += second * failures.second[doubled][:, None, None]
    return _add_floor(result, corruption.floor.to(device), corruption.noise.to(device))


def group_members(heatmaps: Float[Tensor, "b n h h"], corruption: Corruption) -> Bool[Tensor, "b g n"]:
    """Which landmarks' peaks lie in which group; on the CPU."""
    side = heatmaps.shape[-1]
    flat = heatmaps.flatten(2).argmax(dim=-1).cpu()
    peaks = torch.stack([flat % side, flat // side], dim=-1).float()
    middle = peaks.gather(1, corruption.middle[..., None].expand(-1, -1, 2))
    apart = (peaks[:, None] - middle[:, :, None]).norm(dim=-1)
    return apart <= corruption.radius[..., None]


def _failure_of_each(heatmaps: Float[Tensor, "b n h h"], corruption: Corruption) -> Failures:
    """Each landmark's failure: its last group's, else its own. On the CPU, where the draws are."""
    result = corruption.of_landmarks
    members = group_members(heatmaps, corruption)
    for index in range(members.shape[1]):
        inside = members[:, index]
        group = [value[:, index : index + 1] for value in corruption.of_groups]
        group[2] = group[2] + corruption.own * (group[2] != 0)
        result = Failures(
            *(
                torch.where(inside.view(*inside.shape, *[1] * (old.ndim - 2)), new, old)
                for old, new in zip(result, group, strict=True)
            )
        )
    return result


def _move(
    maps: Float[Tensor, "m h h"], shift: Float[Tensor, "m 2"], blur: Float[Tensor, " m"]
) -> Float[Tensor, "m h h"]:
    """Maps displaced by `shift` (x, y) and blurred, zeros beyond the border: a matrix product along each axis."""
    columns, rows = (_along_axis(shift[:, axis], blur, maps) for axis in (0, 1))
    return torch.bmm(torch.bmm(rows, maps), columns.transpose(1, 2))


def _along_axis(shift: Float[Tensor, " m"], blur: Float[Tensor, " m"], maps: Tensor) -> Float[Tensor, "m h h"]:
    """Matrices that take a line of pixels to the displaced one: linear interpolation, or a Gaussian where there is blur."""
    steps = torch.arange(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    distance = steps[:, None] - steps - shift.to(maps.dtype)[:, None, None]
    width = blur.to(maps.dtype)[:, None, None].clamp(min=SHARPEST)
    gaussian = torch.exp(-(distance**2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi))
    return torch.where(blur[:, None, None] > 0, gaussian, (1 - distance.abs()).clamp(min=0))


def _add_floor(
    heatmaps: Float[Tensor, "b n h h"], floor: Float[Tensor, " b"], noise: Float[Tensor, "b n c c"]
) -> Float[Tensor, "b n h h"]:
    """Smooth noise under the heatmaps of those pictures that have some."""
    chosen = floor > 0
    if bool(chosen.any()):
        size = heatmaps.shape[-1]
        smooth = F.interpolate(noise[chosen].to(heatmaps.dtype), (size, size), mode="bilinear", align_corners=False)
        heatmaps[chosen] += smooth * floor[chosen][:, None, None, None].to(heatmaps.dtype)
    return heatmaps
