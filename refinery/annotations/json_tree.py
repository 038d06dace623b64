"""JSON sidecars of any nesting: labels are found by the name of a key and the shape of its value.

"iris_center": [x, y] is a keypoint (a sibling "radius" or "iris_radius" is its extent). Four numbers named box or xyxy
are a box, named bbox or xywh a box by its corner and size. Three [x, y] or more are a polygon, or a keypoint each when
named corners, landmarks or keypoints. Numbers named gaze, look_vec, direction, pose, ... are a vector; a string or an
integer named class, label or category is a class; other numbers are numbers. UnityEyes' "(x, y, z)" points have their y
axis turned round.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.annotations import _names
from refinery.annotations._numbers import Point, number, numbers, points
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
MAX_DEPTH = 32
MAX_LABELS = 4096


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of one image in the order of the file.

    Raises LabelError when the file is not JSON, is nested deeper than 32 levels or holds more than 4096 labels.
    """
    try:
        tree = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LabelError(f"{path}: not JSON ({error}); expected an annotation; mend or remove the file") from error
    except (RecursionError, ValueError) as error:
        raise LabelError(
            f"{path}: nested too deeply or with absurd numbers; expected at most {MAX_DEPTH} levels"
        ) from error
    labels: list[Label] = []
    counts: dict[str, int] = {}
    for label in _walk(tree, "", path, size_hw[0], 0):
        if len(labels) == MAX_LABELS:
            raise LabelError(
                f"{path}: more than {MAX_LABELS} labels for one image; expected a sidecar of this image only"
            )
        item = counts.get(label.name, 0)
        counts[label.name] = item + 1
        labels.append(Label(label.name, label.type, label.value, label.unit, item, label.text, label.extent_px))
    return tuple(labels)


def _walk(node: Any, name: str, path: str, height: int, depth: int) -> Iterator[Label]:
    """Labels under a node; `name` is the way to it, without list indices."""
    if depth > MAX_DEPTH:
        raise LabelError(f"{path}: nested deeper than {MAX_DEPTH} levels at {name[:60]!r}; flatten or remove the file")
    if isinstance(node, dict):
        for key, value in node.items():
            inner = f"{name}.{key}" if name else str(key)
            label = _leaf(inner, str(key), value, node, height)
            yield from label if label is not None else _walk(value, inner, path, height, depth + 1)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value, name, path, height, depth + 1)


def _leaf(name: str, key: str, value: Any, siblings: dict[str, Any], height: int) -> list[Label] | None:
    """The labels that one value is; None when it is a branch to be walked into."""
    if _names.says(key, _names.CLASSES) and isinstance(value, str | int) and not isinstance(value, bool):
        return [Label(name, "class", np.zeros(0), "flip", text=str(value))]
    alone = number(value)
    if alone is not None:
        return [Label(name, "number", np.array([alone]), unit="")]
    row = numbers(value)
    if row is not None:
        return _row(name, key, row, isinstance(value, str), siblings, height)
    outline = points(value)
    if outline is not None:
        is_unityeyes = isinstance(value[0], str)
        return _outline(name, key, _in_image(outline, is_unityeyes, height))
    return None if isinstance(value, dict | list) else []


def _row(name: str, key: str, row: Point, is_unityeyes: bool, siblings: dict[str, Any], height: int) -> list[Label]:
    """One list of numbers: a vector, a box, a point, or a vector after all."""
    if _names.says(key, _names.VECTORS):
        return [_vector(name, row)]
    if len(row) == 4 and _names.says(key, _names.BOX_XYXY):
        return [Label(name, "box", np.array(row))]
    if len(row) == 4 and _names.says(key, _names.BOX_XYWH):
        left, top, width, height_px = row
        return [Label(name, "box", np.array([left, top, left + width, top + height_px]))]
    if len(row) == 2:
        return [Label(name, "keypoint", np.array(row), extent_px=_extent(key, siblings))]
    if is_unityeyes and len(row) == 3 and _names.says(key, _names.POINT_WORDS):
        return [Label(name, "keypoint", _in_image([row], True, height)[0])]
    return [_vector(name, row)]


def _outline(name: str, key: str, corners: NDArray[np.float64]) -> list[Label]:
    if len(corners) < 3 or _names.says(key, _names.POINT_LISTS):
        return [Label(name, "keypoint", corner) for corner in corners]
    return [Label(name, "polygon", corners)]


def _vector(name: str, row: Point) -> Label:
    """A direction of two or three components drifts in degrees; other vectors in their own unit."""
    values = np.array(row[:3] if len(row) == 4 and row[3] == 0.0 else row)
    return Label(name, "vector", values, unit="deg" if len(values) in (2, 3) else "")


def _in_image(points_xy: list[Point], is_unityeyes: bool, height: int) -> NDArray[np.float64]:
    """(N, 2) px with y down: UnityEyes counts y up from the lower border, and its readers take y = H - y."""
    corners = np.array(points_xy, dtype=np.float64)[:, :2]
    if is_unityeyes:
        corners[:, 1] = height - corners[:, 1]
    return corners


def _extent(key: str, siblings: dict[str, Any]) -> float:
    """Radius in px of what a point is the centre of: its sibling "radius", or "iris_radius" beside "iris_center"."""
    if not {"center", "centre"} & set(_names.words(key)):
        return 0.0
    stem = [word for word in _names.words(key) if word not in ("center", "centre", "px", "xy")]
    for other, value in siblings.items():
        parts = _names.words(other)
        if "radius" in parts and [word for word in parts if word not in ("radius", "px")] in (stem, []):
            radius = number(value)
            return radius if radius is not None and 0.0 < radius < 1e5 else 0.0
    return 0.0
