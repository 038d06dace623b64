"""The inside of outlines as a mask: a pixel is in when its centre is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refinery.errors import LabelError

MAX_CROSSINGS = 2_000_000
"""Of an outline's edges with the rows of the image, before they fill the memory."""


def filled(parts: Sequence[NDArray[np.float64]], size_hw: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """The inside of all parts together, (H, W) bool, by the even-odd rule for each part.

    parts: corners (N, 2), x and y in px with pixel centres at integers; what lies outside the image is cut off.
    Raises LabelError for an outline that runs up and down through the image more often than any thing does.
    """
    mask = np.zeros(size_hw, dtype=bool)
    for corners in parts:
        rows, columns = _crossings(corners, size_hw, where)
        if not len(rows):
            continue
        (top, left), (height, width) = (rows.min(), columns.min()), (np.ptp(rows) + 1, np.ptp(columns) + 1)
        turns = np.bincount((rows - top) * width + columns - left, minlength=height * width).astype(np.uint8)
        inside = turns.reshape(height, width).cumsum(axis=1, dtype=np.uint8) & 1
        mask[top : top + height, left : left + width - 1] |= inside[:, :-1].astype(bool)
    return mask


def _crossings(
    corners: NDArray[np.float64], size_hw: tuple[int, int], where: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where edges cross the middles of rows: the row, and the first column whose centre lies right of the crossing."""
    start, end = corners, np.roll(corners, -1, axis=0)
    first, last = (
        np.ceil(pick(start[:, 1], end[:, 1])).clip(0, size_hw[0]).astype(np.intp) for pick in (np.minimum, np.maximum)
    )
    counts = last - first
    if int(counts.sum()) > MAX_CROSSINGS:
        raise LabelError(
            f"{where}: an outline of {len(corners):,} points that crosses {int(counts.sum()):,} rows; expected at most "
            f"{MAX_CROSSINGS:,}; annotate it with fewer points"
        )
    edge = np.repeat(np.arange(len(corners)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    columns = np.ceil(x0 + (rows - y0) * (x1 - x0) / (y1 - y0)).clip(0, size_hw[1])
    return rows, columns.astype(np.intp)
