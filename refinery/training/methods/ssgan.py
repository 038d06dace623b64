"""SSGAN: a self-supervised discriminator, which also tells how images were turned, so that it forgets less.

Source: Chen et al. 2019 (arXiv:1811.11212). As published are the rotation loss (alpha 0.2, beta 1), the hinge loss,
spectral normalization, self-modulated batch norm, Adam with betas (0, 0.9) and two discriminator steps a refiner step;
`--preset paper` takes the rest of the paper's settings. The condition of the refiner is the synthetic image,
so the latent is small and only varies the look; psi = contrast_normalized leaves it free to, colours included. Turning
tells nothing where content looks the same upside down (coins, textures): `rotation_accuracy` in stats.jsonl then stays
near 0.25.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from refinery.training.methods._adversarial import create
from refinery.training.methods._adversarial_networks import build_refiner
from refinery.training.methods._adversarial_settings import AdversarialSettings, scale

__all__ = ["PAIRED", "Settings", "build_refiner", "create", "scale"]

PAIRED = False


@dataclass(frozen=True)
class Settings(AdversarialSettings):
    """SSGAN's settings where they are not SimGAN's."""

    feature_transform: str = "contrast_normalized"
    """psi: identity, gradient, channel_mean, contrast_normalized, low_pass or convolutional."""
    loss: Literal["cross_entropy", "hinge"] = "hinge"
    """Adversarial loss over the patches: cross_entropy as SimGAN's, hinge as SSGAN's."""
    rotation_alpha: float = 0.2
    """Reward of the refiner when the discriminator tells how its images were turned."""
    rotation_beta: float = 1.0
    """Weight of the discriminator's telling how real images were turned; 0 with alpha 0: no rotations."""
    latent: int = 4
    """Random numbers that the refiner takes beside each image, so that one has several looks; 0: none."""
    latent_as: Literal["channels", "modulation", "batch_modulation"] = "batch_modulation"
    """As constant channels, as scale and shift of the features, or as those after batch norm, as SSGAN (sBN)."""
    discriminator_steps: int = 2
    """K_d: discriminator updates a step."""
    beta1: float = 0.0
    """Adam's weight of past gradients."""
    beta2: float = 0.9
    """Adam's weight of past squared gradients."""
    spectral_norm: bool = True
    """Spectral normalization of every layer of the discriminator."""
