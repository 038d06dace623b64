"""Is there something of an object's size in the refined image where the synthetic one has no edges at all?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.sample import Finding

TYPES: tuple[str, ...] = ()
GRANTS = False
LABEL = "content"
SHARES = {"blob": 1.0}
DEFAULTS = {"blob": 0.3}
LIMITS = {"blob": (0.15, 0.8)}
CELL_PX = 2
REACH = 0.25
"""A blob is looked for in squares of this share of the frame's short side."""

MIN_SIDE_CELLS = 4


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each pair, named "content", without a drift or a unit.

    fail: in some square of a quarter of the frame the edges that the refined image has and its source has not, over a
    typical square's, are more than calibration saw in images without new content.
    """
    values, places = _blobs(batch)
    limit = context.threshold("new_content.blob", LABEL, DEFAULTS["blob"])
    seen = np.abs(batch.synthetic_field).max(axis=(1, 2)) + np.abs(batch.refined_field).max(axis=(1, 2))
    flat = np.asarray(seen == 0)
    found = zip(values.tolist(), places.tolist(), flat.tolist(), strict=True)
    return [[_judge(value, place, limit, empty)] for value, place, empty in found]


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:  # noqa: ARG001
    """("blob", "content", value) of each pair."""
    yield from (("blob", LABEL, value) for value in _blobs(batch)[0].tolist())


def _judge(value: float, place: list[int], limit: float, empty: bool) -> Finding:
    if empty:
        return Finding(LABEL, LABEL, "not_checkable", unit="", reason="flat: no edges at all", check="new_content")
    if value <= limit:
        return Finding(LABEL, LABEL, "pass", unit="", check="new_content")
    reason = f"something new at ({place[0]}, {place[1]}) px"
    return Finding(LABEL, LABEL, "fail", unit="", reason=reason, check="new_content")


def _blobs(batch: CheckBatch) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The strongest blob of unexplained edges (N,) and its middle (N, 2), (x, y) px."""
    fields = (batch.synthetic_field, batch.refined_field)
    source, refined = (_cells(field.real**2 + field.imag**2) for field in fields)
    unexplained = np.maximum(refined - _widened(source), 0.0)
    side = max(MIN_SIDE_CELLS, round(REACH * min(batch.size_hw) / CELL_PX))
    side = min(side, *unexplained.shape[1:])
    means = _square_means(unexplained, side)
    flat = means.reshape(len(means), -1)
    values = flat.max(axis=1) - np.median(flat, axis=1)
    rows, columns = np.divmod(flat.argmax(axis=1), means.shape[2])
    middle = (np.stack((columns, rows), axis=1) + side / 2) * CELL_PX
    return values, middle.astype(np.intp)


def _cells(maps: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 px: (N, H, W) -> (N, H // 2, W // 2); a frame of one pixel across stays as it is."""
    _, height, width = maps.shape
    if min(height, width) < CELL_PX:
        return maps
    even = maps[:, : height - height % 2, : width - width % 2]
    return np.asarray((even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4)


def _widened(maps: NDArray[Any]) -> NDArray[Any]:
    """Maximum over 5 x 5 cells: an edge explains what lies within 4 px of it."""
    padded = np.pad(maps, ((0, 0), (2, 2), (2, 2)), mode="edge")
    down = sliding_window_view(padded, 5, axis=1).max(axis=-1)
    return np.asarray(sliding_window_view(down, 5, axis=2).max(axis=-1))


def _square_means(maps: NDArray[Any], side: int) -> NDArray[Any]:
    """Means over all squares of `side` cells: (N, H - side + 1, W - side + 1)."""
    sums = np.pad(maps, ((0, 0), (1, 0), (1, 0))).astype(np.float64).cumsum(axis=1).cumsum(axis=2)
    corners = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    return np.asarray(corners / side**2)
