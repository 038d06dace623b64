"""Do networks that read labels off images read the same off the refined image as off its source?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._probe_reading import Reading, ask, by_place, moved_by, read
from refinery.checks._prober import NEEDED_POWER, Place, ProbedLabel
from refinery.checks._reach import (
    LEAST_DIGITS,
    MOST_DIGITS,
    Reach,
    digits_of,
    found_share,
    least_sure,
    looks_bound,
    reach_of,
)
from refinery.sample import Finding, Label, Verdict

TYPES: tuple[str, ...] = ("class", "number", "vector", "keypoint", "box", "semantic_mask")
GRANTS = True
SHARES = {"flip": 1.0}
"""Of a label's false alarms: a class is judged by nothing else. Changes were measured under the refiner's own looks."""

DEFAULTS = {"flip": LEAST_DIGITS}
LIMITS = {"flip": (LEAST_DIGITS, MOST_DIGITS)}
CHECK = "probe"
MIN_CELLS = 8
"""A mask's region that the probe sees on fewer cells of its map is too small to be compared."""

Array = NDArray[np.float64]


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each label that the probe was trained for; none without a probe.

    drift: how far the probe's answer changed, d. Looks alone change it by less than q(95%) and q(99%) of images, so the
    label moved by d - q(99%) at least; at most by d + q(95%), or by more where moves of that size are known to change
    the answer by less than themselves (see `_reach.upper_bound`). pass: at most the tolerance, and the
    answer agrees with the label as well as it does on synthetic images. fail: at least more than the tolerance, and
    away from the label. A class fails when the probe, sure of it on the source, reads another one off the refined image
    with a probability of 0.9, or with more where this refiner's looks alone flip classes. abstain: neither.
    not_checkable: the probe is not competent at this tolerance, or for a class under such looks.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    probe = context.probe
    wanted = {label.name for pair in batch.pairs for label in pair.labels} & set(probe.labels) if probe else set()
    if probe is None or not wanted:
        return findings
    own = [by_place(pair, probe.labels) for pair in batch.pairs]
    reasons = {name: _why_not(probe.labels[name], context) for name in wanted}
    answers = ask(batch.pairs, context) if "" in reasons.values() else {}
    for name in sorted(wanted):
        known = probe.labels[name]
        seen = read(known, answers[name], own) if not reasons[name] and name in answers else None
        judged = {} if seen is None else _judge(known, seen, context)
        reason = reasons[name] or "the probe was not measured on images of this size or place"
        for i, labels in enumerate(own):
            for place, label in labels.items():
                if place[0] == name:
                    findings[i].append(judged.get((i, place)) or _finding(known, label, "not_checkable", reason))
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """("flip", label name, value) of each class of which the probe is sure, and right, on the source.

    value: -log10(1 - p) of the probability with which another class is read off the refined image, 0 where none is.
    """
    probe = context.probe
    own = [by_place(pair, probe.labels) for pair in batch.pairs] if probe is not None else []
    wanted = {place[0] for labels in own for place, label in labels.items() if label.type == "class"}
    if probe is None or not wanted:
        return
    answers = ask(batch.pairs, context)
    for name in sorted(wanted & set(answers)):
        known = probe.labels[name]
        seen = read(known, answers[name], own)
        if seen is not None:
            yield from (("flip", name, value) for value in _flip_digits(known, seen).tolist())


def _flip_digits(known: ProbedLabel, seen: Reading) -> Array:
    was, now = seen.before.argmax(axis=1), seen.after.argmax(axis=1)
    sure = seen.before.max(axis=1) >= known.details.get("sure", 1.0)
    sure &= np.array([known.classes[k] == label.text for k, label in zip(was, seen.labels, strict=True)])
    return np.asarray(np.where(was == now, 0.0, digits_of(seen.after.max(axis=1)))[sure])


def _why_not(known: ProbedLabel, context: CheckContext) -> str:
    """Why the probe cannot find enough moves of the size of the tolerance; empty when it can.

    With a tolerance of 0 nothing can pass, and whatever is found fails: then what it was measured at counts.
    """
    tolerance = context.tolerance(known.name, known.unit, known.spread)
    if (known.form == "class" or tolerance == 0.0) and not known.competent:
        return known.reason
    if known.form != "class" and tolerance == 0.0:
        return ""
    if found_share(known, tolerance, context) >= NEEDED_POWER:
        return ""
    return known.reason or "this refiner's looks alone flip the probe's answer too often"


