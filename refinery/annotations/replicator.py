"""Omniverse Replicator's BasicWriter: `bounding_box_2d_tight_0000.npy`, the boxes of one frame as a structured array.

`objects.class` is the `semanticId`; the file of their names, `bounding_box_2d_tight_labels_0000.json`, has no labels of
its own. Loose boxes repeat tight ones and are not read. Coordinates are those of the first and the last pixel.
Source: Omniverse Replicator's documentation of its annotators and writers.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import numpy as np

from refinery.annotations import _objects
from refinery.annotations._parts import Parts
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".npy", ".json")
MAX_BYTES = 16 << 20
_BOXES = "bounding_box_2d_"
_CORNERS = ("x_min", "y_min", "x_max", "y_max")


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a file is one of the writer's about boxes."""
    return PurePosixPath(path).name.startswith(_BOXES)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """Class and box of each object. Raises LabelError for what is no structured array of boxes."""
    if not path.endswith(".npy") or PurePosixPath(path).name.startswith(f"{_BOXES}loose"):
        return ()
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes for one image; expected at most {MAX_BYTES:,}")
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, TypeError, MemoryError) as error:
        raise LabelError(f"{path}: not a readable NumPy array; expected Replicator's boxes") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 1 or not set(_CORNERS) <= set(rows.dtype.names or ()):
        raise LabelError(f"{path}: not Replicator's boxes; expected rows of {', '.join(_CORNERS)}")
    parts = Parts(path)
    for item, row in enumerate(_objects.at_most(list(rows), path)):
        if "semanticId" in (rows.dtype.names or ()):
            parts.add([_objects.category(row["semanticId"], item)])
        parts.add(_objects.box(xyxy, item, path) for xyxy in ([row[name] for name in _CORNERS],))
    return parts.result()
