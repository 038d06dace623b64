"""Do networks that read labels off images read the same off the refined image as off its source?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinery.checks._answers import as_answer, changes, doubts
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._prober import NEEDED_POWER, Answers, Place, ProbedLabel, power_at
from refinery.regions import regions
from refinery.sample import Finding, Label, Pair, Verdict

TYPES: tuple[str, ...] = ("class", "number", "vector", "keypoint", "box", "semantic_mask")
GRANTS = True
CHECK = "probe"
MIN_CELLS = 8
"""A mask's region that the probe sees on fewer cells of its map is too small to be compared."""

Array = NDArray[np.float64]


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each label that the probe was trained for; none without a probe.

    drift: how far the probe's answer changed, d. Looks alone change it by less than q(95%) and q(99%) of held-out
    images, so the label moved by d + q(95%) at most and d - q(99%) at least. pass: at most the tolerance, and the
    answer agrees with the label as well as it does on synthetic images. fail: at least more than the tolerance, and
    away from the label. A class fails when the probe, sure of it on the source, is as sure of another one on the
    refined image. abstain: neither. not_checkable: the probe is not competent at this tolerance.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    probe = context.probe
    wanted = {label.name for pair in batch.pairs for label in pair.labels} & set(probe.labels) if probe else set()
    if probe is None or not wanted:
        return findings
    own = [_by_place(pair, probe.labels) for pair in batch.pairs]
    able = {name for name in wanted if _able(probe.labels[name], context)}
    answers = _ask(batch.pairs, context) if able else {}
    for name in sorted(wanted):
        known = probe.labels[name]
        judged = _judge(known, answers[name], own, context) if name in able and name in answers else {}
        for i, labels in enumerate(own):
            reason = known.reason if name not in able else "the probe was not measured on images of this size or place"
            for place, label in labels.items():
                if place[0] == name:
                    findings[i].append(judged.get((i, place)) or _finding(known, label, "not_checkable", reason))
    return findings


def _by_place(pair: Pair, known: Mapping[str, ProbedLabel]) -> dict[Place, Label]:
    """The pair's labels that the probe knows; the regions of a mask by their number among the probe's."""
    found: dict[Place, Label] = {}
    for label in pair.labels:
        if label.name not in known or known[label.name].type != label.type:
            continue
        item = label.item
        if known[label.name].form == "region":
            text = label.text or str(label.item)
            names = known[label.name].classes
            item = names.index(text) if text in names else -1 - label.item
        found[label.name, item] = label
    return found


def _able(known: ProbedLabel, context: CheckContext) -> bool:
    """Whether the probe finds enough moves of the size of the tolerance.

    With a tolerance of 0 nothing can pass, and whatever is found fails: then what it was measured at counts.
    """
    tolerance = context.tolerance(known.name, known.unit, known.spread)
    if known.form == "class" or tolerance == 0.0:
        return known.competent
    return power_at(known, tolerance) >= NEEDED_POWER


def _ask(pairs: Sequence[Pair], context: CheckContext) -> Mapping[str, Answers]:
    """Answers about all synthetic images, then about all refined ones."""
    assert context.probe is not None
    boxes = [regions(pair.labels) if context.probe.by_object else {} for pair in pairs]
    keys = [pair.sample.key for pair in pairs]
    images = [pair.synthetic for pair in pairs] + [pair.refined for pair in pairs]
    return context.probe.ask(keys + keys, images, boxes + boxes)


@dataclass(frozen=True)
class _Read:
    """What was read of R labels: before and after (R, D); change: between them, error: from the label, (R,).

    doubt: (R,) how far the networks disagree, on the one or the other.
    """

    before: Array
    after: Array
    change: Array
    error: Array
    doubt: Array


@dataclass(frozen=True)
class _Limits:
    """The tolerance, and what looks alone change an answer by: of 95% of images, and of all but the false alarms."""

    tolerance: float
    usual: float
    alarm: float


def _judge(
    known: ProbedLabel, answers: Answers, own: Sequence[Mapping[Place, Label]], context: CheckContext
) -> dict[tuple[int, Place], Finding]:
    """Findings of all labels of one name, by pair and place."""
    values = answers.values.astype(np.float64)
    is_before = answers.owners < len(own)
    owners, items = answers.owners[is_before].tolist(), answers.items[is_before].tolist()
    places = [(i, (known.name, item)) for i, item in zip(owners, items, strict=True)]
    there = [row for row, (i, place) in enumerate(places) if place in own[i]]
    if not there:
        return {}
    labels = [own[places[row][0]][places[row][1]] for row in there]
    both = [values[chosen][there] for chosen in (is_before, ~is_before)]
    doubt = np.maximum(*(doubts(known.form, one) for one in both))
    before, after = (one.mean(axis=1) for one in both)
    read = _Read(before, after, changes(known.form, before, after), _errors(known, labels, after), doubt)
    decide = {"class": _judge_class, "region": _judge_region}.get(known.form, _judge_measure)
    tolerance = context.tolerance(known.name, known.unit, known.spread)
    limits = _Limits(tolerance, _bound(known, 0.95), _bound(known, 1.0 - context.false_alarms))
    found = [decide(known, label, read, row, limits) for row, label in enumerate(labels)]
    return {places[row]: finding for row, finding in zip(there, found, strict=True)}


