"""Responses of fixed random filters: holds local structure of every orientation (SimGAN's `a learned transform`).

Random filters carry structure nearly as well as trained ones at this depth and need no download.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolutional(nn.Module):
    """psi(x) = leaky_relu(x * F), F 16 random zero-mean 5x5 filters of unit L1 norm: (B, 16, H-4, W-4)."""

    def __init__(self, channels: int, seed: int, filters: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(filters, channels, 5, 5, generator=generator)
        weights -= weights.mean(dim=(1, 2, 3), keepdim=True)
        weights /= weights.abs().sum(dim=(1, 2, 3), keepdim=True)
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        """The filter responses."""
        weights = self.get_buffer("weights")
        return functional.leaky_relu(functional.conv2d(images, weights.to(images.dtype)), 0.2)


def build(channels: int, seed: int) -> nn.Module:
    """psi of random convolutions; the seed chooses the filters."""
    return Convolutional(channels, seed)
