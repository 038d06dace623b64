"""Stacks of images of one size and channel count, which is what realism measures compare."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery.errors import DatasetError
from refinery.sample import FloatArray

Images = FloatArray
"""(N, H, W, C) float32 in [-1, 1]."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def equalise(images: Iterable[FloatArray], size_hw: tuple[int, int], count: int, channels: int = 1) -> Images:
    """The first `count` images as one stack: the largest centred crop of the aspect wanted, then bicubic resizing.

    images: (H, W, C) float32 in [-1, 1] of any size; colour becomes luminance (ITU-R 601) for one channel, gray is
    repeated for three. An image of the right size is not touched. Raises DatasetError when there are none.
    """
    kept = [_resized(_with_channels(image, channels), size_hw) for image in islice(images, count)]
    if not kept:
        raise DatasetError("no images to compare: expected at least one on each side")
    return np.stack(kept)


def _with_channels(image: FloatArray, channels: int) -> FloatArray:
    if image.shape[2] == channels:
        return image
    gray = image[..., :1] if image.shape[2] < 3 else (image[..., :3] @ _LUMINANCE)[..., None]
    return np.repeat(gray, channels, axis=2)


def _resized(image: FloatArray, size_hw: tuple[int, int]) -> FloatArray:
    height, width = image.shape[:2]
    if (height, width) == tuple(size_hw):
        return np.asarray(image, dtype=np.float32)
    scale = min(height / size_hw[0], width / size_hw[1])
    margin_x, margin_y = (width - size_hw[1] * scale) / 2, (height - size_hw[0] * scale) / 2
    crop = (margin_x, margin_y, width - margin_x, height - margin_y)
    bands = [_resized_band(image[..., c], size_hw, crop) for c in range(image.shape[2])]
    return np.clip(np.stack(bands, axis=-1), -1.0, 1.0)


def _resized_band(
    band: NDArray[np.float32], size_hw: tuple[int, int], crop: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    picture = Image.fromarray(np.ascontiguousarray(band, dtype=np.float32))
    resized = picture.resize((size_hw[1], size_hw[0]), Image.Resampling.BICUBIC, box=crop)
    return np.asarray(resized, dtype=np.float32)
