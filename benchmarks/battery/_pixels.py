"""Drawing in sub-pixels: grids, warps and occluders of images before they are averaged down to pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Image = NDArray[np.float32]


def sub_pixel_grid(size_hw: tuple[int, int], per_pixel: int) -> tuple[Plane, Plane]:
    """x and y in px of all sub-pixels, `per_pixel` squared of them spread evenly around each integer centre."""
    y, x = np.mgrid[: size_hw[0] * per_pixel, : size_hw[1] * per_pixel].astype(np.float32)
    return (x + 0.5) / per_pixel - 0.5, (y + 0.5) / per_pixel - 0.5


def averaged(fine: Image, per_pixel: int) -> Image:
    """Sub-pixels (H * S, W * S, C) averaged to pixels (H, W, C)."""
    height, width, channels = fine.shape
    blocks = fine.reshape(height // per_pixel, per_pixel, width // per_pixel, per_pixel, channels)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def warped(fine: Image, flow_xy: Image, per_pixel: int) -> Image:
    """What is seen when everything at p moves to p + flow(p), for a smooth flow; beyond the edge the edge is repeated.

    fine: (H * S, W * S, C). flow_xy: (H * S, W * S, 2) px. Bilinear between sub-pixels.
    """
    height, width = fine.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return bilinear(fine, columns - flow_xy[..., 0] * per_pixel, rows - flow_xy[..., 1] * per_pixel)


def bilinear(image: Image, x: Plane, y: Plane) -> Image:
    """Values of (H, W, C) at fractional indices; beyond the edge the edge is repeated."""
    height, width = image.shape[:2]
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - right_share) + image[top, left + 1] * right_share
    lower = image[top + 1, left] * (1 - right_share) + image[top + 1, left + 1] * right_share
    return np.asarray(upper * (1 - bottom_share) + lower * bottom_share, dtype=np.float32)


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], cell_px: float, channels: int = 1) -> Image:
    """Random field (H, W, channels) that varies over about `cell_px`; zero mean and unit deviation on the whole."""
    across = [_interpolation(side, max(2, round(side / cell_px)) + 1) for side in size_hw]
    coarse = rng.normal(0.0, 1.0, (across[0].shape[1], across[1].shape[1], channels)).astype(np.float32)
    field = np.einsum("hi,ijc,wj->hwc", across[0], coarse, across[1], optimize=True)
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)


@lru_cache(maxsize=64)
def _interpolation(length: int, knots: int) -> Plane:
    """Weights (length, knots) of evenly spaced knots, linear between them."""
    place = np.arange(length) * ((knots - 1) / length)
    return np.clip(1.0 - np.abs(place[:, None] - np.arange(knots)), 0.0, 1.0).astype(np.float32)


def blurred(image: Image, sigma_px: float) -> Image:
    """Gaussian blur of (H, W, C); the edge is repeated."""
    reach = int(np.ceil(3.0 * sigma_px))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2).astype(np.float32)
    taps /= taps.sum()
    for axis in (0, 1):
        margins = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        padded, length = np.pad(image, margins, mode="edge"), image.shape[axis]
        image = np.sum([tap * padded.take(range(k, k + length), axis=axis) for k, tap in enumerate(taps)], axis=0)
    return np.asarray(image, dtype=np.float32)


def as_checked(image: Image) -> Image:
    """[0, 1] as it is after having been an 8-bit file: float32 in [-1, 1]."""
    levels = np.rint(np.clip(image, 0.0, 1.0) * 255)
    return np.asarray(levels / 127.5 - 1.0, dtype=np.float32)


def rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """Colour of a hue in turns."""
    ramp = np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1.0 * 6.0 - 3.0) - 1.0
    return np.asarray(value * (1.0 + saturation * (np.clip(ramp, 0, 1) - 1.0)), dtype=np.float32)
