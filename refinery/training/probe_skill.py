"""How good a probe is at each label, from its answers about images that its networks never saw.

Null: the images in other looks. Positives: what was moved by a known distance; for what cannot be moved, another image
whose label differs, shown in place of the first. A change counts as found when it is larger than 99% of those in the
null: false alarms are 1% then. A probe is competent at a label when it finds 80% of the changes that are as large as
the tolerance; answers on which its networks disagree are not trusted, and do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks import CheckContext
from refinery.checks._answers import changes
from refinery.checks._prober import NEEDED_POWER, ProbedLabel, power_at
from refinery.checks._reach import digits_of
from refinery.runtime.probe_answers import Part
from refinery.training.probe_trials import Read, Seen

SHARES = (0.5, 0.9, 0.95, 0.99)
TRUSTED = 0.95
"""Share of the answers in other looks that are trusted: of the others the networks disagree most, and they abstain."""

FALSE_ALARMS = 0.01
MIN_NULL, MIN_PAIRS = 50, 30
PERMUTATIONS = 24
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Of the tolerance: sizes of change at which power is measured, each up to a quarter more, of what cannot be moved."""

SURE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Least probabilities of a class's answer that are tried."""

SURER = (*SURE, 0.995, 0.998, 0.999, 0.9999, 0.99999)
"""Those at which it is measured how many exchanges are noticed, for refiners whose looks demand more."""

REACHED = 0.95
"""Share of the moves of one size for which it is measured how much they change the answer at least."""

MIN_CELLS = 8
Array = NDArray[np.float64]


def judge_skill(part: Part, seen: Sequence[Seen], context: CheckContext, seed: int) -> ProbedLabel:
    """What is known about one label. seen: of each fold. seed: of the pairs of images that are exchanged."""
    usable = [_known(one) & _present(one) if part.form == "region" else _known(one) for one in seen]
    if sum(int(use.sum()) for use in usable) < MIN_NULL:
        return _named(part, reason=f"too few labelled images to measure the probe: it needs {MIN_NULL}")
    rng = np.random.default_rng(seed)
    if part.form == "class":
        return _judge_class(part, seen, rng)
    pairs = list(zip(seen, usable, strict=True))
    gate = float(np.quantile(np.concatenate([x.doubts[use] for one, use in pairs for x in one.looks]), TRUSTED))
    null = np.concatenate([_changes(part, one.base, look, gate)[use] for one, use in pairs for look in one.looks])
    errors = np.concatenate([changes(part.form, one.truth, one.base.values)[use] for one, use in pairs])
    covered = float(np.isfinite(null).mean()) if len(null) else 0.0
    null, errors = null[np.isfinite(null)], errors[np.isfinite(errors)]
    if len(null) < MIN_NULL:
        return _named(part, reason="the probe's networks disagree about almost every image")
    bounds = _quantiles(null)
    tolerance = context.tolerance(part.name, part.unit, part.spread)
    if part.form == "region":
        moves = _moved_masks(part, seen, tolerance, gate)
    elif part.form in ("point", "edges"):
        moves = _moves(part, seen, gate)
    else:
        moves = _exchanges(part, seen, tolerance, gate, rng)
    trusted = [(size, found[np.isfinite(found)]) for size, found in moves]
    power = tuple((size, round(float((found > bounds["0.99"]).mean()), 4)) for size, found in trusted if len(found))
    details = {"doubt": float(f"{gate:.5g}"), "covered": round(covered, 4), "reach": _reach(part, trusted)}
    label = replace(_named(part), bounds=bounds, errors=_quantiles(errors), power=power, details=details)
    return with_tolerance(label, tolerance)


def with_tolerance(label: ProbedLabel, tolerance: float) -> ProbedLabel:
    """The same label, competent or not at this tolerance."""
    share = power_at(label, tolerance)
    if share >= NEEDED_POWER:
        return replace(label, competent=True, reason="")
    unit = "" if label.unit == "units" else f" {label.unit}"
    if not label.power:
        return replace(label, competent=False, reason=f"no two images differ by {tolerance:.3g}{unit} or more")
    reason = (
        f"the probe's own error is {label.errors['0.95']:.2g}{unit}, looks alone change its answer by up to "
        f"{label.bounds['0.99']:.2g}{unit}; tolerance {tolerance:.3g}{unit}"
    )
    return replace(label, competent=False, reason=reason)


