"""Gray, mean removed, contrast normalised: holds shape, leaves brightness and contrast free."""

from __future__ import annotations

from torch import Tensor, nn


class ContrastNormalized(nn.Module):
    """psi(x) = (g - mean(g)) / (std(g) + 0.1), g the channels' mean, statistics over each image: (B, 1, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """The normalised gray image."""
        gray = images.float().mean(dim=1, keepdim=True)
        centred = gray - gray.mean(dim=(2, 3), keepdim=True)
        spread = (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-8).sqrt()
        return centred / (spread + 0.1)


def build(channels: int, seed: int) -> nn.Module:  # noqa: ARG001
    """psi of the contrast-normalised gray image."""
    return ContrastNormalized()
