"""Mean of the colour channels: holds lightness, leaves colour free (SimGAN, section 2.1)."""

from __future__ import annotations

from torch import Tensor, nn


class ChannelMean(nn.Module):
    """psi(x) = mean over channels, (B, 1, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """The gray image."""
        return images.mean(dim=1, keepdim=True)


def build(channels: int, seed: int) -> nn.Module:  # noqa: ARG001
    """psi of the channels' mean."""
    return ChannelMean()