def weaker(first: ProbedLabel, second: ProbedLabel) -> ProbedLabel:
    """One label of several items: known no better than the worst of them."""
    worst = second if first.competent and not second.competent else first
    bounds, errors = (
        {share: max(one[share], other[share]) for share in one if share in other}
        for one, other in ((first.bounds, second.bounds), (first.errors, second.errors))
    )
    sizes = dict(second.power)
    power = tuple((size, min(share, sizes[size])) for size, share in first.power if size in sizes)
    details = {
        name: _weaker_detail(name, first.details[name], own)
        for name, own in second.details.items()
        if name in first.details
    }
    classes = tuple(dict.fromkeys((*first.classes, *second.classes))) if first.form == "region" else first.classes
    return replace(worst, bounds=bounds, errors=errors, power=power, classes=classes, details=details)


def _weaker_detail(name: str, first: Any, second: Any) -> Any:
    """The more cautious of two: of tables row by row, where both have one; of all else the lesser, but for "sure"."""
    if name == "sure":
        return max(first, second)
    if not isinstance(first, list):
        return min(first, second)
    rows = {row[0]: row[1:] for row in second}
    return [[size, *map(min, own, rows[size])] for size, *own in first if size in rows]


def smallest_found(label: ProbedLabel, share: float = 0.9) -> float | None:
    """The smallest measured change that is found this often; None when none is."""
    return next((size for size, found in label.power if found >= share), None)


def _judge_class(part: Part, seen: Sequence[Seen], rng: np.random.Generator) -> ProbedLabel:
    """The least probability at which looks alone flip 1% of the answers, and how many exchanges are noticed then."""
    base = np.concatenate([one.base.values[_known(one)] for one in seen for _ in one.looks])
    look = np.concatenate([look.values[_known(one)] for one in seen for look in one.looks])
    truth = np.concatenate([one.truth[_known(one)] for one in seen])
    own = np.concatenate([one.base.values[_known(one)] for one in seen])
    pairs = [_pairs(one, rng) for one in seen]
    before = np.concatenate([one.base.values[i] for one, (i, _, _) in zip(seen, pairs, strict=True)])
    after = np.concatenate([one.looks[0].values[j] for one, (_, j, _) in zip(seen, pairs, strict=True)])
    differ = np.concatenate(
        [(changes("class", one.truth[i], one.truth[j]) > 0) for one, (i, j, _) in zip(seen, pairs, strict=True)]
    )
    wrong = float((own.argmax(axis=1) != truth.argmax(axis=1)).mean())
    for sure in SURE:
        alarms = float(_flipped(base, look, sure).mean())
        if alarms <= FALSE_ALARMS:
            break
    share = float(_flipped(before[differ], after[differ], sure).mean()) if differ.any() else 0.0
    covered = float(((own.max(axis=1) >= sure) & (own.argmax(axis=1) == truth.argmax(axis=1))).mean())
    found = [
        [round(float(digits_of(np.array(least))), 4), _flipped(before[differ], after[differ], sure, least).mean()]
        for least in SURER
        if differ.any() and least >= sure
    ]
    label = replace(
        _named(part),
        bounds={"0.99": round(alarms, 4)},
        errors={"wrong": round(wrong, 4)},
        power=((1.0, round(share, 4)),),
        details={"sure": sure, "covered": round(covered, 4), "found": [[s, round(float(x), 4)] for s, x in found]},
    )
    if share >= NEEDED_POWER and alarms <= FALSE_ALARMS:
        return replace(label, competent=True)
    reason = f"the probe reads {wrong:.0%} of the synthetic images wrongly and notices {share:.0%} of exchanged ones"
    return replace(label, reason=reason)


def _flipped(before: Array, after: Array, sure: float, surer: float | None = None) -> NDArray[np.bool_]:
    """Whether another class was read off: surely before, and surely after, or as surely as `surer` says."""
    certain = (before.max(axis=1) >= sure) & (after.max(axis=1) >= (sure if surer is None else surer))
    return np.asarray(certain & (before.argmax(axis=1) != after.argmax(axis=1)))


