"""What of a label's window belongs to another label: an iris's window without the lids that cross it.

An edge in a window pulls the measured shift towards its own, whatever it is the edge of. Where a polygon says whose
edge runs there, the points on it are taken out of the window of a thing whose radius is known, and of its outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._windows import Windows
from refinery.sample import FloatArray, Label

NEAR_PX = 2.5
"""An edge is seen this far to both sides of where it runs."""

MIN_KEPT = 0.4
"""A window that would keep less of its points than this keeps them all."""

SAME_PX, SAME_SHARE = 1.0, 0.1
"""An outline this near to a label's own, in px and in its radius, is that of the same thing."""


def without_others(windows: Windows, own: Sequence[Label], neighbours: Sequence[Sequence[Label]]) -> Windows:
    """The windows without the points that lie on polygons of other things; the others are taken more than once.

    Keypoints with a radius, and polygons that run round one, are treated so; all other outlines keep their own edge.
    own: the label of each of the M windows. neighbours: all labels of its image.
    """
    near = _near_others(windows.points_xy, own, neighbours)
    count = near.shape[1]
    left = count - near.sum(axis=1)
    thinned = np.flatnonzero((left >= MIN_KEPT * count) & (left < count))
    if not len(thinned):
        return windows
    points, area = windows.points_xy.copy(), windows.area_px.copy()
    expected = None if windows.expected is None else windows.expected.copy()
    for m in thinned.tolist():
        kept = np.flatnonzero(~near[m])
        taken = kept[np.arange(count) * len(kept) // count]
        points[m], area[m] = points[m, taken], area[m] * len(kept) / count
        if expected is not None:
            expected[m] = expected[m, taken]
    return replace(windows, points_xy=points, area_px=area, expected=expected)


def _near_others(
    points_xy: FloatArray, own: Sequence[Label], neighbours: Sequence[Sequence[Label]]
) -> NDArray[np.bool_]:
    """Points (M, K, 2) at which the edge of another thing is seen: (M, K)."""
    near = np.zeros(points_xy.shape[:2], bool)
    by_vertices: dict[int, list[tuple[int, NDArray[np.complex64]]]] = {}
    for m, (label, others) in enumerate(zip(own, neighbours, strict=True)):
        for outline in _other_outlines(label, others):
            by_vertices.setdefault(len(outline), []).append((m, outline))
    points = np.ascontiguousarray(points_xy, np.float32).view(np.complex64)[..., 0]
    for found in by_vertices.values():
        rows = np.array([m for m, _ in found])
        np.logical_or.at(near, rows, _is_near(points[rows], np.stack([outline for _, outline in found])))
    return near


def _other_outlines(label: Label, others: Sequence[Label]) -> list[NDArray[np.complex64]]:
    """Polygons of other things than a round one, as x + iy; none where the label is not of a round thing."""
    polygons = [other for other in others if other.type == "polygon"]
    if not polygons or label.type not in ("keypoint", "polygon"):
        return []
    outlines = [_complex(polygon.value) for polygon in polygons]
    if label.type == "keypoint":
        centre: Label | None = label if label.extent_px > 0 else None
    else:
        own = _complex(label.value)
        round_things = (one for one in others if one.type == "keypoint" and one.extent_px > 0)
        centre = next((one for one in round_things if _runs_round(own, one)), None)
    return [] if centre is None else [outline for outline in outlines if not _runs_round(outline, centre)]


def _runs_round(outline: NDArray[np.complex64], centre: Label) -> bool:
    """Whether all corners of the outline (V,) lie about as far from the point as its radius."""
    radius, slack = centre.extent_px, SAME_PX + SAME_SHARE * centre.extent_px
    away = np.abs(outline - complex(*centre.value[:2].tolist()))
    return bool(away.max() <= radius + slack and away.min() >= radius - slack)


def _complex(polygon: NDArray[Any]) -> NDArray[np.complex64]:
    return np.ascontiguousarray(polygon, np.float32).reshape(-1, 2).view(np.complex64)[:, 0]


def _is_near(points: NDArray[np.complex64], outlines: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Whether points (M, K) lie within NEAR_PX of closed outlines (M, V): (M, K)."""
    sides = np.roll(outlines, -1, axis=1) - outlines
    away = points[:, :, None] - outlines[:, None]
    lengths = np.maximum(sides.real**2 + sides.imag**2, np.float32(1e-12))[:, None]
    along = (away.real * sides.real[:, None] + away.imag * sides.imag[:, None]) / lengths
    away -= np.clip(along, 0.0, 1.0) * sides[:, None]
    return np.asarray((away.real**2 + away.imag**2).min(axis=2) <= NEAR_PX**2)
