"""One named value of an annotation as labels: its kind is told by its name and its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.annotations import _names
from refinery.annotations._numbers import Place, Point, number, numbers, points
from refinery.sample import Label


def labels_of(name: str, key: str, value: Any, siblings: dict[str, Any], height: int) -> list[Label] | None:
    """The labels that one value is; None when it is a branch to be walked into.

    name: of the label; key: its last part. siblings: the object that the value stands in. height: of the image, px.
    """
    if isinstance(value, str | int) and not isinstance(value, bool) and _names.says(key, _names.CLASSES):
        return [Label(name, "class", np.zeros(0), "flip", text=str(value))]
    if isinstance(value, str) and _names.says(key, _names.TEXTS):
        return [Label(name, "text", np.zeros(0), "flip", text=value)]
    alone = number(value)
    if alone is not None:
        return [Label(name, "number", np.array([alone]), unit="")]
    if isinstance(value, list) and value and _names.says(key, _names.CLASS_LISTS) and all(map(_is_class, value)):
        return [Label(name, "class", np.zeros(0), "flip", item, str(one)) for item, one in enumerate(value)]
    row = numbers(value)
    if row is not None:
        is_place = isinstance(value, Place) or _is_place(name, key)
        return _row(name, key, row, isinstance(value, str), is_place, siblings, height)
    several = _rows_of(name, key, value)
    if several is not None:
        return several
    outline = points(value)
    if outline is not None:
        is_unityeyes = isinstance(value[0], str)
        return _outline(name, key, _in_image(outline, is_unityeyes, height))
    return None if isinstance(value, dict | list) else []


def _row(
    name: str, key: str, row: Point, is_unityeyes: bool, is_place: bool, siblings: dict[str, Any], height: int
) -> list[Label]:
    """One list of numbers: a vector, a box, a point, an outline, or a vector after all."""
    if _names.says(key, _names.VECTORS):
        return [_vector(name, key, row)]
    if len(row) == 4 and _names.says(key, _names.BOX_XYXY):
        return [Label(name, "box", np.array(row))]
    if len(row) == 4 and _names.says(key, _names.BOX_XYWH):
        left, top, width, height_px = row
        return [Label(name, "box", np.array([left, top, left + width, top + height_px]))]
    if len(row) >= 6 and len(row) % 2 == 0 and _names.says(key, _names.OUTLINES):
        return [Label(name, "polygon", np.array(row).reshape(-1, 2))]
    if len(row) == 2 and is_place:
        return [Label(name, "keypoint", np.array(row), extent_px=_extent(key, siblings))]
    if is_unityeyes and len(row) == 3 and _names.says(key, _names.POINT_WORDS):
        return [Label(name, "keypoint", _in_image([row], True, height)[0])]
    return [_vector(name, key, row)]


def _is_place(name: str, key: str) -> bool:
    """Whether two numbers are said to be a point: by their own name, or by that of a list of points they are in."""
    if _names.says(key, _names.NO_PLACES):
        return False
    return _names.says(key, _names.POINT_WORDS) or _names.says(name, _names.POINT_LISTS | _names.POINT_WORDS)


def _is_class(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _rows_of(name: str, key: str, value: Any) -> list[Label] | None:
    """A list of boxes: [[x0, y0, x1, y1], ...] under a name that says boxes, an item each; None for what is none."""
    is_xyxy, is_xywh = _names.says(key, _names.BOX_XYXY), _names.says(key, _names.BOX_XYWH)
    if not isinstance(value, list) or not value or not (is_xyxy or is_xywh):
        return None
    rows = [numbers(one) for one in value]
    if any(row is None or len(row) != 4 for row in rows):
        return None
    boxes = np.array(rows, dtype=np.float64)
    if is_xywh and not is_xyxy:
        boxes[:, 2:] += boxes[:, :2]
    return [Label(name, "box", box, item=item) for item, box in enumerate(boxes)]


def _outline(name: str, key: str, corners: NDArray[np.float64]) -> list[Label]:
    if len(corners) < 3 or _names.says(key, _names.POINT_LISTS):
        return [Label(name, "keypoint", corner) for corner in corners]
    return [Label(name, "polygon", corners)]


def _vector(name: str, key: str, row: Point) -> Label:
    """A direction of two or three components drifts in degrees; other vectors in their own unit."""
    values = np.array(row[:3] if len(row) == 4 and row[3] == 0.0 else row)
    is_direction = len(values) in (2, 3) and _names.says(key, _names.DIRECTIONS)
    return Label(name, "vector", values, unit="deg" if is_direction else "")


def _in_image(points_xy: list[Point], is_unityeyes: bool, height: int) -> NDArray[np.float64]:
    """(N, 2) px with y down: UnityEyes counts y up from the lower border, and its readers take y = H - y."""
    corners = np.array(points_xy, dtype=np.float64)[:, :2]
    if is_unityeyes:
        corners[:, 1] = height - corners[:, 1]
    return corners


def _extent(key: str, siblings: dict[str, Any]) -> float:
    """Radius in px of what a point is the centre of: its sibling "radius", or "iris_radius" beside "iris_center"."""
    if not {"center", "centre", "xy"} & set(_names.words(key)):
        return 0.0
    stem = [word for word in _names.words(key) if word not in ("center", "centre", "px", "xy")]
    for other, value in siblings.items():
        parts = _names.words(str(other))
        if "radius" in parts and [word for word in parts if word not in ("radius", "px")] in (stem, []):
            radius = number(value)
            return radius if radius is not None and 0.0 < radius < 1e5 else 0.0
    return 0.0
