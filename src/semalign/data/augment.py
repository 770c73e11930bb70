"""Augmentation of a batch of crops on the device: geometry in one warp, then light, focus and things in the way.

Everything random is drawn for the whole batch of all processes from one generator, and each process takes its rows: several
processes then see exactly the pictures that one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from semalign.core.affine import compose, transform_points
from semalign.core.warp import sent, warp

WAVES = 3  # of a bend
WAVE_NUMBER = 0.7  # standard deviation of a wave's cycles an input side, along x and along y


@dataclass(frozen=True)
class AugmentationSettings:
    """How far training pictures are changed; 0 switches a part off."""

    rotation: float = 15.0  # degrees, standard deviation
    scale: float = 0.10  # standard deviation of the logarithm of the box's scale
    shift: float = 0.03  # standard deviation, in sides of the input square
    stretch: float = 0.0  # standard deviation of the logarithm of the ratio between two directions at right angles
    bend: float = 0.0  # standard deviation of a smooth displacement, in sides of the input square
    flip: float = 0.5  # probability of a mirror image
    brightness: float = 0.15  # standard deviation of an offset, 1 = white
    contrast: float = 0.20  # standard deviation of the logarithm of a factor
    colour: float = 0.10  # standard deviation of the logarithm of each channel's own factor
    grey: float = 0.05  # probability of a grey picture
    blur: float = 0.15  # probability of a blurred picture
    blur_sigma: float = 1.5  # largest blur, pixels of the input
    occlusion: float = 0.35  # probability of something in front of the face
    occlusion_size: float = 0.35  # largest side of it, in sides of the input square

    def weakened(self, share: float) -> AugmentationSettings:
        """`share` of what changes the picture but not where the face lies: deviations of light, probabilities of the rest."""
        parts = ("brightness", "contrast", "colour", "grey", "blur", "occlusion")
        return replace(self, **{part: share * getattr(self, part) for part in parts})


class Augmentation(NamedTuple):
    """What is done to each picture of a batch."""

    crop_to_input: Float[Tensor, "b 2 3"]  # float64
    bend: Float[Tensor, "b w 5"]  # waves, float64: most added to x and y, cycles a pixel along x and y, phase
    flipped: Bool[Tensor, " b"]
    gain: Float[Tensor, "b 3"]
    offset: Float[Tensor, " b"]
    grey: Bool[Tensor, " b"]
    blur: Float[Tensor, " b"]  # sigma, 0 = sharp
    occluder: Float[Tensor, "b 4"]  # x0, y0, x1, y1 in pixels of the input, empty = none
    occluder_colour: Float[Tensor, "b 3"]

    def rows(self, start: int, stop: int) -> Augmentation:
        """The part for some of the pictures."""
        return Augmentation(*(value[start:stop] for value in self))


def draw_augmentation(
    settings: AugmentationSettings,
    batch: int,
    crop_size: int,
    input_size: int,
    generator: torch.Generator,
) -> Augmentation:
    """Draw what to do with `batch` pictures (on the CPU; the draws depend on the generator alone)."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def chance(probability: float) -> Tensor:
        return torch.rand(batch, generator=generator) < probability

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    angle = normal(batch).clamp(-2.5, 2.5) * math.radians(settings.rotation)
    zoom = torch.exp(normal(batch).clamp(-2.5, 2.5) * settings.scale)
    shift = normal(batch, 2).clamp(-2.5, 2.5) * settings.shift * input_size
    flipped = chance(settings.flip)
    maps = _turn(angle, zoom, shift, crop_size, input_size)
    mirror = torch.tensor([[-1.0, 0.0, input_size - 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64).expand(batch, 2, 3)
    maps = torch.where(flipped[:, None, None], compose(mirror, maps), maps)

    gain = torch.exp(normal(batch, 1) * settings.contrast + normal(batch, 3) * settings.colour).float()
    offset = (normal(batch) * settings.brightness).float()
    grey = chance(settings.grey)
    blur = torch.where(chance(settings.blur), 0.3 + uniform(batch) * settings.blur_sigma, torch.zeros(batch))
    side = (0.25 + 0.75 * uniform(batch, 2)) * settings.occlusion_size * input_size
    corner = uniform(batch, 2) * (input_size - side)
    shown = chance(settings.occlusion)[:, None]
    occluder = torch.where(shown, torch.cat([corner, corner + side], 1), torch.zeros(batch, 4))
    colour = uniform(batch, 3)
    if settings.stretch:
        direction, ratio = math.pi * uniform(batch).double(), normal(batch).clamp(-2.5, 2.5) * settings.stretch
        maps = compose(_stretch(direction, ratio, input_size), maps)
    bend = torch.empty(batch, 0, 5, dtype=torch.float64)
    if settings.bend:
        height = normal(batch, WAVES, 2).clamp(-2.5, 2.5) * settings.bend * input_size * math.sqrt(2 / WAVES)
        cycles = normal(batch, WAVES, 2).clamp(-2.5, 2.5) * WAVE_NUMBER / input_size
        bend = torch.cat([height, cycles, 2 * math.pi * uniform(batch, WAVES, 1).double()], dim=2)
    return Augmentation(maps, bend, flipped, gain, offset, grey, blur, occluder, colour)


def _turn(angle: Tensor, zoom: Tensor, shift: Tensor, crop_size: int, input_size: int) -> Float[Tensor, "b 2 3"]:
    """crop_to_input of a turn and a zoom about the crop's middle, followed by a shift."""
    linear = _similarity(zoom * torch.cos(angle), zoom * torch.sin(angle))
    middle = torch.full((len(angle), 2, 1), (crop_size - 1) / 2, dtype=angle.dtype)
    offset = (input_size - 1) / 2 + shift[..., None] - linear @ middle
    return torch.cat([linear, offset], dim=2)


def _stretch(direction: Tensor, ratio: Tensor, input_size: int) -> Float[Tensor, "b 2 3"]:
    """Longer by half the ratio's exponential along a direction, shorter by as much across it, about the input's middle."""
    turn = _similarity(torch.cos(direction), torch.sin(direction))
    linear = turn @ torch.diag_embed(torch.exp(torch.stack([ratio, -ratio], -1) / 2)) @ turn.mT
    middle = torch.full((len(ratio), 2, 1), (input_size - 1) / 2, dtype=ratio.dtype)
    return torch.cat([linear, middle - linear @ middle], dim=2)


def _similarity(cosine: Tensor, sine: Tensor) -> Float[Tensor, "b 2 2"]:
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], dim=1)


