"""YOLO: a line an object, with coordinates as shares of the image's width and height.

    class cx cy w h [confidence [track]]            box
    class x1 y1 x2 y2 x3 y3 [...]                   outline, or an oriented box by its four corners: a polygon
    class cx cy w h (px py visibility) * K          box and keypoints; visibility 0 is not there, 1 is hidden

The class is a whole number, however it is written, or a name; `data.yaml` above it names it, and says by `kpt_shape` of
how many points poses are, with or without visibility. Where it does not, a row is of a pose when its box lies in the
image, its visibilities are 0, 1 and 2, and its visible points lie near its box; five numbers and K pairs without
visibility cannot be told from an outline and are read as one. A file whose rows all end in a confidence and a whole
number is that of a tracker.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from refinery.annotations import _objects
from refinery.annotations._rows import SUFFIX, are_numbers, first_row, read_rows, rows_of
from refinery.annotations._yolo_settings import YoloSettings, parse_settings
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (SUFFIX,)
SLACK = 0.01
"""Annotators round: a coordinate may lie this share outside the image."""
VISIBLE = 2
TRACKED = 7
"""Columns of a tracker's row: class, box, confidence, track."""


def claims(data: bytes, path: str) -> bool:
    """True if the first row is a class and four numbers or more.

    A class that is no number is one where the four numbers after it are shares of an image.
    """
    first = first_row(data, path)
    if len(first) < 5 or not are_numbers(first[1:]):
        return False
    return _class_of(first[0]).isdigit() or all(0.0 <= float(word) <= 1.0 for word in first[1:5])


def open_settings(data: bytes, path: str) -> YoloSettings | None:
    """What a dataset's `data.yaml` says; None for another file. Raises LabelError."""
    return parse_settings(data, path)


def read(data: bytes, path: str, size_hw: tuple[int, int], settings: YoloSettings | None = None) -> tuple[Label, ...]:
    """Labels of one image; a line that is none of the above, or leaves the image, is left out. Raises LabelError."""
    rows = rows_of(data, path)
    settings = settings or YoloSettings({})
    if settings.points is None and all(len(words) == TRACKED and words[-1].isdigit() for _, words in rows):
        rows = [(line, words[:-2]) for line, words in rows]
    return read_rows(rows, path, partial(_object, size_hw=size_hw, settings=settings))


def _class_of(word: str) -> str:
    """The class as text; 3, 3.0 and 3e0 are one."""
    value = float(word) if are_numbers([word]) else math.nan
    return str(int(value)) if math.isfinite(value) and value >= 0 and value.is_integer() else word


def _object(
    words: list[str], item: int, where: str, size_hw: tuple[int, int], settings: YoloSettings
) -> Iterator[Label]:
    values = _shares(words, where)
    side = np.array([size_hw[1], size_hw[0]], dtype=np.float64)
    points = _points_of(values, settings, where)
    name = _class_of(words[0])
    if len(values) in (4, 5) or points:
        _require_inside(values[:4], where)
        centre, size = np.array(values[:2]) * side, np.array(values[2:4]) * side
        corners = np.concatenate((centre - size / 2, centre + size / 2)) - _objects.HALF_PX
        yield _objects.category(settings.names.get(name, name), item)
        yield _objects.box(corners.tolist(), item, where)
    elif len(values) >= 6 and len(values) % 2 == 0:
        _require_inside(values, where)
        yield _objects.category(settings.names.get(name, name), item)
        yield _objects.polygon(np.array(values).reshape(-1, 2) * side - _objects.HALF_PX, item, where)
    else:
        raise LabelError(f"{where}: {len(words)} numbers; expected class cx cy w h, or class and the x y of an outline")
    for k, (x, y, visibility) in enumerate(points):
        if visibility:
            point = np.array([x, y]) * side - _objects.HALF_PX
            yield _objects.keypoint(f"keypoint_{k}", point.tolist(), item, where, hidden=visibility == 1)


def _points_of(values: Sequence[float], settings: YoloSettings, where: str) -> list[Sequence[float]]:
    """x, y and visibility of each point of a pose; none of a row that is no pose. Raises LabelError.

    Points without a visibility are there, unless they lie left of or above the image.
    """
    if settings.points is None:
        return [values[k : k + 3] for k in range(4, len(values), 3)] if _is_pose(values) else []
    count, dimensions = settings.points
    if len(values) == 4:
        return []
    if len(values) != 4 + count * dimensions:
        raise LabelError(
            f"{where}: {len(values) + 1} numbers; data.yaml's kpt_shape expects {5 + count * dimensions}: class cx cy "
            f"w h and {dimensions} numbers for each of {count} points"
        )
    rows = [values[k : k + dimensions] for k in range(4, len(values), dimensions)]
    return rows if dimensions == 3 else [(x, y, VISIBLE if min(x, y) >= 0 else 0) for x, y in rows]


def _is_pose(values: Sequence[float]) -> bool:
    """Triples after a box that lies in the image, each with a whole visibility of 0, 1 or 2, in the box where seen."""
    if len(values) < 7 or (len(values) - 4) % 3 or not set(values[6::3]) <= {0.0, 1.0, 2.0}:
        return False
    cx, cy, width, height = values[:4]
    box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    if min(box) < -SLACK or max(box) > 1 + SLACK:
        return False
    points = list(zip(values[4::3], values[5::3], values[6::3], strict=True))
    slack = SLACK + 0.5 * max(width, height)
    seen = [(x, y) for x, y, visibility in points if visibility == VISIBLE]
    near = all(box[0] - slack <= x <= box[2] + slack and box[1] - slack <= y <= box[3] + slack for x, y in seen)
    return near and all(0 <= x <= 1 and 0 <= y <= 1 for x, y, visibility in points if visibility)


def _shares(words: list[str], where: str) -> list[float]:
    try:
        values = [float(word) for word in words[1:]]
    except ValueError as error:
        raise LabelError(f"{where}: not numbers ({' '.join(words)[:60]!r}); expected class cx cy w h") from error
    if not all(map(math.isfinite, values)):
        raise LabelError(f"{where}: NaN or infinite numbers; expected shares of the image from 0 to 1")
    return values


def _require_inside(values: list[float], where: str) -> None:
    wrong = [value for value in values if not -SLACK <= value <= 1 + SLACK]
    if wrong:
        raise LabelError(
            f"{where}: coordinate {wrong[0]:g}; YOLO coordinates must lie in [0, 1]; divide by the image size"
        )
