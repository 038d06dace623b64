"""How far each part of a label's outline moved across itself: profiles along its normals, matched part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._orientation import ComplexArray
from refinery.checks._windows import part_starts
from refinery.sample import FloatArray

REACH_PX = 3
FLANK_PX = 4
"""A profile reaches this far to both sides, so that it holds the fall of the edge's energy and not its top alone."""

ENERGY_FLOOR = 0.05
NEAR_PREFERENCE = 0.004
"""What S loses for each squared pixel: of two edges that look alike, the nearer one."""

NEIGHBOURS = 0.2
MIN_BEND = 0.004
MIN_SHARE = 0.25
MIN_FOUND = 0.5
"""A part with less than a quarter of its even share of the edges, or with a lower S, says nothing."""

MIN_PARTS = 6
OFF_PX = 0.3
TRUST_IN_NONE = 0.1

UPPER_SHARE = 0.95
UPPER_MARGIN_PX = 0.25
"""What the moves of an outline are measured too small by in most cases: they are pulled toward each other and to 0."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """The synthetic side of M outlines of L points: fields along their normals, |u| <= 4 px, U = 9 values each.

    image_of: (M,). rays: (M, L, 2, U + 6) places (x, y) px to look at. weights, real, imag: (M, L, U), the last two
    already weighted. own: (M, G) energy of each part. starts: (G,) first point of each.
    """

    image_of: NDArray[np.intp]
    rays: NDArray[np.intp]
    weights: FloatArray
    real: FloatArray
    imag: FloatArray
    own: FloatArray
    starts: NDArray[np.intp]


def profiles(synthetic: ComplexArray, image_of: NDArray[np.intp], outline: tuple[FloatArray, FloatArray]) -> Profiles:
    """What lies across outlines in the synthetic fields (N, H, W): their points and unit normals, (M, L, 2) px each."""
    offsets = np.arange(-FLANK_PX - REACH_PX, FLANK_PX + REACH_PX + 1, dtype=np.float32)
    points, normals = outline
    starts = part_starts(points.shape[1])
    rays = np.rint(points[..., None] + normals[..., None] * offsets).astype(np.intp)
    source, seen = _sampled(synthetic, image_of, rays[..., REACH_PX:-REACH_PX])
    direction = (normals[..., 0] + 1j * normals[..., 1]) ** 2
    weights = seen * _agreement(source, direction[..., None].astype(np.complex64))
    own = np.add.reduceat((weights * _squared(source)).sum(axis=2), starts, axis=1)
    return Profiles(image_of, rays, weights, weights * source.real, weights * source.imag, own, starts)


def part_moves_px(source: Profiles, refined: ComplexArray, shift_px: NDArray[np.intp]) -> NDArray[np.float64]:
    """Signed outward move of each part beyond the shift, at most 3 px; NaN where it is not found: (M, G).

    Per part and step t: S_g(t) = sum_k,u w Re(z_src(x_k + u n_k) conj z_ref(x_k + d + (u + t) n_k)) / sqrt(E_src
    (E_ref(t) + floor)), |u| <= 4 px, neighbouring parts counted a fifth; its highest point, by a parabola, is the move.

    refined: (N, H, W) fields. shift_px: (M, 2) whole pixels.
    """
    found, _ = _sampled(refined, source.image_of, source.rays + shift_px[:, None, :, None])
    both = _sums(source.real, found.real) + _sums(source.imag, found.imag)
    squares = _sums(source.weights, _squared(found))
    products, totals = (_with_neighbours(np.add.reduceat(x, source.starts, axis=1)) for x in (both, squares))
    wide = _with_neighbours(source.own)[..., None] + np.float32(1e-9)
    surfaces = products / np.sqrt(wide * (totals + ENERGY_FLOOR * wide))
    told = source.own >= MIN_SHARE * np.maximum(source.own.mean(axis=1, keepdims=True), 1e-9)
    return _peaks(surfaces, told)


def smooth_moves_px(
    moves_px: NDArray[np.float64], outline: tuple[FloatArray, FloatArray], starts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """What each point of the outline moved across itself under the affine motion that fits its parts best: (M, L).

    Least squares with a little trust in no motion, once more with parts that are off counting less (Huber, 0.3 px). NaN
    with fewer than MIN_PARTS parts. moves_px: (M, G), NaN where a part is not found.
    """
    points, normals = (side.astype(np.float64) for side in outline)
    away = points - points.mean(axis=1, keepdims=True)
    away /= np.maximum(np.sqrt((away**2).sum(axis=2).mean(axis=1)), 1.0)[:, None, None]
    design = np.concatenate((normals, normals * away[..., :1], normals * away[..., 1:]), axis=2)
    rows = np.add.reduceat(design, starts, axis=1) / np.diff(np.append(starts, points.shape[1]))[:, None]
    found = np.isfinite(moves_px)
    target, weights = np.where(found, moves_px, 0.0), found.astype(np.float64)
    for _ in range(2):
        weighted = np.swapaxes(rows * weights[..., None], 1, 2)
        motion = np.linalg.solve(weighted @ rows + TRUST_IN_NONE * np.eye(6), weighted @ target[..., None])
        off = np.abs((rows @ motion)[..., 0] - target)
        weights = np.where(found, np.minimum(1.0, OFF_PX / np.maximum(off, 1e-6)), 0.0)
    enough = found.sum(axis=1, keepdims=True) >= MIN_PARTS
    return np.where(enough, (design @ motion)[..., 0], np.nan)


def upper_moves_px(moves_px: NDArray[np.float64], smooth_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper bound of how far 95% of an outline moved across itself: (M,), px; NaN with too few parts.

    Of the smooth moves (M, L) the 95% quantile, and of the parts' own (M, G) the second largest, which local bends show
    in; the larger of the two, and a margin.
    """
    own = np.sort(np.where(np.isfinite(moves_px), np.abs(moves_px), 0.0), axis=1)[:, -2:][:, 0]
    everywhere = np.sort(np.abs(smooth_px), axis=1)[:, int(UPPER_SHARE * (smooth_px.shape[1] - 1))]
    return np.asarray(np.maximum(own, everywhere) + UPPER_MARGIN_PX)


