"""What a probe answers about held-out images as they are, in other looks, and with what is in them moved.

Other looks: random appearance, or what the refiner did to other images. Moves: the whole image, or the labelled thing
in it, by a known distance, and then another look.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refinery.checks._answers import doubts
from refinery.runtime.label_probe import Runner
from refinery.runtime.probe_answers import EDGES, Part, half_size, read_part
from refinery.training.appearance import augment
from refinery.training.label_edits import shift_all, shift_disc, transplant
from refinery.training.probe_rows import Rows, batch_of
from refinery.training.probe_targets import ProbePlan

LOOKS = 2
LOOK_STRENGTH = 0.5
"""Of the appearance changes, where no refiner is there to take them from."""

MOVES_PX = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
SMALLEST_ON_CANVAS_PX, LARGEST_ON_CANVAS_PX = 0.2, 4.0
AT_ONCE = 256
MOVABLE = ("point", "edges", "region")
Array = NDArray[np.float64]
_Discs = tuple[Tensor, Tensor]
"""Centres (N, 2) and radii (N,)."""


@dataclass(frozen=True)
class Read:
    """Answers (N, D), the mean of the networks', and how far the networks are from it (N,)."""

    values: Array = field(repr=False)
    doubts: Array = field(repr=False)


@dataclass(frozen=True)
class Seen:
    """Answers about one label of N held-out images, in the label's unit (px of the image).

    looks: nothing moved. truth: (N, D), as answers are read; NaN where the label is unknown. moved: by distance in px,
    for what can be moved. moved_truth: of masks, (N, D) by distance.
    """

    base: Read
    looks: tuple[Read, ...]
    truth: Array = field(repr=False)
    moved: dict[float, Read] = field(default_factory=dict)
    moved_truth: dict[float, Array] = field(default_factory=dict, repr=False)


def run_trials(
    plan: ProbePlan,
    rows: Rows,
    chosen: NDArray[np.intp],
    run: Runner,
    generator: torch.Generator,
    refined: NDArray[np.float16] | None = None,
) -> list[Seen]:
    """Ask the networks of one fold about `chosen` rows, which they never saw; one `Seen` for each part of the plan.

    refined: (R, C, h, w), all rows as the refiner left them.
    """
    images, scale = batch_of(rows, chosen), rows.scale[chosen]

    def answers(batch: Tensor) -> list[Read]:
        outputs = np.concatenate([run(part.numpy()) for part in torch.split(batch, AT_ONCE)])
        return [_read(plan, part, outputs, scale) for part in plan.parts]

    def look(batch: Tensor) -> Tensor:
        if refined is None:
            return augment(batch, generator, LOOK_STRENGTH)
        steps = torch.randint(1, max(2, len(chosen)), (len(chosen),), generator=generator).numpy()
        donors = chosen[(np.arange(len(chosen)) + steps) % len(chosen)]
        done = torch.from_numpy(refined[donors].astype(np.float32))
        return transplant(batch, batch_of(rows, donors), done, generator)

    base = answers(images)
    looks = [answers(look(images)) for _ in range(LOOKS)]
    truths = [_truth(part, p, rows, chosen) for p, part in enumerate(plan.parts)]
    moved: dict[float, list[Read]] = {}
    moved_truths: dict[float, list[Array]] = {}
    things = _things(plan, rows, chosen)
    for move_px in _moves(plan, scale):
        move = _random_moves(torch.from_numpy(move_px * scale).float(), generator)
        moved[move_px] = answers(look(_moved(images, move, things)))
        moved_truths[move_px] = [
            _moved_map(plan, part, truth, move, things) for part, truth in zip(plan.parts, truths, strict=True)
        ]
    return [
        Seen(
            base[p],
            tuple(one[p] for one in looks),
            truths[p],
            {px: found[p] for px, found in moved.items()} if part.form in MOVABLE else {},
            {px: found[p] for px, found in moved_truths.items()} if part.form == "region" else {},
        )
        for p, part in enumerate(plan.parts)
    ]


