"""What runs a refiner: a session's provider, or the module under training."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Runner(Protocol):
    """Runs one batch."""

    def __call__(self, images: NDArray[np.float32], latent: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(B, C, H, W) float32 in [-1, 1] to the same height and width. latent: (B, Z), if the refiner has noise."""
