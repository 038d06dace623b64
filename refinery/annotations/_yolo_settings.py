"""What a YOLO dataset's `data.yaml` says: the names of its classes, and of how many points its poses are.

Source: Ultralytics' description of its datasets (`names`, `kpt_shape`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from refinery.annotations._numbers import number
from refinery.errors import LabelError

MAX_BYTES = 256 << 10
MOST_POINTS = 1024
NUMBERS_A_POINT = (2, 3)


@dataclass(frozen=True)
class YoloSettings:
    """names: of the classes by number. points: how many a pose has, and numbers a point (2 or 3); None: nobody says."""

    names: dict[str, str]
    points: tuple[int, int] | None = None


def parse_settings(data: bytes, path: str) -> YoloSettings | None:
    """The settings of a dataset; None for a YAML file that names no classes.

    Nothing but text is built from the file, whatever its tags ask for. Raises LabelError for what is not YAML or longer
    than 256 KiB, and for a `kpt_shape` that is none.
    """
    if b"names" not in data:
        return None
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes of settings; expected at most {MAX_BYTES:,}")
    try:
        tree = yaml.load(data, Loader=yaml.BaseLoader)  # noqa: S506  # texts, lists and dictionaries alone
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LabelError(f"{path}: not YAML ({str(error)[:120]}); mend or remove the file") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("names"), dict | list):
        return None
    return YoloSettings(_names(tree["names"]), _points(tree.get("kpt_shape"), path))


def _names(told: Any) -> dict[str, str]:
    pairs = told.items() if isinstance(told, dict) else enumerate(told)
    return {str(number): name for number, name in pairs if isinstance(name, str)}


def _points(told: Any, path: str) -> tuple[int, int] | None:
    if told is None:
        return None
    values = [number(one) for one in told] if isinstance(told, list) and len(told) == 2 else []
    count, dimensions = values if len(values) == 2 else (None, None)
    if count is None or not 1 <= count <= MOST_POINTS or count % 1 or dimensions not in NUMBERS_A_POINT:
        raise LabelError(f"{path}: kpt_shape is {str(told)[:40]}; expected the number of points, and 2 or 3")
    return int(count), int(dimensions)
