"""What a label probe looks at: the whole image on a small canvas, or one object cut out with some margin."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray

LARGEST_SIDE_PX = 64
SMALLEST_SIDE_PX = 8
OBJECT_SIDE_PX = 32
OBJECT_MARGIN = 1.35
FOLDS = 2


def fold_of(key: str, folds: int = FOLDS) -> int:
    """The fold of a sample, 0 <= fold < folds: from its key alone, the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % folds


def canvas_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Canvas for images of about this size: their own up to 64 px a side, else scaled so that the longer has 64 px."""
    scale = min(1.0, LARGEST_SIDE_PX / max(size_hw))
    height, width = (max(SMALLEST_SIDE_PX, round(side * scale)) for side in size_hw)
    return height, width


def canvas_scale(size_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> float:
    """Canvas px for one image px: what makes the image fit; 1 for an image that fits as it is.

    A point (x, y) px of the image lies at (x + 0.5) scale - 0.5 on the canvas.
    """
    return min(1.0, canvas_hw[0] / size_hw[0], canvas_hw[1] / size_hw[1])


def on_canvas(images: FloatArray, canvas_hw: tuple[int, int]) -> FloatArray:
    """Whole images, scaled down to fit, what is left repeating the border: (N, H, W, C) to (N, C, h, w) float32."""
    size_hw = (images.shape[1], images.shape[2])
    planes = images.transpose(0, 3, 1, 2)
    if size_hw == canvas_hw:
        return np.ascontiguousarray(planes)
    scale = canvas_scale(size_hw, canvas_hw)
    rows, columns = (_whole_axis(side, to, scale) for side, to in zip(size_hw, canvas_hw, strict=True))
    return np.ascontiguousarray(np.matmul(np.matmul(rows, planes), columns.T))


def cut_out(image: FloatArray, boxes_xyxy: Sequence[NDArray[np.float64]]) -> FloatArray:
    """Objects of one image as squares about their boxes, 1.35 times the longer side: (H, W, C) to (N, C, 32, 32)."""
    height, width, channels = image.shape
    cut = np.empty((len(boxes_xyxy), channels, OBJECT_SIDE_PX, OBJECT_SIDE_PX), np.float32)
    planes = image.transpose(2, 0, 1)
    for i, box in enumerate(boxes_xyxy):
        left, top, right, bottom = (float(value) for value in box)
        side = max(OBJECT_MARGIN * max(right - left, bottom - top), 4.0)
        step = side / OBJECT_SIDE_PX
        rows = axis_weights((top + bottom - side) / 2, step, OBJECT_SIDE_PX, height)
        columns = axis_weights((left + right - side) / 2, step, OBJECT_SIDE_PX, width)
        cut[i] = np.matmul(np.matmul(rows, planes), columns.T)
    return cut


def axis_weights(start_px: float, step_px: float, count: int, length: int) -> FloatArray:
    """(count, length) matrix that samples an axis every `step_px` from the border `start_px` on.

    Linear between pixels, averaging what falls together where it shrinks (a triangle as wide as two steps); beyond the
    ends the last pixel is repeated.
    """
    places = start_px + (np.arange(count) + 0.5) * step_px
    reach = max(step_px, 1.0)
    first = np.floor(places - reach).astype(np.intp)
    taps = first[:, None] + np.arange(int(2 * reach) + 3)
    weights = np.clip(1.0 - np.abs(taps - places[:, None]) / reach, 0.0, None)
    matrix = np.zeros((count, length), np.float64)
    np.add.at(matrix, (np.arange(count)[:, None], np.clip(taps, 0, length - 1)), weights)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


@lru_cache(maxsize=64)
def _whole_axis(length: int, count: int, scale: float) -> FloatArray:
    return axis_weights(-0.5, 1.0 / scale, count, length)
