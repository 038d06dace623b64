"""How far a label may have moved at most, given how far a probe's answer changed; and what looks alone may change it.

A probe answers a move with more or less of it. So the upper bound is read from moves of known size: it is the largest
move of which 95% change the answer at least as much as was seen (Neyman's construction of a bound, 1937).
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._context import CheckContext
from refinery.checks._prober import ProbedLabel, power_at

Array = NDArray[np.float64]
MOST_DIGITS = 6.0
"""Probabilities nearer to 1 than this many nines are taken for equal."""

LEAST_DIGITS = 1.0
"""Another class counts from a probability of 0.9 on: what looks flip that no calibration has seen stays below. On signs
under heavy looks 7 of 299 classes flip with 0.5 and more, 1 with 0.8, none with 0.9."""


def table(details: Mapping[str, Any], name: str, columns: int) -> Array:
    """Rows of numbers in a label's details, by growing first column: (R, columns); no rows where it is none."""
    empty = np.zeros((0, columns))
    try:
        rows = np.asarray(details.get(name, ()), np.float64)
    except (TypeError, ValueError):
        return empty
    if rows.ndim != 2 or rows.shape[1] != columns or not np.isfinite(rows).all():
        return empty
    return rows if bool((np.diff(rows[:, 0]) > 0).all()) else empty


@dataclass(frozen=True, slots=True)
class Reach:
    """Moves of known size, growing, and how much 95% of those and of all larger ones change the answer at least.

    Both begin with 0, and have nothing more where it was not measured.
    """

    sizes: tuple[float, ...] = (0.0,)
    least: tuple[float, ...] = (0.0,)

    def upper_bound(self, change: float, usual: float) -> float:
        """The largest move that may be behind this change of the answer, with 95% probability; in the label's unit.

        usual: what looks alone change 95% of the answers by; the bound is at least `change` + `usual`. Beyond the
        largest move that was measured, answers are taken to fall short by as much as there.
        """
        sizes, least = self.sizes, self.least
        if len(sizes) == 1:
            return change + usual
        if change >= least[-1]:
            return max(change + usual, sizes[-1] + change - least[-1])
        above = bisect.bisect_right(least, change)
        share = (change - least[above - 1]) / (least[above] - least[above - 1])
        return max(change + usual, sizes[above - 1] + share * (sizes[above] - sizes[above - 1]))


def reach_of(known: ProbedLabel) -> Reach:
    """What a probe's answers about a label reach."""
    rows = table(known.details, "reach", 2)
    least = np.minimum.accumulate(np.append(0.0, rows[:, 1])[::-1])[::-1]
    return Reach((0.0, *rows[:, 0].tolist()), tuple(least.tolist()))


def upper_bound(known: ProbedLabel, change: float, usual: float) -> float:
    """The upper bound of a move, see `Reach.upper_bound`."""
    return reach_of(known).upper_bound(change, usual)


def looks_bound(known: ProbedLabel, share: float) -> float:
    """The change that this share of unmoved labels stays below: the measured share that is the next larger, or last."""
    shares = sorted((float(key), value) for key, value in known.bounds.items())
    return next((value for key, value in shares if key >= share - 1e-9), shares[-1][1] if shares else np.inf)


def least_sure(known: ProbedLabel, context: CheckContext) -> float:
    """The probability with which another class must be read off a refined image to count, under the refiner's looks."""
    digits = context.threshold("probe.flip", known.name, LEAST_DIGITS)
    return max(float(known.details.get("sure", 1.0)), 1.0 - float(10.0**-digits))


def digits_of(probability: Array) -> Array:
    """-log10(1 - p): 1 for 0.9, 2 for 0.99."""
    return np.asarray(-np.log10(np.maximum(1.0 - probability, 10.0**-MOST_DIGITS)))


def found_share(known: ProbedLabel, tolerance: float, context: CheckContext) -> float:
    """Share of the moves of this size that are noticed; of exchanged classes, under the refiner's looks."""
    rows = table(known.details, "found", 2)
    if known.form != "class" or not len(rows):
        return power_at(known, tolerance)
    digits = float(digits_of(np.array(least_sure(known, context))))
    return min(power_at(known, tolerance), float(np.interp(digits, rows[:, 0], rows[:, 1], right=0.0)))


def flips_found(context: CheckContext) -> dict[str, float]:
    """Share of exchanged classes that are noticed, by label name, of the labels that the probe can judge."""
    known = context.probe.labels.values() if context.probe is not None else ()
    return {label.name: found_share(label, 0.0, context) for label in known if label.form == "class"}
