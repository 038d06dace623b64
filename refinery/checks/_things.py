"""Labels that describe one thing share one motion: a coin's centre, box and mask; an iris' centre and contour.

A thing is what labels of one item and one prefix of names mark in one place. It is looked at along the outline that
the best of its labels gives, or all over its box where no label knows the outline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._outlines import OFFSETS_PX, POSITIONS, area_offsets
from refinery.regions import box_of
from refinery.sample import FloatArray, Label

GEOMETRIC: tuple[str, ...] = ("keypoint", "box", "polygon", "instance_mask", "semantic_mask")
IMAGE_LABEL = "image"
MIN_EXTENT_PX = 4.0
FAR_PX = 1e6
SAME_IOU = 0.75
"""Boxes of two labels that mark one thing overlap by this much."""

CENTRAL = 0.15
CENTRE_WORDS = frozenset(("center", "centre", "middle", "centroid"))
"""A bare point is the centre of a thing when it is called so and lies as near to its middle, as a share of its size.

A nose in the middle of a face is a thing of its own.
"""

CORNERS = 4
LEAST_SPANNED, LEAST_AROUND = 0.5, 0.5
"""Four bare points of one name are the corners of the thing that they go round: a convex figure over half of its box,
whose own box overlaps it by half (a turned one reaches further)."""

NEAR_PX = 1.0
"""An edge of another thing is seen about this far from where its label has it."""

LEAST_OWN = 0.3
"""Of a thing's points; where other things would explain more, all keep their say."""

MOST_OTHERS = 6
"""Things near one that are looked at: of hundreds of overlapping ones the nearest."""

_NEAR = np.arange(-2, 3)


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing of one image, as labels mark it.

    labels: all that it explains. points_xy (L, O, 2) px, normals (L, 2), is_area: see `_outlines`. outline (V, 2): the
    places of its edge, for others to know it by. label: the one that gave the outline.
    """

    label: Label
    labels: tuple[Label, ...]
    points_xy: FloatArray = field(repr=False)
    normals: FloatArray = field(repr=False)
    is_area: bool = False

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Middle of its points: (2,) px."""
        return np.asarray(self.points_xy.reshape(-1, 2).mean(axis=0), np.float64)

    @property
    def outline(self) -> FloatArray:
        """Its edge: (L, 2)."""
        return self.points_xy[:, OFFSETS_PX.index(0.0)]

    def shrunk(self, scale: int) -> Thing:
        """The same thing in an image made smaller by a scale."""
        if scale == 1:
            return self
        outline = (self.outline - (scale - 1) / 2) / scale
        if self.is_area:
            return replace(self, points_xy=((self.points_xy - (scale - 1) / 2) / scale).astype(np.float32))
        return replace(self, points_xy=_banded(outline, self.normals)[0])

    def contains(self, points_xy: NDArray[Any]) -> NDArray[np.bool_]:
        """Points (P, 2) that lie inside its outline."""
        if self.label.type in ("instance_mask", "semantic_mask"):
            mask = np.asarray(self.label.value, bool)
            x, y = np.rint(points_xy[:, 0]).astype(int), np.rint(points_xy[:, 1]).astype(int)
            inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
            return np.asarray(inside & mask[y.clip(0, mask.shape[0] - 1), x.clip(0, mask.shape[1] - 1)])
        start, side = self.outline, self._sides
        x, y = points_xy[:, :1], points_xy[:, 1:]
        crosses = (start[:, 1] > y) != (start[:, 1] + side[:, 1] > y)
        slope = side[:, 0] / np.where(side[:, 1] == 0, 1e-9, side[:, 1])
        return np.asarray((crosses & (x < (y - start[:, 1]) * slope + start[:, 0])).sum(axis=1) % 2 == 1)

    def distances(self, points_xy: NDArray[Any]) -> NDArray[np.float64]:
        """From points (P, 2) to the nearest side of its outline: (P,) px."""
        (side_x, side_y), (start_x, start_y) = self._sides.T, self.outline.T  # axes apart: sums over two are slow
        away_x, away_y = points_xy[:, :1] - start_x, points_xy[:, 1:] - start_y
        share = (away_x * side_x + away_y * side_y) / np.maximum(side_x**2 + side_y**2, 1e-9)
        np.clip(share, 0, 1, out=share)
        return np.asarray(np.sqrt(((away_x - share * side_x) ** 2 + (away_y - share * side_y) ** 2).min(axis=1)))

    @cached_property
    def _sides(self) -> FloatArray:
        """From each place of its outline to the next: (L, 2)."""
        return np.roll(self.outline, -1, axis=0) - self.outline


