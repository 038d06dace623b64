"""The adversarial loss over a grid of patches with one logit each, of a discriminator that sees input and output."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REAL, REFINED = 1, 0


def conditional_adversarial(logits: Tensor, target: int) -> Tensor:
    """Mean binary cross-entropy of every patch's logit against one target for all of them.

    logits: (B, 1, h, w) float, of a pair (synthetic, other) being real. target: REAL or REFINED. Returns a scalar.
    The refiner minimises it with target REAL, -log D(x, R(x)): the non-saturating form.
    Source: Isola et al. 2017, eq. 1 and section 3.3; D's loss is halved by who trains it.
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits.float(), float(target)))