def _changes(part: Part, before: Read, after: Read, gate: float) -> Array:
    """Changes between answers (N,), NaN where the networks disagree by more than `gate` on either."""
    trusted = np.maximum(before.doubts, after.doubts) <= gate
    return np.asarray(np.where(trusted, changes(part.form, before.values, after.values), np.nan))


def _moves(part: Part, seen: Sequence[Seen], gate: float) -> list[tuple[float, Array]]:
    """Change of the answers by size of the move, in px."""
    sizes = sorted(set.intersection(*(set(one.moved) for one in seen)))
    return [
        (px, np.concatenate([_changes(part, one.base, one.moved[px], gate)[_known(one)] for one in seen]))
        for px in sizes
    ]


def _exchanges(
    part: Part, seen: Sequence[Seen], tolerance: float, gate: float, rng: np.random.Generator
) -> list[tuple[float, Array]]:
    """Change of the answers by how far the labels of exchanged images differ."""
    true: list[Array] = []
    found: list[Array] = []
    for one in seen:
        first, second, look = _pairs(one, rng)
        true.append(changes(part.form, one.truth[first], one.truth[second]))
        values = np.stack([x.values for x in one.looks])[look, second]
        doubts = np.stack([x.doubts for x in one.looks])[look, second]
        before = Read(one.base.values[first], one.base.doubts[first])
        found.append(_changes(part, before, Read(values, doubts), gate))
    return _by_size(np.concatenate(true), np.concatenate(found), tolerance)


def _moved_masks(part: Part, seen: Sequence[Seen], tolerance: float, gate: float) -> list[tuple[float, Array]]:
    """Change of the answers by how much of the mask a move changed."""
    known = [(one, px, _known(one) & _present(one)) for one in seen for px in one.moved]
    if not known:
        return []
    true = [changes(part.form, one.truth, one.moved_truth[px])[chosen] for one, px, chosen in known]
    found = [_changes(part, one.base, one.moved[px], gate)[chosen] for one, px, chosen in known]
    return _by_size(np.concatenate(true), np.concatenate(found), tolerance)


def _by_size(true: Array, found: Array, tolerance: float) -> list[tuple[float, Array]]:
    """Changes that were found by true ones, in multiples of the tolerance, where there are enough."""
    sizes = [multiple * tolerance for multiple in MULTIPLES]
    chosen = [(size, found[(true >= size) & (true < 1.25 * size)]) for size in sizes]
    return [(round(size, 6), changed) for size, changed in chosen if len(changed) >= MIN_PAIRS]


def _reach(part: Part, moves: Sequence[tuple[float, Array]]) -> list[list[float]]:
    """[size, the change that 95% of such moves cause at least], where there are enough of them.

    size: of changes that were collected up to a quarter more than theirs, the middle.
    """
    middle = 1.0 if part.form in ("point", "edges") else 1.125
    return [
        [round(middle * size, 6), float(f"{np.quantile(found, 1 - REACHED):.5g}")]
        for size, found in moves
        if len(found) >= MIN_PAIRS
    ]


def _present(seen: Seen) -> NDArray[np.bool_]:
    """Where a mask has at least the area that can be compared."""
    return np.asarray((seen.truth > 0.5).sum(axis=1) >= MIN_CELLS)


def _pairs(seen: Seen, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Indices of two different images each whose label is known, and which look the second one has."""
    known = np.flatnonzero(_known(seen))
    if len(known) < 2:
        return (np.zeros(0, np.intp),) * 3
    orders = [rng.permutation(known) for _ in range(PERMUTATIONS)]
    first, second = np.concatenate(orders), np.concatenate([np.roll(order, 1) for order in orders])
    return first, second, rng.integers(0, len(seen.looks), len(first))


def _known(seen: Seen) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(seen.truth).all(axis=1) & np.isfinite(seen.base.values).all(axis=1))


def _quantiles(values: Array) -> dict[str, float]:
    return {f"{share:g}": float(f"{np.quantile(values, share, method='higher'):.5g}") for share in SHARES}


def _named(part: Part, **changed: Any) -> ProbedLabel:
    return ProbedLabel(part.name, part.type, part.unit, part.form, part.classes, part.spread, **changed)
