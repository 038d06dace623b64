"""Unity Perception SOLO: `*.frame_data.json`, the annotations of one frame by camera.

2D boxes and keypoints, one item an `instanceId`. Keypoints of state 0 are not there, of state 1 hidden. 3D boxes say
nothing that could be seen to move in px and are left out; segmentation images are read as masks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is SOLO's."""
    return b'"captures"' in data and b"unity.solo" in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Class, box and keypoints of each instance in the frame's only camera. Raises LabelError."""
    tree = load(data, path)
    captures = dicts(tree.get("captures")) if isinstance(tree, dict) else []
    if len(captures) > 1:
        named = ", ".join(PurePosixPath(str(one.get("filename"))).name[:40] for one in captures[:4])
        raise LabelError(f"{path}: {len(captures)} cameras in one frame ({named}); expected one; export one at a time")
    labels: list[Label] = []
    for capture in captures:
        dimension = capture.get("dimension")
        if isinstance(dimension, list) and len(dimension) == 2:
            _objects.require_size((dimension[0], dimension[1]), size_hw, path)
        labels.extend(_objects.bounded(_capture(capture, path), path))
    return tuple(labels)


def _capture(capture: dict[str, Any], path: str) -> Iterator[Label]:
    items: dict[str, int] = {}
    told: set[int] = set()
    for annotation in dicts(capture.get("annotations")):
        kind = str(annotation.get("@type", ""))
        if not kind.endswith(("BoundingBox2DAnnotation", "KeypointAnnotation")):
            continue
        for value in dicts(annotation.get("values")):
            item = items.setdefault(str(value.get("instanceId", f"#{len(items)}")), len(items))
            if item >= _objects.MAX_OBJECTS:
                raise LabelError(f"{path}: more than {_objects.MAX_OBJECTS} objects in one frame; expected fewer")
            if "labelName" in value and item not in told:
                told.add(item)
                yield _objects.category(value["labelName"], item)
            if kind.endswith("KeypointAnnotation"):
                yield from _keypoints(value, item, path)
            else:
                left, top = _pair(value, "origin", path, item)
                width, height = _pair(value, "dimension", path, item)
                edge = _objects.HALF_PX
                yield _objects.box((left - edge, top - edge, left + width - edge, top + height - edge), item, path)


def _keypoints(value: dict[str, Any], item: int, path: str) -> Iterator[Label]:
    points = dicts(value.get("keypoints"))
    for place, point in enumerate(points[: _objects.MAX_OBJECTS]):
        state, index = point.get("state"), point.get("index", place)
        if state in (1, 2) and isinstance(index, int):
            xy = [side - _objects.HALF_PX for side in _pair(point, "location", path, item)]
            yield _objects.keypoint(f"keypoint_{index}", xy, item, path, hidden=state == 1)


def _pair(record: dict[str, Any], key: str, path: str, item: int) -> tuple[float, float]:
    found = _objects.finite(record.get(key, ()), path, key, item)
    if found.size != 2:
        raise LabelError(f"{path}: {key} of object {item} has {found.size} numbers; expected x and y")
    return float(found[0]), float(found[1])
