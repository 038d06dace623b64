"""Edits that move labels, and controls that do not: what to do, by how much, and which labels it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from battery._kind import Disc, Kind
from battery._pixels import Image, Plane, blurred, smooth_noise, sub_pixel_grid
from refinery.sample import Label

NOTHING = "nothing"
WHOLE = "*"
OBJECT = "object"


class Touched(NamedTuple):
    """A label that an edit made untrue.

    name: "*" for the sample as a whole. amount: how far, in `unit`. iou: of a box or mask with what it was before; 1
    for other labels.
    """

    name: str
    item: int
    amount: float
    unit: str
    iou: float = 1.0


@dataclass(frozen=True)
class Edit:
    """An edit of the battery.

    how: name in `Kind.edits`, or one of FLOWS, OCCLUDE, SAMPLE_EDITS.
    amounts: at severity mild, middle, heavy.
    noticed_by: OBJECT: one failing label of the object is enough; WHOLE: any finding of the sample; NOTHING: a control.
    bar: true-positive rate wanted at the middle severity; None where none is asked.
    """

    how: str
    amounts: tuple[float, float, float]
    noticed_by: str
    bar: float | None = None


def _shifts(how: str, noticed_by: str, bars: Mapping[float, float]) -> dict[str, Edit]:
    lengths = (0.5, 1.0, 2.0, 3.0, 5.0)
    return {f"{how}_{px:g}px": Edit(how, (px, px, px), noticed_by, bars.get(px)) for px in lengths}


EDITS: Mapping[str, Edit] = {
    **_shifts("shift", OBJECT, {1.0: 0.80, 2.0: 0.95}),
    **_shifts("image_shift", WHOLE, {}),
    "remove": Edit("remove", (1, 1, 1), OBJECT, 0.95),
    "occlude": Edit("occlude", (0.25, 0.5, 1.0), OBJECT, 0.85),
    "add": Edit("add", (1, 1, 1), WHOLE, 0.75),
    "class": Edit("class", (1, 1, 1), OBJECT, 0.80),
    "colour": Edit("colour", (1, 1, 1), OBJECT, 0.80),
    "scale": Edit("scale", (2, 5, 10), OBJECT),
    "rotate": Edit("rotate", (2, 5, 10), OBJECT),
    "gaze": Edit("gaze", (2, 5, 10), OBJECT),
    "warp": Edit("warp", (1, 2, 4), WHOLE),
    "resize_half_pixel": Edit("resize_half_pixel", (0.5, 0.5, 0.5), WHOLE),
    "mirror": Edit("mirror", (1, 1, 1), WHOLE, 0.99),
    "half_turn": Edit("half_turn", (1, 1, 1), WHOLE),
    "wrong_pair": Edit("wrong_pair", (1, 1, 1), WHOLE),
    "background": Edit("background", (1, 2, 3), NOTHING),
}


def image_shift(kind: Kind, amount: float, rng: np.random.Generator) -> Image:
    """Flow (H * S, W * S, 2) px: everything moves by `amount` px in one random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    height, width = kind.size_hw
    flow = np.array([np.cos(angle), np.sin(angle)], np.float32) * np.float32(amount)
    return np.broadcast_to(flow, (height * kind.per_pixel, width * kind.per_pixel, 2))


def warp(kind: Kind, amount: float, rng: np.random.Generator) -> Image:
    """Smooth flow of at most `amount` px that varies over a third of the frame."""
    height, width = (side * kind.per_pixel for side in kind.size_hw)
    flow = smooth_noise(rng, (height, width), max(height, width) / 3, 2)
    coarse = blurred(flow[:: kind.per_pixel, :: kind.per_pixel], max(kind.size_hw) / 16)
    flow = coarse.repeat(kind.per_pixel, axis=0).repeat(kind.per_pixel, axis=1)
    return np.asarray(flow * (amount / float(np.hypot(flow[..., 0], flow[..., 1]).max())), dtype=np.float32)


def resize_half_pixel(kind: Kind, amount: float, rng: np.random.Generator) -> Image:  # noqa: ARG001
    """A resize that takes corners for pixel centres: the flow grows from -0.5 to 0.5 px across the frame."""
    x, y = sub_pixel_grid(kind.size_hw, kind.per_pixel)
    height, width = kind.size_hw
    return np.stack([amount * (2 * (x + 0.5) / width - 1), amount * (2 * (y + 0.5) / height - 1)], axis=-1)


FLOWS: Mapping[str, Callable[[Kind, float, np.random.Generator], Image]] = {
    "image_shift": image_shift,
    "warp": warp,
    "resize_half_pixel": resize_half_pixel,
}
OCCLUDE = "occlude"
SAMPLE_EDITS: Mapping[str, Callable[[Image], Image]] = {
    "mirror": lambda image: image[:, ::-1],
    "half_turn": lambda image: image[::-1, ::-1],
    "wrong_pair": lambda image: image,
}


