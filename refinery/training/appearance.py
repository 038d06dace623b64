"""Random changes of how an image looks, in which nothing moves: what a probe must not care about.

Every change is differentiable in the image, so that a loss may look through it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Another random look for each image: tone, cast, shading, texture, regions, blur, noise, in this order.

    images: (B, C, H, W) in [-1, 1], float32; returns the same. strength: 1 is what a refiner may well do and more;
    0 changes nothing. generator: lives on the CPU; two calls from equal states change two batches alike.
    """
    draw = _Draw(images, generator, strength)
    unit = (images + 1) / 2
    unit = _tone(unit, draw)
    unit = _shade(unit, draw)
    unit = _regions(unit, draw)
    unit = _blur(unit, draw)
    unit = unit + draw.normal(images.shape[1:]) * draw.uniform(0.0, 0.08)
    return unit.clamp(0, 1) * 2 - 1


class _Draw:
    """Random numbers for a batch, one row an image."""

    def __init__(self, images: Tensor, generator: torch.Generator, strength: float) -> None:
        self.count, self.channels = images.shape[:2]
        self.size_hw = (images.shape[2], images.shape[3])
        self.device, self.generator, self.strength = images.device, generator, strength

    def uniform(self, low: float, high: float, channels: int = 1) -> Tensor:
        """(B, channels, 1, 1), between `low` and `high` times the strength."""
        values = torch.rand(self.count, channels, 1, 1, generator=self.generator).to(self.device)
        return (low + (high - low) * values) * self.strength

    def normal(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator).to(self.device)

    def chance(self, share: float) -> Tensor:
        """(B, 1, 1, 1), 1 for this share of the images and 0 for the others."""
        return (torch.rand(self.count, 1, 1, 1, generator=self.generator) < share).float().to(self.device)

    def smooth(self, cell_px: float, channels: int = 1) -> Tensor:
        """Random field of unit variance at its nodes, `cell_px` apart: (B, channels, H, W)."""
        grid = [max(2, round(side / cell_px) + 1) for side in self.size_hw]
        coarse = self.normal((channels, *grid))
        return functional.interpolate(coarse, self.size_hw, mode="bilinear", align_corners=True)


def _tone(unit: Tensor, draw: _Draw) -> Tensor:
    """Gamma, then contrast and brightness about the image's mean, then a cast."""
    unit = unit.clamp(1e-3, 1) ** torch.exp(draw.uniform(-0.9, 0.9))
    middle = unit.mean((1, 2, 3), keepdim=True)
    unit = (unit - middle) * torch.exp(draw.uniform(-0.8, 0.5)) + middle + draw.uniform(-0.25, 0.25)
    if draw.channels > 1:
        unit = unit * torch.exp(draw.uniform(-0.25, 0.25, draw.channels)) + draw.uniform(-0.08, 0.08, draw.channels)
    return unit


def _shade(unit: Tensor, draw: _Draw) -> Tensor:
    """Light that varies over the image, and textures of three sizes of grain laid over it."""
    side = max(draw.size_hw)
    unit = unit * torch.exp(draw.smooth(side / 2) * draw.uniform(0.0, 0.35)) + draw.smooth(side / 4) * draw.uniform(
        0, 0.12
    )
    for cell_px in (6.0, 3.0):
        unit = unit + draw.smooth(cell_px) * draw.uniform(-0.08, 0.08).clamp(min=0)
    return unit


def _regions(unit: Tensor, draw: _Draw) -> Tensor:
    """In a random region of some images another tone: darker, lighter, or inverted."""
    inside = torch.sigmoid(8 * (draw.smooth(max(draw.size_hw) / 3) - 0.3))
    lifted = unit + inside * draw.uniform(-0.3, 0.3) * draw.chance(0.5)
    inverted = draw.chance(0.1 * min(draw.strength, 1.0))
    return torch.lerp(lifted, 1 - lifted, inside * inverted)


def _blur(unit: Tensor, draw: _Draw) -> Tensor:
    """Up to three passes of a 3 x 3 mean (together 1.4 px of standard deviation), a random part of the way."""
    way = draw.uniform(0.0, 1.0) ** 2 * 3
    for step in range(3):
        blurred = functional.avg_pool2d(functional.pad(unit, (1, 1, 1, 1), mode="replicate"), 3, 1)
        unit = torch.lerp(unit, blurred, (way - step).clamp(0, 1))
    return unit
