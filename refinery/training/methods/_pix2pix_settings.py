"""Settings of pix2pix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from refinery.config import require_at_least
from refinery.errors import ConfigError
from refinery.networks.patchgan import PATCHES, smallest_side_px
from refinery.networks.unet import levels_for

PATCH_70_FROM_PX = 64
"""Shorter side of the crops from which the discriminator judges patches of 70 px; below, of 16 px."""


@dataclass(frozen=True)
class Settings:
    """pix2pix's settings; both losses are means, so they do not depend on the image's size."""

    steps: int = 4000
    """Steps, one batch each."""
    lambda_l1: float = 100.0
    """Weight of the mean L1 distance to the real partner."""
    adversarial: float = 1.0
    """Weight of the adversarial loss; 0: L1 alone, without a discriminator."""
    refiner_lr: float = 2e-4
    """Learning rate of the refiner."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.5
    """Adam's weight of past gradients."""
    beta2: float = 0.999
    """Adam's weight of past squared gradients."""
    decay: float = 0.5
    """Share of the steps, at the end, over which both learning rates fall to zero."""
    decay_shape: Literal["linear", "cosine"] = "linear"
    """How they fall."""
    clip: float = 0.0
    """Largest norm of each network's gradient, longer ones are shortened to it; 0: none is."""
    ema: float = 0.0
    """Weight of the past in the running mean of the refiner's weights that is evaluated and exported; 0: no mean."""
    refiner: str = "unet"
    """Network of the refiner."""
    width: int = 64
    """Features of the refiner's first layer; the deepest have eight times as many."""
    levels: int = 0
    """How often the refiner halves the image, 2 to 8; 0: as often as the crops allow."""
    skips: bool = True
    """U-Net; false: the same encoder and decoder without connections between them."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Norm in both networks."""
    statistics: Literal["running", "image"] = "running"
    """What batch norm uses when refining: statistics of the training, or each image's own, as published."""
    dropout: float = 0.5
    """Share of the features that three layers of the refiner drop in training."""
    refine_noise: bool = False
    """Drop them when refining too, so that one image has several looks; each sample's stays the same."""
    discriminator: str = "patchgan"
    """Network of the discriminator."""
    discriminator_width: int = 64
    """Features of its first layer."""
    patch_px: Literal[0, 1, 16, 70, 286] = 0
    """Side of the patches that it judges; 0: 70, or 16 for crops below 64 px."""
    jitter: float = 1.0
    """Enlarge both images of a pair by this and cut them back; published: 286/256, which softens grain; 1: not."""
    mirror: bool = False
    """Mirror half of the pairs; refused where labels may mean something else in a mirror."""

    def __post_init__(self) -> None:
        zeros = ("lambda_l1", "adversarial", "decay", "clip", "ema", "dropout", "levels", "beta1", "beta2")
        require_at_least(self, steps=1, width=1, discriminator_width=1, jitter=1, **dict.fromkeys(zeros, 0))
        for name, usual in (("ema", 0.995), ("dropout", 0.5), ("beta1", 0.5), ("beta2", 0.999)):
            if getattr(self, name) >= 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected 0 or more, below 1, such as {usual}")
        if self.levels == 1 or self.levels > 8:
            raise ConfigError(f"levels: got {self.levels}, expected 2 to 8, or 0 for what the crops allow")
        if not (self.lambda_l1 or self.adversarial):
            raise ConfigError("lambda_l1, adversarial: both are 0, so there is nothing to learn; set one of them")
        if self.refine_noise and not self.dropout:
            raise ConfigError("refine_noise: the noise is dropout's, and dropout is 0; set dropout = 0.5")


def scale(settings: Settings, crop_hw: tuple[int, int]) -> Settings:
    """The settings with everything that was left to the size of the training crops (px) decided.

    Raises ConfigError for crops that are too small for the patches that the discriminator judges.
    """
    side = min(crop_hw)
    patch_px: Literal[16, 70] = 70 if side >= PATCH_70_FROM_PX else 16
    scaled = replace(settings, levels=settings.levels or levels_for(side), patch_px=settings.patch_px or patch_px)
    if settings.adversarial:
        _require_room(scaled.patch_px, crop_hw)
    return scaled


def _require_room(patch_px: int, crop_hw: tuple[int, int]) -> None:
    """Raises ConfigError for crops that leave no patch of this side."""
    least, side = smallest_side_px(patch_px), min(crop_hw)
    if side < least:
        fitting = max(patch for patch in PATCHES if smallest_side_px(patch) <= side)
        raise ConfigError(
            f"patch_px: got {patch_px}, but the crops are {crop_hw[1]}x{crop_hw[0]} px, expected {least} px or more on "
            f"each side; set patch_px = {fitting}, or crop = {least} where the images are that large"
        )
