"""SimGAN: adversarial refinement held back by self-regularization, with a history of refined images.

Source: Shrivastava et al. 2017 (arXiv:1612.07828), algorithm 1. The defaults are what trains well in minutes on two
cores, and what makes the best students (docs/evidence/downstream.md): the refiner takes random numbers that light
the image as photos are lit. `--preset paper` takes the paper's settings, for eyes or hands by size. SSGAN's
rotations, hinge loss and spectral normalization can be switched on.
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

    steps: int = 1200
    """Adversarial steps; pretraining comes on top."""
    latent: int = 4
    """Random numbers that the refiner takes beside each image, so that one has several looks; 0: none."""
    tone: bool = True
    """Whether the latent numbers, if any, light each image, spread as brightness and contrast of the photos are."""
    shift: float = 10.0
    """Weight of the squared shift of edges, px^2 (`losses/shift`), which leaves light and contrast free; 0: off."""
