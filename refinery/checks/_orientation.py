"""The orientation field: where an image has structure and in which direction, whatever its colours and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray

ComplexArray = NDArray[np.complex64]

_MARGIN_PX = 3
_GRADIENT_GAIN = 128.0
_SMOOTHING_GAIN = 16.0
_QUANTISATION_TRACE = 1e-5
"""Squared gradient of 0.4 gray levels a px in [-1, 1]: below it an 8-bit image says nothing."""


def orientation_field(images: FloatArray) -> ComplexArray:
    """Double-angle structure of every pixel, between 0 (flat, noise, corner) and 1 (one clean edge) in size.

    J = sum over channels of grad I grad I^T, with the gradient of a Gaussian of sigma 1 px, smoothed by sigma 0.7 px;
    z = ((Jxx - Jyy) + 2i Jxy) / (tr J + 4 median(tr J)). Both Gaussians are binomial filters (sums of neighbours).
    The angle is doubled, so that an edge and its negative agree: gamma, contrast inversion and colour do not matter.

    images: (N, H, W, C) float32 in [-1, 1]. Returns (N, H, W) complex64.
    Source: Bigun & Granlund 1987 (structure tensor, double angle); the noise floor is ours.
    """
    margins = ((0, 0), (0, 0), (_MARGIN_PX, _MARGIN_PX), (_MARGIN_PX, _MARGIN_PX))
    padded = np.pad(np.moveaxis(images, 3, 1), margins, mode="edge")
    common = _neighbour_sums(padded, 3)
    gradient_x = _pair_sum(common[..., 1:] - common[..., :-1], 2)
    gradient_y = _pair_sum(common[:, :, 1:] - common[:, :, :-1], 3)
    jxy = _neighbour_sums((gradient_x * gradient_y).sum(axis=1)[:, None], 2)[:, 0]
    squared_x, squared_y = (_channel_sum(np.square(side, out=side)) for side in (gradient_x, gradient_y))
    trace = _neighbour_sums((squared_x + squared_y)[:, None], 2)[:, 0]
    difference = _neighbour_sums((squared_x - squared_y)[:, None], 2)[:, 0]
    scale = 1.0 / (trace + _noise_floor(trace)[:, None, None])
    field = np.empty(trace.shape, np.complex64)
    np.multiply(difference, scale, out=field.real)
    np.multiply(np.multiply(jxy, 2.0, out=jxy), scale, out=field.imag)
    return field


def _channel_sum(maps: FloatArray) -> FloatArray:
    """Sum over the channels of (N, C, H, W); of one channel without a copy."""
    return np.asarray(maps[:, 0] if maps.shape[1] == 1 else maps.sum(axis=1))


def _noise_floor(trace: FloatArray) -> FloatArray:
    """Four times the median trace of each image, on every second pixel, and never below quantisation: (N,)."""
    thinned = trace[:, ::2, ::2].reshape(len(trace), -1)
    middle = thinned.shape[1] // 2
    median = np.partition(thinned, middle, axis=1)[:, middle]
    floor: FloatArray = 4.0 * median + np.float32(_QUANTISATION_TRACE * _GRADIENT_GAIN**2 * _SMOOTHING_GAIN)
    return floor


def _neighbour_sums(maps: NDArray[Any], times: int) -> NDArray[Any]:
    """Binomial smoothing, unnormalised, over the last two axes of (N, C, H, W); each axis is `times` shorter."""
    for _ in range(times):
        maps = _pair_sum(_pair_sum(maps, 2), 3)
    return maps


def _pair_sum(maps: NDArray[Any], axis: int) -> NDArray[Any]:
    pairs = maps[:, :, 1:] + maps[:, :, :-1] if axis == 2 else maps[..., 1:] + maps[..., :-1]
    return np.asarray(pairs)
