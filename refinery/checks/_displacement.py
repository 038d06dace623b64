"""How far what is seen in a window has moved between two orientation fields, and how surely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refinery.checks._orientation import ComplexArray
from refinery.checks._windows import Windows
from refinery.sample import FloatArray

ENERGY_FLOOR = 0.05
PEAK_RADIUS_PX = 2.5
CORRELATED_AREA_PX = 6.0
"""Pixels of the smoothed field that vary together; windows hold area / 6 independent observations at most."""

UNCERTAINTY_SCALE = 1.0
UNCERTAINTY_FLOOR_PX = 0.05
MIN_CURVATURE = 1e-4
_WINDOWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Displacements:
    """What was measured in M windows.

    shift_px: (M, 2) signed (dx, dy). axes: (M, 2, 2), row i is a unit direction (x, y), the best measurable one first.
    sigma_px: (M, 2) standard error along each axis, inf where nothing is visible along it.
    presence: (M,) the correlation at the peak, <= 1. confidence: (M,) peak minus the best value outside 2.5 px.
    at_border: (M,) the peak lies at the end of the search. energy: (M,) mean squared field in the window, 0 = flat.
    inside: (M,) share of the window's points in the frame.
    """

    shift_px: FloatArray = field(repr=False)
    axes: FloatArray = field(repr=False)
    sigma_px: FloatArray = field(repr=False)
    presence: FloatArray = field(repr=False)
    confidence: FloatArray = field(repr=False)
    at_border: NDArray[np.bool_] = field(repr=False)
    energy: FloatArray = field(repr=False)
    inside: FloatArray = field(repr=False)


def measure(
    synthetic: ComplexArray, refined: ComplexArray, image_of: NDArray[np.intp], windows: Windows, radius_px: int
) -> Displacements:
    """Displacement = argmax of S(d) for |dx|, |dy| <= radius, refined by a parabola through the values round the peak.

    synthetic, refined: (N, H, W) fields; image_of: (M,) the image each window lies in.
    """
    surfaces, energies, inside = _surfaces(synthetic, refined, image_of, windows, radius_px)
    side = 2 * radius_px + 1
    flat_peak = surfaces.reshape(len(surfaces), -1).argmax(axis=1)
    row, column = flat_peak // side, flat_peak % side
    presence = surfaces.reshape(len(surfaces), -1).max(axis=1, initial=-1.0)
    slope, curvature = _quadratic(surfaces, row, column)
    offset = _newton_step(slope, curvature)
    at_border = (row == 0) | (row == side - 1) | (column == 0) | (column == side - 1)
    shift = np.stack((column, row), axis=-1) - radius_px + np.where(at_border[:, None], 0.0, offset)
    sigma, axes = _uncertainty(curvature, presence, _observations(energies, windows))
    return Displacements(
        shift.astype(np.float32), axes, sigma, presence, presence - _second_best(surfaces, row, column), at_border,
        energies.mean(axis=1), inside,
    )  # fmt: skip


def _surfaces(
    synthetic: ComplexArray, refined: ComplexArray, image_of: NDArray[np.intp], windows: Windows, radius_px: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """S(d) = Re sum_k w z_src(x_k) conj z_ref(x_k + d) / sqrt(E_src (E_ref(d) + 0.05 E_src)).

    Returns S (M, D, D) with D = 2 radius + 1, the energy w |z_src|^2 of each point (M, K), the share of points inside
    the frame (M,). w is 1 inside the frame, times the agreement with the label's own edge where its direction is known.
    """
    height, width = synthetic.shape[1:]
    side = 2 * radius_px + 1
    reach = ((0, 0), (radius_px, radius_px), (radius_px, radius_px))
    neighbourhoods = sliding_window_view(np.pad(refined, reach), (side, side), axis=(1, 2))
    x, y, inside = _pixels(windows, height, width)
    seen = synthetic[image_of[:, None], y, x]
    weights = inside * _agreement(seen, windows.expected)
    energies = weights * (seen.real**2 + seen.imag**2)
    totals = energies.sum(axis=1)[:, None]
    surfaces = np.empty((len(x), side * side), np.float32)
    for start in range(0, len(x), _WINDOWS_AT_ONCE):
        part = slice(start, start + _WINDOWS_AT_ONCE)
        patches = neighbourhoods[image_of[part, None], y[part], x[part]]
        surfaces[part] = _correlate(weights[part], seen[part], patches, totals[part])
    return surfaces.reshape(-1, side, side), energies, inside.mean(axis=1, dtype=np.float32)


def _correlate(weights: FloatArray, seen: ComplexArray, patches: ComplexArray, totals: FloatArray) -> FloatArray:
    """S for m windows: weights, seen (m, K), patches (m, K, D, D) complex64, totals (m, 1). Returns (m, D * D)."""
    parts = patches.reshape(*patches.shape[:2], -1).view(np.float32)
    real = np.matmul((weights * seen.real)[:, None], parts)[:, 0, 0::2]
    imaginary = np.matmul((weights * seen.imag)[:, None], parts)[:, 0, 1::2]
    squares = np.matmul(weights[:, None], np.square(parts))[:, 0]
    refined_totals = squares[:, 0::2] + squares[:, 1::2]
    result: FloatArray = (real + imaginary) / np.sqrt(totals * (refined_totals + ENERGY_FLOOR * totals) + 1e-12)
    return result


def _pixels(windows: Windows, height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """Nearest pixels (M, K) of the points, and 1 or 0 for those inside and outside the frame."""
    nearest = np.rint(windows.points_xy)
    x, y = nearest[..., 0], nearest[..., 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    clipped_x, clipped_y = np.clip(x, 0, width - 1).astype(np.intp), np.clip(y, 0, height - 1).astype(np.intp)
    return clipped_x, clipped_y, inside.astype(np.float32)


def _agreement(seen: ComplexArray, expected: ComplexArray | None) -> FloatArray | np.float32:
    """Cosine of the doubled angle between what is seen and what the label expects, from 0 to 1: (M, K)."""
    if expected is None:
        return np.float32(1.0)
    along = seen.real * expected.real + seen.imag * expected.imag
    return np.asarray(np.clip(along / (np.abs(seen) + 1e-6), 0.0, 1.0), dtype=np.float32)


def _quadratic(surfaces: FloatArray, row: NDArray[Any], column: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Slope (M, 2) and negated second derivatives (M, 2, 2), in (x, y), at the peak, or one step in from the border."""
    last = surfaces.shape[1] - 2
    row, column, own = np.clip(row, 1, last), np.clip(column, 1, last), np.arange(len(surfaces))
    s = {(j, i): surfaces[own, row + j, column + i].astype(np.float64) for j in (-1, 0, 1) for i in (-1, 0, 1)}
    slope = np.stack((s[0, 1] - s[0, -1], s[1, 0] - s[-1, 0]), axis=-1) / 2.0
    xx, yy = 2 * s[0, 0] - s[0, 1] - s[0, -1], 2 * s[0, 0] - s[1, 0] - s[-1, 0]
    xy = -(s[1, 1] + s[-1, -1] - s[1, -1] - s[-1, 1]) / 4.0
    return slope, np.stack((np.stack((xx, xy), axis=-1), np.stack((xy, yy), axis=-1)), axis=-2)


