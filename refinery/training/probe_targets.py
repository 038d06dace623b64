"""What a probe is to answer: a plan made from a dataset's labels, targets for its images, losses and drifts.

A probe's answer is one row an image: (x, y) px for each heat map, then the dense numbers, then logits of regions
(`networks/label_probe`). A `ProbePlan` says which of them belong to which label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from refinery.runtime.probe_answers import EDGES, Form, Part, as_direction, form_of, half_size
from refinery.runtime.probe_views import on_canvas
from refinery.sample import Label

MAX_PARTS = 48
MAX_ITEMS = 16
MAX_CLASSES = 512
POINT_LOSS_PX = 4.0
"""Errors of points count in units of this, so that they weigh about as much as standardised numbers and classes."""


@dataclass(frozen=True)
class ProbePlan:
    """Which answers a network gives.

    points: heat maps. dense: numbers. regions: of masks, background first; 0 when there are none. skipped: labels that
    are left out, one line each.
    """

    parts: tuple[Part, ...]
    points: int
    dense: int
    regions: int
    canvas_hw: tuple[int, int]
    skipped: tuple[str, ...] = ()

    def network_settings(self) -> dict[str, Any]:
        """For `networks.label_probe.build(channels, **settings)`."""
        return {"points": self.points, "dense": self.dense, "regions": self.regions, "canvas_hw": self.canvas_hw}


@dataclass(frozen=True)
class Targets:
    """What the answers should be, for N images and P parts.

    values: (N, V) float32, the parts' targets one after the other: two for each heat map (px), components of
    directions and numbers in their own unit, the index of a class. known: (N, P) bool. regions: (N, h, w) int64 index
    of the region at half the canvas, None without masks.
    """

    values: Tensor = field(repr=False)
    known: Tensor = field(repr=False)
    regions: Tensor | None = field(default=None, repr=False)

    def select(self, chosen: Tensor) -> Targets:
        """The same for a part of the images."""
        regions = None if self.regions is None else self.regions[chosen]
        return Targets(self.values[chosen], self.known[chosen], regions)


def plan_probe(
    labels: Sequence[Sequence[Label]], canvas_hw: tuple[int, int], forms: frozenset[Form] | None = None
) -> ProbePlan:
    """Everything in these labels that a network can answer about a whole image.

    labels: of each sample. forms: only these kinds of answers. Labels whose number varies from sample to sample, that
    are always the same, or that nothing is known to answer are in `skipped`, with the reason.
    """
    columns: dict[str, list[tuple[Label, ...]]] = {}
    for i, own in enumerate(labels):
        for label in own:
            column = columns.setdefault(label.name, [()] * len(labels))
            column[i] = (*column[i], label)
    found: list[Part] = []
    skipped: list[str] = []
    for name, column in columns.items():
        parts, reason = _plan_column(name, column)
        chosen = [part for part in parts if forms is None or part.form in forms]
        if len(found) + len(chosen) > MAX_PARTS:
            chosen, reason = [], f"{name}: more than {MAX_PARTS} labels in all"
        found += chosen
        skipped += [reason] if reason else []
    return _laid_out(found, canvas_hw, tuple(skipped))


def target_values(plan: ProbePlan, labels: Sequence[Sequence[Label]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The truth by the labels in px of the images themselves: values (N, V) and known (N, P), as in `Targets`."""
    values = np.zeros((len(labels), sum(part.targets for part in plan.parts)), np.float32)
    known = np.zeros((len(labels), len(plan.parts)), bool)
    for i, own in enumerate(labels):
        by_place = {(label.name, label.item): label for label in own}
        for p, part in enumerate(plan.parts):
            label = by_place.get((part.name, part.item))
            row = None if label is None else _target(part, label)
            if row is not None and np.isfinite(row).all():
                values[i, part.target_slice] = row
                known[i, p] = True
    return values, known


def place_points(
    plan: ProbePlan,
    values: NDArray[np.float32],
    known: NDArray[np.bool_],
    scale: NDArray[np.float64] | float,
    offset_xy: NDArray[np.float64],
    canvas_hw: tuple[int, int],
    whole: bool = True,
) -> Targets:
    """Targets for images that were scaled by `scale` (N,) or one number, then cut out at `offset_xy` (N, 2) px.

    Points outside the canvas by more than an eighth of it are not known. whole: whether the canvas holds all of the
    image; if not, only points, and boxes that lie inside, are known.
    """
    placed, still = values.copy(), known.copy()
    factor = np.broadcast_to(np.asarray(scale, np.float64), (len(values),))[:, None]
    size_xy = np.array([canvas_hw[1], canvas_hw[0]], np.float64)
    slack = size_xy / 8 if whole else np.zeros(2)
    for p, part in enumerate(plan.parts):
        if part.form not in ("point", "edges"):
            still[:, p] &= whole
            continue
        points = values[:, part.target_slice].reshape(len(values), -1, 2)
        moved = (points + 0.5) * factor[:, None] - 0.5 - offset_xy[:, None]
        placed[:, part.target_slice] = moved.reshape(len(values), -1)
        still[:, p] &= ((moved >= -0.5 - slack) & (moved <= size_xy - 0.5 + slack)).all(axis=(1, 2))
    return Targets(torch.from_numpy(placed), torch.from_numpy(still))


