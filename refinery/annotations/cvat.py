"""CVAT for images: one XML file for many images, each `image` with shapes.

box -> box; polygon -> polygon; points -> keypoints; ellipse -> keypoint with its radius where it is round, else the box
around it; mask -> instance mask; of polylines and cuboids only the class. `tag` is a class of the image. Coordinates
count from the corner of the first pixel. The XML may have no DOCTYPE. Source: CVAT's description of its XML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from refinery.annotations import _objects
from refinery.annotations._parts import Parts
from refinery.annotations._shared import of_the_image_beside
from refinery.annotations._xml import Element, parse
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".xml",)
MAX_BYTES = 256 << 20
MAX_ELEMENTS = 4_000_000


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if an XML file is CVAT's."""
    return b"<annotations" in data[:4096] and b"<image " in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> _Cvat:
    """All images of the file. Raises LabelError for what is not XML."""
    return _Cvat(path, parse(data, path, MAX_BYTES, MAX_ELEMENTS))


class _Cvat:
    """Shapes by image; nothing is written after the constructor."""

    def __init__(self, path: str, root: Element) -> None:
        self.path = path
        self._images = {image.attributes["name"]: image for image in root.all("image") if "name" in image.attributes}

    @property
    def names(self) -> Iterable[str]:
        """The `name` of each image."""
        return self._images

    def read(self, name: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
        """Labels of one image. Raises LabelError, also where width and height contradict the image."""
        image, where = self._images[name], f"{self.path}: {name[:120]}"
        told = image.attributes
        _objects.require_size((told.get("width"), told.get("height")), size_hw, where)
        parts = Parts(where)
        for item, shape in enumerate(_objects.at_most(image.children, where)):
            parts.add(_shape(shape, item, where, size_hw))
        return parts.result()

    def fields(self, name: str) -> dict[str, str]:
        """The attributes of the image: id, subset, ..."""
        return dict(self._images[name].attributes)


def _shape(shape: Element, item: int, where: str, size_hw: tuple[int, int]) -> Iterator[Label]:
    told = shape.attributes
    if shape.tag == "tag":
        yield Label("class", "class", np.zeros(0), "flip", text=told.get("label", ""))
        return
    if "label" in told:
        yield _objects.category(told["label"], item)
    if shape.tag == "box":
        yield _box(_numbers(told, ("xtl", "ytl", "xbr", "ybr"), where, item), told, item, where)
    elif shape.tag == "ellipse":
        cx, cy, rx, ry = _numbers(told, ("cx", "cy", "rx", "ry"), where, item)
        if abs(rx - ry) <= _objects.HALF_PX:
            centre = (cx - _objects.HALF_PX, cy - _objects.HALF_PX)
            yield _objects.keypoint("center", centre, item, where, radius=(rx + ry) / 2)
        else:
            yield _box([cx - rx, cy - ry, cx + rx, cy + ry], told, item, where)
    elif shape.tag in ("polygon", "points"):
        points = _points(told.get("points", ""), where, item)
        if shape.tag == "polygon":
            yield _objects.polygon(points, item, where)
        else:
            for k, point in enumerate(points.tolist()):
                yield _objects.keypoint(f"point_{k}" if len(points) > 1 else "point", point, item, where)
    elif shape.tag == "mask" and item < _objects.most_masks(size_hw):
        yield Label("objects.mask", "instance_mask", _mask(told, item, where, size_hw), item=item)


def _box(sides: list[float], told: dict[str, str], item: int, where: str) -> Label:
    """A box, or its four corners where it is turned by `rotation` degrees about its middle."""
    left, top, right, bottom = (side - _objects.HALF_PX for side in sides)
    turn = _objects.finite([told.get("rotation", "0")], where, "rotation", item).item()
    if not turn:
        return _objects.box((left, top, right, bottom), item, where)
    middle = ((left + right) / 2, (top + bottom) / 2)
    return _objects.polygon(
        _objects.oriented(*middle, right - left, bottom - top, float(np.radians(turn))), item, where
    )


def _numbers(told: dict[str, str], names: tuple[str, ...], where: str, item: int) -> list[float]:
    values: list[float] = _objects.finite([told.get(name, "missing") for name in names], where, "shape", item).tolist()
    return values


def _points(text: str, where: str, item: int) -> np.ndarray:
    flat = _objects.finite([word for pair in text.split(";") for word in pair.split(",")], where, "points", item)
    if flat.size < 2 or flat.size % 2:
        raise LabelError(f"{where}: points[{item}] has {flat.size} numbers; expected x,y;x,y;...")
    return flat.reshape(-1, 2) - _objects.HALF_PX


def _mask(told: dict[str, str], item: int, where: str, size_hw: tuple[int, int]) -> np.ndarray:
    """Run lengths, row by row, of a part of the frame; the first run is outside."""
    left, top, width, height = map(int, _numbers(told, ("left", "top", "width", "height"), where, item))
    runs = _objects.finite(told.get("rle", "").split(","), where, "rle", item).astype(np.int64)
    fits = min(left, top) >= 0 and left + width <= size_hw[1] and top + height <= size_hw[0]
    if not fits or (runs < 0).any() or runs.sum() != width * height:
        raise LabelError(f"{where}: the mask of shape {item} does not fill {width}x{height} px of the image")
    whole = np.zeros(size_hw, dtype=bool)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    whole[top : top + height, left : left + width] = inside.reshape(height, width)
    return whole
