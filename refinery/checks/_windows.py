"""Windows in the shape of labels: where a label can be seen, as a fixed number of sample points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray

POINTS_PER_WINDOW = 144
POINTS_PER_IMAGE = 400
BAND_OFFSETS_PX = (-1.5, 0.0, 1.5)
DISC_MARGIN = 1.25
"""A disc reaches past the edge of the thing it is the centre of by this factor, so that the edge lies inside."""

BAND_WIDTH_PX = 4.5


@dataclass(frozen=True, slots=True)
class Windows:
    """M windows of K sample points each.

    points_xy: (M, K, 2) float32 px. area_px: (M,) what the points stand for.
    expected: (M, K) complex64 double-angle direction of the label's own edge at each point, None where it is not known;
        what crosses it there (a lid over an iris) is not the label and is left out.
    """

    points_xy: FloatArray = field(repr=False)
    area_px: FloatArray = field(repr=False)
    expected: NDArray[np.complex64] | None = field(default=None, repr=False)


def default_radius_px(size_hw: tuple[int, int]) -> float:
    """Radius around a keypoint that does not say how large its thing is: 0.15 of the short side, at least 6 px."""
    return max(6.0, 0.15 * min(size_hw))


def disc_windows(centres_xy: NDArray[Any], radii_xy: NDArray[Any]) -> Windows:
    """Ellipses filled evenly with points on a spiral (Vogel 1979), for keypoints and boxes.

    centres_xy, radii_xy: (M, 2) px.
    """
    rank = np.arange(POINTS_PER_WINDOW, dtype=np.float32) + np.float32(0.5)
    radius = np.sqrt(rank / POINTS_PER_WINDOW)
    angle = rank * np.float32(np.pi * (3.0 - np.sqrt(5.0)))
    spiral = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1).astype(np.float32)
    points = centres_xy[:, None, :] + radii_xy[:, None, :] * spiral
    return _windows(points, np.pi * radii_xy[:, 0] * radii_xy[:, 1])


def contour_windows(polygons: Sequence[NDArray[Any]]) -> Windows:
    """Bands along closed outlines, for polygons (each (V, 2) px, V >= 3): even steps along, three rows across."""
    per_row = POINTS_PER_WINDOW // len(BAND_OFFSETS_PX)
    stacked = np.empty((len(polygons), per_row, 2))
    tangents = np.empty_like(stacked)
    lengths = np.empty(len(polygons))
    for vertex_count in {len(polygon) for polygon in polygons}:
        chosen = [i for i, polygon in enumerate(polygons) if len(polygon) == vertex_count]
        vertices = np.stack([polygons[i] for i in chosen]).astype(np.float64)
        stacked[chosen], tangents[chosen], lengths[chosen] = _walk(vertices, per_row)
    normals = np.stack((-tangents[..., 1], tangents[..., 0]), axis=-1)
    rows = [stacked + offset * normals for offset in BAND_OFFSETS_PX]
    expected = np.tile((normals[..., 0] + 1j * normals[..., 1]) ** 2, (1, len(rows)))
    return _windows(np.concatenate(rows, axis=1), lengths * BAND_WIDTH_PX, expected.astype(np.complex64))


def mask_windows(masks: Sequence[NDArray[Any]]) -> Windows:
    """The two-pixel band on both sides of a mask's edge; each mask is (H, W) bool and has an edge."""
    points = np.empty((len(masks), POINTS_PER_WINDOW, 2))
    areas = np.empty(len(masks))
    for i, mask in enumerate(masks):
        rows, columns = np.nonzero(edge_band(mask))
        chosen = np.linspace(0, len(rows) - 1, POINTS_PER_WINDOW).round().astype(np.intp)
        points[i] = np.stack((columns[chosen], rows[chosen]), axis=-1)
        areas[i] = len(rows)
    return _windows(points, areas)


def edge_band(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels with a 4-neighbour on the other side of the mask's edge: (H, W) bool."""
    inside = np.asarray(mask, dtype=bool)
    band = np.zeros_like(inside)
    across, down = inside[:, 1:] != inside[:, :-1], inside[1:] != inside[:-1]
    band[:, 1:] |= across
    band[:, :-1] |= across
    band[1:] |= down
    band[:-1] |= down
    return band


def image_window(size_hw: tuple[int, int], count: int) -> Windows:
    """The whole frame on an even grid of about POINTS_PER_IMAGE points, `count` times."""
    height, width = size_hw
    rows = max(1, min(height, round(np.sqrt(POINTS_PER_IMAGE * height / width))))
    columns = max(1, min(width, POINTS_PER_IMAGE // rows))
    y, x = (np.arange(rows) + 0.5) * height / rows - 0.5, (np.arange(columns) + 0.5) * width / columns - 0.5
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(1, -1, 2)
    return _windows(np.repeat(grid, count, axis=0), np.full(count, float(height * width)))


def _walk(vertices: NDArray[np.float64], steps: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Even steps along closed outlines (M, V, 2): positions and unit tangents (M, steps, 2), lengths (M,) in px."""
    sides = np.roll(vertices, -1, axis=1) - vertices
    side_lengths = np.hypot(sides[..., 0], sides[..., 1])
    ends = np.cumsum(side_lengths, axis=1)
    lengths = ends[:, -1]
    target = (np.arange(steps) + 0.5) / steps * lengths[:, None]
    side = np.minimum((target[:, :, None] > ends[:, None, :]).sum(axis=2), vertices.shape[1] - 1)
    own = np.arange(len(vertices))[:, None]
    own_length = np.maximum(side_lengths[own, side], 1e-9)[..., None]
    unit = sides[own, side] / own_length
    positions = vertices[own, side] + unit * (target - ends[own, side] + side_lengths[own, side])[..., None]
    return positions, unit, lengths


def _windows(points: NDArray[Any], areas: NDArray[Any], expected: NDArray[np.complex64] | None = None) -> Windows:
    return Windows(points.astype(np.float32), np.asarray(areas, dtype=np.float32), expected)