def _sampled(
    fields: ComplexArray, image_of: NDArray[np.intp], places: NDArray[np.intp]
) -> tuple[ComplexArray, NDArray[np.bool_]]:
    """Values of the fields at places (M, L, 2, U), (x, y), and whether those lie in the frame."""
    height, width = fields.shape[1:]
    x, y = places[:, :, 0], places[:, :, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    flat = (image_of[:, None, None] * height + y.clip(0, height - 1)) * width + x.clip(0, width - 1)
    return fields.reshape(-1).take(flat), inside


def _agreement(seen: ComplexArray, expected: ComplexArray) -> FloatArray:
    """cos^2 of the angle between the edges that are seen and the outline."""
    along = seen.real * expected.real + seen.imag * expected.imag
    return np.asarray(0.5 + 0.5 * along / (np.abs(seen) + 1e-6), dtype=np.float32)


def _squared(values: ComplexArray) -> FloatArray:
    return np.asarray(values.real**2 + values.imag**2)


def _sums(source: FloatArray, found: FloatArray) -> FloatArray:
    """sum_u source(u) found(u + t): (M, L, U), (M, L, U + T - 1) -> (M, L, T).

    Added up in pairs, steps first: whole rows of points at once instead of a short sum for each.
    """
    windows, weights = np.ascontiguousarray(np.moveaxis(found, 2, 0)), np.ascontiguousarray(np.moveaxis(source, 2, 0))
    steps = len(windows) - len(weights) + 1
    terms = [windows[u : u + steps] * weight for u, weight in enumerate(weights)]
    while len(terms) > 1:
        odd = terms[-1:] if len(terms) % 2 else []
        terms = [one + other for one, other in zip(terms[0::2], terms[1::2], strict=False)] + odd
    return np.asarray(np.moveaxis(terms[0], 0, 2))


def _with_neighbours(sums: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(sums + NEIGHBOURS * (np.roll(sums, 1, axis=1) + np.roll(sums, -1, axis=1)))


def _peaks(surfaces: NDArray[Any], told: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Step at which S is highest along the last axis, by a parabola; NaN where it is low or nothing is told."""
    steps = np.arange(-REACH_PX, REACH_PX + 1, dtype=np.float32)
    preferred = surfaces - NEAR_PREFERENCE * steps**2
    best = preferred.argmax(axis=-1)
    middle = best.clip(1, len(steps) - 2)[..., None]
    left, top, right = (np.take_along_axis(preferred, middle + k, axis=-1)[..., 0] for k in (-1, 0, 1))
    bend = np.maximum(2 * top - left - right, MIN_BEND)
    offset = np.clip((right - left) / 2 / bend, -0.5, 0.5)
    moved = np.where(best == middle[..., 0], steps[middle[..., 0]] + offset, steps[best])
    presence = np.take_along_axis(surfaces, best[..., None], axis=-1)[..., 0]
    return np.where(told & (presence >= MIN_FOUND), moved, np.nan).astype(np.float64)
