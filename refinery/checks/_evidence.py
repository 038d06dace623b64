"""What a source shows and what of it is left in its refined image: contrast in gray levels, edges, colours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._orientation import ComplexArray
from refinery.sample import FloatArray

LEVELS = 127.5
"""Gray levels of an 8-bit image in one unit of [-1, 1]."""

FLAT_LEVELS = 4.0
"""Values that lie this close together are one flat colour to anybody who looks."""

SHOWN_LEVELS = 16.0
"""A source shows something where its values lie this far apart, and four times as far as the refined ones."""

LOSS = 4.0
FAINT_LEVELS, FAINT_EDGES, FAINT_COLOURS = 8.0, 0.2, 0.7
FAINT_PLACE = 0.5
"""Of a refined image that deviates by fewer levels, less than these similarities say that it is noise or a gradient.

Edges in a whole image where they were, or in a label's window where they fit best, which chance helps.
"""

NOISE, NOISE_PX, WHITE = 0.15, 1024, 0.5
"""Both similarities are above the first in any honest image of as many pixels, and below it in noise; and of that
smoothing over 3 x 3 px leaves less than half (a third where it is white), of another picture more."""

POINTS = 1 << 14
"""Of a whole image that deviations and colours are taken from; ranges are those of every pixel."""
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of M places, in images smoothed over 3 x 3 px; ranges and deviations are of the channel that has most.

    shown_levels, left_levels: from the lowest to the highest value of the synthetic and of the refined image.
    shown_deviation, left_deviation: standard deviations in levels. colours: R, the root of the share of the refined
    variance that an affine map of the synthetic colours explains, 0 where nothing varies.
    """

    shown_levels: NDArray[np.float64] = field(repr=False)
    left_levels: NDArray[np.float64] = field(repr=False)
    shown_deviation: NDArray[np.float64] = field(repr=False)
    left_deviation: NDArray[np.float64] = field(repr=False)
    colours: NDArray[np.float64] = field(repr=False)

    @property
    def is_flat(self) -> NDArray[np.bool_]:
        """Places that show something in the source and are one flat colour, or nearly so, when refined: (M,)."""
        dimmed = self.shown_levels >= LOSS * self.left_levels
        return np.asarray((self.left_levels < FLAT_LEVELS) & self.shows & dimmed)

    @property
    def shows(self) -> NDArray[np.bool_]:
        """Places that show something in the source: (M,)."""
        return np.asarray(self.shown_levels >= SHOWN_LEVELS)

    @property
    def is_faint(self) -> NDArray[np.bool_]:
        """Places that show something in the source, and when refined a quarter of it at most, otherwise coloured."""
        dimmed = self.shown_deviation >= LOSS * self.left_deviation
        faint = self.shows & dimmed & (self.left_deviation < FAINT_LEVELS)
        return np.asarray(faint & (self.colours < FAINT_COLOURS))


def evidence_in(before: NDArray[Any], after: NDArray[Any], inside: NDArray[np.bool_] | None = None) -> Evidence:
    """Evidence of M places of K points each: before, after (M, K, C) smoothed values; inside (M, K), all if None."""
    weights = np.ones(before.shape[:2]) if inside is None else inside.astype(np.float64)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    shown, left = (_centred(values.astype(np.float64), weights) for values in (before, after))
    deviations = [np.sqrt((np.square(values) * weights[..., None]).sum(axis=1)).max(axis=1) for values in (shown, left)]
    shown_levels, left_levels = (_range(values, inside) * LEVELS for values in (before, after))
    deviation, left_deviation = (deviation * LEVELS for deviation in deviations)
    return Evidence(shown_levels, left_levels, deviation, left_deviation, _explained(shown, left, weights))


