"""Drift of a whole dataset, label by label, from a stream of findings and in memory that does not grow with it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._clusters import Clusters, bootstrap_means, corrected_prevalence, wilson
from refinery.sample import LABEL_TYPES, VERDICTS, Finding, Verdict

_SMALLEST, _LARGEST, _BINS = 1e-3, 1e5, 920
_EDGES = np.geomspace(_SMALLEST, _LARGEST, _BINS + 1)
"""Bins 2% wide: a quantile read from them is right to 1%."""

_EDGES_LIST: list[float] = _EDGES.tolist()
_SHOWN_BINS = 30
REASONS = 32
"""Different reasons for which a label is not checkable that are counted."""
POWER = 0.9
"""How surely a move is found that has the size which `measure_power` gives."""


def _no_verdicts() -> dict[Verdict, int]:
    return dict.fromkeys(VERDICTS, 0)


@dataclass
class _Column:
    """Running sums of one label's findings: verdicts, histogram of drift, sums of drift, shift and IoU by cluster."""

    unit: str
    verdicts: dict[Verdict, int] = field(default_factory=_no_verdicts)
    as_refined: dict[Verdict, int] = field(default_factory=_no_verdicts)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 2, np.int64))
    drifts: Clusters = field(default_factory=lambda: Clusters(1))
    shifts: Clusters = field(default_factory=lambda: Clusters(2))
    iou_sum: float = 0.0
    iou_count: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    """In which at least one label of the name was looked at."""
    _last: int = -1

    def add(self, finding: Finding, was: Verdict, key: str, place: int) -> None:
        self.verdicts[finding.verdict] += 1
        self.as_refined[was] += 1
        if was != "not_checkable" and place != self._last:
            self.samples, self._last = self.samples + 1, place
        if finding.verdict == "not_checkable" and (finding.reason in self.reasons or len(self.reasons) < REASONS):
            self.reasons[finding.reason] = self.reasons.get(finding.reason, 0) + 1
        if finding.iou is not None:
            self.iou_sum += finding.iou
            self.iou_count += 1
        if finding.drift is None:
            return
        self.histogram[bisect.bisect_right(_EDGES_LIST, finding.drift)] += 1
        self.drifts.add(key, place, (finding.drift,))
        if finding.shift_px is not None:
            self.shifts.add(key, place, finding.shift_px)

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

    def shown(self) -> dict[str, Any] | None:
        """The histogram in bins of one round width from 0 on, the last open at its end; None without a measure."""
        if not self.histogram.any():
            return None
        width = _round_up(max(self.quantile(0.99) or 0.0, _SMALLEST) / (_SHOWN_BINS - 2))
        middles = np.concatenate(([0.0], np.sqrt(_EDGES[:-1] * _EDGES[1:]), [np.inf]))
        places = np.minimum(middles / width, _SHOWN_BINS - 1).astype(int)
        counts = np.bincount(places, self.histogram, _SHOWN_BINS).astype(int)
        return {"bin": width, "counts": counts.tolist()}


class DriftSummary:
    """Adds findings up; `as_dict` gives the "drift" object of the commands' JSON.

    Per label, and None for what was never measured:
    unit. median, p95: of the drift (to 1%). mean: the length of the mean signed shift, which shows what moves all
    labels one way; the mean drift for labels without a direction (for unit flip the flip rate). mean_shift_px: that
    shift as [dx, dy]. ci95, mean_shift_ci95_px: their intervals, a bootstrap over `clusters`, see `_clusters`.
    iou: mean intersection over union of boxes and masks. coverage: share of labels with a pass or a fail. verdicts:
    their counts. power: the smallest move that this run finds 9 times in 10, see `measure_power`.
    histogram: of the drift, {"bin": width in `unit`, "counts": 30 of them, the last of all that is larger, too}.
    not_checkable_reason: the commonest one. as_refined: counts of the verdicts before samples were softened. failed:
    share of fails among those that were looked at (pass, fail and abstain), failed_ci95 its interval (Wilson, of
    as many cases as samples were looked at: labels of one image fail together, and its variants). moved:
    that share corrected for false alarms and for what is missed or could not be measured (Rogan & Gladen): labels that
    moved by `power` or more, or classes that flipped.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self._place, self._key = -1, ""

    def add(self, findings: Iterable[Finding], key: str = "", was: Sequence[Finding] = ()) -> None:
        """Take the findings of one pair; those that are about no label (pairing, content) are left out.

        key: of the sample, which names its sequence; its variants follow each other. was: earlier findings of labels
        that were judged anew.
        """
        before = {(finding.label, finding.item): finding.verdict for finding in was}
        if not key or key != self._key:
            self._place, self._key = self._place + 1, key
        for finding in findings:
            if finding.type in LABEL_TYPES:
                if finding.label not in self._columns:
                    self._columns[finding.label] = _Column(finding.unit)
                column = self._columns[finding.label]
                column.add(finding, before.get((finding.label, finding.item), finding.verdict), key, self._place)

    def as_dict(
        self,
        power: Mapping[str, float | None] | None = None,
        false_alarms: float = 0.01,
        flips_found: Mapping[str, float] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The summary by label name, sorted. flips_found: of classes, see `_reach.flips_found`."""
        found, flips = power or {}, flips_found or {}
        return {
            name: _summarise(column, found.get(name), false_alarms, flips.get(name))
            for name, column in sorted(self._columns.items())
        }