def things_of(labels: Sequence[Label], size_hw: tuple[int, int]) -> tuple[list[Thing], list[Label]]:
    """The things of one image, and the geometric labels that are too small or too odd to be looked at.

    An image without any geometric label is one thing, its frame.
    """
    geometric = [label for label in labels if label.type in GEOMETRIC]
    if not geometric:
        return [_thing(Label(IMAGE_LABEL, "box", np.zeros(0)), (), size_hw)], []
    usable = [label for label in geometric if not is_too_small(label)]
    groups: list[list[Label]] = []
    for label in sorted(usable, key=_rank):
        group = next((one for one in groups if _describe_one_thing(one[0], label)), None)
        if group is None:
            groups.append([label])
        else:
            group.append(label)
    groups = _with_corners(groups)
    refused = [label for label in geometric if all(label is not one for one in usable)]
    return [_thing(group[0], tuple(group), size_hw) for group in groups], refused


def own_share(things: Sequence[Thing]) -> FloatArray:
    """Of things of one image, 0 at the points where another's label explains what is seen, else 1: (T, L, O).

    Near the outline of another thing its edge is seen. A thing of which the larger part lies inside another's outline
    and some outside is seen through that one, as an iris between lids: nothing of it outside.
    """
    kept = np.ones((len(things), POSITIONS, len(OFFSETS_PX)), np.float32)
    if len(things) < 2:
        return kept
    points_of = np.stack([thing.points_xy.reshape(-1, 2) for thing in things])
    low, high = points_of.min(axis=1), points_of.max(axis=1)
    middle = (low + high) / 2
    has_outline = np.array([not thing.is_area for thing in things])
    for t, thing in enumerate(things):
        points = points_of[t]
        own = np.ones(len(points), np.float32)
        near = has_outline & (low[t] <= high).all(axis=1) & (low <= high[t]).all(axis=1)
        near[t] = False
        nearest = np.argsort(np.abs(middle - middle[t]).sum(axis=1) + np.where(near, 0.0, np.inf), kind="stable")
        for other in (things[k] for k in nearest[: min(MOST_OTHERS, int(near.sum()))].tolist()):
            own *= 1 - np.exp(-((other.distances(points) / NEAR_PX) ** 2)).astype(np.float32)
            inside = other.contains(points)
            on_outline = inside.reshape(POSITIONS, -1)[:, OFFSETS_PX.index(0.0)].mean()
            if 0.5 < on_outline < 1.0 and bool(other.contains(thing.centre[None])[0]):
                own *= inside
        if own.mean() >= LEAST_OWN:
            kept[t] = own.reshape(POSITIONS, -1)
    return kept


def default_radius_px(size_hw: tuple[int, int]) -> float:
    """Radius around a keypoint that does not say how large its thing is: 0.15 of the short side, at least 6 px."""
    return max(6.0, 0.15 * min(size_hw))


def _rank(label: Label) -> int:
    """The label that knows a thing's outline best comes first."""
    if label.type == "keypoint":
        return 2 if label.extent_px >= MIN_EXTENT_PX / 2 else 4
    return {"polygon": 0, "instance_mask": 1, "box": 3}.get(label.type, 5)


