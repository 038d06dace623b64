"""SSGAN's discriminator: residual blocks with spectral normalization, for the whole image or for patches.

Source: Chen et al. 2019 (arXiv:1811.11212), appendix, after Miyato et al. 2018 (arXiv:1802.05957), table 4 (32x32):
four blocks of 128 features, of which the first two halve the size by mean pooling, then ReLU, the sum over the image
and a linear layer. Ours differs, unless told otherwise, in the head: `patches` judges every place of the last features
by itself, as SimGAN's does, so that the refiner is told where it went wrong; and in the mean instead of the sum over
the image, so that a score does not grow with its size.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from refinery.errors import TrainingError
from refinery.networks._discriminator import Discriminator

HALVINGS = 2
LOWEST_SIDE_PX = 8


class ResidualBlock(nn.Module):
    """conv(relu(conv(relu(x)))) + shortcut(x), both halved in size by mean pooling where `halve`.

    first: of the first block, which sees the image itself: no ReLU before it, and the shortcut pools, then convolves.
    """

    def __init__(self, width_in: int, width: int, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.is_first = halve, first
        self.first = nn.Conv2d(width_in, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(width_in, width, 1) if first or halve else None

    def forward(self, features: Tensor) -> Tensor:
        """(B, width_in, H, W) to (B, width, H, W), or half as high and wide."""
        inner = features if self.is_first else functional.relu(features)
        inner = self.second(functional.relu(self.first(inner)))
        if not self.halve:
            whole: Tensor = inner + (features if self.shortcut is None else self.shortcut(features))
            return whole
        # A 1x1 convolution and mean pooling commute; pooled first it costs a quarter.
        pooled = functional.avg_pool2d(features, 2)
        return functional.avg_pool2d(inner, 2) + (pooled if self.shortcut is None else self.shortcut(pooled))


class ResnetDiscriminator(Discriminator):
    """(B, C, H, W) in [-1, 1] to logits (B, 2, h, w), class 0 real, class 1 refined; h = w = 1 with head `global`.

    width: features of every block; the published network has 128. blocks: of which the first two halve the size.
    """

    smallest_side_px = LOWEST_SIDE_PX

    def __init__(
        self,
        channels: int,
        width: int = 64,
        blocks: int = 4,
        head: Literal["patches", "global"] = "patches",
        rotation: bool = False,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.head = head
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(width if i else channels, width, halve=i < HALVINGS, first=i == 0)
                for i in range(max(1, blocks))
            )
        )
        self.last = nn.Conv2d(width, 2, 1)
        self.finish(width, rotation, spectral_norm)

    def features(self, images: Tensor) -> Tensor:
        """After the last block: (B, width, H/4, W/4). Raises TrainingError for images of less than 8 px."""
        height, width = images.shape[2:]
        if min(height, width) < self.smallest_side_px:
            raise TrainingError(
                f"resnet_discriminator needs images of {self.smallest_side_px} px and more, but the training crops are "
                f'{width}x{height} px; set discriminator = "patch_discriminator" with discriminator_variant = "small"'
            )
        return torch.relu(self.blocks(images))

    def patches(self, features: Tensor) -> Tensor:
        """The logits of every patch, or of the image."""
        seen = features if self.head == "patches" else features.mean((2, 3), keepdim=True)
        logits: Tensor = self.last(seen)
        return logits


def build(
    channels: int,
    width: int = 64,
    blocks: int = 4,
    head: Literal["patches", "global"] = "patches",
    rotation: bool = False,
    spectral_norm: bool = False,
    **_others: object,
) -> ResnetDiscriminator:
    """The discriminator for images of `channels` channels; settings of other discriminators are passed over."""
    return ResnetDiscriminator(channels, width, blocks, head, rotation, spectral_norm)
