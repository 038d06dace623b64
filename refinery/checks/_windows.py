"""Windows in the shape of labels: where a label can be seen, as a fixed number of sample points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray

POINTS_PER_WINDOW = 96
PARTS = 12
POINTS_PER_IMAGE = 400
OUTLINE_POINTS = 32
BAND_OFFSETS_PX = (-1.5, 0.0, 1.5)
DISC_MARGIN = 1.25
"""A disc reaches past the edge of the thing it is the centre of by this factor, so that the edge lies inside."""

BAND_WIDTH_PX = 4.5
_NEAR = np.arange(-2, 3)
"""Steps to the pixels that say in which direction a mask's edge runs."""


@dataclass(frozen=True, slots=True)
class Windows:
    """M windows of K sample points each.

    points_xy: (M, K, 2) float32 px, neighbours one after the other. area_px: (M,) what the points stand for.
    expected: (M, K) complex64 double-angle direction of the label's own edge at each point, None where it is not known;
        what crosses it there (a lid over an iris) is not the label and counts less.
    facing: (M, 2, 2) float32, None for a label that is all of a thing and not its outline. facing @ shift is what a
        shift moves an outline across itself: sum_i s_i e_i e_i^T, with e_i the principal axes of its normals n and s_i
        the 95% quantile of |n . e_i|. The identity for a circle and a box; along a straight edge it is 0.
    outline: points on the outline and their outward unit normals, (M, L, 2) float32 each, None for a frame. What a box
        holds has an unknown outline: that of the ellipse in it is taken.
    """

    points_xy: FloatArray = field(repr=False)
    area_px: FloatArray = field(repr=False)
    expected: NDArray[np.complex64] | None = field(default=None, repr=False)
    facing: FloatArray | None = field(default=None, repr=False)
    outline: tuple[FloatArray, FloatArray] | None = field(default=None, repr=False)

    def outward(self) -> NDArray[np.float64]:
        """Mean normal of the outline in each part: (M, G, 2)."""
        assert self.outline is not None
        starts = part_starts(self.outline[1].shape[1])
        counts = np.diff(np.append(starts, self.outline[1].shape[1]))
        return np.asarray(np.add.reduceat(self.outline[1], starts, axis=1) / counts[:, None], dtype=np.float64)


def disc_windows(centres_xy: NDArray[Any], radii_xy: NDArray[Any]) -> Windows:
    """Ellipses filled evenly with points on a spiral (Vogel 1979), for keypoints and boxes.

    centres_xy, radii_xy: (M, 2) px.
    """
    points = centres_xy[:, None, :] + radii_xy[:, None, :] * _spiral()
    areas = np.asarray(np.pi * radii_xy[:, 0] * radii_xy[:, 1], dtype=np.float32)
    rays = radii_xy[:, None, :] * _circle() / np.float32(DISC_MARGIN)
    lengths = np.maximum(np.hypot(rays[..., :1], rays[..., 1:]), 1e-9)
    outline = (centres_xy[:, None, :] + rays).astype(np.float32), (rays / lengths).astype(np.float32)
    return Windows(points.astype(np.float32), areas, outline=outline)


@lru_cache(maxsize=1)
def _spiral() -> FloatArray:
    """Points (K, 2) that fill the unit disc, sector by sector."""
    rank = np.arange(POINTS_PER_WINDOW) + 0.5
    radius, angle = np.sqrt(rank / POINTS_PER_WINDOW), rank * np.pi * (3.0 - np.sqrt(5.0)) % (2 * np.pi)
    around = np.argsort(angle)
    points = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return np.asarray(points[around], dtype=np.float32)


@lru_cache(maxsize=1)
def _circle() -> FloatArray:
    """Directions (L, 2) round a circle."""
    turn = np.arange(OUTLINE_POINTS) * (2 * np.pi / OUTLINE_POINTS)
    return np.stack((np.cos(turn), np.sin(turn)), axis=-1).astype(np.float32)


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
    normals = _turned_outward(np.stack((tangents[..., 1], -tangents[..., 0]), axis=-1), stacked)
    band = stacked[:, :, None] + np.array(BAND_OFFSETS_PX)[:, None] * normals[:, :, None]
    points, across = band.reshape(len(polygons), -1, 2), np.repeat(normals, len(BAND_OFFSETS_PX), axis=1)
    return _windows(points, lengths * BAND_WIDTH_PX, across)


