"""How much of a box or a mask is left where it was, once it has moved, grown or turned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refinery.sample import Label

MAX_SAMPLES = 65_536
"""Of a mask's pixels and what lies round them: of larger ones every second pixel is looked at, or every third."""

AREAS = ("box", "instance_mask", "semantic_mask")
_STILL = np.zeros((2, 2))
_Array = NDArray[np.float64]


def moved_iou(label: Label, shift_px: tuple[float, float], linear: _Array = _STILL) -> float | None:
    """Intersection over union of a label with itself under x -> x + shift + linear (x - centre).

    For boxes (xyxy px; centre: their own; linear: its diagonal) and masks ((H, W) bool; centre: their mean). shift_px:
    (dx, dy) at the centre. None for a label without an area.
    """
    if label.type == "box" and label.value.shape == (4,):
        return _box_iou(np.asarray(label.value, dtype=np.float64), shift_px, linear)
    if label.type in ("instance_mask", "semantic_mask") and label.value.any():
        mask = np.asarray(label.value, dtype=bool)
        return _bent_iou(mask, shift_px, linear) if linear.any() else _shifted_iou(mask, shift_px)
    return None


def bent_iou(label: Label, shift_px: _Array, linear: _Array, about: _Array) -> float | None:
    """`moved_iou` under x -> x + shift + linear (x - about), to four digits."""
    if label.type not in AREAS:
        return None
    if linear.any():
        shift_px = shift_px + linear @ (_centre(label) - about)
    across, down = shift_px.tolist()
    iou = moved_iou(label, (across, down), linear)
    return None if iou is None else round(iou, 4)


def _centre(label: Label) -> _Array:
    """Middle of a box or a polygon's corners, mean pixel of a mask: (x, y)."""
    if label.type in ("instance_mask", "semantic_mask"):
        return np.asarray(np.stack(np.nonzero(label.value)[::-1]).mean(axis=1), dtype=np.float64)
    return np.asarray(np.asarray(label.value, dtype=np.float64).reshape(-1, 2).mean(axis=0))


def _box_iou(box: _Array, shift: tuple[float, float], linear: _Array) -> float:
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    middle, half = (low + high) / 2 + np.asarray(shift), (high - low) / 2 * np.maximum(1 + np.diag(linear), 0.0)
    shared = float(np.prod(np.maximum(np.minimum(high, middle + half) - np.maximum(low, middle - half), 0.0)))
    total = float(np.prod(high - low) + np.prod(2 * half)) - shared
    return shared / total if total > 0 else 0.0


def _bent_iou(mask: NDArray[np.bool_], shift: tuple[float, float], linear: _Array) -> float:
    """Each pixel of the moved mask is what lies at the place it came from, between four pixels of the mask."""
    rows, columns = np.nonzero(mask)
    centre, reach = np.array([columns.mean(), rows.mean()]), np.array([np.ptp(columns), np.ptp(rows)]) / 2
    margin = int(np.ceil(np.abs(shift).max() + (np.abs(linear) @ reach).max() * 2)) + 2
    top, left = rows.min() - margin, columns.min() - margin
    size = np.array([np.ptp(rows), np.ptp(columns)]) + 1 + 2 * margin
    step = int(np.ceil(np.sqrt(np.prod(size) / MAX_SAMPLES)))
    x, y = np.meshgrid(left + np.arange(0, size[1], step), top + np.arange(0, size[0], step))
    back = np.linalg.inv(np.eye(2) + linear)
    away_x, away_y = x - centre[0] - shift[0], y - centre[1] - shift[1]
    was_x = centre[0] + back[0, 0] * away_x + back[0, 1] * away_y
    was_y = centre[1] + back[1, 0] * away_x + back[1, 1] * away_y
    here, there = _cover(mask, x, y), _cover(mask, was_x, was_y)
    shared = float((here * there).sum())
    return shared / max(float(here.sum() + there.sum()) - shared, 1e-9)


def _cover(mask: NDArray[np.bool_], x: NDArray[np.generic], y: NDArray[np.generic]) -> _Array:
    """How much of a mask is at (x, y), between pixel centres; beyond the frame nothing."""
    padded = np.pad(mask, 1)
    x, y = np.clip(x + 1, 0, padded.shape[1] - 1), np.clip(y + 1, 0, padded.shape[0] - 1)
    left, top = np.minimum(x.astype(np.intp), padded.shape[1] - 2), np.minimum(y.astype(np.intp), padded.shape[0] - 2)
    across, down = x - left, y - top
    upper = padded[top, left] * (1 - across) + padded[top, left + 1] * across
    lower = padded[top + 1, left] * (1 - across) + padded[top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)


def _shifted_iou(mask: NDArray[np.bool_], shift: tuple[float, float]) -> float:
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


def _common(mask: NDArray[np.bool_], across: int, down: int) -> int:
    """Pixels that a mask shares with itself moved by whole pixels."""
    height, width = mask.shape
    if abs(across) >= width or abs(down) >= height:
        return 0
    here = mask[max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)]
    there = mask[max(0, -down) : height + min(0, -down), max(0, -across) : width + min(0, -across)]
    return int(np.count_nonzero(here & there))
