"""Images that are plain arrays: .npy bytes <-> Decoded, with float images carried at 16 bits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.errors import SampleError
from refinery.image import MAX_PIXELS, MIN_SIDE_PX, Decoded

FORMAT = "NPY"
_DEEPEST = 65535


def to_bytes(array: NDArray[Any]) -> bytes:
    """An array as .npy bytes; never pickled."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def to_array(data: bytes) -> NDArray[Any]:
    """The array of .npy bytes; object arrays are refused with ValueError."""
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def decode(data: bytes, name: str, top: float) -> Decoded:
    """Decode .npy bytes of one image (H, W) or (H, W, 1 or 3), uint8, uint16 or float in [0, top].

    Float images become uint16, where 65535 stands for `top`. Raises SampleError.
    """
    try:
        array = to_array(data)
    except (ValueError, OSError, EOFError) as error:
        raise SampleError(f"{name}: not a readable array; write the dataset again") from error
    _check_shape(array, name)
    pixels = array if array.ndim == 3 else array[:, :, None]
    if array.dtype.kind == "f":
        pixels = _quantised(pixels, name, top)
    elif array.dtype not in (np.uint8, np.uint16):
        raise SampleError(
            f"{name}: type {array.dtype} is not refined; expected uint8, uint16 or float; convert it first"
        )
    mode = "L" if pixels.shape[2] == 1 else "RGB"
    info = {"shape": array.shape, "dtype": array.dtype.str, "top": top}
    return Decoded(pixels, FORMAT, mode if pixels.dtype == np.uint8 else f"{mode};16", None, info)


def encode(pixels: NDArray[Any], like: Decoded) -> bytes:
    """Encode pixels (H, W, C) as .npy bytes of the shape and type that `like` had."""
    dtype = np.dtype(like.info["dtype"])
    if dtype.kind == "f":
        values = pixels.astype(np.float64) * (like.info["top"] / _DEEPEST)
        return to_bytes(values.astype(dtype).reshape(like.info["shape"]))
    return to_bytes(pixels.astype(dtype).reshape(like.info["shape"]))


def _check_shape(array: NDArray[Any], name: str) -> None:
    shape = "x".join(map(str, array.shape)) or "a single value"
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        raise SampleError(f"{name}: shape {shape} is not an image; expected (H, W) or (H, W, 1 or 3)")
    if min(array.shape[:2]) < MIN_SIDE_PX:
        raise SampleError(f"{name}: {shape} is too small; the shorter side must be {MIN_SIDE_PX} px or more")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise SampleError(f"{name}: {shape} is more than {MAX_PIXELS:,} pixels; cut it into tiles first")


def _quantised(pixels: NDArray[Any], name: str, top: float) -> NDArray[np.uint16]:
    if not np.isfinite(pixels).all():
        raise SampleError(f"{name}: has NaN or infinite pixels; write the image again without them")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > (top or 1):
        raise SampleError(
            f"{name}: pixels from {low:.4g} to {high:.4g}; expected [0, {top:g}] as in the images around it"
        )
    return np.rint(pixels.astype(np.float64) * (_DEEPEST / (top or 1))).astype(np.uint16)
