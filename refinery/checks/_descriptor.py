"""A whole image as one vector of coarse edge directions, to ask which of several images another one was made from."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from refinery.checks._orientation import ComplexArray
from refinery.sample import FloatArray

GRID = 24


def coarse_field(fields: ComplexArray) -> ComplexArray:
    """Mean field in each cell of a 24 x 24 grid over the frame, of length 1: (N, H, W) -> (N, 24, 24) complex64."""
    rows, columns = _area_means(fields.shape[1]), _area_means(fields.shape[2]).T
    coarse = np.empty((len(fields), GRID, GRID), np.complex64)
    coarse.real = np.matmul(np.matmul(rows, np.ascontiguousarray(fields.real)), columns)
    coarse.imag = np.matmul(np.matmul(rows, np.ascontiguousarray(fields.imag)), columns)
    lengths = np.sqrt((coarse.real**2 + coarse.imag**2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(coarse / np.maximum(lengths, 1e-6), dtype=np.complex64)


def describe(fields: ComplexArray) -> FloatArray:
    """Descriptors of images, (N, F) float32 of length 1 (0 for a flat image); their dot product is the similarity."""
    return as_vectors(coarse_field(fields))


def as_vectors(coarse: ComplexArray) -> FloatArray:
    """(N, 24, 24) complex64 as (N, F) float32."""
    return np.ascontiguousarray(coarse).reshape(len(coarse), -1).view(np.float32)


@lru_cache(maxsize=64)
def _area_means(length: int) -> FloatArray:
    """(24, length) matrix whose rows average equal stretches of an axis; a pixel cut by a border counts in part."""
    borders = np.linspace(0.0, length, GRID + 1)
    starts, ends = borders[:-1, None], borders[1:, None]
    pixels = np.arange(length)[None, :]
    overlap = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0.0, None)
    return np.asarray(overlap / (ends - starts), dtype=np.float32)
