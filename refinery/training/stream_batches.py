"""Batches out of a stream that never repeats an image, as long as the simulator keeps up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refinery.training.cache import MB, Pixels, default_memory_mb
from refinery.training.data import Batches, ImageSet
from refinery.training.sampling import Chance
from refinery.training.stream import Stream

SHUFFLED, SHUFFLED_MB = 512, 256
"""Images that wait to be drawn, so that what comes one after the other is not drawn together."""
REPEATED = 0.05
"""Share of images drawn again that is worth a word."""
COUNTED_BATCHES = 100


class StreamBatches(Batches):
    """Random crops of a simulator's images, each drawn once; where none is new, of those drawn before.

    first: the images of the stream's first part, which are drawn first. memory_mb: how much of the images that were
    drawn is kept to be drawn again. What is drawn depends on how fast the simulator is, so that a run cannot be
    repeated; a resumed run goes on with the simulator's images as they come then.
    """

    def __init__(
        self,
        first: ImageSet,
        stream: Stream,
        crop_hw: tuple[int, int],
        batch_size: int,
        chance: Chance,
        device: torch.device,
        memory_mb: int,
        say: Callable[[str], None],
        ahead: int = 0,
    ) -> None:
        super().__init__(first, crop_hw, batch_size, chance, device, ahead=ahead)
        self.stream, self.say = stream, say
        self.fresh: list[Pixels] = [first.images[i] for i in self.groups.members]
        image_bytes = max(image.nbytes for image in self.fresh)
        self.window = max(batch_size, min(SHUFFLED, SHUFFLED_MB * MB // image_bytes))
        self.seen: list[Pixels] = []
        self.most_seen = max(len(self.fresh), (memory_mb or default_memory_mb()) * MB // image_bytes)
        self.new = self.again = 0
        self._counted = (0, 0)
        self._told = False

    def draw(self) -> Tensor:
        """As `Batches.draw`; says what the stream has to say."""
        batch = super().draw()
        for line in self.stream.news():
            self.say(line)
        if self.number % COUNTED_BATCHES == 0:
            self._tell_repeats()
        return batch

    def choose(self, numbers: NDArray[np.float64]) -> Sequence[Pixels]:
        """B images by (B, 2) random numbers in [0, 1): new ones first."""
        self.fresh += self.stream.fetch(max(0, self.window - len(self.fresh)))
        return [self._next(first, second) for first, second in numbers.tolist()]

    def state(self) -> dict[str, Any]:
        """The number of the next batch, and how many images were new and drawn again."""
        return {**super().state(), "new": self.new, "again": self.again}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a kept state; the images are others."""
        super().load_state(state)
        self.new, self.again = int(state["new"]), int(state["again"])
        self._counted = (self.new, self.again)

    def close(self) -> None:
        """End both threads and the simulator; say what it gave."""
        super().close()
        running = not self.stream.closed
        self.stream.close()
        if running and self.new:
            total = self.new + self.again
            self.say(
                f"simulator: {self.new:,} images were used; {self.again / total:.0%} of {total:,} draws were repeats"
            )

    def _next(self, first: float, second: float) -> Pixels:
        if not self.fresh:
            self.again += 1
            return self.seen[int(first * len(self.seen))]
        place = int(second * len(self.fresh))
        self.fresh[place], self.fresh[-1] = self.fresh[-1], self.fresh[place]
        image = self.fresh.pop()
        if len(self.seen) < self.most_seen:
            self.seen.append(image)
        else:
            self.seen[self.new % self.most_seen] = image
        self.new += 1
        return image

    def _tell_repeats(self) -> None:
        """Say once that the simulator is slower than the training, with the share of the last batches."""
        new, again = self.new - self._counted[0], self.again - self._counted[1]
        self._counted = (self.new, self.again)
        if self._told or self.stream.ended or again <= REPEATED * (new + again):
            return
        self._told = True
        self.say(
            f"simulator: slower than training: {again / (new + again):.0%} of the last {new + again:,} images had been "
            "drawn before; run more of it side by side if that is too many"
        )
