"""Whether an image beside a picture is a mask or a depth map, told by its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery.image import FORMATS, MAX_PIXELS

FEW_COLOURS = 64
TIMES_FEWER = 4
"""A mask has at most FEW_COLOURS, and its picture at least TIMES_FEWER times as many."""
LOOKED_AT_PX = 256
_ORIENTATION = 274

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B")


def is_mask_beside(candidate: Path, picture: Path) -> bool:
    """True if `candidate` is a mask or depth image of `picture`; False where either cannot be read."""
    try:
        with Image.open(candidate, formats=FORMATS) as one, Image.open(picture, formats=FORMATS) as other:
            if not _of_one_size(one, other) or one.width * one.height > MAX_PIXELS:
                return False
            if _differs_in_mode(one.mode, other.mode):
                return True
            return few_beside_many(np.asarray(one), np.asarray(other))
    except Exception:  # Pillow raises many kinds on broken files; a broken file is nobody's mask
        return False


def few_beside_many(candidate: NDArray[Any], picture: NDArray[Any]) -> bool:
    """True if (H, W[, C]) `candidate` has the few flat colours of a mask and `picture` has many."""
    few = colours(candidate)
    return few <= FEW_COLOURS and colours(picture) >= TIMES_FEWER * few


def colours(pixels: NDArray[Any]) -> int:
    """Number of distinct colours in (H, W[, C]), on a grid of at most LOOKED_AT_PX in each direction."""
    step_y, step_x = (-(-side // LOOKED_AT_PX) for side in pixels.shape[:2])
    grid = pixels[::step_y, ::step_x]
    flat = grid.reshape(grid.shape[0] * grid.shape[1], -1)
    return len(np.unique(flat, axis=0)) if flat.shape[1] > 1 else len(np.unique(flat))


def _of_one_size(candidate: Image.Image, picture: Image.Image) -> bool:
    """True if both are equally large, as stored or as displayed: EXIF may lay one of them on its side."""
    if candidate.size == picture.size[::-1] != picture.size:
        return any(image.getexif().get(_ORIENTATION, 1) >= 5 for image in (candidate, picture))
    return candidate.size == picture.size


def _differs_in_mode(candidate: str, picture: str) -> bool:
    if candidate in ("P", "1"):
        return picture not in ("P", "1")
    return candidate in _DEEP_MODES and picture not in _DEEP_MODES