def _read(plan: ProbePlan, part: Part, outputs: NDArray[np.float32], scale: Array) -> Read:
    """Outputs (N, M, A) as answers about one label."""
    values = read_part(part, outputs, plan.canvas_hw, plan.regions, 1.0).astype(np.float64)
    values = _in_image_px(values, scale[:, None]) if part.form in ("point", "edges") else values
    return Read(values.mean(axis=1), doubts(part.form, values))


def _truth(part: Part, p: int, rows: Rows, chosen: NDArray[np.intp]) -> Array:
    """The label as answers are read: (N, D), of a class a 1 among zeros, NaN where unknown."""
    if part.form == "region":
        assert rows.targets.regions is not None
        inside = rows.targets.regions[torch.from_numpy(chosen)] == part.item + 1
        return inside.flatten(1).numpy().astype(np.float64)
    values = rows.targets.values[torch.from_numpy(chosen)][:, part.target_slice].numpy().astype(np.float64)
    known = rows.targets.known[torch.from_numpy(chosen), p].numpy()
    if part.form == "class":
        values = np.eye(len(part.classes))[values[:, 0].astype(np.intp)]
    elif part.form == "edges":
        values = values[:, EDGES]
    values = _in_image_px(values, rows.scale[chosen]) if part.form in ("point", "edges") else values
    return np.asarray(np.where(known[:, None], values, np.nan))


def _in_image_px(values: Array, scale: Array) -> Array:
    return np.asarray((values + 0.5) / scale[..., None] - 0.5)


def _moves(plan: ProbePlan, scale: Array) -> list[float]:
    """Distances in px of the image that are neither lost on the canvas nor leave it."""
    if not any(part.form in MOVABLE for part in plan.parts):
        return []
    middle = float(np.median(scale))
    return [px for px in MOVES_PX if SMALLEST_ON_CANVAS_PX <= px * middle <= LARGEST_ON_CANVAS_PX]


def _random_moves(length_px: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 2) of these lengths, in random directions."""
    angles = 2 * np.pi * torch.rand(len(length_px), generator=generator)
    return torch.stack([torch.cos(angles), torch.sin(angles)], 1) * length_px[:, None]


def _moved(images: Tensor, move_xy: Tensor, things: _Discs | None) -> Tensor:
    """Every other image moved as a whole, the others in the disc of what is labelled, if there is one."""
    if things is None:
        return shift_all(images, move_xy)
    moved = shift_disc(images, move_xy, *things)
    moved[::2] = shift_all(images[::2], move_xy[::2])
    return moved


def _moved_map(plan: ProbePlan, part: Part, truth: Array, move_xy: Tensor, things: _Discs | None) -> Array:
    """The truth of a mask after the move: its cells lie on every second px of the canvas."""
    if part.form != "region":
        return truth
    maps = torch.from_numpy(truth).float().reshape(-1, 1, *half_size(plan.canvas_hw))
    halved = None if things is None else (things[0] / 2, things[1] / 2)
    return _moved(maps, move_xy / 2, halved).flatten(1).numpy().astype(np.float64)


def _things(plan: ProbePlan, rows: Rows, chosen: NDArray[np.intp]) -> _Discs | None:
    """The disc that holds all points and boxes of each image, in px of the canvas; None when there are none."""
    least_px = max(4.0, max(plan.canvas_hw) / 8)
    values, known = rows.targets.values[torch.from_numpy(chosen)], rows.targets.known[torch.from_numpy(chosen)]
    placed = [(p, part) for p, part in enumerate(plan.parts) if part.form in ("point", "edges")]
    if not placed:
        return None
    points = torch.cat([values[:, part.target_slice].reshape(len(chosen), -1, 2) for _, part in placed], 1)
    valid = torch.cat([known[:, p : p + 1].expand(-1, part.targets // 2) for p, part in placed], 1)
    weight = valid.float()[..., None]
    centres = (points * weight).sum(1) / weight.sum(1).clamp(min=1)
    away = ((points - centres[:, None]).norm(dim=2) * weight[..., 0]).amax(1)
    extents = torch.from_numpy(rows.extents_px[chosen]).float()
    return centres, (away + extents + 1).clamp(min=least_px)
