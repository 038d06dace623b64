"""EXIF orientation: pixels as stored and as displayed, and what a file says about it.

Source: EXIF 2.32, tag 0x0112: 1 upright, 2 mirrored, 3 upside down, 4 upside down and mirrored, 5 to 8 lying on a side.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.images.exif import orientation_in

_BACK = {6: 8, 8: 6}
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def orientation_of(exif: bytes, xmp: bytes = b"") -> int:
    """The number from 1 to 8 that EXIF gives, or else XMP; 1 where neither does. Pillow's `exif_transpose` agrees."""
    if (number := orientation_in(exif)) is not None:
        return number
    match = _XMP.search(xmp)
    return int(match[1]) if match else 1


def upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored pixels (H, W) or (H, W, C) as they are displayed."""
    if orientation == 1:
        return stored
    turned = stored
    if orientation >= 5:
        turned = np.swapaxes(turned, 0, 1)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)


def as_stored(displayed: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Displayed pixels as the file stores them: `upright` backwards."""
    return upright(displayed, _BACK.get(orientation, orientation))
