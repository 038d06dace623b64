"""What a label probe reads off both images of each pair, label by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refinery.checks._answers import as_answer, changes, doubts
from refinery.checks._context import CheckContext
from refinery.checks._prober import Answers, Place, ProbedLabel
from refinery.regions import regions
from refinery.sample import Label, Pair

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """What was read of R labels of one name.

    owners: index of the pair of each. before, after: (R, D). change: between them, error: from the label, doubt: how
    far the networks disagree, on the one or the other; (R,).
    """

    labels: tuple[Label, ...]
    owners: tuple[int, ...]
    places: tuple[Place, ...]
    before: Array = field(repr=False)
    after: Array = field(repr=False)
    change: Array = field(repr=False)
    error: Array = field(repr=False)
    doubt: Array = field(repr=False)


def by_place(pair: Pair, known: Mapping[str, ProbedLabel]) -> dict[Place, Label]:
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


def ask(pairs: Sequence[Pair], context: CheckContext) -> Mapping[str, Answers]:
    """Answers about all synthetic images, then about all refined ones."""
    assert context.probe is not None
    boxes = [regions(pair.labels) if context.probe.by_object else {} for pair in pairs]
    keys = [pair.sample.origin.key for pair in pairs]
    images = [pair.synthetic for pair in pairs] + [pair.refined for pair in pairs]
    return context.probe.ask(keys + keys, images, boxes + boxes)


def read(known: ProbedLabel, answers: Answers, own: Sequence[Mapping[Place, Label]]) -> Reading | None:
    """What `ask` answers of the labels of one name; None where no pair has one. own: labels of each pair by place."""
    values = answers.values.astype(np.float64)
    is_before = answers.owners < len(own)
    owners, items = answers.owners[is_before].tolist(), answers.items[is_before].tolist()
    there = [row for row, (i, item) in enumerate(zip(owners, items, strict=True)) if (known.name, item) in own[i]]
    if not there:
        return None
    chosen, places = tuple(owners[row] for row in there), tuple((known.name, items[row]) for row in there)
    labels = tuple(own[i][place] for i, place in zip(chosen, places, strict=True))
    both = [values[side][there] for side in (is_before, ~is_before)]
    doubt = np.maximum(*(doubts(known.form, one) for one in both))
    before, after = (one.mean(axis=1) for one in both)
    change = changes(known.form, before, after)
    return Reading(labels, chosen, places, before, after, change, _errors(known, labels, after), doubt)


def _errors(known: ProbedLabel, labels: Sequence[Label], after: Array) -> Array:
    """How far the answers about the refined images are from the labels; 0 for what is compared in another way."""
    if known.form in ("class", "region"):
        return np.zeros(len(labels))
    rows = [np.ravel(label.value).astype(np.float64) for label in labels]
    if len({len(row) for row in rows}) > 1:
        return np.full(len(labels), np.nan)
    truth = as_answer(known.form, np.stack(rows))
    return changes(known.form, truth, after) if truth.shape == after.shape else np.full(len(labels), np.nan)


def moved_by(known: ProbedLabel, seen: Reading, row: int) -> tuple[tuple[float, float] | None, float | None]:
    """Signed move in px of a point or of a box's middle; IoU of a box or a mask before and after."""
    before, after = seen.before[row], seen.after[row]
    if known.form == "region":
        return None, round(1.0 - float(seen.change[row]), 4)
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
