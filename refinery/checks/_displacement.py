"""How far what is seen in a window has moved between two orientation fields, and how surely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refinery.checks._orientation import ComplexArray
from refinery.checks._outline import Profiles, part_moves_px, profiles, smooth_moves_px
from refinery.checks._uncertainty import covariance, newton_step, quadratic
from refinery.checks._windows import PARTS, Windows, part_starts
from refinery.sample import FloatArray

ENERGY_FLOOR = 0.05
PEAK_RADIUS_PX = 2.5
CORRELATED_AREA_PX = 6.0
"""Pixels of the smoothed field that vary together; windows hold area / 6 independent observations at most."""

_WINDOWS_AT_ONCE = 16
_Place = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Displacements:
    """What was measured in M windows.

    shift_px: (M, 2) signed (dx, dy). covariance: (M, 2, 2) px^2, see `_uncertainty.covariance`.
    presence: (M,) the correlation at the peak, <= 1. confidence: (M,) peak minus the best value outside 2.5 px.
    at_border: (M,) the peak lies at the end of the search. energy: (M,) mean squared field in the window, 0 = flat.
    inside: (M,) share of the window's points in the frame.
    part_presence, part_energy: (M, G) correlation at the peak and share of the energy of each part of a window.
    part_px: (M, G) how far each part moved across itself, outward, NaN where it is not found; see `_outline`.
    outline_px: (M, L) the same of each point of the outline, smooth over all of it; NaN where too few parts are found.
    """

    shift_px: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float64] = field(repr=False)
    presence: FloatArray = field(repr=False)
    confidence: FloatArray = field(repr=False)
    at_border: NDArray[np.bool_] = field(repr=False)
    energy: FloatArray = field(repr=False)
    inside: FloatArray = field(repr=False)
    part_presence: NDArray[np.float64] = field(repr=False)
    part_energy: NDArray[np.float64] = field(repr=False)
    part_px: NDArray[np.float64] = field(repr=False)
    outline_px: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """The synthetic side of M windows of K points, and where to look for it in the padded refined fields.

    image_of (M, 1), x, y (M, K): index of each point; field (M, K); weights (M, K): 0 outside the frame, less where the
    label's own edge runs in another direction; energies = w |z|^2; totals (M, 1), their sum. profiles: of the outlines.
    """

    windows: Windows
    image_of: NDArray[np.intp]
    x: NDArray[np.intp]
    y: NDArray[np.intp]
    field: ComplexArray
    weights: FloatArray
    energies: FloatArray
    totals: FloatArray
    inside: FloatArray
    profiles: Profiles | None


def look(synthetic: ComplexArray, image_of: NDArray[np.intp], windows: Windows) -> Seen:
    """The synthetic fields (N, H, W) at the pixels nearest to the windows' points. image_of: (M,) where each lies."""
    height, width = synthetic.shape[1:]
    nearest = np.rint(windows.points_xy)
    x, y = nearest[..., 0], nearest[..., 1]
    inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height)).astype(np.float32)
    columns, rows = np.clip(x, 0, width - 1).astype(np.intp), np.clip(y, 0, height - 1).astype(np.intp)
    values = synthetic[image_of[:, None], rows, columns]
    weights = inside * _agreement(values, windows.expected)
    energies = weights * (values.real**2 + values.imag**2)
    totals = energies.sum(axis=1, keepdims=True)
    own = None if windows.outline is None else profiles(synthetic, image_of, windows.outline)
    share = inside.mean(axis=1)
    return Seen(windows, image_of[:, None], columns, rows, values, weights, energies, totals, share, own)


