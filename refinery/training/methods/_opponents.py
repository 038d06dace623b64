"""A refiner and its discriminator: where they live, and what a checkpoint keeps of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from refinery.training.averages import RunningMean
from refinery.training.device import Placement


class Opponents:
    """What every adversarial method has, however it trains them. optimizers: of `refiner` and `discriminator`."""

    placement: Placement
    trained: nn.Module
    mean: RunningMean
    discriminator: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]

    @property
    def refiner(self) -> nn.Module:
        """What is evaluated and exported."""
        return self.mean.network

    def autocast(self) -> torch.autocast:
        """bfloat16 inside the networks, where the placement says so."""
        return torch.autocast(self.placement.device.type, torch.bfloat16, enabled=self.placement.autocast)

    def state(self) -> dict[str, Any]:
        """Weights and optimisers."""
        return {
            "refiner": self.refiner.state_dict(),
            "trained": self.trained.state_dict(),
            "updates": self.mean.updates,
            "discriminator": self.discriminator.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        self.trained.load_state_dict(state["trained"])
        self.mean.load_state({"network": state["refiner"], "updates": state["updates"]})
        self.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