def _with_corners(groups: list[list[Label]]) -> list[list[Label]]:
    """The groups, each with the bare points that are its corners."""
    larger = [group for group in groups if not _is_bare(group)]
    alone = [group for group in groups if _is_bare(group)]
    if not larger or len(alone) < CORNERS:
        return groups
    points = [group[0] for group in alone]
    corner_of = _corners_of(points, larger)
    for i, g in corner_of.items():
        larger[g].append(points[i])
    return larger + [group for i, group in enumerate(alone) if i not in corner_of]


def _is_bare(group: Sequence[Label]) -> bool:
    """True if a group is one point of which nothing but the place is known."""
    return len(group) == 1 and group[0].type == "keypoint" and not group[0].extent_px


def _corners_of(labels: Sequence[Label], groups: Sequence[Sequence[Label]]) -> dict[int, int]:
    """Index of a label -> that of the group whose corner it is: each fourth of the bare points of one name."""
    named: dict[str, list[int]] = {}
    for i in sorted(range(len(labels)), key=lambda i: labels[i].item):
        if labels[i].type == "keypoint" and not labels[i].extent_px:
            named.setdefault(labels[i].name, []).append(i)
    corner_of: dict[int, int] = {}
    for members in named.values():
        for start in range(0, len(members) - len(members) % CORNERS, CORNERS):
            four = members[start : start + CORNERS]
            places = np.stack([np.asarray(labels[i].value, np.float64) for i in four])
            for g, group in enumerate(groups):
                if _prefix(group[0]) == _prefix(labels[four[0]]) and _goes_round(places, box_of(group[0])):
                    corner_of |= dict.fromkeys(four, g)
                    break
    return corner_of


def _goes_round(places: NDArray[np.float64], box: NDArray[Any] | None) -> bool:
    """True if four points (4, 2), one after the other, go round what lies in a box."""
    if box is None:
        return False
    side = np.roll(places, -1, axis=0) - places
    after = np.roll(side, -1, axis=0)
    turns = side[:, 0] * after[:, 1] - side[:, 1] * after[:, 0]
    around = np.concatenate((places.min(axis=0), places.max(axis=0)))
    area = (
        abs(float((places[:, 0] * np.roll(places, -1, 0)[:, 1] - places[:, 1] * np.roll(places, -1, 0)[:, 0]).sum()))
        / 2
    )
    convex = bool((turns > 0).all() or (turns < 0).all())
    return convex and area >= LEAST_SPANNED * float(np.prod(box[2:] - box[:2])) and _iou(box, around) >= LEAST_AROUND


def _prefix(label: Label) -> str:
    """What stands before the last dot of a label's name."""
    return label.name.rpartition(".")[0]


def _describe_one_thing(first: Label, label: Label) -> bool:
    if "semantic_mask" in (first.type, label.type) or first.item != label.item:
        return False
    if _prefix(first) != _prefix(label):
        return False
    whole = box_of(first)
    if whole is None:
        return False
    if label.type == "keypoint" and not label.extent_px:
        if not CENTRE_WORDS & set(re.split(r"[^a-z]+", label.name.rpartition(".")[2].lower())):
            return False
        size = float(min(whole[2] - whole[0], whole[3] - whole[1]))
        off_middle = np.asarray(label.value, np.float64) - (whole[:2] + whole[2:]) / 2
        return bool(np.abs(off_middle).max() <= CENTRAL * size)
    other = box_of(label)
    return other is not None and _iou(whole, other) >= SAME_IOU


def _iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    common = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(common / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common, 1e-9))