def applies(kind: Kind, name: str) -> bool:
    """True if this kind of scene can be edited so."""
    how = EDITS[name].how
    return how in kind.edits or how in FLOWS or how == OCCLUDE or how in SAMPLE_EDITS


def occluded(fine: Image, disc: Disc, share: float, per_pixel: int, rng: np.random.Generator) -> Image:
    """Something opaque and textured with a straight edge drawn over `share` of an object's disc, from one side.

    fine: (H * S, W * S, C) sub-pixels in [0, 1].
    """
    size = (fine.shape[0] // per_pixel, fine.shape[1] // per_pixel)
    x, y = sub_pixel_grid(size, per_pixel)
    angle = rng.uniform(0, 2 * np.pi)
    along = (x - disc.x) * np.cos(angle) + (y - disc.y) * np.sin(angle)
    across = (y - disc.y) * np.cos(angle) - (x - disc.x) * np.sin(angle)
    edge = disc.radius * _chord(share)
    reach = disc.radius * 1.25
    outside = np.maximum(np.maximum(along - edge, -reach - along), np.abs(across) - reach)
    cover = np.clip(0.5 - outside * per_pixel, 0, 1)[..., None]
    tone = rng.uniform(0.1, 0.9, fine.shape[2]).astype(np.float32)
    paint = tone + 0.06 * smooth_noise(rng, (fine.shape[0], fine.shape[1]), 3.0 * per_pixel)
    return np.asarray(fine * (1 - cover) + paint * cover, dtype=np.float32)


def _chord(share: float) -> float:
    """Where a straight edge has `share` of the unit disc on its lower side, from -1 to 1; 1.25 for all of it."""
    if share >= 1.0:
        return 1.25
    places = np.linspace(-1, 1, 401)
    below = (places * np.sqrt(1 - places**2) + np.arcsin(places)) / np.pi + 0.5
    return float(np.interp(share, below, places))


def touched_by_scene(kind: Kind, edit: Edit, before: Any, after: Any, index: int) -> tuple[Touched, ...]:
    """Labels that are not true of `after`: those whose value changed, or all of an object that is gone or covered.

    A control may change a label as well: lids that move have a contour.
    """
    if edit.noticed_by == WHOLE:
        return (Touched(WHOLE, 0, 1.0, ""),)
    if edit.noticed_by == OBJECT and edit.how in ("remove", OCCLUDE, "class", "colour"):
        return tuple(Touched(name, item, 1.0, "flip") for name, item in _of_object(kind, edit, before, index))
    pairs = zip(kind.labels(before), kind.labels(after), strict=True)
    moves = [Touched(old.name, old.item, *distance(old, new), overlap(old, new)) for old, new in pairs]
    return tuple(move for move in moves if move.amount > 1e-6)


def _of_object(kind: Kind, edit: Edit, before: Any, index: int) -> Sequence[tuple[str, int]]:
    """Labels of the object that this edit speaks of: a class or a colour moves nothing."""
    every = kind.labels_of(before, index)
    if edit.how in ("remove", OCCLUDE):
        return every
    wanted = {"class": ("class", "text"), "colour": ("colour_class",)}[edit.how]
    named = [(name, item) for name, item in every if any(word in name for word in wanted)]
    return [(name, item) for name, item in named if edit.how == "colour" or "colour" not in name] or every


def distance(old: Label, new: Label) -> tuple[float, str]:
    """How far one label is from another of its type, and in which unit.

    px: of a keypoint; mean over a polygon's vertices; largest over a box's corners. iou: 1 - IoU of a mask. deg:
    between vectors of three, or (yaw, pitch) in rad. flip: 0 or 1.
    """
    if old.type in ("class", "text"):
        return float(old.text != new.text), "flip"
    if old.type in ("instance_mask", "semantic_mask"):
        union = np.count_nonzero(old.value | new.value)
        return 1.0 - np.count_nonzero(old.value & new.value) / max(int(union), 1), "iou"
    if old.type == "vector":
        cosine = float(np.dot(_direction(old.value), _direction(new.value)))
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), "deg"
    difference = np.abs(new.value - old.value)
    if old.type == "polygon":
        return float(np.hypot(*difference.T).mean()), "px"
    if old.type == "keypoint":
        return float(np.hypot(*difference)), "px"
    if old.type == "box":
        return float(np.hypot(*difference.reshape(2, 2).T).max()), "px"
    return float(difference.max()), old.unit


def overlap(old: Label, new: Label) -> float:
    """Intersection over union of two boxes or masks; 1 for labels without an area."""
    if old.type in ("instance_mask", "semantic_mask"):
        return 1.0 - distance(old, new)[0]
    if old.type != "box":
        return 1.0
    low, high = np.maximum(old.value[:2], new.value[:2]), np.minimum(old.value[2:], new.value[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(label.value[2:] - label.value[:2])) for label in (old, new)]
    return common / (sum(areas) - common)


def _direction(value: Any) -> Plane:
    """Unit vector of three numbers, or of (yaw, pitch) in rad."""
    if len(value) == 2:
        yaw, pitch = value
        value = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    return np.asarray(value / np.linalg.norm(value))
