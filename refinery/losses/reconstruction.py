"""The loss that compares a refined image with the very image it should be."""

from __future__ import annotations

from torch import Tensor


def reconstruction(refined: Tensor, real: Tensor) -> Tensor:
    """Mean L1 distance of refined images to their real partners.

    refined, real: (B, C, H, W) float in [-1, 1]. Returns a scalar.
    Source: Isola et al. 2017, eq. 3 (their code takes the mean too, so lambda = 100 is theirs).
    """
    return (refined.float() - real.float()).abs().mean()
