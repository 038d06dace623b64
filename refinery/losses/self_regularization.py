"""The loss that holds what the labels depend on."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def self_regularization(refined: Tensor, synthetic: Tensor, psi: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean L1 distance of psi(refined) and psi(synthetic).

    refined, synthetic: (B, C, H, W) float in [-1, 1]. psi: a feature transform. Returns a scalar.
    Source: Shrivastava et al. 2017, eq. 5 (they sum over pixels; we take the mean, so that lambda does not depend on
    the image's size: their lambda times the number of psi's values is ours).
    """
    return (psi(refined).float() - psi(synthetic).float()).abs().mean()