def _errors(known: ProbedLabel, labels: Sequence[Label], after: Array) -> Array:
    """How far the answers about the refined images are from the labels; 0 for what is compared in another way."""
    if known.form in ("class", "region"):
        return np.zeros(len(labels))
    rows = [np.ravel(label.value).astype(np.float64) for label in labels]
    if len({len(row) for row in rows}) > 1:
        return np.full(len(labels), np.nan)
    truth = as_answer(known.form, np.stack(rows))
    return changes(known.form, truth, after) if truth.shape == after.shape else np.full(len(labels), np.nan)


def _judge_measure(known: ProbedLabel, label: Label, read: _Read, row: int, limits: _Limits) -> Finding:
    """px, degrees and numbers."""
    drift, error = float(read.change[row]), float(read.error[row])
    if not np.isfinite(drift) or not np.isfinite(error):
        return _finding(known, label, "abstain", "the probe's answer cannot be compared with the label")
    if read.doubt[row] > known.details.get("doubt", np.inf):
        return _finding(known, label, "abstain", "the probe's networks disagree")
    tolerance, lower, upper = limits.tolerance, max(0.0, drift - limits.alarm), drift + limits.usual
    bounds = (round(drift, 4), round(lower, 4), round(upper, 4))
    shift, iou = _shift(known, read, row)
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


def _judge_class(known: ProbedLabel, label: Label, read: _Read, row: int, limits: _Limits) -> Finding:
    """A class by its flip: surely the label's before, surely another one after."""
    sure = float(known.details.get("sure", 1.0))
    was, now = int(read.before[row].argmax()), int(read.after[row].argmax())
    certain_before, certain_after = read.before[row, was] >= sure, read.after[row, now] >= sure
    if not certain_before:
        return _finding(known, label, "abstain", "the probe is unsure of it on the source")
    if known.classes[was] != label.text:
        return _finding(known, label, "abstain", f"the probe reads {known.classes[was]} on the source")
    if was == now and read.after[row, now] >= 0.5:
        return _finding(known, label, "pass", "", (0.0, 0.0, 0.0))
    if was != now and certain_after:
        verdict: Verdict = "fail" if limits.tolerance < 1.0 else "pass"
        return _finding(known, label, verdict, f"looks like {known.classes[now]}", (1.0, 1.0, 1.0))
    reason = f"the probe is unsure between {known.classes[was]} and others on the refined image"
    return _finding(known, label, "abstain", reason, (float(was != now), 0.0, 1.0))


def _judge_region(known: ProbedLabel, label: Label, read: _Read, row: int, limits: _Limits) -> Finding:
    """A mask by the IoU of what the probe sees before and after."""
    if (read.before[row] > 0.5).sum() < MIN_CELLS:
        return _finding(known, label, "abstain", "the probe does not see enough of it on the source")
    return _judge_measure(known, label, read, row, limits)


def _shift(known: ProbedLabel, read: _Read, row: int) -> tuple[tuple[float, float] | None, float | None]:
    """Signed move in px of a point or of a box's middle; IoU of a box or a mask before and after."""
    before, after = read.before[row], read.after[row]
    if known.form == "region":
        return None, round(1.0 - float(read.change[row]), 4)
    if known.form not in ("point", "edges"):
        return None, None
    dx, dy = (after - before).reshape(-1, 2).mean(axis=0).tolist()
    iou = round(_box_iou(before, after), 4) if known.form == "edges" else None
    return (round(dx, 3), round(dy, 3)), iou


def _box_iou(first: Array, second: Array) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.clip(sides, 0.0, None)))
    areas = [float(np.prod(np.clip(box[2:] - box[:2], 0.0, None))) for box in (first, second)]
    return shared / max(sum(areas) - shared, 1e-9)


def _bound(known: ProbedLabel, share: float) -> float:
    """The change that this share of unmoved labels stays below: the measured share that is the next larger, or last."""
    shares = sorted((float(key), value) for key, value in known.bounds.items())
    return next((value for key, value in shares if key >= share - 1e-9), shares[-1][1] if shares else np.inf)


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
