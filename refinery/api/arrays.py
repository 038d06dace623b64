"""Images as users hold them, in memory: arrays of one size or lists of several, to floats in [-1, 1] and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.errors import UsageError
from refinery.image import MIN_SIDE_PX, from_float, to_float
from refinery.sample import FloatArray

Images = NDArray[Any] | Sequence[NDArray[Any]]
COLOURS, ALPHA = (1, 3, 4), 4
SLACK = 1e-3
"""Floats may leave the range from 0 to 1 by this much, which rounding does."""


@dataclass(frozen=True)
class ImageArrays:
    """Images taken apart. floats: (H, W, 1 or 3) float32 in [-1, 1] each. alphas: (H, W, 1) or None.

    `like` puts others in their place: of the same kind of container, dtype and number of dimensions.
    """

    floats: tuple[FloatArray, ...] = field(repr=False)
    alphas: tuple[NDArray[Any] | None, ...] = field(repr=False)
    dtypes: tuple[np.dtype[Any], ...]
    flat: tuple[bool, ...]
    container: str
    empty: NDArray[Any] | None = field(default=None, repr=False)

    def like(self, images: Sequence[FloatArray]) -> Any:
        """Images (H, W, C) float32 in [-1, 1], one for each, in the form that these came in.

        Gray images without an axis for channels stay so, unless they have become coloured.
        """
        made = [
            _as_given(image, alpha, dtype, is_flat)
            for image, alpha, dtype, is_flat in zip(images, self.alphas, self.dtypes, self.flat, strict=True)
        ]
        if self.container == "one":
            return made[0]
        if self.container == "array":
            return np.stack(made) if made else self.empty
        return made


def take_apart(images: Images, what: str = "images") -> ImageArrays:
    """(N, H, W, C), (N, H, W), (H, W, C) or (H, W), or a list of (H, W, C) and (H, W), of 1, 3 or 4 channels.

    An array of three dimensions is one image where the last is 1, 3 or 4. uint8, uint16, or floats from 0 to 1; the
    fourth channel is alpha, which is carried. Raises UsageError for anything else.
    """
    if isinstance(images, list | tuple):
        rows, container, empty = [np.asarray(image) for image in images], "list", None
    else:
        array = np.asarray(images)
        is_one = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in COLOURS)
        if array.ndim not in (2, 3, 4):
            raise UsageError(
                f"{what}: an array of shape {array.shape}; expected (N, H, W, C), (N, H, W), (H, W, C) or (H, W)"
            )
        rows, container, empty = [array] if is_one else list(array), "one" if is_one else "array", array
    rows = [row.astype(row.dtype.newbyteorder("="), copy=False) for row in rows]
    read = [_floats_of(row, f"{what}[{at}]") for at, row in enumerate(rows)]
    return ImageArrays(
        tuple(floats for floats, _ in read),
        tuple(alpha for _, alpha in read),
        tuple(row.dtype for row in rows),
        tuple(row.ndim == 2 for row in rows),
        container,
        None if empty is None or len(rows) else empty.copy(),
    )


def _floats_of(image: NDArray[Any], where: str) -> tuple[FloatArray, NDArray[Any] | None]:
    """Pixels in [-1, 1], and the alpha. Raises UsageError."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in COLOURS):
        raise UsageError(f"{where}: shape {image.shape}; expected (H, W), or (H, W, C) with 1, 3 or 4 channels")
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise UsageError(f"{where}: {image.shape[1]}x{image.shape[0]} px; expected {MIN_SIDE_PX} px a side at least")
    pixels = image[:, :, None] if image.ndim == 2 else image
    pixels, alpha = (pixels[..., :3], pixels[..., 3:]) if pixels.shape[2] == ALPHA else (pixels, None)
    if image.dtype in (np.uint8, np.uint16):
        return to_float(pixels), alpha
    if not np.issubdtype(image.dtype, np.floating):
        raise UsageError(f"{where}: dtype {image.dtype}; expected uint8, uint16, or floats from 0 to 1")
    if not (pixels.min() >= -SLACK and pixels.max() <= 1 + SLACK):
        raise UsageError(
            f"{where}: floats from {pixels.min():g} to {pixels.max():g}; expected them from 0 to 1; divide by the "
            "largest value"
        )
    return np.asarray(pixels, np.float32) * np.float32(2) - np.float32(1), alpha


def _as_given(image: FloatArray, alpha: NDArray[Any] | None, dtype: np.dtype[Any], is_flat: bool) -> NDArray[Any]:
    if np.issubdtype(dtype, np.floating):
        pixels: NDArray[Any] = np.clip((image + np.float32(1)) / np.float32(2), 0, 1).astype(dtype)
    else:
        pixels = from_float(image, 16 if dtype == np.uint16 else 8)
    if alpha is not None:
        return np.concatenate((pixels, alpha), axis=2)
    return pixels[..., 0] if is_flat and pixels.shape[2] == 1 else pixels
