"""How small a move would this run have noticed? Known moves are injected into refined images and looked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refinery.checks._context import CheckContext
from refinery.checks._run import run_checks
from refinery.sample import Finding, FloatArray, Pair

MOVES_PX = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
MAX_PAIRS = 32
NEEDED = 0.9


def measure_power(pairs: Sequence[Pair], context: CheckContext) -> dict[str, float | None]:
    """Smallest move in px, by label name, that is found in 9 of 10 labels that can be measured; None when 4 px is not.

    The refined images of at most 32 pairs are moved by each of MOVES_PX, in eight directions in turn. A label is found
    to have moved when the lower bound of its drift is above 0 (in a label that did not move it is so in 5% of cases).
    Labels that abstain in the image as it was refined are left out: they are what `coverage` counts. A refiner that
    itself moves labels has less power, since in part of them its own move takes back some of the injected one.
    """
    chosen = pairs[:: max(1, len(pairs) // MAX_PAIRS)][:MAX_PAIRS]
    strict = replace(context, max_drift={"": 0.0})
    measured = {place for place, finding in _found(chosen, strict).items() if finding.drift is not None}
    power: dict[str, float | None] = {finding.label: None for finding in _found(chosen, strict).values()}
    for larger_px, move_px in zip((None, *reversed(MOVES_PX)), reversed(MOVES_PX), strict=False):
        moved = [replace(pair, refined=shifted(pair.refined, _move(move_px, i))) for i, pair in enumerate(chosen)]
        hits: dict[str, list[bool]] = defaultdict(list)
        for place, finding in _found(moved, strict).items():
            if place in measured:
                hits[finding.label].append(finding.verdict == "fail")
        for name, found in hits.items():
            if np.mean(found) >= NEEDED and power[name] == larger_px:
                power[name] = move_px
    return power


def describe_power(pairs: Sequence[Pair], context: CheckContext) -> dict[str, dict[str, Any]]:
    """What this run can see, by label name: {"detects": px or None, "unit": "px", "power": 0.9, "coverage": share}.

    detects: as `measure_power`. coverage: labels of the pairs, as they were refined, that got a pass or a fail.
    """
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for found in run_checks(pairs, context):
        for finding in found:
            verdicts[finding.label].append(finding.verdict in ("pass", "fail"))
    power = measure_power(pairs, context)
    return {
        name: {"detects": detects, "unit": "px", "power": NEEDED, "coverage": round(float(np.mean(verdicts[name])), 4)}
        for name, detects in power.items()
    }


def power_sentence(found: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for a person, by the label that is seen worst; empty when there is none."""
    if not found:
        return ""
    name, worst = max(found.items(), key=lambda item: (item[1]["detects"] or np.inf, -item[1]["coverage"]))
    if worst["detects"] is None:
        return f"no move up to {MOVES_PX[-1]:g} px is found with {NEEDED:.0%} power in {name}"
    detects = f"detects moves of {worst['detects']:g} px and more"
    return f"{detects}, {worst['power']:.0%} power, {worst['coverage']:.0%} of labels (worst label: {name})"


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


def _found(pairs: Sequence[Pair], context: CheckContext) -> dict[tuple[int, str, int], Finding]:
    """Findings of the labels in px that could be looked at, by pair, label and item."""
    return {
        (i, finding.label, finding.item): finding
        for i, found in enumerate(run_checks(pairs, context))
        for finding in found
        if finding.unit == "px" and finding.verdict != "not_checkable"
    }
