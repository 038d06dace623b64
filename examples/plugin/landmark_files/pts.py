"""Landmarks as `.pts` files beside an image, as 300-W has them: `n_points: 3`, then x and y a line in braces.

Coordinates count from 1. Every point is a keypoint `landmark_0`, `landmark_1`, ...
"""

from __future__ import annotations

import numpy as np

from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".pts",)
MOST_POINTS = 1024


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """The keypoints of one image in px. Raises LabelError for what is not such a file."""
    head, brace, body = data.decode("utf-8", "replace").partition("{")
    rows = [line.split() for line in body.partition("}")[0].splitlines() if line.strip()]
    if not brace or "n_points" not in head or len(rows) > MOST_POINTS:
        raise LabelError(
            f"{path}: not a .pts file; expected n_points, and x and y of up to {MOST_POINTS} points in braces"
        )
    try:
        points = np.array(rows, dtype=np.float64).reshape(len(rows), 2) - 1.0
    except ValueError as error:
        raise LabelError(f"{path}: a point that is not two numbers; correct the annotation") from error
    if not np.isfinite(points).all():
        raise LabelError(f"{path}: NaN or infinite coordinates; correct the annotation")
    return tuple(Label(f"landmark_{at}", "keypoint", point) for at, point in enumerate(points))
