"""Random numbers of one generator, in the few forms that scenes are drawn from."""

from __future__ import annotations

import torch
from torch import Tensor


class RandomNumbers:
    """Deterministic for a seed; each call goes on with the same generator."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1)."""
        return torch.rand(*shape, generator=self.generator)

    def chance(self, share: float, *shape: int) -> Tensor:
        """1 in this share of cases, else 0."""
        return (self.uniform(*shape) < share).float()

    def happens(self, share: float) -> bool:
        """True in this share of calls."""
        return bool(self.uniform(1).item() < share)
