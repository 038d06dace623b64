"""SimGAN: adversarial refinement held back by self-regularization, with a history of refined images.

Source: Shrivastava et al. 2017 (arXiv:1612.07828), algorithm 1. The defaults are what trains well in minutes on two
cores; `examples/paper/eyes.toml` and `hands.toml` hold the paper's settings. SSGAN's rotations, hinge loss, spectral
normalization and latent can be switched on.
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
    """SimGAN's settings: adversarial refinement's own defaults."""
