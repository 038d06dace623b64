"""Figures of the arms: means, differences to the rival, the share of the gap that is closed, all with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _arms import REAL, RIVAL
from _task import Task
from numpy.typing import NDArray

from refinery.utility.compare import DRAWS, Interval, difference_of, mean_of

Errors = NDArray[np.float64]
Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""{ARM: {SEED: what its student said}}."""


def closed_of(errors: Errors, rival: Errors, real: Errors, groups: Sequence[str], seed: int = 0) -> Interval | None:
    """Share of the gap between rival and real that an arm closes: (S, N) each, the same seeds and photos.

    A bootstrap of the ratio: all three are drawn alike. None where the gap is not above 0 in 39 of 40 draws: there is
    nothing to close.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    count, seeds = int(index.max()) + 1, len(errors)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(count, np.full(count, 1 / count), DRAWS)[:, index]
    weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS)
    own, other, best = (_weighted(each, weights, drawn) for each in (errors, rival, real))
    gap = other - best
    if np.mean(gap > 0) < 0.975:
        return None
    low, high = np.quantile(((other - own) / gap)[gap > 0], (0.025, 0.975))
    whole = float(np.nanmean(rival) - np.nanmean(real))
    return Interval(float(np.nanmean(rival) - np.nanmean(errors)) / whole, float(low), float(high))


def figures(task: Task, found: Found, groups: Sequence[str], seconds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """{ARM: {"figures": ...}} for the results file."""
    cases: dict[str, dict[str, Any]] = {}
    for name, students in found.items():
        errors = _stacked(students, sorted(students))
        told: dict[str, Any] = {
            "seeds": len(students),
            task.unit: _told(mean_of(errors, groups), task.higher),
            "each seed": [round(float(score), 4) for score in _scores(errors, task.higher)],
            "seconds a student": round(float(np.mean([each["seconds"] for each in students.values()])), 1),
        }
        told |= _against(task, name, found, groups)
        told |= task.watched([students[seed] for seed in sorted(students)])
        cases[name] = {"figures": told}
    cases["stages"] = {"figures": {"seconds": dict(seconds), "photos": len(groups), "groups": len(set(groups))}}
    return cases


def table(task: Task, cases: Mapping[str, Any]) -> str:
    """A Markdown table, an arm a row."""
    rows = {name: case["figures"] for name, case in cases.items() if name != "stages"}
    more = sorted({key for figures in rows.values() for key in figures if key.startswith(("consistency", "agreement"))})
    names = ["arm", "seeds", task.unit, "difference to the rival", "gap closed", *more, "s a student"]
    lines = ["| " + " | ".join(names) + " |", "| --- " * len(names) + "|"]
    for name, told in rows.items():
        cells = [name, str(told["seeds"]), _cell(told[task.unit]), _cell(told.get("difference"))]
        cells += [_cell(told.get("closed")), *(_cell(told.get(key)) for key in more), f"{told['seconds a student']:g}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _against(task: Task, name: str, found: Found, groups: Sequence[str]) -> dict[str, Any]:
    """Difference to the rival and share of the gap, over the seeds that all have."""
    told: dict[str, Any] = {}
    if name == RIVAL or RIVAL not in found:
        return told
    both = sorted(set(found[name]) & set(found[RIVAL]))
    if both:
        difference = difference_of(_stacked(found[name], both), _stacked(found[RIVAL], both), groups)
        told["difference"] = _told(difference, task.higher, level=0.0)
    shared = sorted(set(both) & set(found.get(REAL, {})))
    if shared and name != REAL:
        errors, rival, real = (_stacked(found[arm], shared) for arm in (name, RIVAL, REAL))
        closed = closed_of(errors, rival, real, groups)
        if closed is not None:
            told["closed"] = _told(closed, higher=False)
    return told


def _weighted(errors: Errors, weights: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of (S, N) in each draw (D,): weights (D, S) of seeds, drawn (D, N) of photos."""
    known = np.isfinite(errors)
    sums, sizes = (weights @ each for each in (np.where(known, errors, 0.0), known.astype(float)))
    return np.asarray((sums * drawn).sum(1) / np.maximum((sizes * drawn).sum(1), 1.0))


def _stacked(students: Mapping[int, Mapping[str, Any]], seeds: Sequence[int]) -> Errors:
    return np.stack([students[seed]["errors"] for seed in seeds])


def _scores(errors: Errors, higher: bool) -> NDArray[np.float64]:
    means = np.nanmean(errors, axis=1)
    return np.asarray(1 - means if higher else means)


def _told(interval: Interval, higher: bool, level: float = 1.0) -> dict[str, float]:
    """An interval of errors as one of scores: `level` minus it where higher is better."""
    values = (interval.mean, interval.low, interval.high)
    if higher:
        values = (level - interval.mean, level - interval.high, level - interval.low)
    return dict(zip(("mean", "low", "high"), (round(value, 4) for value in values), strict=True))


def _cell(told: Mapping[str, float] | None) -> str:
    return "" if told is None else f"{told['mean']:.3f} [{told['low']:.3f}, {told['high']:.3f}]"
