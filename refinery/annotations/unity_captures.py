"""Unity Perception before SOLO: `captures_000.json`, the annotations of many frames, one entry a camera image.

2D boxes and keypoints, one item an `instance_id`; keypoints of state 0 are not there, of state 1 hidden. 3D boxes say
nothing that could be seen to move in px and are left out; segmentation images are read as masks of their own.
Source: Unity Perception's "Synthetic Dataset Schema", version 0.0.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.annotations._shared import Records, of_the_image_beside
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
_BOX = ("x", "y", "width", "height")


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file holds such captures."""
    return b'"captures"' in data and b'"annotation_definition"' in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> Records:
    """All images of the file. Raises LabelError for what is no JSON."""
    tree = load(data, path)
    captures = dicts(tree.get("captures")) if isinstance(tree, dict) else []
    images: dict[str, list[dict[str, Any]]] = {}
    for capture in captures:
        if isinstance(capture.get("filename"), str):
            values = [value for one in dicts(capture.get("annotations")) for value in dicts(one.get("values"))]
            images.setdefault(capture["filename"], []).extend(values)
    return Records(path, images, _labels)


def _labels(values: list[dict[str, Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    items: dict[str, int] = {}
    named: set[int] = set()
    parts = Parts(where)
    for value in values:
        if not set(_BOX) <= set(value) and "keypoints" not in value:
            continue
        item = items.setdefault(str(value.get("instance_id", f"#{len(items)}")), len(items))
        if "label_name" in value and item not in named:
            named.add(item)
            parts.add([_objects.category(value["label_name"], item)])
        parts.add(_keypoints(value, item, where) if "keypoints" in value else _box(value, item, where))
    _objects.at_most(list(items), where)
    return parts.result()


def _box(value: dict[str, Any], item: int, where: str) -> Iterator[Label]:
    x, y, width, height = _objects.finite([value[key] for key in _BOX], where, "box", item).tolist()
    yield _objects.box_at((x, y), (width, height), item, where)


def _keypoints(value: dict[str, Any], item: int, where: str) -> Iterator[Label]:
    for place, point in enumerate(dicts(value["keypoints"])[: _objects.MAX_OBJECTS]):
        state, index = point.get("state"), point.get("index", place)
        if state in (1, 2) and isinstance(index, int):
            xy = _objects.finite([point.get("x", "missing"), point.get("y", "missing")], where, "keypoint", item)
            yield _objects.keypoint(
                f"keypoint_{index}", (xy - _objects.HALF_PX).tolist(), item, where, hidden=state == 1
            )
