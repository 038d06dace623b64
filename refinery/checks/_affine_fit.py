"""Which shift, scale, rotation and shear carries what is seen round a label to where the refined image shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._orientation import ComplexArray
from refinery.checks._windows import part_starts
from refinery.sample import FloatArray

MOTIONS = 6
ROTATION = 3
STEPS = 4
MAX_STEP_PX = 1.0
SOFT_LIMIT = 2.0
"""Where a point is off by this many times the mean square, it counts a third less than all."""

TRUST_IN_NONE = 0.01
"""How much of the evidence for a shift holds the other motions at 0, so that what cannot be seen stays there."""

COVARIANCE_SCALE, FLOOR_PX = 2.0, 0.05
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class AffineFit:
    """Motion of M labels, in px at the root mean square distance of its points from their middle.

    motion: (M, 6) shift x, shift y, growth, rotation (x toward y), stretch (x grows, y shrinks), shear. covariance:
    (M, 6, 6). centre: (M, 2). radius_px: (M,).
    """

    motion: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float64] = field(repr=False)
    centre: NDArray[np.float64] = field(repr=False)
    radius_px: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Source:
    """What the synthetic images show at the points of M windows, K each.

    image_of (M, 1). x, y, weights: (M, K). away_x, away_y: (M, K) from the middle, in radii; radius_px: (M, 1).
    slope_x, slope_y: (M, K). looks: (M, 3, K), the field, what more noise makes of it, what a blur adds to it.
    """

    image_of: NDArray[np.intp]
    x: FloatArray
    y: FloatArray
    weights: FloatArray
    away_x: FloatArray
    away_y: FloatArray
    radius_px: FloatArray
    slope_x: ComplexArray
    slope_y: ComplexArray
    looks: ComplexArray


def affine_design(points_xy: NDArray[Any], centre: NDArray[Any], radius_px: NDArray[Any]) -> NDArray[Any]:
    """Px that points (M, K, 2) move by for each of the six motions: (M, K, 2, 6)."""
    away = (points_xy - centre[:, None]) / radius_px[:, None, None]
    x, y, one = away[..., 0], away[..., 1], np.ones_like(away[..., 0])
    zero = np.zeros_like(one)
    return np.stack((np.stack((one, zero, x, -y, x, y), -1), np.stack((zero, one, y, x, -y, x), -1)), axis=-2)


def fit_affine(
    fields: tuple[ComplexArray, ComplexArray, ComplexArray],
    image_of: NDArray[np.intp],
    points_xy: NDArray[Any],
    normals: NDArray[Any] | None,
    shift_px: NDArray[np.float64],
) -> AffineFit:
    """Least squares over motions u(x) = D(x) m, from a known shift on, in four Gauss-Newton steps.

    z_ref(x + u) e^(-2i rotation) = a z(x) + b z(x) |z(x)| + c (z_soft(x) - z(x)) + rest

    a, b and c take up contrast, noise and blur, which make an outline of the field thicker on one side and look
    like growth. Points count less the farther they are off (Cauchy). The covariance is twice the sum of what the
    residuals allow and of how much the twelve parts disagree (Huber 1967), and 0.05 px; with that scale about
    95% of objects that did not move (battery, tune split) lie within their bounds.

    fields: of the synthetic images, of those blurred by 1 px, of the refined ones, (N, H, W). image_of: (M,).
    points_xy: (M, K, 2). normals: of the label's own edge, (M, K, 2), what crosses it counts less. shift_px: (M, 2).
    """
    nearest = np.rint(points_xy)
    centre = nearest.mean(axis=1)
    radius = np.maximum(np.sqrt(((nearest - centre[:, None]) ** 2).sum(axis=2).mean(axis=1)), 1.0)
    motion, covariance = np.zeros((len(image_of), MOTIONS)), np.zeros((len(image_of), MOTIONS, MOTIONS))
    for start in range(0, len(image_of), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        own = None if normals is None else normals[part]
        source = _look(fields[:2], image_of[part], nearest[part], own, (centre[part], radius[part]))
        motion[part], covariance[part] = _fit(source, fields[2], shift_px[part])
    return AffineFit(motion, covariance, centre, radius)


def _look(
    fields: tuple[ComplexArray, ComplexArray],
    image_of: NDArray[np.intp],
    nearest: NDArray[Any],
    normals: NDArray[Any] | None,
    middle: tuple[NDArray[Any], NDArray[Any]],
) -> _Source:
    """The synthetic fields at whole pixels (M, K, 2), their slopes, and how much each point counts."""
    sharp, soft = fields
    height, width = sharp.shape[1:]
    x, y = nearest[..., 0], nearest[..., 1]
    inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height)).astype(np.float32)
    column, row, own = x.clip(0, width - 1).astype(np.intp), y.clip(0, height - 1).astype(np.intp), image_of[:, None]
    z = sharp[own, row, column]
    slope_x = sharp[own, row, (column + 1).clip(0, width - 1)] - sharp[own, row, (column - 1).clip(0)]
    slope_y = sharp[own, (row + 1).clip(0, height - 1), column] - sharp[own, (row - 1).clip(0), column]
    if normals is not None:
        along = (z * ((normals[..., 0] - 1j * normals[..., 1]) ** 2)).real
        inside *= (0.5 + 0.5 * along / (np.abs(z) + 1e-6)).astype(np.float32)
    looks = np.stack((z, z * np.abs(z), soft[own, row, column] - z), axis=1)
    radius = middle[1][:, None].astype(np.float32)
    away_x, away_y = (((side - middle[0][:, k, None]) / radius).astype(np.float32) for k, side in enumerate((x, y)))
    places = (x.astype(np.float32), y.astype(np.float32))
    return _Source(own, *places, inside, away_x, away_y, radius, slope_x / 2, slope_y / 2, looks)


def _fit(
    source: _Source, refined: ComplexArray, shift_px: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Motions (M, 6) and their covariances (M, 6, 6)."""
    motion = np.zeros((len(shift_px), MOTIONS))
    motion[:, :2] = shift_px
    gains = np.zeros((len(shift_px), source.looks.shape[1]))
    gains[:, 0] = 1.0
    columns = np.empty((len(shift_px), MOTIONS + gains.shape[1], source.x.shape[1]), np.complex64)
    columns[:, MOTIONS:] = source.looks
    for _ in range(STEPS):
        jacobian, seen, weights = _linearised(source, refined, motion, gains, columns)
        weighted = jacobian * weights[:, None]
        normal = np.matmul(weighted, np.swapaxes(jacobian, 1, 2)).astype(np.float64)
        held = _trust_in_none(normal)
        pull = np.matmul(weighted, seen[..., None])[..., 0] - held * np.pad(motion, ((0, 0), (0, gains.shape[1])))
        inverse = np.linalg.inv(normal + held[:, :, None] * np.eye(normal.shape[1]))
        found = np.matmul(inverse, pull[..., None])[..., 0]
        motion = motion + np.clip(found[:, :MOTIONS], -MAX_STEP_PX, MAX_STEP_PX)
        gains = found[:, MOTIONS:]
    off = seen - np.matmul(found.astype(np.float32)[:, None], jacobian)[:, 0]
    return motion, _covariance(weighted, off, weights, inverse)