def _thing(label: Label, labels: tuple[Label, ...], size_hw: tuple[int, int]) -> Thing:
    if label.type == "polygon":
        return Thing(label, labels, *_banded(*_walked(np.asarray(label.value, np.float64))))
    if label.type in ("instance_mask", "semantic_mask"):
        return Thing(label, labels, *_banded(*_mask_outline(np.asarray(label.value, bool))))
    value = np.asarray(label.value, np.float64)
    if label.type == "keypoint" and label.extent_px >= MIN_EXTENT_PX / 2:
        _, around = area_offsets()
        return Thing(label, labels, *_banded(value + label.extent_px * around, around))
    if label.type == "keypoint":
        radius = default_radius_px(size_hw)
        box = np.concatenate((value - radius, value + radius))
    elif value.size == 0:
        box = np.array([0.0, 0.0, size_hw[1] - 1.0, size_hw[0] - 1.0])
    else:
        box = value
    filled, around = area_offsets()
    centre, half = (box[:2] + box[2:]) / 2, np.abs(box[2:] - box[:2]) / 2
    return Thing(label, labels, (centre + half * filled).astype(np.float32), around, is_area=True)


def _banded(outline: NDArray[Any], normals: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Points to both sides of an outline (L, 2); inward no further than six tenths of the narrowest half."""
    middle = outline.mean(axis=0)
    deepest = -0.6 * np.abs(((outline - middle) * normals).sum(axis=1)).min() - 0.5
    across = np.maximum(np.array(OFFSETS_PX), deepest)[:, None]
    return (outline[:, None] + across * normals[:, None]).astype(np.float32), normals.astype(np.float32)


def _walked(vertices: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points evenly along a polygon (V, 2) -> (L, 2), and its outward normals there."""
    closed = np.concatenate((vertices, vertices[:1]))
    steps = np.hypot(*np.diff(closed, axis=0).T)
    walked = np.concatenate(([0.0], np.cumsum(steps)))
    wanted = walked[-1] * np.arange(POSITIONS) / POSITIONS
    points = np.stack([np.interp(wanted, walked, closed[:, axis]) for axis in (0, 1)], axis=-1)
    along = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0)
    turns = np.sign((points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum()) or 1.0
    normals = turns * np.stack((along[:, 1], -along[:, 0]), axis=-1)
    return points, normals / np.maximum(np.hypot(normals[:, 0], normals[:, 1]), 1e-6)[:, None]


def _mask_outline(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points on a mask's edge, by their angle about its middle: (L, 2), and outward normals."""
    padded = np.pad(mask, 1)
    rows, columns = np.nonzero(mask & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]))
    inner = (rows > 0) & (columns > 0) & (rows < mask.shape[0] - 1) & (columns < mask.shape[1] - 1)
    if inner.sum() >= POSITIONS // 2:
        rows, columns = rows[inner], columns[inner]
    order = np.argsort(np.arctan2(rows - rows.mean(), columns - columns.mean()), kind="stable")
    chosen = order[np.arange(POSITIONS) * len(order) // POSITIONS]
    rows, columns = rows[chosen], columns[chosen]
    near_rows = (rows[:, None, None] + _NEAR[:, None]).clip(0, mask.shape[0] - 1)
    around = mask[near_rows, (columns[:, None, None] + _NEAR).clip(0, mask.shape[1] - 1)].astype(np.float64)
    inward = np.stack(((around * _NEAR).sum((1, 2)), (around * _NEAR[:, None]).sum((1, 2))), axis=-1)
    normals = -inward / np.maximum(np.hypot(inward[:, 0], inward[:, 1]), 1e-6)[:, None]
    return np.stack((columns, rows), axis=-1) + 0.5 * normals, normals


def is_too_small(label: Label) -> bool:
    """True for what cannot be looked at: NaN or absurd numbers, points and boxes under 4 px, a mask without an edge."""
    if label.type in ("instance_mask", "semantic_mask"):
        return label.value.ndim != 2 or bool(label.value.all()) or not label.value.any()
    values: list[float] = label.value.ravel().tolist()
    if not sum(map(abs, values)) < FAR_PX:
        return True
    if label.type == "keypoint":
        return not 0.0 <= label.extent_px < FAR_PX
    if len(values) < 4:
        return True
    x, y = values[0::2], values[1::2]
    return min(max(x) - min(x), max(y) - min(y)) < MIN_EXTENT_PX
