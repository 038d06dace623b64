"""Running mean of a network's weights: a GAN swings, its mean does so less."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class RunningMean:
    """Exponential moving average of the weights of `trained`, in `network`.

    past: weight of what was, in [0, 1); 0: no mean, `network` is `trained` itself. Its weight grows with the number n
    of updates, (1 + n) / (10 + n), up to `past`, so that the first weights are soon forgotten. Buffers, such as batch
    norm's running statistics, are copied.
    """

    def __init__(self, trained: nn.Module, past: float) -> None:
        self.trained, self.past, self.updates = trained, past, 0
        self.network: nn.Module = copy.deepcopy(trained) if past else trained

    def update(self) -> None:
        """Move the mean towards the weights as they are now."""
        if self.network is self.trained:
            return
        self.updates += 1
        past = min(self.past, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            for mean, weight in zip(self.network.parameters(), self.trained.parameters(), strict=True):
                mean.lerp_(weight, 1 - past)
            for kept, buffer in zip(self.network.buffers(), self.trained.buffers(), strict=True):
                kept.copy_(buffer)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights under training."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
