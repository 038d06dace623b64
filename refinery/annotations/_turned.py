"""Labels of an image as its file stores it, brought to the image as it is displayed.

An annotation that says how large its image is says by it which of the two it means, where they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.errors import PartlyReadError, TurnedError
from refinery.image import upright
from refinery.sample import Label

Read = Callable[[tuple[int, int]], tuple[Label, ...]]
_POINTS = ("keypoint", "box", "polygon")
_MASKS = ("instance_mask", "semantic_mask", "depth")


def as_displayed(read: Read, size_hw: tuple[int, int], orientation: Callable[[], int]) -> tuple[Label, ...]:
    """What `read(size_hw)` gives; of an annotation of the stored image, that turned as the image is.

    size_hw: as displayed. Directions are left out: nobody says which way they turn. Raises LabelError.
    """
    try:
        return read(size_hw)
    except TurnedError:
        if (number := orientation()) < 5:
            raise
        stored_hw = size_hw[1], size_hw[0]

        def turned(labels: tuple[Label, ...]) -> tuple[Label, ...]:
            return tuple(_turned(label, stored_hw, number) for label in labels if label.type != "vector")

        try:
            return turned(read(stored_hw))
        except PartlyReadError as error:
            raise PartlyReadError(turned(error.labels), error.lines) from error


def _turned(label: Label, stored_hw: tuple[int, int], orientation: int) -> Label:
    if label.type in _MASKS:
        return replace(label, value=upright(label.value, orientation))
    if label.type not in _POINTS:
        return label
    points = _points_upright(np.asarray(label.value, np.float64).reshape(-1, 2), stored_hw, orientation)
    if label.type == "box":
        points = np.stack((points.min(axis=0), points.max(axis=0)))
    return replace(label, value=points.reshape(label.value.shape))


def _points_upright(xy: NDArray[Any], stored_hw: tuple[int, int], orientation: int) -> NDArray[Any]:
    """Points (N, 2) in px, moved as `upright` moves pixels."""
    x, y = xy.T
    width, height = stored_hw[1], stored_hw[0]
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    if orientation in (2, 3, 6, 7):
        x = width - 1 - x
    if orientation in (3, 4, 7, 8):
        y = height - 1 - y
    return np.stack((x, y), axis=1)
