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
STILL_SHARE, ROUGH, UNRELATED = 0.6, 16, 0.3
"""Where a number is spread over bytes, most neighbours have one high byte, and low bytes that differ by so much."""
UNIT_SHARE, UNIT_TOLERANCE = 0.85, 0.06
"""So many pixels of a map of normals are vectors of about length 1."""
VARIED = 24
"""Levels that two components of directions differ by at least: a flat colour is no direction."""
SEEN_PX = 512
FLAT = "few flat colours"
OUTLINES_WH = (32, 32)
ALIKE, EQUAL = 0.2, 0.97
"""Outlines of one scene correlate by so much more than those of two; above EQUAL they are of one picture."""
_UNREFINED_MODES = {"P": "a palette", "1": "black and white alone", "I": "32 bits a value", "F": "32 bits a value"}
UNREFINED = frozenset((*_UNREFINED_MODES.values(), "16 bits a channel"))
"""Looks of what decoding refuses: it may be listed as such, but never overwritten."""
DEEP, SMOOTH = "16 bits or more a value", "16 bits or more a value, without any grain"
GRAIN = 0.002
"""Of its range: what neighbouring values of a picture differ from a straight line by, and those of depth do not."""


def appearance_of(data: bytes) -> str | None:
    """What makes an image file look like a map, in words; empty where it looks like a render or photo.

    None where it cannot be read, or is all of one colour.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return None
            if opened.mode in _UNREFINED_MODES and opened.format != "PPM":
                return _UNREFINED_MODES[opened.mode]
            if _has_deep_channels(opened, data):
                return "16 bits a channel"
            look = appearance_of_pixels(np.asarray(opened))
            is_cutout = "transparency" in opened.info  # one colour of gray or RGB: a figure to lay on something
            return "" if is_cutout and look == FLAT else look
    except Exception:  # Pillow raises many kinds on broken files; a broken file says nothing
        return None


def appearance_of_pixels(pixels: NDArray[Any]) -> str | None:
    """The same of (H, W[, C]) of any type of numbers; alpha is not looked at. None where all pixels are the same."""
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    pixels = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    top, left = (max(0, (side - SEEN_PX) // 2) for side in pixels.shape[:2])
    pixels = pixels[top : top + SEEN_PX, left : left + SEEN_PX]
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels, posinf=0, neginf=0)
    if (pixels == pixels[0, 0]).all():
        return None
    if pixels.dtype != np.uint8:
        return _of_deep_pixels(pixels)
    if is_label_map(pixels):
        return FLAT
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
        values = np.nan_to_num(pixels[:, :, 0].astype(np.float64), posinf=0, neginf=0)
        bend = np.abs(np.diff(values, 2, axis=1))
        return SMOOTH if np.median(bend) <= GRAIN * np.ptp(values) else DEEP
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
    """True if images of two sensors by frame show the same scenes: outlines agree within a frame, not across."""
    shared = sorted(first.keys() & second.keys())
    same = [float(first[frame] @ second[frame]) for frame in shared]
    across = [float(first[one] @ second[other]) for one in shared for other in shared if one != other]
    least = ALIKE + (float(np.mean(across)) if across else ALIKE)
    return bool(same) and bool(least < np.mean(same) < EQUAL)


def is_label_map(pixels: NDArray[np.uint8]) -> bool:
    """True if (H, W, C) uint8 has the few flat colours of a label map; the most frequent colour is not looked at."""
    codes: NDArray[Any] = np.zeros(pixels.shape[:2], np.uint32)
    for channel in range(pixels.shape[2]):
        codes = codes << 8 | pixels[:, :, channel]
    colours, counts = np.unique(codes, return_counts=True)
    if len(colours) <= 3:
        return True
    if len(colours) > MANY_COLOURS:
        return False
    same = codes[:, 1:] == codes[:, :-1]
    seen = codes[:, 1:] != colours[counts.argmax()]
    flat = float(same[seen].mean()) if seen.any() else 1.0
    return flat >= (FLAT_SHARE if len(colours) <= FEW_COLOURS else FLATTER_SHARE)


def is_number_in_bytes(pixels: NDArray[np.uint8]) -> bool:
    """True if (H, W, 3) uint8 holds one number a pixel (CARLA's depth): a rough low byte beside a smooth high one."""
    values = pixels.astype(np.int16)
    steps = [np.abs(np.diff(values, axis=axis)).reshape(-1, 3) for axis in (0, 1)]
    step = np.concatenate(steps)
    for low, high in ((0, 2), (2, 0)):
        still = step[:, high] == 0
        if still.mean() >= STILL_SHARE and step[still, low].mean() >= ROUGH:
            return _correlation(values[:, :, low], values[:, :, high]) < UNRELATED
    return False


def _correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """How far two channels go together, from 0 to 1; 0 where one of them is flat."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]))


def is_normals(pixels: NDArray[np.uint8]) -> bool:
    """True if (H, W, 3) uint8 holds a vector of length 1 at nearly each pixel that is not one flat colour."""
    vectors = pixels.astype(np.float32) / 127.5 - 1
    same = (pixels == pixels[0, 0]).all(2) | (pixels == 0).all(2) | (pixels == 255).all(2)
    lengths = np.linalg.norm(vectors, axis=2)[~same]
    if len(lengths) < 0.02 * same.size or np.sort(np.ptp(pixels[~same].astype(np.int16), axis=0))[1] < VARIED:
        return False
    return bool((np.abs(lengths - 1) < UNIT_TOLERANCE).mean() >= UNIT_SHARE)


def has_empty_channel(pixels: NDArray[np.uint8]) -> bool:
    """True if one channel of (H, W, 3) says nothing while another one does, as in flow and coordinates."""
    spread = np.ptp(pixels.reshape(-1, 3).astype(np.int16), axis=0)
    return bool(spread.min() == 0 and np.sort(spread)[1] > 16)


def _has_deep_channels(opened: Image.Image, data: bytes) -> bool:
    """True if a PNG has 16 bits a channel, which Pillow brings to 8 without a word."""
    return opened.format == "PNG" and len(data) > 25 and data[24] == 16 and data[25] != 0