def measure(seen: Seen, refined: ComplexArray, radius_px: int) -> Displacements:
    """Displacement = argmax of S(d) for |dx|, |dy| <= radius, refined by a parabola through the values round the peak.

    S(d) = Re sum_k w z_src(x_k) conj z_ref(x_k + d) / sqrt(E_src (E_ref(d) + 0.05 E_src)),  E = sum_k w |z|^2

    refined: (N, H, W) fields.
    """
    padded = np.pad(refined, ((0, 0), (radius_px, radius_px), (radius_px, radius_px)))
    surfaces = _surfaces(seen, padded, radius_px)
    last = 2 * radius_px
    row, column = np.divmod(surfaces.reshape(len(surfaces), -1).argmax(axis=1), last + 1)
    at_end = (row == 0) | (row == last) | (column == 0) | (column == last)
    presence = surfaces[np.arange(len(surfaces)), row, column]
    around = (row.clip(1, last - 1), column.clip(1, last - 1))
    step, spread, parts = _around_peak(seen, padded, surfaces, around)
    whole_px = np.stack((column, row), axis=-1) - radius_px
    shift = whole_px + np.where(at_end[:, None], 0.0, step)
    facing = seen.windows.facing
    at_border = at_end & (_facing_length(facing, shift) > radius_px - 1)
    confidence = presence - _second_best(surfaces, row, column, facing)
    energy = seen.energies.mean(axis=1)
    moves = _outline_moves(seen, refined, whole_px)
    return Displacements(
        shift, spread, presence, confidence, at_border, energy, seen.inside, parts[0], parts[1], *moves
    )


def _agreement(seen: ComplexArray, expected: ComplexArray | None) -> FloatArray | np.float32:
    """cos^2 of the angle between the edge that is seen and the one that the label expects: (M, K)."""
    if expected is None:
        return np.float32(1.0)
    along = seen.real * expected.real + seen.imag * expected.imag
    return np.asarray(0.5 + 0.5 * along / (np.abs(seen) + 1e-6), dtype=np.float32)


def _surfaces(seen: Seen, padded: ComplexArray, radius_px: int) -> FloatArray:
    """S of every window: (M, D, D), D = 2 radius + 1."""
    side = 2 * radius_px + 1
    neighbourhoods = sliding_window_view(padded, (side, side), axis=(1, 2))
    surfaces = np.empty((len(seen.x), side * side), np.float32)
    for start in range(0, len(seen.x), _WINDOWS_AT_ONCE):
        part = slice(start, start + _WINDOWS_AT_ONCE)
        patches = neighbourhoods[seen.image_of[part], seen.y[part], seen.x[part]]
        surfaces[part] = _correlate(seen.weights[part], seen.field[part], patches, seen.totals[part])
    return surfaces.reshape(-1, side, side)


def _correlate(weights: FloatArray, seen: ComplexArray, patches: ComplexArray, totals: FloatArray) -> FloatArray:
    """S for m windows: weights, seen (m, K), patches (m, K, D, D) complex64, totals (m, 1). Returns (m, D * D)."""
    parts = patches.reshape(*patches.shape[:2], -1).view(np.float32)
    both = np.matmul(np.stack((weights * seen.real, weights * seen.imag), axis=1), parts)
    squares = np.matmul(weights[:, None], np.square(parts))[:, 0]
    refined_totals = squares[:, 0::2] + squares[:, 1::2]
    floor = ENERGY_FLOOR * totals
    result: FloatArray = (both[:, 0, 0::2] + both[:, 1, 1::2]) / np.sqrt(totals * (refined_totals + floor) + 1e-12)
    return result


