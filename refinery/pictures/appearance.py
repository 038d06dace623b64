"""What an image looks like by its pixels: a render or photo, or a map (label map, depth, normals, flow)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery.image import FORMATS, MAX_PIXELS

FEW_COLOURS, MANY_COLOURS = 64, 2048
FLAT_SHARE, FLATTER_SHARE = 0.5, 0.85
"""A label map has at most FEW_COLOURS and this share of flat pixels, or MANY_COLOURS and the larger share."""
ROUGHER = 8.0
"""Channels of a picture are about equally rough; those of a number spread over bytes are not."""
UNIT_SHARE, UNIT_TOLERANCE = 0.85, 0.06
"""So many pixels of a map of normals are vectors of about length 1."""
SEEN_PX = 512
OUTLINES_WH = (32, 32)
ALIKE = 0.2
"""Outlines of one scene correlate by so much more than those of two."""
FAITHFUL = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def appearance_of(data: bytes) -> str | None:
    """What makes an image file look like a map, in words; empty where it looks like a render or photo.

    None where it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return None
            if opened.mode in ("P", "1"):
                return "a palette" if opened.mode == "P" else "black and white alone"
            if opened.mode in FAITHFUL or _has_deep_channels(opened, data):
                return "16 bits or more a value"
            return appearance_of_pixels(np.asarray(opened))
    except Exception:  # Pillow raises many kinds on broken files; a broken file says nothing
        return None


def appearance_of_pixels(pixels: NDArray[Any]) -> str:
    """The same of (H, W[, C]) of any type of numbers; alpha is not looked at."""
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    pixels = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    top, left = (max(0, (side - SEEN_PX) // 2) for side in pixels.shape[:2])
    pixels = pixels[top : top + SEEN_PX, left : left + SEEN_PX]
    if pixels.dtype != np.uint8:
        return _of_deep_pixels(pixels)
    if is_label_map(pixels):
        return "few flat colours"
    if pixels.shape[2] < 3:
        return ""
    if is_number_in_bytes(pixels):
        return "numbers encoded in R, G, B"
    if is_normals(pixels):
        return "directions encoded in R, G, B"
    return "an empty colour channel" if has_empty_channel(pixels) else ""


def _of_deep_pixels(pixels: NDArray[Any]) -> str:
    """Float pixels in three channels may be a render of high range, but not one of vectors of length 1."""
    if pixels.shape[2] < 3 or pixels.dtype.kind != "f":
        return "16 bits or more a value"
    lengths = np.linalg.norm(np.nan_to_num(pixels.astype(np.float32)), axis=2)
    lengths = lengths[lengths > 0]
    unit = len(lengths) and (np.abs(lengths - 1) < UNIT_TOLERANCE).mean() >= UNIT_SHARE
    return "directions in three numbers" if unit else ""


def outlines_of(data: bytes) -> NDArray[np.float32] | None:
    """How steep the gray values of an image file are at each place of a coarse grid, of mean 0 and length 1.

    None where it cannot be read, or is flat. Two sensors' images of one scene are alike in this, whatever they show.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return None
            small = opened.convert("RGB").resize(OUTLINES_WH, Image.Resampling.BOX)
    except Exception:  # as above
        return None
    rows, columns = np.gradient(np.asarray(small, np.float32), axis=(0, 1))
    steep = np.sqrt((rows**2 + columns**2).sum(2)).ravel()
    steep -= steep.mean()
    length = float(np.linalg.norm(steep))
    return (steep / length).astype(np.float32) if length else None


def show_the_same(first: Mapping[str, NDArray[np.float32]], second: Mapping[str, NDArray[np.float32]]) -> bool:
    """Whether images of two sensors by frame show the same scenes: outlines agree within a frame, not across."""
    shared = sorted(first.keys() & second.keys())
    same = [float(first[frame] @ second[frame]) for frame in shared]
    across = [float(first[one] @ second[other]) for one in shared for other in shared if one != other]
    return bool(same) and np.mean(same) > ALIKE + (float(np.mean(across)) if across else ALIKE)


def is_label_map(pixels: NDArray[np.uint8]) -> bool:
    """Whether (H, W, C) uint8 has the few flat colours of a label map; the most frequent colour is not looked at."""
    codes = np.zeros(pixels.shape[:2], np.uint32)
    for channel in range(pixels.shape[2]):
        codes = codes << 8 | pixels[:, :, channel]
    colours, counts = np.unique(codes, return_counts=True)
    if len(colours) <= 3:
        return True
    if len(colours) > MANY_COLOURS:
        return False
    same = (codes[:, 1:] == codes[:, :-1]) & True
    seen = codes[:, 1:] != colours[counts.argmax()]
    flat = float(same[seen].mean()) if seen.any() else 1.0
    return flat >= (FLAT_SHARE if len(colours) <= FEW_COLOURS else FLATTER_SHARE)


def is_number_in_bytes(pixels: NDArray[np.uint8]) -> bool:
    """Whether (H, W, 3) uint8 holds one number a pixel (CARLA's depth): a rough low byte beside a smooth high one."""
    values = pixels.astype(np.int16)
    steps = np.abs(np.diff(values, axis=1)).mean((0, 1))
    low, high = (0, 2) if steps[0] > steps[2] else (2, 0)
    if steps[low] < ROUGHER or steps[low] < ROUGHER * max(steps[high], 0.01):
        return False
    rough, smooth = (values[:, :, channel].ravel().astype(np.float64) for channel in (low, high))
    if smooth.std() == 0 or rough.std() == 0:
        return True
    return bool(abs(np.corrcoef(rough, smooth)[0, 1]) < 0.3)


def is_normals(pixels: NDArray[np.uint8]) -> bool:
    """Whether (H, W, 3) uint8 holds a vector of length 1 at nearly each pixel that is not one flat colour."""
    vectors = pixels.astype(np.float32) / 127.5 - 1
    same = (pixels == pixels[0, 0]).all(2) | (pixels == 0).all(2) | (pixels == 255).all(2)
    lengths = np.linalg.norm(vectors, axis=2)[~same]
    if len(lengths) < 0.02 * same.size:
        return False
    return bool((np.abs(lengths - 1) < UNIT_TOLERANCE).mean() >= UNIT_SHARE)


def has_empty_channel(pixels: NDArray[np.uint8]) -> bool:
    """Whether one channel of (H, W, 3) says nothing while another one does, as in flow and coordinates."""
    spread = np.ptp(pixels.reshape(-1, 3).astype(np.int16), axis=0)
    return bool(spread.min() == 0 and np.sort(spread)[1] > 16)


def _has_deep_channels(opened: Image.Image, data: bytes) -> bool:
    """Whether a PNG has 16 bits a channel, which Pillow brings to 8 without a word."""
    return opened.format == "PNG" and len(data) > 25 and data[24] == 16
