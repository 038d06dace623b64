"""Past refined images for the discriminator, so that it does not forget the refiner's earlier artifacts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class HistoryBuffer:
    """At most `size` refined images (C, H, W); filled first, then replaced at random.

    Source: Shrivastava et al. 2017, section 2.3: of each mini-batch of b refined images, b/2 are drawn from the buffer
    and b/2 are current; after each iteration b/2 random entries are replaced by current images.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self.size = size
        self.generator = generator
        self.images: Tensor | None = None
        self.filled = 0

    def __len__(self) -> int:
        return self.filled

    def mix(self, refined: Tensor) -> Tensor:
        """The refined half of the discriminator's mini-batch, then the replacement.

        refined: (B, C, H, W). Returns the same shape: up to B/2 images of it exchanged for past ones.
        """
        half = refined.shape[0] // 2
        if self.size == 0 or half == 0:
            return refined
        past = self._draw(min(half, self.filled))
        mixed = refined if past is None else torch.cat([refined[: refined.shape[0] - past.shape[0]], past])
        self._store(refined[:half])
        return mixed

    def _draw(self, count: int) -> Tensor | None:
        if self.images is None or count == 0:
            return None
        chosen = torch.randperm(self.filled, generator=self.generator)[:count]
        return self.images[chosen.to(self.images.device)]

    def _store(self, refined: Tensor) -> None:
        if self.images is None:
            self.images = refined.new_zeros((self.size, *refined.shape[1:]))
        free = min(self.size - self.filled, refined.shape[0])
        self.images[self.filled : self.filled + free] = refined[:free]
        self.filled += free
        rest = refined[free:][: self.size]
        chosen = torch.randperm(self.size, generator=self.generator)[: rest.shape[0]]
        self.images[chosen.to(refined.device)] = rest.to(self.images.dtype)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        images = None if self.images is None else self.images[: self.filled].clone()
        return {"images": images}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        kept: Tensor | None = state["images"]
        self.images, self.filled = None, 0
        if kept is not None:
            self.images = kept.new_zeros((self.size, *kept.shape[1:]))
            self.filled = min(self.size, kept.shape[0])
            self.images[: self.filled] = kept[: self.filled]