def _newton_step(slope: NDArray[Any], curvature: NDArray[Any]) -> NDArray[Any]:
    """Maximum of the parabola, at most 0.75 px from the sample it was fitted around: (M, 2)."""
    xx, yy, xy = curvature[:, 0, 0], curvature[:, 1, 1], curvature[:, 0, 1]
    determinant = xx * yy - xy * xy
    sound = (determinant > 0.1 * xx * yy) & (xx > MIN_CURVATURE) & (yy > MIN_CURVATURE)
    safe = np.where(sound, determinant, 1.0)
    x, y = slope[:, 0], slope[:, 1]
    joint = np.stack((yy * x - xy * y, xx * y - xy * x), axis=-1) / safe[:, None]
    single = slope / np.maximum(np.stack((xx, yy), axis=-1), MIN_CURVATURE)
    step: NDArray[Any] = np.clip(np.where(sound[:, None], joint, single), -0.75, 0.75)
    return step


def _second_best(surfaces: FloatArray, row: NDArray[Any], column: NDArray[Any]) -> FloatArray:
    """Best correlation farther than 2.5 px from the peak: (M,)."""
    steps = np.arange(surfaces.shape[1])
    down, across = (steps - row[:, None]) ** 2, (steps - column[:, None]) ** 2
    far = down[:, :, None] + across[:, None, :] > PEAK_RADIUS_PX**2
    best: FloatArray = np.where(far, surfaces, np.float32(-1.0)).reshape(len(surfaces), -1).max(axis=1, initial=-1.0)
    return best


def _observations(energies: FloatArray, windows: Windows) -> FloatArray:
    """Independent observations in a window: (sum e)^2 / sum e^2, fewer where points crowd."""
    effective = energies.sum(axis=1) ** 2 / np.maximum((energies**2).sum(axis=1), 1e-12)
    crowding = np.minimum(1.0, windows.area_px / (CORRELATED_AREA_PX * windows.points_xy.shape[1]))
    return np.asarray(np.maximum(effective * crowding, 1.0), dtype=np.float32)


def _uncertainty(
    curvature: NDArray[Any], presence: FloatArray, observations: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Standard error along the two principal axes of the peak, in px: (M, 2), and the axes (M, 2, 2).

    sigma_i^2 = floor^2 + scale^2 (1 - S^2) / (n lambda_i), lambda_i the peak's curvature: the Cramer-Rao bound of a
    shift whose residual is what the peak leaves unexplained. On procedural scenes under nine changes of appearance 98%
    of the errors along an axis lay within 1.645 sigma. Strong blur is the exception (it merges edges, which moves
    them): 95% of its errors lay within 2 sigma at a blur of 1.3 px and within 3 sigma at 2.2 px.
    """
    values, vectors = np.linalg.eigh(curvature)
    values, vectors = values[:, ::-1], np.swapaxes(vectors, 1, 2)[:, ::-1]
    unexplained = np.clip(1.0 - presence**2, 0.0, 1.0) / observations
    variance = UNCERTAINTY_SCALE**2 * unexplained[:, None] / np.maximum(values, 1e-12) + UNCERTAINTY_FLOOR_PX**2
    sigma = np.where(values > MIN_CURVATURE, np.sqrt(variance), np.inf)
    return sigma.astype(np.float32), vectors.astype(np.float32)
