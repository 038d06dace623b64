"""How much of a box or a mask is left where it was, once it has moved."""

from __future__ import annotations

import numpy as np

from refinery.sample import Label


def moved_iou(label: Label, shift_px: tuple[float, float]) -> float | None:
    """Intersection over union of a label with itself moved by (dx, dy) px.

    For boxes (xyxy px) and masks ((H, W) bool); None for a label without an area.
    """
    if label.type == "box" and label.value.shape == (4,):
        return _box_iou(np.asarray(label.value, dtype=np.float64), shift_px)
    if label.type in ("instance_mask", "semantic_mask") and label.value.any():
        return _mask_iou(np.asarray(label.value, dtype=bool), shift_px)
    return None


def _box_iou(box: np.ndarray[tuple[int, ...], np.dtype[np.float64]], shift: tuple[float, float]) -> float:
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    size, moved = high - low, np.abs(np.asarray(shift))
    shared = float(np.prod(np.maximum(size - moved, 0.0)))
    total = 2.0 * float(np.prod(size)) - shared
    return shared / total if total > 0 else 0.0


def _mask_iou(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], shift: tuple[float, float]) -> float:
    """Overlap at the four whole shifts around, weighted by how near each is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    left, top = int(np.floor(shift[0])), int(np.floor(shift[1]))
    right_share, bottom_share = shift[0] - left, shift[1] - top
    shared = sum(
        weight * _common(cut, left + across, top + down)
        for across, down, weight in (
            (0, 0, (1 - right_share) * (1 - bottom_share)),
            (1, 0, right_share * (1 - bottom_share)),
            (0, 1, (1 - right_share) * bottom_share),
            (1, 1, right_share * bottom_share),
        )
        if weight > 0
    )
    return float(shared / (2 * np.count_nonzero(cut) - shared))


def _common(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], across: int, down: int) -> int:
    """Pixels that a mask shares with itself moved by whole pixels."""
    height, width = mask.shape
    if abs(across) >= width or abs(down) >= height:
        return 0
    here = mask[max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)]
    there = mask[max(0, -down) : height + min(0, -down), max(0, -across) : width + min(0, -across)]
    return int(np.count_nonzero(here & there))
