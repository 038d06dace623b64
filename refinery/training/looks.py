"""Small random changes of how images look, before a discriminator sees them, so that it cannot learn them by heart."""

from __future__ import annotations

import torch
from torch import Tensor

GAIN, BRIGHTNESS, CONTRAST = 0.25, 0.5, 0.5
"""Largest changes at strength 1; of the last two as the paper has them."""


def jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Another gain, contrast and brightness for each image x; nothing moves, so labels stay true.

    y = c (g x' - mean(g x')) + mean(g x') + b, with x' = x + 1 (black is 0), then y - 1;
    g = 1 + strength U(-0.25, 0.25) for each channel, c = 1 + strength U(-0.5, 0.5), b = strength U(-0.5, 0.5).

    images: (B, C, H, W) float, in [-1, 1] or as refined; returns the same type and memory order, not clipped, so that
    the gradient reaches the refiner everywhere. strength: 0 gives the images themselves. generator: lives on the CPU.
    For real and refined images alike, in the discriminator's step and in the refiner's: otherwise the refiner learns to
    imitate the changes. Source: DiffAugment (Zhao et al. 2020, arXiv:2006.10738), without what moves or hides pixels;
    the gain of each channel stands for its saturation, which gray images do not have.
    """
    if not strength:
        return images
    count, channels = images.shape[:2]
    drawn = torch.rand(count, channels + 2, 1, 1, generator=generator).to(images) * 2 - 1
    gain, contrast, brightness = drawn[:, 2:], drawn[:, :1], drawn[:, 1:2]
    light = (images + 1) * (1 + strength * GAIN * gain)
    middle = light.mean((1, 2, 3), keepdim=True)
    around: Tensor = (light - middle) * (1 + strength * CONTRAST * contrast)
    return around + middle + strength * BRIGHTNESS * brightness - 1
