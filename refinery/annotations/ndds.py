"""NDDS and Falling Things: a JSON file an image, objects with a class, a box and a projected cuboid.

`bounding_box.top_left` and `bottom_right` are [row, column]; `projected_cuboid` and its centroid are [x, y]. Poses in
space are not looked at. Source: the readme of the Falling Things dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is NDDS's."""
    return b'"bounding_box"' in data and b'"top_left"' in data and b'"bottom_right"' in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """Labels of all objects that can be read. Raises LabelError."""
    tree = load(data, path)
    objects = _objects.at_most(dicts(tree.get("objects")) if isinstance(tree, dict) else [], path)
    parts = Parts(path)
    for item, thing in enumerate(objects):
        for part in _object(thing, item, path):
            parts.add(part)
    return parts.result()


def _object(thing: dict[str, Any], item: int, path: str) -> Iterator[Iterator[Label]]:
    if thing.get("class") is not None:
        yield iter([_objects.category(thing["class"], item)])
    box = thing.get("bounding_box")
    if isinstance(box, dict):
        yield _box(box, item, path)
    yield _points(thing, item, path)


def _box(box: dict[str, Any], item: int, path: str) -> Iterator[Label]:
    top_left = _objects.finite(box.get("top_left", ()), path, "top_left", item).tolist()
    bottom_right = _objects.finite(box.get("bottom_right", ()), path, "bottom_right", item).tolist()
    if len(top_left) != 2 or len(bottom_right) != 2:
        raise LabelError(f"{path}: bounding_box[{item}] is not two corners; expected [row, column] of each")
    yield _objects.box((top_left[1], top_left[0], bottom_right[1], bottom_right[0]), item, path)


def _points(thing: dict[str, Any], item: int, path: str) -> Iterator[Label]:
    corners = thing.get("projected_cuboid")
    for k, corner in enumerate(corners if isinstance(corners, list) else []):
        yield _point(f"cuboid_{k}", corner, item, path)
    if thing.get("projected_cuboid_centroid") is not None:
        yield _point("cuboid_centroid", thing["projected_cuboid_centroid"], item, path)


def _point(name: str, xy: Any, item: int, path: str) -> Label:
    point = _objects.finite(xy, path, name, item).tolist()
    if len(point) != 2:
        raise LabelError(f"{path}: {name} of objects[{item}] has {len(point)} numbers; expected x and y")
    return _objects.keypoint(name, point, item, path)
