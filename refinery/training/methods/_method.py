"""What the training loop asks of a method; it knows none by name.

A member of the family defines

    Settings                                       frozen dataclass of the method's own settings, with its defaults
    scale(settings, crop_hw) -> Settings           what was left to the image size, decided
    create(channels, settings, steps, placement, generator) -> Method
    build_refiner(channels, settings) -> nn.Module         what export rebuilds a refiner with
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

Draw = Callable[[], Tensor]
"""Gives the next batch (B, C, H, W) float32 in [-1, 1] on the training device."""


class Method(Protocol):
    """A training recipe in progress."""

    refiner: nn.Module
    """What is evaluated and exported; a running mean of the weights under training, or these themselves."""
    total_steps: int
    """Pretraining included."""

    def phase(self, step: int) -> str:
        """What step `step` does, in one or two words."""

    def step(self, step: int, draw_synthetic: Draw, draw_real: Draw) -> dict[str, Tensor]:
        """One training step; returns its losses and measures as detached scalars."""

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must keep."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
