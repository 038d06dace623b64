"""The adversarial loss over the discriminator's grid of patches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from refinery.losses._classes import REAL, REFINED

__all__ = ["REAL", "REFINED", "local_adversarial"]


def local_adversarial(logits: Tensor, target: int) -> Tensor:
    """Mean cross-entropy of every patch's two logits against one class for all of them.

    logits: (B, 2, h, w) float, class 0 real, class 1 refined. target: REAL or REFINED. Returns a scalar.
    The refiner minimises it with target REAL: -log(1 - D(R(x))), D the probability of *refined*.
    Source: Shrivastava et al. 2017, eq. 1, 2 and section 2.2 (they sum over patches and images; we take the mean, so
    that lambda does not depend on the image's size).
    """
    batch, _, height, width = logits.shape
    return functional.cross_entropy(logits.float(), torch.full((batch, height, width), target, device=logits.device))
