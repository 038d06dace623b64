"""Supervisely: a JSON file an image (`ann/a.png.json` beside `img/a.png`), objects with a class and a geometry.

rectangle -> box; polygon -> polygon; point -> keypoint; bitmap -> instance mask; of other geometries only the class.
Tags without a value are not looked at. Source: Supervisely's annotation format.
"""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
_PNG_BYTES = 64 << 20


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is Supervisely's."""
    return b'"objects"' in data and b'"size"' in data and (b'"classTitle"' in data or b'"tags"' in data)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of all objects that can be read. Raises LabelError, also for a file about an image of another size."""
    tree = load(data, path)
    if not isinstance(tree, dict):
        raise LabelError(f"{path}: not a JSON object; expected Supervisely's size and objects")
    size = _object_in(tree, "size")
    _objects.require_size((size.get("width"), size.get("height")), size_hw, path)
    objects = _objects.at_most(dicts(tree.get("objects")), path)
    parts = Parts(path)
    for item, thing in enumerate(objects):
        parts.add(_object(thing, item, path, size_hw))
    return parts.result()


def _object(thing: dict[str, Any], item: int, path: str, size_hw: tuple[int, int]) -> Iterator[Label]:
    if thing.get("classTitle") is not None:
        yield _objects.category(thing["classTitle"], item)
    kind = thing.get("geometryType")
    if kind == "bitmap" and item < _objects.most_masks(size_hw):
        yield Label("objects.mask", "instance_mask", _mask(thing.get("bitmap"), item, path, size_hw), item=item)
    points = _object_in(thing, "points")
    if kind not in ("rectangle", "polygon", "point"):
        return
    outer = _objects.finite(points.get("exterior", ()), path, "exterior", item)
    if outer.size < 2 or outer.size % 2:
        raise LabelError(f"{path}: objects[{item}] has {outer.size} coordinates; expected x and y of each point")
    if kind == "rectangle":
        corners = outer.reshape(-1, 2)
        low, high = corners.min(axis=0) - _objects.HALF_PX, corners.max(axis=0) + _objects.HALF_PX
        yield _objects.box([*low.tolist(), *high.tolist()], item, path)
    elif kind == "point":
        yield _objects.keypoint("point", outer[:2].tolist(), item, path)
    else:
        yield _objects.polygon(outer, item, path)


def _object_in(tree: dict[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def _mask(bitmap: Any, item: int, path: str, size_hw: tuple[int, int]) -> Any:
    """A PNG, deflated and in base 64, set into the frame at its origin."""
    told = bitmap if isinstance(bitmap, dict) else {}
    whole = np.zeros(size_hw, dtype=bool)
    try:
        left, top = (int(side) for side in told.get("origin", ()))
        packed = zlib.decompressobj().decompress(base64.b64decode(str(told.get("data", ""))), _PNG_BYTES)
        image = Image.open(io.BytesIO(packed), formats=("PNG",))
        fits = min(left, top) >= 0 and left + image.width <= size_hw[1] and top + image.height <= size_hw[0]
        pixels = np.asarray(image.convert("RGBA"))[..., 3] if fits and image.mode != "1" else np.asarray(image)
    except (OSError, ValueError, TypeError, SyntaxError, binascii.Error, zlib.error, Image.DecompressionBombError) as e:
        raise LabelError(f"{path}: the bitmap of objects[{item}] is not a readable PNG; save it again") from e
    if not fits:
        raise LabelError(f"{path}: the bitmap of objects[{item}] does not lie in the image; save it again")
    if pixels.ndim == 2 and pixels.min(initial=255) == 255:
        pixels = np.asarray(image.convert("L"))
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels != 0
    return whole
