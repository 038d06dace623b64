"""What is going wrong in a run, in plain words, with what to try."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from refinery.errors import TrainingError

WON_ACCURACY = 0.98
WON_LOSS = 0.05
ROTATION_CHANCE, ROTATION_TOLD = 0.25, 0.30
"""Accuracy of guessing one of four turns; accuracy below which, in the mean of many records, turns are not told."""
UNCHANGED = 1 / 255
"""Mean |refined - synthetic| in [-1, 1] units below which nobody sees a change: half a level of 255."""
BEYOND_SCORE = 2.0
"""Scores from here on are of refiners whose labels do not hold, see `Evaluation.score`."""

WHAT_TO_TRY = (
    'the last checkpoint is kept; try half the learning rates (refiner_lr, discriminator_lr), or precision = "fp32"'
)


def require_finite(losses: Mapping[str, float], step: int) -> None:
    """Raises TrainingError when a loss is NaN or infinite."""
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        raise TrainingError(
            f"step {step}: the loss {broken[0]!r} is {losses[broken[0]]}, so training cannot go on; {WHAT_TO_TRY}"
        )


def require_finite_state(state: Any, step: int) -> None:
    """Raises TrainingError when a tensor that a checkpoint would keep holds NaN or infinity."""
    if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(state)):
        raise TrainingError(f"step {step}: weights became NaN or infinite, so training cannot go on; {WHAT_TO_TRY}")


def require_best(best: Mapping[str, Any], last: Mapping[str, Any], run: object) -> None:
    """Raises TrainingError when no evaluation of a run left a refiner that can be delivered."""
    if not best:
        flat, step = last.get("flat", 1.0), last.get("step", 0)
        raise TrainingError(
            f"{run}: training collapsed: at every evaluation the refiner made flat images ({flat:.0%} of the held-out "
            f"ones at step {step}), so nothing is exported; the last checkpoint is kept; train again with half the "
            "learning rates (refiner_lr, discriminator_lr), a larger lambda_reg, or another --seed"
        )


def delivery_sentence(best: Mapping[str, Any], most_failed: float) -> str:
    """What the best refiner of a run still does to labels, where it is more than it should; empty otherwise."""
    if best.get("score", 0.0) < BEYOND_SCORE:
        return ""
    beyond = [
        f"{name} {drift['p95']:.3g} {drift['unit']}".rstrip()
        for name, drift in best.get("held_out_budget", {}).items()
        if drift["p95"] > drift["tolerance"]
    ]
    failed = best["failed"] > most_failed
    parts = [f"labels fail in {best['failed']:.0%} of the held-out samples"] if failed else []
    parts += [f"labels move further than they may (95%: {', '.join(beyond)})"] if beyond else []
    if not parts:  # the score is as bad since the images came no nearer
        return ""
    return (
        f"no checkpoint of this run holds the labels: with the best one (step {best['step']}) {' and '.join(parts)}; "
        "refine will soften such samples; train longer, with a larger lambda_reg, or allow more with --max-drift"
    )


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _tensors(value)


class Watch:
    """Looks at each log record; says a thing once, after it has held for `patience` records in a row.

    Whether turned images are told apart is read from the mean of twice as many records, since one counts few images.
    """

    def __init__(self, patience: int = 10) -> None:
        self.patience = patience
        self.streaks: dict[str, int] = {}
        self.rotation_accuracies: deque[float] = deque(maxlen=2 * patience)
        self.rotation_said = False

    def advice(self, phase: str, losses: Mapping[str, float]) -> list[str]:
        """Plain sentences about this record; mostly none. A method that logs no such loss is not judged by it."""
        if phase != "adversarial":
            return []
        won = losses.get("discriminator_accuracy", 0.5) > WON_ACCURACY and losses.get("discriminator", 1.0) < WON_LOSS
        same = losses.get("change", 1.0) < UNCHANGED
        said = [self._once("won", won, _WON), self._once("same", same, _SAME), self._rotation(losses)]
        return [sentence for sentence in said if sentence]

    def _once(self, name: str, holds: bool, sentence: str) -> str:
        streak = self.streaks.get(name, 0)
        self.streaks[name] = streak + 1 if holds else min(streak, self.patience)
        if not holds and streak < self.patience:
            self.streaks[name] = 0
        return sentence if holds and streak + 1 == self.patience else ""

    def _rotation(self, losses: Mapping[str, float]) -> str:
        """What to say of a discriminator that guesses how real images are turned; once."""
        recent = self.rotation_accuracies
        if self.rotation_said or "rotation_accuracy" not in losses:
            return ""
        recent.append(losses["rotation_accuracy"])
        mean = sum(recent) / len(recent)
        self.rotation_said = len(recent) == recent.maxlen and mean < ROTATION_TOLD
        return _GUESSED.format(accuracy=mean, chance=ROTATION_CHANCE) if self.rotation_said else ""


_WON = (
    "the discriminator tells every patch apart, so the refiner learns nothing new; try a lower discriminator_lr, "
    "refiner_steps = 2, a smaller lambda_reg, or real images that look more like the synthetic ones"
)
_SAME = (
    "refined equals synthetic: the refiner changes less than half a gray level; try a smaller lambda_reg, another "
    'feature_transform (such as "contrast_normalized"), or a higher refiner_lr'
)
_GUESSED = (
    "the discriminator cannot tell how real images are turned (accuracy {accuracy:.2f}, chance {chance:.2f}), so that "
    "rotations teach it nothing here; try rotation_alpha = 0 and rotation_beta = 0, or --method simgan"
)
