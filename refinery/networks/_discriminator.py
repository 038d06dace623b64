"""What all discriminators have in common: features, logits of patches, and a head that tells rotations."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from refinery.errors import TrainingError
from refinery.networks._spectral import spectrally_normed

QUARTER_TURNS = 4


class RotationHead(nn.Module):
    """Features (B, F, h, w), averaged over the image, to 4 logits (B, 4): turned by 0, 90, 180 or 270 degrees.

    Source: Chen et al. 2019 (arXiv:1811.11212): a linear layer on the discriminator's last features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, QUARTER_TURNS)

    def forward(self, features: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.linear(features.mean((2, 3)))
        return logits


class Discriminator(nn.Module, ABC):
    """(B, C, H, W) in [-1, 1] to logits (B, 2, h, w): class 0 is real, class 1 refined.

    smallest_side_px: images may not be smaller. rotations: the head on the features, where it was asked for.
    """

    smallest_side_px: int

    def __init__(self) -> None:
        super().__init__()
        self.rotations: RotationHead | None = None

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What both heads see: (B, F, h, w). Raises TrainingError for images smaller than one patch."""

    @abstractmethod
    def patches(self, features: Tensor) -> Tensor:
        """The logits of every patch, from the features."""

    def forward(self, images: Tensor) -> Tensor:
        """The logits of every patch."""
        return self.patches(self.features(images))

    def finish(self, width: int, rotation: bool, spectral_norm: bool) -> None:
        """Add the head for rotations and the normalization, once all layers are there. width: of the features."""
        if rotation:
            self.rotations = RotationHead(width)
        if spectral_norm:
            spectrally_normed(self)

    def rotation_logits(self, features: Tensor) -> Tensor:
        """(B, 4). Raises TrainingError for a discriminator that has no such head."""
        if self.rotations is None:
            raise TrainingError("this discriminator tells no rotations: build it with rotation = true")
        logits: Tensor = self.rotations(features)
        return logits
