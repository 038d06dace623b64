"""Drift of a whole dataset, label by label, from a stream of findings and in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.sample import VERDICTS, Finding

_SMALLEST, _LARGEST, _BINS = 1e-3, 1e5, 920
_EDGES = np.geomspace(_SMALLEST, _LARGEST, _BINS + 1)
"""Bins 2% wide: a quantile read from them is right to 1%."""


@dataclass
class _Column:
    """Running sums of one label's findings: verdicts, histogram and moments of drift, moments of signed shift."""

    unit: str
    verdicts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 2, np.int64))
    drift_moments: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    shift_count: int = 0
    shift_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    shift_products: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))

    def add(self, finding: Finding) -> None:
        self.verdicts[finding.verdict] += 1
        if finding.drift is None:
            return
        self.histogram[np.searchsorted(_EDGES, finding.drift, side="right")] += 1
        self.drift_moments += (1.0, finding.drift, finding.drift**2)
        if finding.shift_px is not None:
            shift = np.array(finding.shift_px)
            self.shift_count += 1
            self.shift_sum += shift
            self.shift_products += np.outer(shift, shift)

    def quantile(self, share: float) -> float | None:
        """Middle of the bin in which this share of the measured drifts is reached; None when there are none."""
        total = int(self.histogram.sum())
        if total == 0:
            return None
        bin_index = int(np.searchsorted(np.cumsum(self.histogram), share * total))
        if bin_index == 0:
            return 0.0
        low, high = _EDGES[bin_index - 1], _EDGES[min(bin_index, _BINS)]
        return float(np.sqrt(low * high))

    def mean(self) -> tuple[float, float] | tuple[None, None]:
        """Mean and standard error: of the signed shift, along its mean, where there is one, else of the drift."""
        if self.shift_count:
            mean = self.shift_sum / self.shift_count
            length = float(np.hypot(*mean))
            along = mean / length if length > 0 else np.array([1.0, 0.0])
            spread = float(along @ (self.shift_products / self.shift_count - np.outer(mean, mean)) @ along)
            return length, float(np.sqrt(max(spread, 0.0) / max(self.shift_count - 1, 1)))
        count, total, squares = (float(moment) for moment in self.drift_moments)
        if count == 0:
            return None, None
        spread = max(squares / count - (total / count) ** 2, 0.0)
        return float(total / count), float(np.sqrt(spread / max(count - 1, 1)))


class DriftSummary:
    """Adds findings up; `as_dict` gives the "drift" object of the commands' JSON.

    Per label: unit; median and p95 of the drift (to 1%); mean, the length of the mean signed shift, which shows what
    moves all labels one way (the mean drift for labels without a direction); ci95, mean -+ 1.96 standard errors;
    mean_shift_px, that shift as [dx, dy]; coverage, the share of labels with a pass or a fail; verdicts, their counts;
    power, the smallest move that this run finds 9 times in 10, see `measure_power`. What was never measured is None.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        """Take the findings of one pair; those that are about no label (pairing, which has no unit) are left out."""
        for finding in findings:
            if finding.unit:
                self._columns.setdefault(finding.label, _Column(finding.unit)).add(finding)

    def as_dict(self, power: Mapping[str, float | None] | None = None) -> dict[str, dict[str, Any]]:
        """The summary by label name, sorted."""
        found = power or {}
        return {name: _summarise(column, found.get(name)) for name, column in sorted(self._columns.items())}


def _summarise(column: _Column, power: float | None) -> dict[str, Any]:
    mean, error = column.mean()
    ci95 = None
    if mean is not None and error is not None:
        ci95 = [_rounded(max(0.0, mean - 1.96 * error)), _rounded(mean + 1.96 * error)]
    shift = column.shift_sum / column.shift_count if column.shift_count else None
    judged = column.verdicts["pass"] + column.verdicts["fail"]
    return {
        "unit": column.unit,
        "median": _rounded(column.quantile(0.5)),
        "p95": _rounded(column.quantile(0.95)),
        "mean": _rounded(mean),
        "ci95": ci95,
        "mean_shift_px": None if shift is None else [_rounded(float(value)) for value in shift],
        "coverage": _rounded(judged / sum(column.verdicts.values())),
        "power": power,
        "verdicts": dict(column.verdicts),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
