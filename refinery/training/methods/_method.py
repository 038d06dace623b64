"""What the training loop asks of a method; it knows none by name.

A member of the family defines

    PAIRED: bool                                   whether each real image is the partner of a synthetic one
    Settings                                       frozen dataclass of the method's own settings, with its defaults
    scale(settings, crop_hw) -> Settings           what was left to the image size, decided
    create(channels, real_channels, settings, steps, placement, generator) -> Method
    build_refiner(channels, real_channels, settings) -> nn.Module      what export rebuilds a refiner with

channels: of the synthetic images; real_channels: of the real ones, which the refiner makes. A refiner is called with
images (B, C, H, W) in [-1, 1], and where its attribute `latent` is above 0 also with numbers (B, latent) ~ N(0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Draw = Callable[[], Tensor]
"""Gives the next batch (B, C, H, W) float32 in [-1, 1] on the training device."""


class Brake(Protocol):
    """What holds labels where they are while a method trains: see `training/budget.py`."""

    @property
    def lambda_reg(self) -> float:
        """Weight of the self-regularization now."""

    @property
    def consistency_weight(self) -> float:
        """Weight of the label consistency now; 0: leave it out."""

    def consistency(self, refined: Tensor, synthetic: Tensor, generator: torch.Generator) -> Tensor:
        """The label-consistency loss of a batch (B, C, H, W), a scalar that reaches back to `refined`."""


class Method(Protocol):
    """A training recipe in progress."""

    refiner: nn.Module
    """What is evaluated and exported; a running mean of the weights under training, or these themselves."""
    trained: nn.Module
    """What the steps change."""
    total_steps: int
    """Pretraining included."""
    brake: Brake | None
    """Given after the method was made, where it asks for one."""

    @property
    def follows_budget(self) -> bool:
        """True if its settings leave it to a brake how hard the refiner is held."""

    def describe(self) -> dict[str, str]:
        """Rows of its own for the table that is printed before training starts."""

    def phase(self, step: int) -> str:
        """What step `step` does, in one or two words."""

    def step(self, step: int, draw_synthetic: Draw, draw_real: Draw) -> dict[str, Tensor]:
        """One training step; returns its losses and measures as detached scalars."""

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must keep."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""

    def own_state(self) -> dict[str, Any]:
        """What differs between the processes of a distributed run, such as the history of refined images."""

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state of this process."""
