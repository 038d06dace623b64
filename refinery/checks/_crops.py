"""A part of a large pair around one of its labels, for what is measured label by label: the rest would cost time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refinery.regions import Box, box_of
from refinery.sample import Label, Pair

SIDE_PX = 256
MARGIN_PX = 32
"""Between a label and an edge of the part that is no edge of the image: what checks look at around a label."""


def cropped(pair: Pair, turn: int) -> Pair:
    """The part of a pair of at least 256x256 px around one of the labels that have an extent, the `turn`-th in order.

    It has the labels that lie in it whole, with their margin, and its part of masks of the whole image, in coordinates
    of its own. A pair that is hardly larger, or that has no label with an extent, is given back as it is.
    """
    height, width = pair.synthetic.shape[:2]
    boxes = [box for label in pair.labels if (box := _box(label)) is not None and _is_inside(box, height, width)]
    if not boxes or height * width <= 2 * SIDE_PX**2:
        return pair
    left, top, right, bottom = _window(boxes[turn % len(boxes)], height, width)
    within = [label for label in pair.labels if _fits(label, pair, left, top, right, bottom)]
    labels = [_moved(label, left, top, right, bottom) for label in within]
    part = np.s_[top:bottom, left:right]
    return replace(pair, synthetic=pair.synthetic[part], refined=pair.refined[part], labels=tuple(labels))


def _box(label: Label) -> Box | None:
    """The box of a label that has a place, a point's too; None of others, and of a mask of the whole image."""
    if label.type == "semantic_mask":
        return None
    if label.type == "keypoint":
        point = np.asarray(label.value, dtype=np.float64)
        box: Box = np.concatenate((point - label.extent_px, point + label.extent_px))
        return box if np.isfinite(box).all() else None
    return box_of(label)


def _is_inside(box: Box, height: int, width: int) -> bool:
    return bool(box[0] >= -1 and box[1] >= -1 and box[2] <= width and box[3] <= height)


def _window(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part, within the image."""
    ends: list[tuple[int, int]] = []
    for low, high, side in ((box[0], box[2], width), (box[1], box[3], height)):
        long = min(side, max(SIDE_PX, int(np.ceil(high - low)) + 2 * MARGIN_PX))
        first = int(np.clip(round((low + high - long) / 2), 0, side - long))
        ends.append((first, first + long))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def _fits(label: Label, pair: Pair, left: int, top: int, right: int, bottom: int) -> bool:
    """True if a label lies in the part with its margin, except where the part ends with the image."""
    if label.type == "semantic_mask":
        return True
    height, width = pair.synthetic.shape[:2]
    box = _box(label)
    if box is None:
        return False
    first = np.array([left + MARGIN_PX * (left > 0), top + MARGIN_PX * (top > 0)])
    last = np.array([right - MARGIN_PX * (right < width), bottom - MARGIN_PX * (bottom < height)])
    return bool((box[:2] >= first - 1).all() and (box[2:] <= last).all())


def _moved(label: Label, left: int, top: int, right: int, bottom: int) -> Label:
    """The label in coordinates of the part."""
    if label.type in ("instance_mask", "semantic_mask"):
        return replace(label, value=label.value[top:bottom, left:right])
    corner = np.array([left, top], dtype=np.float64)
    moved = np.asarray(label.value, dtype=np.float64).reshape(-1, 2) - corner
    return replace(label, value=moved.reshape(np.shape(label.value)))