@dataclass(frozen=True)
class _Limits:
    """The tolerance, and what looks alone change an answer by: of 95% of images, and of all but the false alarms.

    sure: the probability with which a class must be read off the refined image.
    """

    tolerance: float
    usual: float
    alarm: float
    sure: float
    reach: Reach


def _judge(known: ProbedLabel, seen: Reading, context: CheckContext) -> dict[tuple[int, Place], Finding]:
    """Findings of all labels of one name, by pair and place."""
    decide = {"class": _judge_class, "region": _judge_region}.get(known.form, _judge_measure)
    tolerance = context.tolerance(known.name, known.unit, known.spread)
    usual, alarm = looks_bound(known, 0.95), looks_bound(known, 1.0 - context.false_alarms)
    limits = _Limits(tolerance, usual, alarm, least_sure(known, context), reach_of(known))
    found = [decide(known, label, seen, row, limits) for row, label in enumerate(seen.labels)]
    return dict(zip(zip(seen.owners, seen.places, strict=True), found, strict=True))


def _judge_measure(known: ProbedLabel, label: Label, seen: Reading, row: int, limits: _Limits) -> Finding:
    """px, degrees and numbers."""
    drift, error = float(seen.change[row]), float(seen.error[row])
    if not np.isfinite(drift) or not np.isfinite(error):
        return _finding(known, label, "abstain", "the probe's answer cannot be compared with the label")
    if seen.doubt[row] > known.details.get("doubt", np.inf):
        return _finding(known, label, "abstain", "the probe's networks disagree")
    tolerance, lower, upper = (
        limits.tolerance,
        max(0.0, drift - limits.alarm),
        limits.reach.upper_bound(drift, limits.usual),
    )
    bounds = (round(drift, 4), round(lower, 4), round(upper, 4))
    shift, iou = moved_by(known, seen, row)
    unit = "" if known.unit == "units" else f" {known.unit}"
    verdict: Verdict = "abstain"
    reason = f"changed by {drift:.3g}{unit}, but it may be up to {upper:.3g}{unit}"
    if lower > tolerance:
        verdict, reason = "fail", f"changed by more than {tolerance:.3g}{unit}"
        if error <= tolerance:
            verdict, reason = "abstain", "the probe reads the label off the refined image, but not off its source"
    elif upper <= tolerance:
        verdict, reason = "pass", ""
        if error > known.errors.get("0.99", np.inf) + tolerance:
            verdict, reason = "abstain", "the probe reads another value than the label, before and after"
    return _finding(known, label, verdict, reason, bounds, shift, iou)


def _judge_class(known: ProbedLabel, label: Label, seen: Reading, row: int, limits: _Limits) -> Finding:
    """A class by its flip: surely the label's before, surely another one after."""
    sure = float(known.details.get("sure", 1.0))
    was, now = int(seen.before[row].argmax()), int(seen.after[row].argmax())
    certain_before, certain_after = seen.before[row, was] >= sure, seen.after[row, now] >= limits.sure
    if not certain_before:
        return _finding(known, label, "abstain", "the probe is unsure of it on the source")
    if known.classes[was] != label.text:
        return _finding(known, label, "abstain", f"the probe reads {known.classes[was]} on the source")
    if was == now and seen.after[row, now] >= 0.5:
        return _finding(known, label, "pass", "", (0.0, 0.0, 0.0))
    if was != now and certain_after:
        verdict: Verdict = "fail" if limits.tolerance < 1.0 else "pass"
        return _finding(known, label, verdict, f"looks like {known.classes[now]}", (1.0, 1.0, 1.0))
    reason = f"the probe is unsure between {known.classes[was]} and others on the refined image"
    return _finding(known, label, "abstain", reason, (None, 0.0, 1.0))


def _judge_region(known: ProbedLabel, label: Label, seen: Reading, row: int, limits: _Limits) -> Finding:
    """A mask by the IoU of what the probe sees before and after."""
    if (seen.before[row] > 0.5).sum() < MIN_CELLS:
        return _finding(known, label, "abstain", "the probe does not see enough of it on the source")
    return _judge_measure(known, label, seen, row, limits)


def _finding(
    known: ProbedLabel,
    label: Label,
    verdict: Verdict,
    reason: str,
    drift_and_bounds: tuple[float | None, float | None, float | None] = (None, None, None),
    shift: tuple[float, float] | None = None,
    iou: float | None = None,
) -> Finding:
    drift, lower, upper = drift_and_bounds
    return Finding(
        label.name, label.type, verdict, drift, known.unit, reason, CHECK, label.item, shift, lower, upper, iou
    )
