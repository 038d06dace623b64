"""Mask and depth images: every value of a mask is a region whose edge can be checked; depth is one label.

What the file or its folder is called decides between instances and classes: `semantic`, `labelIds`, `trainannot`,
`SegmentationClass` hold classes, `instance`, `panoptic`, `SegmentationObject` instances; so do other masks.
"""

from __future__ import annotations

import io
import warnings
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery.annotations import _names
from refinery.annotations._objects import most_masks
from refinery.errors import LabelError, TurnedError
from refinery.image import stored_orientation, upright
from refinery.sample import Label, LabelType

SUFFIXES: tuple[str, ...] = (".png", ".bmp", ".tif", ".tiff", ".pgm")
MAX_REGIONS = 64
MIN_REGION_PX = 12
MAX_COLOURS = 64
MAX_IDS = 65536
MAX_PIXELS = 200_000_000
MASK_WORDS = frozenset(
    {"mask", "masks", "seg", "segmentation", "semantic", "instance", "instances", "panoptic", "labelids", "instanceids"}
)
SEMANTIC_WORDS = frozenset(
    {"semantic", "semantics", "labelids", "labeltrainids", "segmentationclass", "trainannot", "valannot", "testannot"}
)
INSTANCE_WORDS = frozenset({"instance", "instances", "instanceids", "panoptic", "segmentationobject", "objectid"})
DEPTH_WORDS = frozenset({"depth", "depths", "zdepth", "disparity", "cameradepth", "depthmaps"})
GEOMETRY_WORDS = frozenset({"depth", "normal", "normals", "disparity", "flow", "albedo"})
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B")
_FORMATS = ("PNG", "BMP", "TIFF", "PPM")


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """One mask (H, W) bool per value or colour but the commonest one at the border, largest first, 64 at most.

    `text` of a mask is its value, or its colour as #rrggbb; the void of VOC's palette, value 255, is left out. A depth
    or disparity image, by its name or as 16 bit that is not flat, is one `depth` label (H, W) float32 of the values as
    stored. Normals, flow and the like give no label.
    Raises LabelError when the image cannot be read or differs in size from the image it belongs to.
    """
    words = _words_of(path)
    near = frozenset().union(*words[-2:])
    is_depth = bool(DEPTH_WORDS & near)
    if GEOMETRY_WORDS & near and not is_depth:
        return ()
    values, mode = _values(data, path, size_hw)
    name, kind = _kind(words)
    is_mask = not is_depth and _is_flat(values, MAX_COLOURS if name == "mask" else MAX_IDS)
    if is_depth or (mode in _DEEP and not is_mask and name == "mask"):
        return (Label("depth", "depth", values.astype(np.float32)),) if values.any() else ()
    if not is_mask:
        return ()
    return tuple(
        Label(name, kind, values == value, item=i, text=_text(value, mode))
        for i, value in enumerate(_regions(values, mode))
    )


def _regions(values: NDArray[Any], mode: str) -> list[int]:
    """Values of 12 px and more, the largest first, without the background."""
    border = np.concatenate((values[0], values[-1], values[:, 0], values[:, -1]))
    void = values == 255 if mode == "P" else np.zeros(0)
    found, counts = np.unique(border[border != 255] if void.any() else border, return_counts=True)
    background = int(found[counts.argmax()]) if len(found) else -1
    regions, sizes = np.unique(values, return_counts=True)
    kept = [(-int(size), int(region)) for size, region in zip(sizes, regions, strict=True) if size >= MIN_REGION_PX]
    out = {background, 255} if void.any() else {background}
    return [region for _, region in sorted(kept) if region not in out][
        : min(MAX_REGIONS, most_masks((values.shape[0], values.shape[1])))
    ]


def _kind(words: list[frozenset[str]]) -> tuple[str, LabelType]:
    """Name and type by the file's own name, then by its folders', the nearest first."""
    for found in reversed(words):
        if INSTANCE_WORDS & found:
            return "instance_mask", "instance_mask"
        if SEMANTIC_WORDS & found:
            return "semantic_mask", "semantic_mask"
    return "mask", "instance_mask"


def _words_of(path: str) -> list[frozenset[str]]:
    """Words of each folder and of the file's stem, "Segmentation Class" also as one."""
    parts = [*PurePosixPath(path).parts[:-1], PurePosixPath(path).stem]
    return [frozenset((*_names.words(part), "".join(_names.words(part)))) for part in parts]


def _text(value: int, mode: str) -> str:
    return f"#{value:06x}" if mode.startswith("RGB") else str(value)


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


def _is_flat(values: NDArray[Any], most: int = MAX_COLOURS) -> bool:
    """At most so many values, two at least, and 90% of horizontal neighbours equal."""
    if values.ndim != 2 or values.shape[1] < 2:
        return False
    equal = float((values[:, 1:] == values[:, :-1]).mean())
    return 0.9 <= equal < 1.0 and len(np.unique(values)) <= most


def _values(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[NDArray[Any], str]:
    """(H, W) values and the mode of the image."""
    try:
        image = _open(data)
        pixels = np.asarray(image)
        if image.format == "PNG":  # Pillow turns a TIFF itself
            pixels = upright(pixels, stored_orientation(data))
        height, width = pixels.shape[:2]
        if (height, width) != tuple(size_hw):
            raise (TurnedError if (width, height) == tuple(size_hw) else LabelError)(
                f"{path}: the mask is {width}x{height} px but its image is {size_hw[1]}x{size_hw[0]} px; "
                "expected equal sizes; render the mask again at the size of the image"
            )
        return (pixels if image.mode == "F" else _single(pixels)), image.mode
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
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
