"""Numbers that belong together though an annotation keeps them apart: x and y, xmin to ymax, iris_x and iris_y."""

from __future__ import annotations

from typing import Any

from refinery.annotations._numbers import Place, number

_GROUPS = (
    ("box", ("xmin", "ymin", "xmax", "ymax")),
    ("box", ("x_min", "y_min", "x_max", "y_max")),
    ("box", ("x1", "y1", "x2", "y2")),
    ("box", ("x0", "y0", "x1", "y1")),
    ("box", ("left", "top", "right", "bottom")),
    ("bbox", ("x", "y", "width", "height")),
    ("bbox", ("x", "y", "w", "h")),
    ("bbox", ("left", "top", "width", "height")),
    ("", ("x", "y", "z", "w")),
    ("", ("x", "y", "z")),
    ("xy", ("x", "y")),
)
"""Name of the whole and names of its parts; no name for what stays apart unless it is all there is."""


def grouped(record: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The record with each such group as one list, and the group's name where the record is nothing but that group.

    {"x": 1, "y": 2} -> {"xy": [1, 2]}, "xy"; {"iris_x": 1, "iris_y": 2, "n": 3} -> {"iris": [1, 2], "n": 3}, "".
    """
    if len(record) < 2:
        return record, ""
    lower = {str(key).lower(): key for key in record}
    for name, parts in _GROUPS:
        keys = [lower[part] for part in parts if part in lower]
        if len(keys) != len(parts) or any(number(record[key]) is None for key in keys):
            continue
        is_all = len(keys) == len(record)
        if not name and not is_all:
            break
        if (name or "vector") not in lower:
            rest = {key: value for key, value in record.items() if key not in keys}
            whole = {name or "vector": [record[key] for key in keys]}
            return {**whole, **_pairs(rest, lower)}, (name or "vector") if is_all else ""
    return _pairs(record, lower), ""


def _pairs(record: dict[str, Any], lower: dict[str, str]) -> dict[str, Any]:
    """iris_x and iris_y as iris."""
    found: dict[str, Any] = {}
    used: set[str] = set()
    for key, plain in (
        (lower[name], name) for name in lower if name.endswith("_x") and len(name) > 2 and lower[name] in record
    ):
        other = lower.get(f"{plain[:-1]}y")
        is_pair = other in record and f"{plain[:-1]}z" not in lower and plain[:-2] not in lower
        if other is not None and is_pair and number(record[key]) is not None and number(record[other]) is not None:
            found[str(key)[:-2]] = Place([record[key], record[other]])
            used |= {key, other}
    return {**found, **{key: value for key, value in record.items() if key not in used}} if used else record
