"""The hinge form of the adversarial loss over the discriminator's grid of patches."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from refinery.losses._classes import REAL


def hinge(logits: Tensor, target: int) -> Tensor:
    """What the discriminator minimises: mean of max(0, 1 - s) for real patches and of max(0, 1 + s) for refined ones.

    logits: (B, 2, h, w) float, class 0 real, class 1 refined; the score is s = logit of real - logit of refined.
    target: REAL or REFINED, of all of them. Returns a scalar.
    Source: Lim & Ye 2017 (arXiv:1705.02894), eq. 13; used by Chen et al. 2019 (SSGAN) for V.
    """
    scores = score(logits)
    return functional.relu(1 - scores if target == REAL else 1 + scores).mean()


def hinge_refiner(logits: Tensor) -> Tensor:
    """What the refiner minimises against it: the mean of -s over its images' patches; it may be negative.

    logits: as of `hinge`. Returns a scalar. Source: Lim & Ye 2017, eq. 14.
    """
    return -score(logits).mean()


def score(logits: Tensor) -> Tensor:
    """How real each patch looks: (B, 2, h, w) to (B, h, w)."""
    return logits[:, 0].float() - logits[:, 1].float()