def region_targets(plan: ProbePlan, labels: Sequence[Sequence[Label]]) -> Tensor:
    """Index of the region in every second px of the canvas, 0 for none: (N, h, w) int64."""
    height, width = half_size(plan.canvas_hw)
    place = {part.classes[0]: part.item + 1 for part in plan.parts if part.form == "region"}
    found = np.zeros((len(labels), height, width), np.int64)
    for i, own in enumerate(labels):
        best = np.full((height, width), 0.5, np.float32)
        for label in own:
            index = place.get(label.text or str(label.item), 0) if label.type == "semantic_mask" else 0
            if index:
                cover = on_canvas(label.value.astype(np.float32)[None, :, :, None], plan.canvas_hw)[0, 0, ::2, ::2]
                found[i][cover >= best] = index
                best = np.maximum(best, cover)
    return torch.from_numpy(found)


def probe_loss(plan: ProbePlan, answers: Tensor, targets: Targets) -> Tensor:
    """Mean over the labels of how wrong the answers are; a scalar >= 0."""
    losses: list[Tensor] = []
    for p, part in enumerate(plan.parts):
        known = targets.known[:, p]
        if part.form == "region" or not bool(known.any()):
            continue
        own, truth = answers[known][:, part.answer_slice], targets.values[known][:, part.target_slice]
        losses.append(_loss(part, own, truth))
    if plan.regions and targets.regions is not None:
        logits = region_logits(plan, answers)
        losses.append(functional.cross_entropy(logits, targets.regions))
    return torch.stack(losses).mean() if losses else answers.sum() * 0.0


def probe_drift(plan: ProbePlan, first: Tensor, second: Tensor) -> Tensor:
    """How far each label moved between two batches of answers, differentiable: (B, A) and (B, A) to (B, P).

    Points and boxes (the corner that moved furthest) in px of the canvas; directions and angles in degrees; numbers in
    their own unit; classes as the probability that changed sides, 0 to 1; a region as 1 - IoU of probabilities.
    """
    return torch.stack([_drift(plan, part, first, second) for part in plan.parts], 1)


def region_logits(plan: ProbePlan, answers: Tensor) -> Tensor:
    """(B, R, h, w) at half the canvas, background first."""
    height, width = half_size(plan.canvas_hw)
    return answers[:, -plan.regions * height * width :].reshape(-1, plan.regions, height, width)


def _plan_column(name: str, column: list[tuple[Label, ...]]) -> tuple[list[Part], str]:
    """Parts for one label name over all samples, or why there are none."""
    present = [labels for labels in column if labels]
    kinds = {(label.type, label.unit, label.value.shape[:1]) for labels in present for label in labels}
    first = present[0][0]
    if first.type == "semantic_mask":
        texts = sorted({label.text or str(label.item) for labels in present for label in labels})
        if len(texts) > MAX_ITEMS:
            return [], f"{name}: {len(texts)} regions are too many for a probe"
        return [Part(name, "semantic_mask", "iou", "region", k, classes=(text,)) for k, text in enumerate(texts)], ""
    if len(kinds) > 1:
        return [], f"{name}: of several types or lengths"
    counts = {len(labels) for labels in present}
    if len(counts) > 1 or max(counts) > MAX_ITEMS:
        return [], f"{name}: its number varies from image to image"
    build = partial(_part, name, first)
    parts = [build(item, [labels[item] for labels in present]) for item in range(max(counts))]
    return [p for p in parts if isinstance(p, Part)], next((p for p in parts if isinstance(p, str)), "")


