"""SimGAN: adversarial refinement held back by self-regularization, with a history of refined images.

Source: Shrivastava et al. 2017 (arXiv:1612.07828), algorithm 1. The defaults are what trains well in minutes on two
cores (docs/evidence/fast.md): a refiner of a twelfth of the paper's multiplications, which takes random numbers that
light the image as photos are lit, at rates that R1, `shading` and shifted patches keep stable. `--preset paper` takes
the paper's settings, for eyes or hands by size. SSGAN's rotations, hinge loss and spectral normalization can be
switched on.
"""

from __future__ import annotations

from dataclasses import dataclass

from refinery.training.methods._adversarial import create
from refinery.training.methods._adversarial_networks import build_refiner
from refinery.training.methods._adversarial_settings import AdversarialSettings, scale

__all__ = ["PAIRED", "Settings", "build_refiner", "create", "scale"]

PAIRED = False


@dataclass(frozen=True)
class Settings(AdversarialSettings):
    """SimGAN's settings where they are not adversarial refinement's own defaults."""

    refiner: str = "multiscale_refiner"
    """Network of the refiner: multiscale_refiner, or SimGAN's own resnet_refiner, which takes fifteen times as long."""
    refiner_lr: float = 5e-4
    """Learning rate of the refiner."""
    discriminator_lr: float = 5e-4
    """Learning rate of the discriminator."""
    gradient_penalty: float = 0.001
    """Weight of the discriminator's squared gradient on real images (R1), which keeps it flat near them; 0: off."""
    shading: float = 30.0
    """Weight of the change of shading, `losses/shading`: brightness and contrast stay as the tone made them; 0: off."""
    discriminator_shift: int = 8
    """Px by which what the discriminator sees is shifted at random, at most an eighth of each side: with strides it has
    a grid of its own, which a refiner learns to draw."""
    steps: int = 1200
    """Adversarial steps; pretraining comes on top."""
    latent: int = 4
    """Random numbers that the refiner takes beside each image, so that one has several looks; 0: none."""
    tone: bool = True
    """Whether the latent numbers, if any, light each image, spread as brightness and contrast of the photos are."""
    shift: float = 10.0
    """Weight of the squared shift of edges, px^2 (`losses/shift`), which leaves light and contrast free; 0: off."""