def _trust_in_none(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Diagonal (M, 9) that is added to the normal equations."""
    held = np.full(normal.shape[:2], 1e-6)
    held[:, 2:MOTIONS] += TRUST_IN_NONE * (normal[:, 0, 0] + normal[:, 1, 1])[:, None] / 2
    return held


def _linearised(
    source: _Source, refined: ComplexArray, motion: NDArray[Any], gains: NDArray[Any], jacobian: ComplexArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Jacobian (M, 9, 2K), the refined field (M, 2K) it has to explain, weights (M, 2K); real and imaginary in turn.

    Slopes are the mean of both images' (efficient second-order minimization; Malis 2004). jacobian: (M, 9, K), whose
    last three columns are the looks; the others are filled in.
    """
    growth, rotation, stretch, shear = motion[:, 2:].T[..., None].astype(np.float32)
    ahead, down = motion[:, :1].astype(np.float32), motion[:, 1:2].astype(np.float32)
    x = source.x + ahead + (growth + stretch) * source.away_x + (shear - rotation) * source.away_y
    y = source.y + down + (shear + rotation) * source.away_x + (growth - stretch) * source.away_y
    seen, slope_x, slope_y = _between_pixels(refined, source.image_of, x, y)
    turn = np.exp(-2j * rotation / source.radius_px).astype(np.complex64)
    gain = gains[:, :1].clip(0.2, 5.0).astype(np.float32)
    seen = seen * turn
    slope_x, slope_y = (slope_x * turn + gain * source.slope_x) / -2, (slope_y * turn + gain * source.slope_y) / -2
    jacobian[:, 0], jacobian[:, 1] = slope_x, slope_y
    xx, xy, yx, yy = (slope * away for slope in (slope_x, slope_y) for away in (source.away_x, source.away_y))
    jacobian[:, 2], jacobian[:, 4], jacobian[:, 5] = xx + yy, xx - yy, xy + yx
    jacobian[:, 3] = yx - xy + (2j * gain / source.radius_px).astype(np.complex64) * source.looks[:, 0]
    height, width = refined.shape[1:]
    inside = source.weights * ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))
    told = seen.view(np.float32)
    squares = np.square(told - np.matmul(gains.astype(np.float32)[:, None], source.looks.view(np.float32))[:, 0])
    weights = _less_if_off(inside, squares[:, 0::2] + squares[:, 1::2])
    return jacobian.view(np.float32), told, weights.repeat(2, axis=1)