def _around_peak(
    seen: Seen, padded: ComplexArray, surfaces: FloatArray, peak: _Place
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sub-pixel step from the highest sample to the maximum (M, 2), its covariance (M, 2, 2), and what parts say."""
    own, (row, column) = np.arange(len(surfaces)), peak
    height = surfaces[own, row, column]
    around = sliding_window_view(surfaces, (3, 3), (1, 2))[own, row - 1, column - 1]
    slope, curvature = quadratic(around.astype(np.float64))
    step = newton_step(slope, curvature)
    unexplained = np.clip(1.0 - height**2, 0.0, 1.0) / _observations(seen.energies, seen.windows)
    products, squares, own = _part_sums(seen, padded, peak)
    spread = covariance(curvature, _pulls(products, squares, seen.totals, height, step), unexplained)
    return step, spread, _part_presence(products, squares, own)


def _part_sums(seen: Seen, padded: ComplexArray, peak: _Place) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """N and E_ref of each of 12 parts of a window in the 3 x 3 px round the peak (M, 12, 3, 3); E_src (M, 12)."""
    around = sliding_window_view(padded, (3, 3), axis=(1, 2))
    found = around[seen.image_of, seen.y + peak[0][:, None] - 1, seen.x + peak[1][:, None] - 1]
    starts = part_starts(seen.x.shape[1])
    real, imag = np.ascontiguousarray(found.real), np.ascontiguousarray(found.imag)
    source, weights = (seen.weights * seen.field)[..., None, None], seen.weights[..., None, None]
    products = np.add.reduceat(source.real * real + source.imag * imag, starts, axis=1)
    squares = np.add.reduceat(weights * (real * real + imag * imag), starts, axis=1)
    return products, squares, np.add.reduceat(seen.energies, starts, axis=1)


def _pulls(
    products: NDArray[Any], squares: NDArray[Any], totals: FloatArray, height: FloatArray, step: NDArray[Any]
) -> NDArray[np.float64]:
    """Slope of S that each of 12 parts of a window has at the peak, one step of a parabola from `peak`: (M, 12, 2).

    S = N / sqrt(E_src (E_ref + floor)), so that part g adds S (N_g' / N - E_g' / (2 (E_ref + floor))).
    """
    product = np.maximum(products[..., 1, 1].sum(axis=1), 1e-9)[:, None, None, None]
    square = (squares[..., 1, 1].sum(axis=1) + ENERGY_FLOOR * totals[:, 0] + 1e-9)[:, None, None, None]
    slope, curvature = quadratic(height[:, None, None, None] * (products / product - squares / (2 * square)))
    return np.asarray(slope - np.matmul(curvature, step[:, None, :, None])[..., 0])


def _part_presence(
    products: NDArray[Any], squares: NDArray[Any], own: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlation of each part in the 3 x 3 px round the peak, scaled by its own energies, and its share of them."""
    floor = ENERGY_FLOOR * own + 1e-9
    surfaces = products / np.sqrt((own + 1e-9)[..., None, None] * (squares + floor[..., None, None]))
    share = own / np.maximum(own.sum(axis=1, keepdims=True), 1e-9)
    return surfaces.max(axis=(2, 3)).astype(np.float64), share.astype(np.float64)


def _outline_moves(
    seen: Seen, refined: ComplexArray, whole_px: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each part moved across itself: the whole shift's share of that, and what a search along it adds."""
    outline = seen.windows.outline
    if outline is None or seen.profiles is None:
        unknown = np.full((len(whole_px), PARTS), np.nan)
        return unknown, unknown
    own = part_moves_px(seen.profiles, refined, whole_px)
    moves = own + np.matmul(seen.windows.outward(), whole_px[:, :, None].astype(np.float64))[..., 0]
    return moves, smooth_moves_px(moves, outline, seen.profiles.starts)


def _facing_length(facing: FloatArray | None, shift: NDArray[Any]) -> NDArray[Any]:
    seen = shift if facing is None else np.matmul(facing, shift[:, :, None])[:, :, 0]
    return np.asarray(np.hypot(seen[:, 0], seen[:, 1]))


def _second_best(
    surfaces: FloatArray, row: NDArray[Any], column: NDArray[Any], facing: FloatArray | None
) -> FloatArray:
    """Best correlation farther than 2.5 px from the peak, counted across the label's edge where it has one: (M,)."""
    steps = np.arange(surfaces.shape[1], dtype=np.float32)
    down, across = (steps - row[:, None])[:, :, None], (steps - column[:, None])[:, None, :]
    square = np.eye(2, dtype=np.float32)[None] if facing is None else np.matmul(facing, facing)
    xx, xy, yy = (square[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    far = xx * across**2 + 2 * xy * across * down + yy * down**2 > PEAK_RADIUS_PX**2
    best: FloatArray = np.where(far, surfaces, np.float32(-1.0)).reshape(len(surfaces), -1).max(axis=1, initial=-1.0)
    return best


def _observations(energies: FloatArray, windows: Windows) -> FloatArray:
    """Independent observations in a window: (sum e)^2 / sum e^2, fewer where points crowd."""
    effective = energies.sum(axis=1) ** 2 / np.maximum((energies**2).sum(axis=1), 1e-12)
    crowding = np.minimum(1.0, windows.area_px / (CORRELATED_AREA_PX * windows.points_xy.shape[1]))
    return np.asarray(np.maximum(effective * crowding, 1.0), dtype=np.float32)
