"""YOLO: a line an object, with coordinates as shares of the image's width and height.

    class cx cy w h [confidence]                    box
    class x1 y1 x2 y2 x3 y3 [...]                   outline, or an oriented box by its four corners: a polygon
    class cx cy w h (px py visibility) * K          box and keypoints; visibility 0 is not there, 1 is hidden

Five numbers and K pairs without visibility cannot be told from an outline and are read as one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from refinery.annotations import _objects
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".txt",)
SLACK = 0.01
"""Annotators round: a coordinate may lie this share outside the image."""
MAX_BYTES = 4 << 20
_LINE = re.compile(rb"\s*\d+(\s+[-+.\deEnNaAiIfF]+){4,}\s*")


def claims(data: bytes, path: str) -> bool:
    """Whether the first line that is not empty is a class and four numbers or more."""
    first = next((line for line in data[:65536].splitlines() if line.strip()), b"")
    return path.lower().endswith(SUFFIXES) and _LINE.fullmatch(first) is not None


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of one image. Raises LabelError for a line that is not one of the above, or leaves the image."""
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes for one image; expected at most {MAX_BYTES:,}")
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    if len(lines) > _objects.MAX_OBJECTS:
        raise LabelError(f"{path}: {len(lines)} objects in one image; expected at most {_objects.MAX_OBJECTS}")
    objects = (_object(line.split(), item, f"{path} line {item + 1}", size_hw) for item, line in enumerate(lines))
    return _objects.bounded((label for one in objects for label in one), path)


def _object(words: list[str], item: int, where: str, size_hw: tuple[int, int]) -> Iterator[Label]:
    values = _shares(words, where)
    side = np.array([size_hw[1], size_hw[0]], dtype=np.float64)
    yield _objects.category(words[0], item)
    is_pose = _is_pose(values)
    if len(values) in (4, 5) or is_pose:
        _require_inside(values[:4], where)
        centre, size = np.array(values[:2]) * side, np.array(values[2:4]) * side
        corners = np.concatenate((centre - size / 2, centre + size / 2)) - _objects.HALF_PX
        yield _objects.box(corners.tolist(), item, where)
    elif len(values) >= 6 and len(values) % 2 == 0:
        _require_inside(values, where)
        yield _objects.polygon(np.array(values).reshape(-1, 2) * side - _objects.HALF_PX, item, where)
    else:
        raise LabelError(f"{where}: {len(words)} numbers; expected class cx cy w h, or class and the x y of an outline")
    for k in range((len(values) - 4) // 3 if is_pose else 0):
        x, y, visibility = values[4 + 3 * k : 7 + 3 * k]
        if visibility:
            _require_inside([x, y], where)
            point = np.array([x, y]) * side - _objects.HALF_PX
            yield _objects.keypoint(f"keypoint_{k}", point.tolist(), item, where, hidden=visibility == 1)


def _is_pose(values: list[float]) -> bool:
    """Triples after the box, each with a whole visibility of 0, 1 or 2."""
    return len(values) >= 7 and (len(values) - 4) % 3 == 0 and set(values[6::3]) <= {0.0, 1.0, 2.0}


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