def _summarise(column: _Column, power: float | None, false_alarms: float, flips_found: float | None) -> dict[str, Any]:
    judged = column.verdicts["pass"] + column.verdicts["fail"]
    return {
        "unit": column.unit,
        "median": _rounded(column.quantile(0.5)),
        "p95": _rounded(column.quantile(0.95)),
        **_mean(column),
        "iou": _rounded(column.iou_sum / column.iou_count) if column.iou_count else None,
        "coverage": _rounded(judged / sum(column.verdicts.values())),
        "power": power,
        "verdicts": dict(column.verdicts),
        "histogram": column.shown(),
        "not_checkable_reason": max(column.reasons, key=column.reasons.__getitem__, default=None),
        "as_refined": dict(column.as_refined),
        **_failures(column, power, false_alarms, flips_found),
    }


def _mean(column: _Column) -> dict[str, Any]:
    """mean, ci95, mean_shift_px, mean_shift_ci95_px and clusters."""
    by, shifts = column.shifts.chosen()
    if len(shifts):
        mean = shifts[:, 1:].sum(axis=0) / shifts[:, 0].sum()
        length = float(np.hypot(*mean))
        drawn = bootstrap_means(shifts)
        along = drawn @ (mean / length if length > 0 else np.array([1.0, 0.0]))
        interval = [_rounded(max(0.0, value)) for value in _ends(along)]
        shift, by_axis = [_rounded(v) for v in mean.tolist()], [_interval(drawn[:, axis]) for axis in (0, 1)]
        return _mean_dict(length, interval, shift, by_axis, by, len(shifts))
    by, drifts = column.drifts.chosen()
    if not len(drifts):
        return _mean_dict(None, None, None, None, None, 0)
    mean_drift = float(drifts[:, 1].sum() / drifts[:, 0].sum())
    return _mean_dict(mean_drift, _interval(bootstrap_means(drifts)[:, 0]), None, None, by, len(drifts))


def _mean_dict(
    mean: float | None, interval: Any, shift: Any, by_axis: Any, by: str | None, count: int
) -> dict[str, Any]:
    return {
        "mean": _rounded(mean),
        "ci95": interval,
        "mean_shift_px": shift,
        "mean_shift_ci95_px": by_axis,
        "clusters": None if by is None else {"by": by, "count": count},
    }


def _failures(column: _Column, power: float | None, false_alarms: float, flips_found: float | None) -> dict[str, Any]:
    """failed, failed_ci95 and moved. flips_found: already counts those that could not be read."""
    failed = column.as_refined["fail"]
    looked_at = sum(column.as_refined.values()) - column.as_refined["not_checkable"]
    if not looked_at:
        return {"failed": None, "failed_ci95": None, "moved": None}
    low, high = wilson(failed / looked_at, column.samples)
    sensitivity = POWER * min(1.0, int(column.histogram.sum()) / looked_at) if flips_found is None else flips_found
    moved = None
    if (power is not None or flips_found is not None) and sensitivity > 2 * false_alarms:
        moved = corrected_prevalence(failed / looked_at, false_alarms, sensitivity)
    share = _rounded(failed / looked_at)
    return {"failed": share, "failed_ci95": [_rounded(low), _rounded(high)], "moved": _rounded(moved)}


def _round_up(value: float) -> float:
    """The next number of 1, 2 or 5 times a power of ten."""
    size = 10.0 ** math.floor(math.log10(value))
    return float(f"{next(size * factor for factor in (1, 2, 5, 10) if size * factor >= value * (1 - 1e-9)):.6g}")


def _ends(values: NDArray[np.float64]) -> list[float]:
    ends: list[float] = np.quantile(values, (0.025, 0.975)).tolist()
    return ends


def _interval(values: NDArray[np.float64]) -> list[float | None]:
    return [_rounded(value) for value in _ends(values)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