def _part(name: str, first: Label, item: int, labels: list[Label]) -> Part | str:
    """The answer for one label, or why there is none."""
    if first.type == "class":
        return _class_part(name, item, labels)
    if first.type in ("keypoint", "box"):
        form: Form = "point" if first.type == "keypoint" else "edges"
        values = np.stack([label.value for label in labels]).astype(np.float64)
        if not np.isfinite(values).all(axis=1).any():
            return f"{name}: no finite value"
        spread = float(np.nanstd(values, axis=0).max())
        part = Part(name, first.type, "px", form, item, spread=spread)
        return part if spread > 0 else f"{name}: the same in every image"
    if first.type not in ("number", "vector"):
        return f"{name}: no probe for a {first.type}"
    values = np.stack([np.ravel(label.value) for label in labels]).astype(np.float64)
    form = form_of(name, first.unit, values)
    unit = "deg" if form in ("direction", "radians", "degrees", "angles", "angles_radians") else first.unit or "units"
    shown = as_direction(form, values[np.isfinite(values).all(axis=1)])
    if not len(shown) or float(shown.std(axis=0).max()) < 1e-9:
        return f"{name}: the same in every image"
    centre, scale = shown.mean(axis=0), float(np.sqrt(shown.var(axis=0).mean()))
    spread = float(np.sqrt(shown.var(axis=0).sum()))
    return Part(name, first.type, unit, form, item, (), tuple(centre.tolist()), scale, spread)


def _class_part(name: str, item: int, labels: list[Label]) -> Part | str:
    classes = tuple(sorted({label.text for label in labels}))
    if len(classes) < 2:
        return f"{name}: the same in every image"
    if len(classes) > min(MAX_CLASSES, len(labels) // 4):
        return f"{name}: {len(classes):,} classes in {len(labels):,} images are too many to learn"
    return Part(name, "class", "flip", "class", item, classes)


def _laid_out(parts: list[Part], canvas_hw: tuple[int, int], skipped: tuple[str, ...]) -> ProbePlan:
    """Give each part its place in the answers: points first, then dense numbers, then regions."""
    ordered = sorted(parts, key=lambda part: {"point": 0, "edges": 0, "region": 2}.get(part.form, 1))
    placed: list[Part] = []
    answer = target = 0
    for part in ordered:
        placed.append(part.at(answer, target))
        answer, target = answer + part.answers, target + part.targets
    points = sum(part.answers // 2 for part in placed if part.form in ("point", "edges"))
    regions = sum(part.form == "region" for part in placed)
    dense = answer - 2 * points
    return ProbePlan(tuple(placed), points, dense, regions + 1 if regions else 0, canvas_hw, skipped)


def _target(part: Part, label: Label) -> NDArray[np.float64] | None:
    """One label as target values; None for what the probe cannot answer (a class it never saw, another length)."""
    if part.form == "class":
        return np.array([part.classes.index(label.text)], float) if label.text in part.classes else None
    if part.form == "region":
        return None
    value = np.ravel(label.value).astype(np.float64)
    if part.form == "edges":
        left, top, right, bottom = value.tolist()
        x, y = (left + right) / 2, (top + bottom) / 2
        return np.array([left, y, x, top, right, y, x, bottom])
    shown = value if part.form == "point" else as_direction(part.form, value[None])[0]
    return shown if len(shown) == part.targets else None


def _loss(part: Part, own: Tensor, truth: Tensor) -> Tensor:
    if part.form == "class":
        return functional.cross_entropy(own, truth[:, 0].long())
    if part.form in ("point", "edges"):
        return functional.smooth_l1_loss(own, truth) / POINT_LOSS_PX
    return functional.smooth_l1_loss(own, (truth - torch.tensor(part.centre)) / part.scale)


def _drift(plan: ProbePlan, part: Part, first: Tensor, second: Tensor) -> Tensor:
    if part.form == "region":
        before, after = (region_logits(plan, answers).softmax(1)[:, part.item + 1] for answers in (first, second))
        both = (before * after).sum((1, 2))
        return 1 - both / (before.sum((1, 2)) + after.sum((1, 2)) - both).clamp(min=1e-6)
    before, after = first[:, part.answer_slice], second[:, part.answer_slice]
    if part.form == "class":
        return (before.softmax(1) - after.softmax(1)).abs().sum(1) / 2
    if part.form == "point":
        return _length(after - before)
    if part.form == "edges":
        moved = (after - before)[:, EDGES].reshape(-1, 2, 2)
        return _length(moved).amax(1)
    centre = torch.tensor(part.centre, device=before.device)
    u, v = (centre + part.scale * answers for answers in (before, after))
    if part.form in ("number", "angles", "angles_radians"):
        return _length(v - u)
    u, v = functional.normalize(u, dim=1), functional.normalize(v, dim=1)
    return 2 * torch.rad2deg(torch.atan2(_length(u - v), _length(u + v)))


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length over the last axis, with a gradient at 0."""
    return vectors.square().sum(-1).add(1e-12).sqrt()
