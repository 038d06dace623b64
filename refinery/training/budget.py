"""How hard the refiner is held back, from how far labels may move: dual ascent on the label budget.

The budget says that 95% of every label's drifts shall stay within its tolerance. With r the worst label's 95% drift
over its tolerance, measured every few steps on synthetic images that neither the refiner nor a guide was trained on,

    e = clip(log(r / 0.9), -1, 1)               how far from the budget, in e-folds
    u <- clip(u + rate e, log 1/2, log 100)        rate 0.5 upwards, 0.15 downwards
    mu = exp(u + boost e), kept in the same bounds
    lambda = 2 mu^(1/2)                     (2 mu where no guide can read a label: then lambda is the only brake)
    weight of the label consistency = max(0, mu - 1)

so that a refiner within its budget is held less and less, and the consistency loss, which costs realism of its own,
pulls only when lambda alone did not hold the labels.
Source: dual ascent with the multiplier in the log domain, as GECO does (Rezende & Viola 2018, arXiv:1810.00597,
algorithm 1); the proportional term damps the swing between a multiplier and what it controls (Stooke et al. 2020,
arXiv:2007.03964).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from refinery.training import distributed
from refinery.training.drift_meter import DriftMeter, worst
from refinery.training.guide import Guide

BASE_LAMBDA = 2.0
LOWEST, HIGHEST = math.log(1 / 2), math.log(100.0)
"""Less than half of the base made images less real, not more (coins, docs/evidence/tried.md)."""

RISE, FALL, BOOST = 0.5, 0.15, 0.5
"""A brake that grips faster than it lets go: labels that left the budget are lost, realism only waits."""
AIM = 0.9
"""Share of the budget that is steered to: what is measured on some hundred images swings around what is true."""


class Multiplier:
    """mu of the module's text. Its state decides what comes next and belongs into checkpoints."""

    def __init__(self) -> None:
        self.integral, self.excess = 0.0, 0.0

    def update(self, ratio: float) -> None:
        """One step of the ascent. ratio: 95% drift over tolerance of the worst label."""
        self.excess = min(1.0, max(-1.0, math.log(max(ratio, 1e-3) / AIM)))
        rate = RISE if self.excess > 0 else FALL
        self.integral = min(HIGHEST, max(LOWEST, self.integral + rate * self.excess))

    @property
    def value(self) -> float:
        """mu, from 1/2 to 100."""
        return math.exp(min(HIGHEST, max(LOWEST, self.integral + BOOST * self.excess)))

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"integral": self.integral, "excess": self.excess}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go back to a kept state."""
        self.integral, self.excess = state["integral"], state["excess"]


class LabelBudget:
    """Says how hard to brake, from what a meter measures every few steps.

    guide: gives the consistency loss; None: lambda is the only brake. meter: measures; its networks are others.
    """

    def __init__(self, guide: Guide | None, meter: DriftMeter) -> None:
        self.guide, self.meter = guide, meter
        self.multiplier = Multiplier()

    @property
    def lambda_reg(self) -> float:
        """Weight of the self-regularization now."""
        mu = self.multiplier.value
        return BASE_LAMBDA * (math.sqrt(mu) if self.guide else mu)

    @property
    def consistency_weight(self) -> float:
        """Weight of the label consistency now."""
        return max(0.0, self.multiplier.value - 1.0) if self.guide else 0.0

    def consistency(self, refined: Tensor, synthetic: Tensor, generator: torch.Generator) -> Tensor:
        """The guide's label consistency of a batch (B, C, H, W). synthetic: or what its tone made of it."""
        if self.guide is None:
            raise ValueError("there is no guide")
        return self.guide.consistency(refined, synthetic, generator)

    def update(self, refiner: nn.Module) -> dict[str, Any]:
        """Measure this refiner, move the multiplier, and give the numbers for the log.

        In a distributed run the first process measures, and all have its multiplier.
        """
        drifts = self.meter.measure_refiner(refiner) if distributed.is_first() else {}
        if drifts:
            self.multiplier.update(worst(drifts))
        self.multiplier.load_state(distributed.agreed(self.multiplier.state()))
        return {
            "budget": {name: drift.numbers() for name, drift in drifts.items()},
            "multiplier": round(self.multiplier.value, 4),
            "lambda_reg": round(self.lambda_reg, 4),
            "consistency_weight": round(self.consistency_weight, 4),
        }

    @property
    def guides(self) -> list[Guide]:
        """All networks: what gives the loss first, if any."""
        return [*([self.guide] if self.guide else []), *self.meter.watchers]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the multiplier, and the networks, so that a resumed run need not train them."""
        return {"multiplier": self.multiplier.state(), "guides": [guide.state() for guide in self.guides]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        for guide, kept in zip(self.guides, state["guides"], strict=True):
            guide.load_state(kept)
        self.multiplier.load_state(state["multiplier"])
