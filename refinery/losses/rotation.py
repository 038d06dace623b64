"""The loss that has a discriminator learn what does not change while it trains: how an image was turned."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def rotation(rotation_logits: Tensor, quarter_turns: Tensor) -> Tensor:
    """Mean cross-entropy -log Q(r | image) of telling by how many quarter turns images were rotated.

    rotation_logits: (N, 4) float. quarter_turns: (N,) int64, r from 0 to 3. Returns a scalar.
    Of real images the discriminator minimises it, weight beta; of refined ones the refiner does, weight alpha.
    Source: Chen et al. 2019 (arXiv:1811.11212), eq. 3.
    """
    return functional.cross_entropy(rotation_logits.float(), quarter_turns)
