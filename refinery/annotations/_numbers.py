"""Numbers and points as annotations write them: JSON numbers, numeric strings, "(x, y, z)" strings."""

from __future__ import annotations

import math
from typing import Any

Point = tuple[float, ...]


class Place(list[Any]):
    """An x and a y that an annotation names as such, put together."""


def number(value: Any) -> float | None:
    """A JSON number or a string that holds one; None for anything else, bool included. May be NaN or infinite."""
    kind = type(value)
    if kind is float:
        return float(value)
    if kind not in (int, str) or (kind is str and (len(value) > 64 or "_" in value)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.inf if kind is int else None


def numbers(value: Any) -> Point | None:
    """A list of numbers, or a string "(1.5, 2, 3)" of them; None for anything else."""
    if isinstance(value, str):
        if not (value.startswith("(") and value.endswith(")") and len(value) < 512):
            return None
        value = value[1:-1].split(",")
    if not isinstance(value, list | tuple) or not value:
        return None
    if set(map(type, value)) == {float}:
        return tuple(value)
    found = []
    for item in value:
        one = number(item)
        if one is None:
            return None
        found.append(one)
    return tuple(found)


def points(value: Any) -> list[Point] | None:
    """A list of points of two or three numbers, of one length; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    found = [numbers(item) for item in value]
    kept = [item for item in found if item is not None and len(item) in (2, 3)]
    return kept if len(kept) == len(found) and len({len(item) for item in kept}) == 1 else None
