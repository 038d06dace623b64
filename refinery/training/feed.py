"""What a method is fed: batches of both sides, drawn independently, alike in layout, or as partners."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from refinery.training.data import Batches


class Feed(Protocol):
    """Where a step's batches come from; each (B, C, h, w) float32 in [-1, 1] on the training device."""

    def draw_synthetic(self) -> Tensor:
        """The next synthetic batch."""

    def draw_real(self) -> Tensor:
        """The next real batch; where images are paired, the partners of the last synthetic one."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run draws what it would have drawn."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""

    def close(self) -> None:
        """End what runs beside the training."""


class Unpaired:
    """Batches of two sides that know nothing of each other.

    candidates: for each image of the last synthetic batch the real one most alike in layout, of so many drawn ones; 0:
    any.
    """

    def __init__(self, synthetic: Batches, real: Batches, candidates: int = 0) -> None:
        self.synthetic, self.real, self.candidates = synthetic, real, candidates
        self._latest: Tensor | None = None

    def draw_synthetic(self) -> Tensor:
        """The next synthetic batch."""
        self._latest = self.synthetic.draw()
        return self._latest

    def draw_real(self) -> Tensor:
        """The next real batch."""
        if not self.candidates or self._latest is None:
            return self.real.draw()
        return self.real.draw_like(self._latest, self.candidates)

    def state(self) -> dict[str, Any]:
        """Where both sides stand."""
        return {"synthetic": self.synthetic.state(), "real": self.real.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        self.synthetic.load_state(state["synthetic"])
        self.real.load_state(state["real"])

    def close(self) -> None:
        """End the threads that draw ahead."""
        self.synthetic.close()
        self.real.close()
