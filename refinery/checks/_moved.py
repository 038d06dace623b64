"""Refined images moved by known amounts, and what the checks find in them: what power is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._prober import ProbedLabel
from refinery.checks._remembering import RememberingProber
from refinery.checks._run import all_checks, batches, check_batch
from refinery.checks._things import GEOMETRIC
from refinery.sample import Finding, FloatArray, Label, Pair

Place = tuple[int, str, int]
"""Pair, label and item."""


class Moved:
    """Pairs whose refined images are moved and checked again and again.

    The source side of the checks, and the probe's answers about the synthetic images, are computed once. Checks that
    judge an image as a whole are left out, and labels that no check measures in px: they have no part in the findings
    of the others.
    """

    def __init__(self, pairs: Sequence[Pair], context: CheckContext) -> None:
        self.context = context
        self.pairs = [replace(pair, labels=_measurable(pair.labels, context)) for pair in pairs]
        self.probe = None if context.probe is None else RememberingProber(context.probe)
        self.checks = [module for module in all_checks() if module.TYPES]
        self.batches = [(members, CheckBatch([self.pairs[i] for i in members])) for members in batches(self.pairs)]

    def findings(self, context: CheckContext, move_px: float = 0.0) -> dict[Place, Finding]:
        """Findings by place, with the refined images moved by move_px, in eight directions in turn.

        Without a move what was measured once serves every context that searches as far.
        """
        context = replace(context, probe=self.probe)
        found: dict[Place, Finding] = {}
        for members, batch in self.batches:
            moved = batch if move_px == 0.0 else CheckBatch(self._moved(members, batch, move_px), batch)
            for i, own in zip(members, check_batch(moved, context, self.checks), strict=True):
                found.update({(i, finding.label, finding.item): finding for finding in own})
        return found

    def _moved(self, members: Sequence[int], batch: CheckBatch, move_px: float) -> list[Pair]:
        return [
            replace(pair, refined=shifted(pair.refined, _move(move_px, i)))
            for i, pair in zip(members, batch.pairs, strict=True)
        ]


def _measurable(labels: Sequence[Label], context: CheckContext) -> tuple[Label, ...]:
    """Labels that some check measures in px: those with a place, and what the probe reads in px."""
    known: Mapping[str, ProbedLabel] = {} if context.probe is None else context.probe.labels
    in_px = {name for name, label in known.items() if label.unit == "px"}
    return tuple(label for label in labels if label.type in GEOMETRIC or label.name in in_px)


def shifted(image: FloatArray, move_xy: tuple[float, float]) -> FloatArray:
    """The image moved by (dx, dy) px, right and down, by cubic interpolation (Catmull-Rom); edges are repeated.

    image: (H, W, C) float32; returns the same.
    """
    for axis, distance in ((1, move_xy[0]), (0, move_xy[1])):
        whole = int(np.floor(distance))
        taps = _catmull_rom(distance - whole)
        places = np.arange(image.shape[axis])
        rows = (np.clip(places - whole + 1 - k, 0, len(places) - 1) for k in range(4))
        image = np.sum([tap * image.take(row, axis=axis) for tap, row in zip(taps, rows, strict=True)], axis=0)
    return image.astype(np.float32)


def _catmull_rom(t: float) -> tuple[float, float, float, float]:
    """Weights of the samples at 1, 0, -1 and -2 px for a move by 0 <= t < 1 px (Keys 1981, a = -1/2)."""
    return (
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (-(t**2) + t**3),
    )


def _move(length_px: float, turn: int) -> tuple[float, float]:
    angle = turn % 8 * np.pi / 4
    return float(length_px * np.cos(angle)), float(length_px * np.sin(angle))
