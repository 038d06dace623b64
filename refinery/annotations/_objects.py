"""Labels of the objects in an image: item 3 of `objects.class` is what item 3 of `objects.box` is around.

Detection formats count from the outer corner of the first pixel; our pixel centres lie at integers, half a pixel less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.errors import LabelError, TurnedError
from refinery.sample import Label

HALF_PX = 0.5
MAX_OBJECTS = 1024
MASK_BYTES = 256 << 20
MAX_LABELS = 16_384
"""Of one image: objects, bytes of all masks together, and labels."""
FAR_PX = 1e7


def most_masks(size_hw: tuple[int, int]) -> int:
    """How many masks of one image are read: 128, or fewer of a large image."""
    return max(1, min(128, MASK_BYTES // max(1, size_hw[0] * size_hw[1])))


def at_most(objects: list[Any], where: str, what: str = "objects") -> list[Any]:
    """The objects of one image. Raises LabelError for more than 1,024."""
    if len(objects) > MAX_OBJECTS:
        raise LabelError(f"{where}: {len(objects)} {what} in one image; expected at most {MAX_OBJECTS}")
    return objects


def bounded(labels: Iterable[Label], where: str) -> tuple[Label, ...]:
    """All labels of one image. Raises LabelError for more than 16,384, before they fill the memory."""
    found = tuple(islice(labels, MAX_LABELS + 1))
    if len(found) > MAX_LABELS:
        raise LabelError(f"{where}: more than {MAX_LABELS:,} labels for one image; expected fewer objects or points")
    return found


def category(text: object, item: int, prefix: str = "objects") -> Label:
    """What an object is."""
    return Label(f"{prefix}.class", "class", np.zeros(0), "flip", item, str(text))


def box(xyxy: Sequence[float], item: int, where: str, prefix: str = "objects") -> Label:
    """An axis-aligned box (x0, y0, x1, y1) px. Raises LabelError for numbers that are not finite."""
    return Label(f"{prefix}.box", "box", finite(xyxy, where, prefix, item), item=item)


def box_at(corner: Sequence[float], size: Sequence[float], item: int, where: str, prefix: str = "objects") -> Label:
    """A box by its upper left corner and its width and height, from the corner of the first pixel. Raises LabelError,
    also for a size below nothing.
    """
    (left, top), (width, height) = (
        finite(corner, where, prefix, item).tolist(),
        finite(size, where, prefix, item).tolist(),
    )
    if min(width, height) < 0:
        raise LabelError(
            f"{where}: the box of {prefix}[{item}] has a size of {width:g} x {height:g}; expected 0 or more"
        )
    return box((left - HALF_PX, top - HALF_PX, left + width - HALF_PX, top + height - HALF_PX), item, where, prefix)


def box_around(centre: Sequence[float], size: Sequence[float], item: int, where: str) -> Label:
    """A box by its centre and its width and height, from the corner of the first pixel. Raises LabelError."""
    return box_at((centre[0] - size[0] / 2, centre[1] - size[1] / 2), size, item, where)


def polygon(corners: Any, item: int, where: str, prefix: str = "objects") -> Label:
    """An outline, or an oriented box as its four corners: (N, 2) px. Raises LabelError."""
    flat = finite(corners, where, prefix, item)
    if flat.size < 6 or flat.size % 2:
        raise LabelError(f"{where}: {prefix}[{item}] has {flat.size} coordinates; expected x and y of 3 points or more")
    return Label(f"{prefix}.polygon", "polygon", flat.reshape(-1, 2), item=item)


def keypoint(name: str, xy: Sequence[float], item: int, where: str, hidden: bool = False, radius: float = 0.0) -> Label:
    """A named point of an object; `text` of one that is behind something is "hidden". Raises LabelError."""
    point = finite(xy, where, name, item)
    return Label(f"objects.{name}", "keypoint", point, item=item, text="hidden" if hidden else "", extent_px=radius)


def oriented(cx: float, cy: float, width: float, height: float, angle_rad: float) -> NDArray[np.float64]:
    """Corners (4, 2) of a box that is turned by an angle from x towards y."""
    along = np.array([np.cos(angle_rad), np.sin(angle_rad)]) * width / 2
    across = np.array([-np.sin(angle_rad), np.cos(angle_rad)]) * height / 2
    centre = np.array([cx, cy])
    return np.stack(
        (centre - along - across, centre + along - across, centre + along + across, centre - along + across)
    )


def finite(values: Any, where: str, name: str, item: int) -> NDArray[np.float64]:
    """Numbers as float64. Raises LabelError for what is no number, NaN, infinite or absurdly far away."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelError(
            f"{where}: {name}[{item}] has coordinates that are no numbers; correct the annotation"
        ) from error
    if not (np.abs(array) < FAR_PX).all():
        raise LabelError(f"{where}: {name}[{item}] has NaN or absurd coordinates; correct the annotation")
    return array.reshape(-1)


def require_size(told_wh: tuple[Any, Any], size_hw: tuple[int, int], where: str) -> None:
    """Raises LabelError when an annotation tells another image size than the image has; 0 and None tell nothing.

    Of an image lying on its side it is a TurnedError.
    """
    width, height = told_wh
    told_hw = _whole(height), _whole(width)
    if width and height and told_hw != (0, 0) and told_hw != tuple(size_hw):
        raise (TurnedError if told_hw == tuple(size_hw[::-1]) else LabelError)(
            f"{where}: says {str(width)[:12]}x{str(height)[:12]} px but its image is {size_hw[1]}x{size_hw[0]} px; "
            "its coordinates are not of this image; annotate it again or correct the size"
        )


def _whole(value: Any) -> int:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return -1
