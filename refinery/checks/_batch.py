"""What all checks of a batch share: the pairs, and their orientation fields, computed once when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from refinery.checks._orientation import ComplexArray, orientation_field
from refinery.sample import Pair


class CheckBatch:
    """Pairs of one image shape.

    synthetic_field, refined_field: (N, H, W) complex64, see `orientation_field`.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = tuple(pairs)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every image of the batch, in px."""
        height, width = self.pairs[0].synthetic.shape[:2]
        return height, width

    @cached_property
    def synthetic_field(self) -> ComplexArray:
        """Fields of the synthetic images."""
        return orientation_field(np.stack([pair.synthetic for pair in self.pairs]))

    @cached_property
    def refined_field(self) -> ComplexArray:
        """Fields of the refined images."""
        return orientation_field(np.stack([pair.refined for pair in self.pairs]))
