"""Sliced Wasserstein distance of Laplacian-pyramid patches: do small structures look alike, frequency band by band?"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refinery.realism._pixels import Images
from refinery.sample import FloatArray

PATCH_PX = 7
PATCHES_PER_IMAGE = 8
DIRECTIONS = 64
MAX_LEVELS = 4
_BINOMIAL = (0.0625, 0.25, 0.375, 0.25, 0.0625)


def features(images: Images, rng: np.random.Generator) -> FloatArray:
    """Random 7x7 patches of every pyramid level, projected on random directions: (N, 8, levels, 64) float32.

    The same generator state gives the same directions and places for any number of images of one shape.
    """
    levels = _laplacian_pyramid(np.moveaxis(images, 3, 1))
    return np.stack([_projected(level, rng) for level in levels], axis=2)


def distance(first: FloatArray, second: FloatArray) -> float:
    """Mean over levels and directions of the 1-Wasserstein distance of two equally large sets of projections.

    W1 = mean |sort(a) - sort(b)|, in units of the standard deviation of `second` at that level: >= 0, biased upward for
    small sets, so compare it with a floor of the same size only.
    first, second: features of equally many images. Source: Karras et al. 2018 (PGGAN), section 5; they normalise
    each set by itself, which hides a difference in contrast.
    """
    a, b = (np.sort(f.reshape(-1, *f.shape[2:]), axis=0) for f in (first, second))
    scale = b.std(axis=(0, 2), keepdims=True)
    return float((np.abs(a - b) / np.maximum(scale, 1e-6)).mean())


def _projected(level: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Patches at the same random places of every image (N, C, H, W), projected: (N, 8, 64)."""
    size_y, size_x = (min(PATCH_PX, length) for length in level.shape[2:])
    rows = rng.integers(0, level.shape[2] - size_y + 1, PATCHES_PER_IMAGE)
    columns = rng.integers(0, level.shape[3] - size_x + 1, PATCHES_PER_IMAGE)
    directions = rng.standard_normal((level.shape[1] * size_y * size_x, DIRECTIONS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    windows = sliding_window_view(level, (size_y, size_x), axis=(2, 3))
    patches = np.moveaxis(windows[:, :, rows, columns], 2, 1).reshape(len(level), PATCHES_PER_IMAGE, -1)
    return np.asarray(patches @ directions, dtype=np.float32)


def _laplacian_pyramid(images: FloatArray) -> list[FloatArray]:
    """Bands (N, C, h, w) from fine to coarse, the last the low pass; halved while both sides stay at 14 px and more."""
    bands: list[FloatArray] = []
    while min(images.shape[2:]) >= 4 * PATCH_PX and len(bands) < MAX_LEVELS - 1:
        low = _blurred(_blurred(images, 2), 3)
        bands.append(images - low)
        images = low[:, :, ::2, ::2]
    return [*bands, images]


def _blurred(images: FloatArray, axis: int) -> FloatArray:
    """Binomial filter [1 4 6 4 1] / 16 along one axis, edges repeated."""
    padded = np.pad(images, [(2, 2) if a == axis else (0, 0) for a in range(4)], mode="edge")
    length = images.shape[axis]
    steps = [np.moveaxis(np.moveaxis(padded, axis, 0)[k : k + length], 0, axis) for k in range(5)]
    return np.asarray(sum(np.float32(w) * step for w, step in zip(_BINOMIAL, steps, strict=True)), dtype=np.float32)
