"""A blurred image: holds the coarse layout, leaves fine texture free."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowPass(nn.Module):
    """psi(x) = x * Gaussian of sigma px, per channel, without padding: (B, C, H-2r, W-2r), r = ceil(2 sigma)."""

    def __init__(self, channels: int, sigma_px: float = 1.5) -> None:
        super().__init__()
        radius = int(-(-2 * sigma_px // 1))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
        line = torch.exp(-(offsets**2) / (2 * sigma_px**2))
        line = line / line.sum()
        self.register_buffer("kernel", torch.outer(line, line).expand(channels, 1, -1, -1).clone())

    def forward(self, images: Tensor) -> Tensor:
        """The blurred image."""
        kernel = self.get_buffer("kernel")
        return functional.conv2d(images, kernel.to(images.dtype), groups=images.shape[1])


def build(channels: int, seed: int) -> nn.Module:  # noqa: ARG001
    """psi of the blurred image, sigma 1.5 px."""
    return LowPass(channels)
