"""What refiners that keep the image's size have in common: a latent, a tone, and how their output meets the image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from refinery.networks._tone import Tone

Head = Literal["residual", "tanh"]


class Refiner(nn.Module, ABC):
    """(B, C, H, W) in [-1, 1] to the same shape and range.

    head: `residual` returns x + f(x), clamped to the range when not training; `tanh` returns tanh(f(x)), as published.
    latent: how many numbers of each image's z ~ N(0, 1) it takes beside the images, 0: none.
    tone: whether they also light the image, if there are any, see `networks/_tone`; what the network refines, and
    adds to, is then the toned image.
    """

    size_multiple = 1
    min_side_px = 8
    cell_px = 1

    def __init__(self, channels: int, head: Head, latent: int, tone: bool) -> None:
        super().__init__()
        self.tone = Tone(channels, latent) if tone and latent else None
        self.head, self.latent = head, latent

    @abstractmethod
    def change(self, toned: Tensor, latent: Tensor | None) -> Tensor:
        """f: (B, C, H, W) to the same shape; latent: (B, latent), None where the network takes none."""

    def forward(self, synthetic: Tensor, latent: Tensor | None = None) -> Tensor:
        """The refined images. latent: (B, latent); left out it is zero, the look in the middle."""
        if self.latent and latent is None:
            latent = synthetic.new_zeros(synthetic.shape[0], self.latent)
        toned = self.toned(synthetic, latent)
        change = self.change(toned, latent)
        if self.head == "tanh":
            return torch.tanh(change)
        refined: Tensor = toned + change
        return refined if self.training else refined.clamp(-1.0, 1.0)

    def toned(self, synthetic: Tensor, latent: Tensor | None) -> Tensor:
        """The images lit as the latent says, which the network then refines; the images themselves without `tone`."""
        if self.tone is None or latent is None:
            return synthetic
        lit: Tensor = self.tone(synthetic, latent)
        return lit

    def begin_as_identity(self, last: nn.Conv2d) -> None:
        """Let the last layer change nothing at first, where its output is added to the image."""
        if self.head == "residual":
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]


def with_channels(images: Tensor, latent: Tensor | None) -> Tensor:
    """Images (B, C, H, W) with their latents (B, L) beside them as constant channels: (B, C + L, H, W)."""
    if latent is None:
        return images
    planes = latent.to(images.dtype)[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images, planes], 1)


def padded(features: Tensor, margin: int, mode: Literal["reflect", "replicate"] = "reflect") -> Tensor:
    """Pad all sides in the tensor's own type: autocast would widen it to float32 and back, a tenth of a step."""
    if not margin:
        return features
    kind = features.device.type
    if not torch.is_autocast_enabled(kind):
        return functional.pad(features, (margin,) * 4, mode=mode)
    with torch.autocast(kind, enabled=False):
        return functional.pad(features, (margin,) * 4, mode=mode)