def _less_if_off(weights: FloatArray, squares: FloatArray) -> FloatArray:
    """Weights (M, K) of points whose squared residuals these are."""
    mean = (weights * squares).sum(axis=1, keepdims=True) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(weights / (1 + squares / (SOFT_LIMIT * mean + 1e-6)), dtype=np.float32)


def _between_pixels(
    fields: ComplexArray, image_of: NDArray[np.intp], x: FloatArray, y: FloatArray
) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Bilinear values of fields (N, H, W) at (x, y), (M, K) each, and their slopes along x and along y."""
    height, width = fields.shape[1:]
    left, top = x.astype(np.intp).clip(0, width - 2), y.astype(np.intp).clip(0, height - 2)
    across, down = ((place - low).clip(0, 1).astype(np.float32) for place, low in ((x, left), (y, top)))
    flat, place = fields.reshape(-1), (image_of * height + top) * width + left
    a, b, c, d = (flat.take(place + step) for step in (0, 1, width, width + 1))
    upper, lower = a + (b - a) * across, c + (d - c) * across
    return upper + (lower - upper) * down, (b - a) + (d - c - b + a) * down, lower - upper


def _covariance(
    weighted: FloatArray, off: FloatArray, weights: FloatArray, inverse: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Twice what residuals `off` (M, 2K) and the parts' disagreement allow, and 0.05 px: (M, 6, 6)."""
    pulls = weighted * off[:, None]
    parts = np.add.reduceat(pulls, 2 * part_starts(off.shape[1] // 2), axis=2).astype(np.float64)
    between = np.matmul(parts, np.swapaxes(parts, 1, 2))
    left_over = 2 * (weights * off**2).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-6)
    both = np.matmul(np.matmul(inverse, between), inverse) + left_over[:, None, None] * inverse
    return np.asarray(COVARIANCE_SCALE * both[:, :MOTIONS, :MOTIONS] + FLOOR_PX**2 * np.eye(MOTIONS))
