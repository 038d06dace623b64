"""Is there something of an object's size in the refined image that the synthetic one has nothing of?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._colours import unexpected_colours
from refinery.checks._context import CheckContext
from refinery.checks._spots import above_usual, highest, neighbours, square_means, strongest_spot
from refinery.sample import Finding

TYPES: tuple[str, ...] = ()
GRANTS = False
LABEL = "content"
SHARES = {"blob": 0.3, "colour": 0.7}
DEFAULTS = {"blob": 0.15, "colour": 0.4}
LIMITS = {"blob": (0.125, 0.8), "colour": (0.25, 1.2)}
CELL_PX = 2
REACH = 0.25
"""A blob is looked for in squares of this share of the frame's short side."""

MIN_SIDE_CELLS = 4


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each pair, named "content", without a drift or a unit.

    fail: more than calibration saw in images without new content, of either of two things. blob: in some square of a
    quarter of the frame, edges that the refined image has and its source has not, over what the squares around it
    have. colour: a spot of colours that nothing in the source leads one to expect, which ends on all sides where the
    source does not (`_spots`). So a border that runs on, a texture, a region whose contrast is turned round is none.
    """
    quantities = _quantities(batch)
    seen = np.abs(batch.synthetic_field).max(axis=(1, 2)) + np.abs(batch.refined_field).max(axis=(1, 2))
    findings = []
    for n, empty in enumerate((seen == 0).tolist()):
        over = [place[n] for name, (value, place) in quantities.items() if value[n] > _limit(context, name)]
        findings.append([_judge(over[0] if over else None, empty)])
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:  # noqa: ARG001
    """("blob" and "colour", "content", value) of each pair."""
    for name, (values, _) in _quantities(batch).items():
        yield from ((name, LABEL, value) for value in values.tolist())


def _limit(context: CheckContext, quantity: str) -> float:
    return context.threshold(f"new_content.{quantity}", LABEL, DEFAULTS[quantity])


def _judge(place: NDArray[np.intp] | None, empty: bool) -> Finding:
    if empty:
        return Finding(LABEL, LABEL, "not_checkable", unit="", reason="flat: no edges at all", check="new_content")
    if place is None:
        return Finding(LABEL, LABEL, "pass", unit="", check="new_content")
    reason = f"something new at ({place[0]}, {place[1]}) px"
    return Finding(LABEL, LABEL, "fail", unit="", reason=reason, check="new_content")


def _quantities(batch: CheckBatch) -> dict[str, tuple[NDArray[Any], NDArray[np.intp]]]:
    """Of each pair how strong its strongest new blob and colour are (N,), and where their middle is (N, 2), (x, y)."""
    source, refined = (
        np.moveaxis(_cells(np.moveaxis(images, 3, 1)), 1, 3)
        for images in (batch.synthetic_images, batch.refined_images)
    )
    strengths, middles = strongest_spot(unexpected_colours(source, refined), source, refined)
    return {"blob": _blobs(batch), "colour": (strengths, middles * CELL_PX)}


def _blobs(batch: CheckBatch) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The strongest blob of unexplained edges (N,) and its middle (N, 2), (x, y) px.

    What the eight squares around hold of new edges, whether explained or not, is taken off, so that a border that goes
    on, and what is everywhere, does not count.
    """
    fields = (batch.synthetic_field, batch.refined_field)
    source, refined = (_cells(field.real**2 + field.imag**2) for field in fields)
    side = max(MIN_SIDE_CELLS, round(REACH * min(batch.size_hw) / CELL_PX))
    side = min(side, *source.shape[1:])
    unexplained = square_means(np.maximum(refined - _widened(source), 0.0), side)
    new = square_means(np.maximum(refined - source, 0.0), side)
    around = np.zeros_like(new)
    for here, there in neighbours((new.shape[1], new.shape[2]), side):
        around[here] = np.maximum(around[here], new[there])
    strengths, corners = highest(above_usual(np.maximum(unexplained - around, 0.0)))
    return strengths, ((corners + side / 2) * CELL_PX).astype(np.intp)


def _cells(maps: NDArray[Any]) -> NDArray[Any]:
    """Means of 2 x 2 px: (..., H, W) -> (..., H // 2, W // 2); a frame of one pixel across stays as it is."""
    height, width = maps.shape[-2:]
    if min(height, width) < CELL_PX:
        return maps
    even = maps[..., : height - height % 2, : width - width % 2]
    rows = even[..., ::2, :] + even[..., 1::2, :]
    return np.asarray((rows[..., ::2] + rows[..., 1::2]) / 4)


def _widened(maps: NDArray[Any]) -> NDArray[Any]:
    """Maximum over 5 x 5 cells: an edge explains what lies within 4 px of it. maps: (N, H, W)."""
    padded = np.pad(maps, ((0, 0), (2, 2), (2, 2)), mode="edge")
    down = _highest_of_5(padded.swapaxes(1, 2)).swapaxes(1, 2)
    return _highest_of_5(down)


def _highest_of_5(maps: NDArray[Any]) -> NDArray[Any]:
    """Maximum of five neighbours along the last axis."""
    pairs = np.maximum(maps[..., :-1], maps[..., 1:])
    return np.asarray(np.maximum(np.maximum(pairs[..., :-3], pairs[..., 2:-1]), maps[..., 4:]))
