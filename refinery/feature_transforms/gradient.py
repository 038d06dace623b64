"""Image derivatives: holds edges and shading changes, leaves brightness free (SimGAN, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gradient(nn.Module):
    """psi(x) = (x[.., 1:] - x[.., :-1], x[1:, ..] - x[:-1, ..]), both cropped to (B, 2C, H-1, W-1)."""

    def forward(self, images: Tensor) -> Tensor:
        """Forward differences in x, then in y."""
        corner = images[..., :-1, :-1]
        return torch.cat([images[..., :-1, 1:] - corner, images[..., 1:, :-1] - corner], dim=1)


def build(channels: int, seed: int) -> nn.Module:  # noqa: ARG001
    """psi of the image's forward differences."""
    return Gradient()
