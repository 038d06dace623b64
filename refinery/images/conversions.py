"""Pixels as numbers: whole levels and floats, gray and colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray


def to_float(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> FloatArray:
    """uint8 or uint16 of any shape to float32 in [-1, 1]; 0 maps to -1, the largest value to 1."""
    half = np.float32(np.iinfo(pixels.dtype).max / 2)
    return pixels.astype(np.float32) / half - np.float32(1)


def from_float(values: FloatArray, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Float in [-1, 1] of any shape to uint8 or uint16 (bits 8 or 16), rounded to nearest, clipped."""
    dtype = np.uint16 if bits == 16 else np.uint8
    top = np.float32(np.iinfo(dtype).max)
    scaled = (values + np.float32(1)) * (top / np.float32(2))
    whole: NDArray[np.uint8] | NDArray[np.uint16] = np.clip(np.rint(scaled), 0, top).astype(dtype)
    return whole


def as_channels(pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    """(H, W, 1 or 3) to (H, W, channels): colour to gray by Rec. 601 luma, gray to colour by repetition."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    kind = pixels.dtype
    rounded = np.rint(luma) if np.issubdtype(kind, np.integer) else luma
    return rounded[:, :, None].astype(kind)
