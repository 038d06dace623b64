"""One named value of an annotation as labels: its kind is told by its name and its shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.annotations import _names
from refinery.annotations._numbers import Place, Point, number, numbers, points
from refinery.errors import LabelError
from refinery.sample import Label

SLACK_PX = 1.0
"""A box may reach this far beyond the image before it is doubted that its numbers mean what its name says."""
MOST_COMPONENTS = 64
"""Of a list of rows that is no place: more numbers are no vector."""

_Size = tuple[int, int]


def labels_of(name: str, key: str, value: Any, siblings: dict[str, Any], size_hw: _Size) -> list[Label] | None:
    """The labels that one value is; None when it is a branch to be walked into.

    name: of the label; key: its last part. siblings: the object that the value stands in. size_hw: of the image, px.
    Raises LabelError for a box whose numbers contradict its name.
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
        is_place = _is_place(name, key, isinstance(value, Place))
        return _row(name, key, row, isinstance(value, str), is_place, siblings, size_hw)
    several = _rows_of(name, key, value, size_hw)
    if several is not None:
        return several
    rows = points(value)
    if rows is not None:
        return _points(name, key, rows, isinstance(value[0], str), size_hw[0])
    return None if isinstance(value, dict | list) else []


def _row(
    name: str, key: str, row: Point, is_unityeyes: bool, is_place: bool, siblings: dict[str, Any], size_hw: _Size
) -> list[Label]:
    """One list of numbers: a vector, a box, a point, an outline, or a vector after all."""
    if _names.says(key, _names.VECTORS):
        return [_vector(name, key, row)]
    if len(row) == 4 and _names.says(key, _names.BOX_XYXY | _names.BOX_XYWH):
        return [Label(name, "box", _box(name, key, row, size_hw))]
    if len(row) >= 6 and len(row) % 2 == 0 and _names.says(key, _names.OUTLINES):
        return [Label(name, "polygon", np.array(row).reshape(-1, 2))]
    if len(row) == 2 and is_place:
        _require_px(name, row)
        return [Label(name, "keypoint", np.array(row), extent_px=_extent(key, siblings))]
    if is_unityeyes and len(row) == 3 and _names.says(key, _names.POINT_WORDS):
        return [Label(name, "keypoint", _in_image([row], True, size_hw[0])[0])]
    return [_vector(name, key, row)]


def _is_place(name: str, key: str, is_pair: bool = False) -> bool:
    """True if two numbers are said to be a point: by their own name, or by that of a list of points they are in.

    is_pair: they are the x and the y of one name.
    """
    if _is_elsewhere(name, key):
        return False
    is_said = _names.says(key, _names.POINT_WORDS) or _names.says(name, _names.POINT_LISTS | _names.POINT_WORDS)
    return is_pair or is_said


def _is_elsewhere(name: str, key: str) -> bool:
    """True if numbers are no place in the image whatever else their name says: sizes, ids, a camera's centre."""
    parent = name.removesuffix(key).rstrip(".").rpartition(".")[2]
    return _names.says(key, _names.NO_PLACES | _names.LINKS) or _names.says(parent, _names.NO_IMAGES)


def _is_class(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _rows_of(name: str, key: str, value: Any, size_hw: _Size) -> list[Label] | None:
    """A list of boxes: [[x0, y0, x1, y1], ...] under a name that says boxes, an item each; None for what is none."""
    if not isinstance(value, list) or not value or not _names.says(key, _names.BOX_XYXY | _names.BOX_XYWH):
        return None
    rows = [numbers(one) for one in value]
    boxes = [_box(name, key, row, size_hw) for row in rows if row is not None and len(row) == 4]
    if len(boxes) < len(rows):
        return None
    return [Label(name, "box", box, item=item) for item, box in enumerate(boxes)]


def _box(name: str, key: str, row: Point, size_hw: _Size) -> NDArray[np.float64]:
    """(x0, y0, x1, y1). Raises LabelError where the numbers can hardly be what the name says."""
    x, y, third, fourth = row
    is_sure = _names.says(key, _names.SURE_XYWH)
    is_xywh = is_sure or (_names.says(key, _names.BOX_XYWH) and not _names.says(key, _names.BOX_XYXY))
    told = "x, y, width, height" if is_xywh else "x0, y0, x1, y1"
    if is_xywh:
        height, width = size_hw
        leaves = x + third > width + SLACK_PX or y + fourth > height + SLACK_PX
        are_corners = x < third <= width + SLACK_PX and y < fourth <= height + SLACK_PX
        is_doubted = min(third, fourth) < 0 or (leaves and are_corners and not is_sure)
    else:
        is_doubted = third < x or fourth < y
    _require_px(name, row)
    if is_doubted:
        numbers_told = ", ".join(f"{value:g}" for value in row)
        raise LabelError(
            f"{name[:80]} is read as {told}, but [{numbers_told}] in an image of {size_hw[1]}x{size_hw[0]} px looks "
            "like another order; no such box is read from this file; call it xyxy or xywh"
        )
    return np.array([x, y, x + third, y + fourth] if is_xywh else row)


def _require_px(name: str, values: Sequence[float]) -> None:
    """Raises LabelError for coordinates that are all fractions between 0 and 1: shares of the image, hardly px."""
    if all(0 <= value <= 1 for value in values) and any(value % 1 for value in values):
        told = ", ".join(f"{value:g}" for value in values[:4])
        raise LabelError(
            f"{name[:80]} is read in px, but [{told}] lies between 0 and 1 and looks like shares of the image; no such "
            "label is read from this file; multiply by the image's width and height"
        )


def _points(name: str, key: str, rows: list[Point], is_unityeyes: bool, height: int) -> list[Label]:
    """Rows of two or three numbers: points or an outline where the name says so, else one vector.

    A third number is UnityEyes' depth, or the visibility of a keypoint: 0 is not there.
    """
    words = _names.OUTLINES | _names.POINT_LISTS | _names.POINT_WORDS
    are_places = _names.says(name, words) and not _is_elsewhere(name, key)
    if are_places and not is_unityeyes and len(rows[0]) == 3:
        are_places = {row[2] for row in rows} <= {0.0, 1.0, 2.0}
        rows = [row[:2] for row in rows if row[2]] if are_places else rows
    if are_places and not is_unityeyes:
        _require_px(name, [value for row in rows for value in row[:2]])
    if is_unityeyes or are_places:
        return _outline(name, key, _in_image(rows, is_unityeyes, height)) if rows else []
    flat = np.array(rows).reshape(-1)
    return [Label(name, "vector", flat, unit="")] if flat.size <= MOST_COMPONENTS else []


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
