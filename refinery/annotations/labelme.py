"""LabelMe: a JSON file an image, a list of shapes with a label each; its `imageData` is not looked at.

rectangle -> box; circle -> keypoint with its radius; point -> keypoint; polygon and rotation -> polygon; mask ->
instance mask. Open lines have no inside and give only their class. All are `objects.*`, item = place in the list.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
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
_PNG_BYTES = 16 << 20


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is LabelMe's."""
    return b'"shapes"' in data and b'"imagePath"' in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of all shapes that can be read. Raises LabelError, also for a file about an image of another size."""
    tree = load(data, path)
    if not isinstance(tree, dict):
        raise LabelError(f"{path}: not a JSON object; expected LabelMe's shapes")
    _objects.require_size((tree.get("imageWidth"), tree.get("imageHeight")), size_hw, path)
    shapes = _objects.at_most(dicts(tree.get("shapes")), path, "shapes")
    parts = Parts(path)
    for item, shape in enumerate(shapes):
        parts.add(_shape(shape, item, path, size_hw))
    return parts.result()


def _shape(shape: dict[str, Any], item: int, path: str, size_hw: tuple[int, int]) -> Iterator[Label]:
    if shape.get("label") is not None:
        yield _objects.category(shape["label"], item)
    points = _objects.finite(shape.get("points", ()), path, "shapes", item) - _objects.HALF_PX
    kind = shape.get("shape_type") or "polygon"
    if points.size < 2 or points.size % 2:
        raise LabelError(f"{path}: shape {item} has {points.size} coordinates; expected x and y of one point or more")
    if kind == "point" or (kind == "polygon" and points.size == 2):
        yield _objects.keypoint("point", points[:2].tolist(), item, path)
    elif kind == "circle" and points.size == 4:
        radius = math.hypot(*(points[2:] - points[:2]).tolist())
        yield _objects.keypoint("center", points[:2].tolist(), item, path, radius=radius)
    elif kind in ("rectangle", "mask") and points.size >= 4:
        corners = points.reshape(-1, 2)
        if kind == "mask" and item >= _objects.most_masks(size_hw):
            return
        if kind == "mask" and isinstance(shape.get("mask"), str):
            yield Label("objects.mask", "instance_mask", _mask(shape["mask"], corners, item, path, size_hw), item=item)
        else:
            yield _objects.box([*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()], item, path)
    elif kind in ("polygon", "rotation") and points.size >= 6:
        yield _objects.polygon(points, item, path)


def _mask(text: str, corners: Any, item: int, path: str, size_hw: tuple[int, int]) -> Any:
    """The PNG of a mask shape, set into the frame at its upper left corner."""
    whole = np.zeros(size_hw, dtype=bool)
    left, top = (round(float(side) + _objects.HALF_PX) for side in corners.min(axis=0))
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text[:_PNG_BYTES], validate=True)), formats=("PNG",))
        fits = min(left, top) >= 0 and left + image.width <= size_hw[1] and top + image.height <= size_hw[0]
        pixels = np.asarray(image) if fits else None
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise LabelError(f"{path}: the mask of shape {item} is not a readable PNG; save the shape again") from error
    if pixels is None or pixels.ndim != 2:
        raise LabelError(f"{path}: the mask of shape {item} does not lie in the image; save the shape again")
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels != 0
    return whole