def evidence_of_images(batch: CheckBatch) -> Evidence:
    """Evidence of whole images: their ranges over every pixel, the rest over an even grid of them.

    Deviations and colours are those that are left when a quadratic surface is taken off the refined image, so that
    shading on a flat image counts as flat.
    """
    before, after = batch.synthetic_smoothed, batch.refined_smoothed
    step = max(1, int(np.ceil(np.sqrt(before.shape[1] * before.shape[2] / POINTS))))
    shown, left = (values[:, ::step, ::step] for values in (before, after))
    flattened = left.reshape(len(left), -1, left.shape[3]) - _surfaces(left)
    found = evidence_in(shown.reshape(flattened.shape), flattened)
    shown_levels, left_levels = (_range_of_images(values) * LEVELS for values in (before, after))
    return replace(found, shown_levels=shown_levels, left_levels=left_levels)


def _surfaces(images: FloatArray) -> NDArray[np.float64]:
    """The quadratic surface nearest to each channel of images (N, H, W, C): (N, H W, C)."""
    basis = _quadratic(images.shape[1], images.shape[2])
    return np.asarray(basis @ (basis.T @ images.reshape(len(images), -1, images.shape[3]).astype(np.float64)))


@lru_cache(maxsize=8)
def _quadratic(height: int, width: int) -> NDArray[np.float64]:
    """An orthonormal basis of the quadratic surfaces over H x W px: (H W, 6)."""
    y, x = (np.linspace(-1.0, 1.0, side) for side in (height, width))
    factors = ((y**0, x**0), (y, x**0), (y**0, x), (y**2, x**0), (y, x), (y**0, x**2))
    basis, _ = np.linalg.qr(np.stack([np.outer(down, across).ravel() for down, across in factors], axis=1))
    return np.asarray(basis)


def edges_left(source: ComplexArray, refined: ComplexArray) -> float:
    """Correlation S(0) of two fields (H, W), see `_displacement.measure`: 1 when every edge is where it was."""
    shown, left = (float(np.square(np.abs(one)).sum()) for one in (source, refined))
    along = float((source.real * refined.real + source.imag * refined.imag).sum())
    return along / float(np.sqrt(shown * (left + 0.05 * shown) + TINY))


def is_noise(raw: FloatArray, smoothed: FloatArray) -> bool:
    """True if smoothing takes away what an image (H, W, C) shows: its values differ from pixel to pixel."""
    left, whole = (float(values.std(axis=(0, 1)).max()) for values in (smoothed, raw))
    return left < WHITE * whole


def _range_of_images(images: FloatArray) -> NDArray[np.float64]:
    """The same of whole images: (N, H, W, C) -> (N,). Rows first: they lie in memory one after the other."""
    count, height, width, channels = images.shape
    rows = images.reshape(count, height, width * channels)
    high, low = (ends.reshape(count, width, channels) for ends in (rows.max(axis=1), rows.min(axis=1)))
    return np.asarray((high.max(axis=1) - low.min(axis=1)).max(axis=1), dtype=np.float64)


def _range(values: NDArray[Any], inside: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Highest less lowest value of the channel in which they lie furthest apart: (M, K, C) -> (M,)."""
    if inside is None:
        return np.asarray((values.max(axis=1) - values.min(axis=1)).max(axis=1), dtype=np.float64)
    high, low = (np.where(inside[..., None], values, end) for end in (-np.inf, np.inf))
    found = (high.max(axis=1) - low.min(axis=1)).max(axis=1)
    return np.asarray(np.maximum(found, 0.0), dtype=np.float64)


def _centred(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - (values * weights[..., None]).sum(axis=1, keepdims=True))


def _explained(shown: NDArray[np.float64], left: NDArray[np.float64], weights: NDArray[np.float64]) -> Any:
    """R of `Evidence`: (M,). Colours are kept from explaining anything by a ridge of a hundredth of a level."""
    weighted = np.swapaxes(shown * weights[..., None], 1, 2)
    ridge = (0.01 / LEVELS) ** 2 * np.eye(shown.shape[2])
    explained = shown @ np.linalg.solve(weighted @ shown + ridge, weighted @ left)
    variances = [(np.square(values) * weights[..., None]).sum(axis=(1, 2)) for values in (explained, left)]
    return np.sqrt(np.clip(variances[0] / np.maximum(variances[1], TINY), 0.0, 1.0))
