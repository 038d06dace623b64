"""Colour-key transparency: the pixels of one colour are transparent, those and no others.

Source: PNG specification, 11.3.1 (tRNS).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.images.decoded import Decoded


def transparent_kept(pixels: NDArray[Any], like: Decoded) -> NDArray[Any]:
    """The pixels (H, W, C or 3) with the same ones transparent as in `like`.

    Those that were transparent keep their colour. Another that has come to have that colour is moved by one level in
    its last channel, the smallest change there is.
    """
    if like.colour_key is None:
        return pixels
    was = (like.pixels == np.array(like.colour_key, like.pixels.dtype)).all(axis=2)
    key = np.array(key_for(like, pixels.shape[2]), pixels.dtype)
    new = (pixels == key).all(axis=2) & ~was
    if not was.any() and not new.any():
        return pixels
    kept = pixels.copy()
    kept[was] = key
    kept[new, -1] = key[-1] - 1 if key[-1] else 1
    return kept


def key_for(like: Decoded, channels: int) -> tuple[int, ...]:
    """The transparent colour in an image of these channels: a gray one is three equal values in colour."""
    assert like.colour_key is not None
    return like.colour_key * (channels // len(like.colour_key))
