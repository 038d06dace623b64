"""How small a move would this run have noticed? Known moves are injected into refined images and looked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refinery.checks._context import CheckContext
from refinery.checks._run import run_checks
from refinery.sample import Finding, FloatArray, Pair

MOVES_PX = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
MAX_PAIRS = 32
NEEDED = 0.9
FALSE_ALARMS = 0.01


def measure_power(pairs: Sequence[Pair], context: CheckContext) -> dict[str, float | None]:
    """Smallest move in px, by label name, that is found in 9 of 10 labels at 1% false alarms; None when 4 px is not.

    The refined images of at most 32 pairs are moved by each of MOVES_PX, in eight directions in turn. A label is found
    to have moved when its measured drift is above the 99% quantile of the drifts of the same label in images not moved.
    So a refiner that itself moves labels has less power, and labels that abstain count as not found.
    """
    chosen = pairs[:: max(1, len(pairs) // MAX_PAIRS)][:MAX_PAIRS]
    thresholds = {name: _threshold(drifts) for name, drifts in _drifts(run_checks(chosen, context)).items()}
    smallest: dict[str, float | None] = dict.fromkeys(thresholds)
    for move_px in reversed(MOVES_PX):
        moved = [replace(pair, refined=shifted(pair.refined, _move(move_px, i))) for i, pair in enumerate(chosen)]
        for name, drifts in _drifts(run_checks(moved, context)).items():
            found = np.mean([drift is not None and drift > thresholds[name] for drift in drifts])
            if found >= NEEDED and (move_px == MOVES_PX[-1] or smallest[name] is not None):
                smallest[name] = move_px
    return smallest


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


def _drifts(findings: Sequence[Sequence[Finding]]) -> dict[str, list[float | None]]:
    """Drifts by label name, None for what abstained, of the labels in px that could be looked at."""
    drifts: dict[str, list[float | None]] = defaultdict(list)
    for finding in (finding for found in findings for finding in found):
        if finding.unit == "px" and finding.verdict != "not_checkable":
            drifts[finding.label].append(finding.drift)
    return dict(drifts)


def _threshold(drifts: Sequence[float | None]) -> float:
    measured = [drift for drift in drifts if drift is not None]
    return float(np.quantile(measured, 1.0 - FALSE_ALARMS)) if measured else float("inf")
