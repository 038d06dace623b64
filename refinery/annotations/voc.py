"""Pascal VOC and its relatives: one XML file an image, with `object/name` and `object/bndbox`.

VOC numbers pixels from 1 and means whole pixels, so that xmin = 1, xmax = 1 is the first column: the box reaches from
xmin - 1.5 to xmax - 0.5 where pixel centres lie at integers from 0. Parts of objects are `objects.parts.*`. `robndbox`
(cx, cy, w, h, angle in radians) and `polygon` (x1, y1, x2, y2, ...) are polygons. The XML may have no DOCTYPE.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from refinery.annotations import _objects
from refinery.annotations._parts import Parts
from refinery.annotations._xml import Element, parse
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".xml",)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Class and box (or polygon) of each object. Raises LabelError; XML that is no VOC has no labels."""
    root = parse(data, path)
    if root.tag != "annotation":
        return ()
    size = root.first("size")
    if size is not None:
        _objects.require_size((size.value("width"), size.value("height")), size_hw, path)
    read = Parts(path)
    parts = 0
    for item, thing in enumerate(root.all("object")):
        if item == _objects.MAX_OBJECTS:
            raise LabelError(f"{path}: more than {_objects.MAX_OBJECTS} objects in one image; expected fewer")
        read.add(_object(thing, item, path, "objects"))
        for part in thing.all("part"):
            read.add(_object(part, parts, path, "objects.parts"))
            parts += 1
    return read.result()


def _object(thing: Element, item: int, path: str, prefix: str) -> Iterator[Label]:
    name = thing.value("name")
    if name:
        yield _objects.category(name, item, prefix)
    turned, box, outline = thing.first("robndbox"), thing.first("bndbox"), thing.first("polygon")
    if turned is not None:
        cx, cy, width, height, angle = _numbers(turned, ("cx", "cy", "w", "h", "angle"), path, item)
        corners = _objects.oriented(cx - 0.5, cy - 0.5, width, height, angle)
        yield _objects.polygon(corners, item, path, prefix)
    if box is not None:
        left, top, right, bottom = _numbers(box, ("xmin", "ymin", "xmax", "ymax"), path, item)
        yield _objects.box((left - 1.5, top - 1.5, right - 0.5, bottom - 0.5), item, path, prefix)
    if outline is not None:
        count = sum(child.tag.startswith("x") for child in outline.children)
        names = tuple(f"{axis}{i}" for i in range(1, count + 1) for axis in "xy")
        yield _objects.polygon(_numbers(outline, names, path, item) - 1.0, item, path, prefix)


def _numbers(node: Element, names: tuple[str, ...], path: str, item: int) -> NDArray[np.float64]:
    return _objects.finite([node.value(name) or "missing" for name in names], path, f"object {node.tag}", item)
