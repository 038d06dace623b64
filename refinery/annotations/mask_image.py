"""Mask images: every value of an instance or class mask is a region whose edge can be checked."""

from __future__ import annotations

import io
import warnings
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery.annotations import _names
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".png", ".bmp", ".tif", ".tiff", ".pgm")
MAX_REGIONS = 64
MIN_REGION_PX = 12
MAX_COLOURS = 64
MAX_PIXELS = 200_000_000
MASK_WORDS = frozenset(
    {"mask", "masks", "seg", "segmentation", "semantic", "instance", "instances", "panoptic", "labelids", "instanceids"}
)
GEOMETRY_WORDS = frozenset({"depth", "normal", "normals", "disparity", "flow", "albedo"})
_FORMATS = ("PNG", "BMP", "TIFF", "PPM")


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """One instance mask (H, W) bool per value or colour but the commonest one at the border, largest first, 64 at most.

    Depth, normals and the like (by their name, or because they are not flat) hold no regions and give no label.
    Raises LabelError when the image cannot be read or differs in size from the image it belongs to.
    """
    if _names.says(PurePosixPath(path).stem, GEOMETRY_WORDS):
        return ()
    values = _values(data, path, size_hw)
    if not _is_flat(values):
        return ()
    border = np.concatenate((values[0], values[-1], values[:, 0], values[:, -1]))
    found, counts = np.unique(border, return_counts=True)
    background = found[counts.argmax()]
    regions, sizes = np.unique(values, return_counts=True)
    kept = [(size, region) for size, region in zip(sizes, regions, strict=True) if region != background]
    kept = sorted((pair for pair in kept if pair[0] >= MIN_REGION_PX), key=lambda pair: (-int(pair[0]), int(pair[1])))
    return tuple(
        Label("mask", "instance_mask", values == region, item=i, text=str(region))
        for i, (_, region) in enumerate(kept[:MAX_REGIONS])
    )


def looks_like_mask(data: bytes, path: str = "") -> bool:
    """True for an image that must never be refined: a mask, depth, normals.

    By its name first (mask, seg, ... as the first or last word; depth, normals, ... as the last; a number is no word),
    then by its pixels: 2 to 64 values in flat regions, nine horizontal neighbours in ten equal. A drawing without
    anti-aliasing looks the same, so ask for the pixels of images that have a partner only.
    """
    parts = [word for word in _names.words(PurePosixPath(path).stem) if not word.isdigit()]
    if MASK_WORDS & set(parts[:1] + parts[-1:]) or GEOMETRY_WORDS & set(parts[-1:]):
        return True
    if PurePosixPath(path).suffix.lower() not in ("", *SUFFIXES):
        return False
    try:
        return _is_flat(_single(np.asarray(_open(data))))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _is_flat(values: NDArray[Any]) -> bool:
    """At most 64 values, two at least, and 90% of horizontal neighbours equal."""
    if values.ndim != 2 or values.shape[1] < 2:
        return False
    equal = float((values[:, 1:] == values[:, :-1]).mean())
    return 0.9 <= equal < 1.0 and len(np.unique(values)) <= MAX_COLOURS


def _values(data: bytes, path: str, size_hw: tuple[int, int]) -> NDArray[Any]:
    try:
        image = _open(data)
        if (image.height, image.width) != tuple(size_hw):
            raise LabelError(
                f"{path}: the mask is {image.width}x{image.height} px but its image is {size_hw[1]}x{size_hw[0]} px; "
                "expected equal sizes; render the mask again at the size of the image"
            )
        return _single(np.asarray(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LabelError(f"{path}: not a readable mask image ({error}); expected PNG, BMP, TIFF or PGM") from error


def _open(data: bytes) -> Image.Image:
    """The undecoded image; more pixels than 200 million are refused before they are decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} px are more than {MAX_PIXELS:,}")
    return image


def _single(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W) or (H, W, C) pixels as one integer each; alpha is left out, colours are packed."""
    if pixels.ndim == 2:
        return pixels.astype(np.int64) if pixels.dtype != np.uint8 else pixels
    colours = pixels[..., : 1 if pixels.shape[2] == 2 else 3].astype(np.int64)
    packed: NDArray[Any] = colours[..., 0] if colours.shape[2] == 1 else colours @ np.array([65536, 256, 1])
    return packed