def _turned_outward(normals: NDArray[Any], outline: NDArray[Any]) -> NDArray[Any]:
    """Normals (M, K, 2) of closed outlines (M, K, 2), so that they point out of them whichever way these run."""
    after = np.roll(outline, -1, axis=1)
    areas = (outline[..., 0] * after[..., 1] - outline[..., 1] * after[..., 0]).sum(axis=1)
    return np.asarray(normals * np.where(areas < 0, -1.0, 1.0)[:, None, None])


def mask_windows(masks: Sequence[NDArray[Any]]) -> Windows:
    """The two-pixel band on both sides of a mask's edge; each mask is (H, W) bool and has an edge."""
    places = np.empty((len(masks), 2, POINTS_PER_WINDOW), np.intp)
    around = np.empty((len(masks), POINTS_PER_WINDOW, _NEAR.size, _NEAR.size), bool)
    areas, steps = np.empty(len(masks)), np.arange(POINTS_PER_WINDOW)
    for i, mask in enumerate(masks):
        whole = np.asarray(mask, dtype=bool)
        band = _around(*_band_places(whole))
        areas[i] = len(band[0])
        chosen = np.rint(steps * ((len(band[0]) - 1) / (POINTS_PER_WINDOW - 1))).astype(np.intp)
        places[i] = rows, columns = band[0][chosen], band[1][chosen]
        near_rows = (rows[:, None, None] + _NEAR[:, None]).clip(0, whole.shape[0] - 1)
        around[i] = whole[near_rows, (columns[:, None, None] + _NEAR).clip(0, whole.shape[1] - 1)]
    points = places[:, ::-1].swapaxes(1, 2).astype(np.float64)
    return _windows(points, areas, _mask_normals(around))


def _band_places(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the mask's edge band, looked for in its bounding box and a pixel around."""
    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, int(down[0]) - 1), max(0, int(across[0]) - 1)
    rows, columns = np.nonzero(edge_band(mask[top : down[-1] + 2, left : across[-1] + 2]))
    return rows + top, columns + left


def _around(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The same places in order of their direction from their middle, so that neighbours lie side by side."""
    order = np.argsort(np.arctan2(rows - rows.mean(), columns - columns.mean()), kind="stable")
    return rows[order], columns[order]


def _mask_normals(around: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Outward unit normals (M, K, 2), (x, y), against the mask's gradient over the (M, K, 5, 5) px at each point."""
    bell = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
    weights = np.stack((np.outer(bell, _NEAR * bell), np.outer(_NEAR * bell, bell)))
    gradient = np.tensordot(around.astype(np.float64), weights, axes=((2, 3), (1, 2)))
    return np.asarray(-gradient / np.maximum(np.hypot(gradient[..., :1], gradient[..., 1:]), 1e-9))


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


def _facing(normals: NDArray[Any]) -> FloatArray:
    """sum_i s_i e_i e_i^T for normals (M, K, 2), see `Windows`: (M, 2, 2)."""
    _, axes = np.linalg.eigh(np.matmul(np.swapaxes(normals, 1, 2), normals))
    across = np.sort(np.abs(np.matmul(normals, axes)), axis=1)[:, int(0.95 * (normals.shape[1] - 1))]
    return np.asarray(np.matmul(axes * across[:, None, :], np.swapaxes(axes, 1, 2)), dtype=np.float32)


def _windows(points: NDArray[Any], areas: NDArray[Any], normals: NDArray[Any] | None = None) -> Windows:
    """Windows in float32; with the label's normals (M, K, 2) at the points, what to expect there."""
    place, size = points.astype(np.float32), np.asarray(areas, dtype=np.float32)
    if normals is None:
        return Windows(place, size)
    expected = ((normals[..., 0] + 1j * normals[..., 1]) ** 2).astype(np.complex64)
    every = POINTS_PER_WINDOW // OUTLINE_POINTS
    outline = place[:, 1::every], normals[:, 1::every].astype(np.float32)
    return Windows(place, size, expected, _facing(normals), outline)


def part_starts(count: int) -> NDArray[np.intp]:
    """First of the points of each of the PARTS consecutive parts of a window of `count` points: (G,)."""
    return np.linspace(0, count, min(PARTS, count), endpoint=False).astype(np.intp)
