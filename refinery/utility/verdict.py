"""What the students' errors say: figures for each arm, and whether to use the refined images, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.runtime.probe_answers import Part
from refinery.training.probe_targets import ProbePlan
from refinery.utility.arms import AUGMENTED, MIXED, REFERENCES, REFINED, REFINED_AUGMENTED, RIVALS, by_label
from refinery.utility.compare import Errors, Interval, difference_of, mean_of, score_of

SMALLEST_SCALE = 0.01
"""Of a label's error, as a share of what guessing its mean or a class would give, that others are divided by."""
SHARES = {"class": "accuracy", "region": "iou"}


@dataclass(frozen=True)
class Results:
    """Errors of each arm (S, N, P), in the order of the table, and the groups of the N photos."""

    plan: ProbePlan
    errors: Mapping[str, NDArray[np.float64]] = field(repr=False)
    groups: Sequence[str] = field(repr=False)

    def labels(self) -> dict[str, Part]:
        """Labels by name, each by its first part."""
        found: dict[str, Part] = {}
        for part in self.plan.parts:
            found.setdefault(part.name, part)
        return found

    def of(self, arm: str) -> Mapping[str, Errors]:
        """Errors of an arm by label: (S, N)."""
        return by_label(self.plan, self.errors[arm])


def judge(results: Results) -> dict[str, Any]:
    """`arms`, `rival`, `best`, `verdict` (use, do not use, no difference) and `recommendation`.

    The score of an arm is the mean over labels of its error relative to that of synthetic + augmentation, 1 for this
    one. The difference is its score less that of the rival, the better one of the two synthetic arms.
    """
    scales = _scales(results)
    scores = {arm: _score(results, arm, scales) for arm in results.errors}
    rival = min(RIVALS, key=lambda arm: scores[arm].mean)
    candidates = [arm for arm in results.errors if arm not in (*RIVALS, *REFERENCES)]
    best = min(candidates, key=lambda arm: scores[arm].mean)
    gains = {arm: _difference(results, arm, rival, scales) for arm in results.errors if arm != rival}
    verdict = _verdict(gains[best])
    return {
        "arms": {arm: _figures(results, arm, rival, scores[arm], gains.get(arm)) for arm in results.errors},
        "rival": rival,
        "best": best,
        "verdict": verdict,
        "recommendation": _sentence(results, verdict, best, rival, scores),
    }


def _verdict(gain: Interval) -> str:
    if gain.high < 0:
        return "use"
    return "do not use" if gain.low > 0 else "no difference"


def _scales(results: Results) -> dict[str, float]:
    """Error of synthetic + augmentation for each label; not less than a little, since others are divided by it."""
    parts, errors = results.labels(), results.of(AUGMENTED)
    return {name: max(mean_of(errors[name], results.groups).mean, _least(parts[name])) for name in parts}


def _least(part: Part) -> float:
    return SMALLEST_SCALE * (1.0 if part.form in SHARES else part.spread)


def _score(results: Results, arm: str, scales: Mapping[str, float]) -> Interval:
    own = results.of(arm)
    return score_of([own[name] for name in scales], list(scales.values()), results.groups)


def _difference(results: Results, arm: str, rival: str, scales: Mapping[str, float]) -> Interval:
    own, other = results.of(arm), results.of(rival)
    seeds = min(len(results.errors[arm]), len(results.errors[rival]))
    apart = [own[name][:seeds] - other[name][:seeds] for name in scales]
    return score_of(apart, list(scales.values()), results.groups)


def _figures(results: Results, arm: str, rival: str, score: Interval, gain: Interval | None) -> dict[str, Any]:
    own, other = results.of(arm), results.of(rival)
    seeds = min(len(results.errors[arm]), len(results.errors[rival]))
    labels: dict[str, Any] = {}
    for name, part in results.labels().items():
        entry = _entry(shown(part, mean_of(own[name], results.groups)))
        if arm != rival:
            apart = difference_of(own[name][:seeds], other[name][:seeds], results.groups)
            entry["difference"] = _entry(_turned(apart) if part.form in SHARES else apart)
        labels[name] = entry | {"unit": unit_of(part)}
    return {"labels": labels, "score": _entry(score), "difference": None if gain is None else _entry(gain)}


def words_for(results: Results, arm: str) -> str:
    """The figures of one arm, label by label."""
    own, found = results.of(arm), list[str]()
    for name, part in results.labels().items():
        interval, unit = shown(part, mean_of(own[name], results.groups)), unit_of(part)
        found.append(f"{name} " + (f"{unit} " if part.form in SHARES else "") + _bounds(interval, *_unit(part)))
    return ", ".join(found)


def _unit(part: Part) -> tuple[str, ...]:
    return () if part.form in SHARES else (part.unit,)


def unit_of(part: Part) -> str:
    """accuracy and iou, where more is better; else the unit of an error."""
    return SHARES.get(part.form, part.unit)


def shown(part: Part, error: Interval) -> Interval:
    """An error as people read it: accuracy of classes, IoU of regions, else the error itself."""
    if part.form not in SHARES:
        return error
    return Interval(1 - error.mean, 1 - error.high, 1 - error.low)


def _turned(error: Interval) -> Interval:
    return Interval(-error.mean, -error.high, -error.low)


def _entry(interval: Interval) -> dict[str, Any]:
    return {"mean": round(interval.mean, 5), "ci95": [round(interval.low, 5), round(interval.high, 5)]}


def _sentence(results: Results, verdict: str, best: str, rival: str, scores: Mapping[str, Interval]) -> str:
    """The recommendation: what to do, and the two figures that say so."""
    figures = f"{_figure(results, best, scores)} against {_figure(results, rival, scores, short=True)} for {rival}"
    if verdict == "use":
        return f"{_advice(best)}: {figures}"
    if verdict == "do not use":
        return f"do not use the refined images, train on {rival}: the best with them, {best}, has {figures}"
    photos = f"{len(results.groups):,} photos"
    return f"no difference that {photos} can show: the best with refined images, {best}, has {figures}"


def _advice(arm: str) -> str:
    """What to do, of an arm's name."""
    name, _, variants = arm.partition(", ")
    if name == MIXED:
        how = f", {variants} of each (refinery refine --variants {variants.split()[0]})" if variants else ""
        return f"mix refined and synthetic 1:1, with augmentation{how}"
    return {REFINED: "use refined images alone", REFINED_AUGMENTED: "use refined images alone, with augmentation"}[name]


def _figure(results: Results, arm: str, scores: Mapping[str, Interval], short: bool = False) -> str:
    """The one label's figure, or the score where there are several. short: without saying what it is."""
    parts = results.labels()
    if len(parts) > 1:
        what = "" if short else f"error over {len(parts)} labels, relative to {AUGMENTED}, "
        return what + _bounds(scores[arm])
    (name, part), own = next(iter(parts.items())), results.of(arm)
    interval, unit = shown(part, mean_of(own[name], results.groups)), unit_of(part)
    if part.form in SHARES:
        return ("" if short else f"{'IoU' if unit == 'iou' else unit} ") + _bounds(interval)
    return ("" if short else f"{name} off by ") + _bounds(interval, unit)


def _bounds(interval: Interval, unit: str = "") -> str:
    digits = 2 if interval.mean < 10 else 1
    mean, low, high = (f"{value:.{digits}f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean}{' ' + unit if unit else ''} [{low}, {high}]"