def moved_pictures(
    pictures: Float[Tensor, "b c hs ws"], augmentation: Augmentation, size: int
) -> Float[Tensor, "b c {size} {size}"]:
    """The geometry alone: pictures (or heatmaps) of the crop frames in a size×size input."""
    to_input = augmentation.crop_to_input
    if not augmentation.bend.shape[1]:
        return warp(pictures, to_input, size)
    steps = torch.arange(size, dtype=torch.float32, device=pictures.device)
    pixels = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).view(1, -1, 2)
    displacement = _displacement(pixels.expand(len(pictures), -1, -1), augmentation.bend)
    return warp(pictures, to_input, size, displacement.view(-1, size, size, 2))


def augmented_points(
    points: Float[Tensor, "b n 2"], augmentation: Augmentation, flip_index: Tensor
) -> Float[Tensor, "b n 2"]:
    """Where points of the crop frames lie in the network's input (float64), left and right exchanged in mirrored pictures."""
    straight = transform_points(points, augmentation.crop_to_input)
    bent = straight
    if augmentation.bend.shape[1]:
        for _ in range(8):  # the picture at q shows what was at q + displacement(q), so q is a fixed point
            bent = straight - _displacement(bent, augmentation.bend)
    return torch.where(augmentation.flipped[:, None, None], bent[:, flip_index], bent)


def _displacement(points: Float[Tensor, "b n 2"], bend: Float[Tensor, "b w 5"]) -> Float[Tensor, "b n 2"]:
    """What the waves add to each point, pixels of the input."""
    height, cycles, phase = bend.to(points).split([2, 2, 1], dim=2)
    return torch.cos(2 * math.pi * points @ cycles.mT + phase.mT) @ height


def apply_augmentation(
    crops: Float[Tensor, "b 3 s s"], augmentation: Augmentation, input_size: int
) -> Float[Tensor, "b 3 {input_size} {input_size}"]:
    """The network's input: crops in [0, 1] warped and changed; values stay in [0, 1]."""
    device = crops.device
    images = moved_pictures(crops, augmentation, input_size)
    images = _blur(images, augmentation.blur)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    light = (augmentation.gain, augmentation.offset, augmentation.grey)
    gain, offset, grey, occluder, colour = (
        sent(value, device) for value in (*light, augmentation.occluder, augmentation.occluder_colour)
    )
    images = (images - mean) * gain[:, :, None, None] + mean + offset[:, None, None, None]
    luma = images.mean(dim=1, keepdim=True)
    images = torch.where(grey[:, None, None, None], luma, images)
    return _occlude(images, occluder, colour).clamp_(0.0, 1.0)


def _blur(images: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
    """Those of the pictures whose σ, on the CPU, is above 0; which they are is known without waiting for a device."""
    chosen = (sigma > 0).nonzero().flatten()
    if not len(chosen):
        return images
    radius = 4
    steps = torch.arange(-radius, radius + 1, dtype=images.dtype)
    kernel = sent(torch.exp(-(steps**2) / (2 * sigma[chosen, None] ** 2)), images.device)
    chosen = sent(chosen, images.device)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    part = images[chosen].reshape(1, -1, *images.shape[2:])
    groups = part.shape[1]
    part = F.conv2d(F.pad(part, (radius, radius, 0, 0), mode="replicate"), kernel[:, None, None, :], groups=groups)
    part = F.conv2d(F.pad(part, (0, 0, radius, radius), mode="replicate"), kernel[:, None, :, None], groups=groups)
    result = images.clone()
    result[chosen] = part.view(len(chosen), 3, *images.shape[2:])
    return result


def _occlude(
    images: Float[Tensor, "b 3 h w"], box: Float[Tensor, "b 4"], colour: Float[Tensor, "b 3"]
) -> Float[Tensor, "b 3 h w"]:
    """Rectangles of one colour, or (where its first channel is below a half) of the picture itself upside down."""
    steps = torch.arange(images.shape[-1], device=images.device, dtype=images.dtype)
    across = (steps >= box[:, :1]) & (steps < box[:, 2:3])
    down = (steps >= box[:, 1:2]) & (steps < box[:, 3:])
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    flat = colour[:, :, None, None].expand_as(images)
    front = torch.where((colour[:, :1] < 0.5)[:, :, None, None], images.flip(2), flat)
    return torch.where(inside, front, images)
