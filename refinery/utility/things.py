"""Things whose number varies from image to image, as regions: where in the image is there one of this kind?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinery.annotations._fill import filled
from refinery.errors import LabelError
from refinery.sample import Label
from refinery.utility.datasets import fit_of

OUTLINED = ("instance_mask", "polygon", "box")
"""Types of labels that a region is made of, the most exact first."""
MAX_KINDS = 8


@dataclass(frozen=True)
class Things:
    """Labels that become regions. name: theirs. kinds: classes of the things, each a region; none: all are of one."""

    name: str
    kinds: tuple[str, ...] = ()


def kinds_of(labels: Sequence[Sequence[Label]], name: str) -> set[str]:
    """Classes that the things of this name have; empty where one has none, or there are too many for regions."""
    found: set[str] = set()
    for own in labels:
        classes = _classes(own, name)
        for label in own:
            if label.name == name:
                if label.item not in classes or len(found) > MAX_KINDS:
                    return set()
                found.add(classes[label.item])
    return found if len(found) <= MAX_KINDS else set()


def as_regions(
    labels: Sequence[Label], things: Things, size_hw: tuple[int, int], canvas_hw: tuple[int, int]
) -> tuple[Label, ...]:
    """The things of one image as semantic masks (h, w) bool on the canvas, one for each kind that is there.

    labels: of an image of this size, its masks on the canvas already.
    """
    classes = _classes(labels, things.name) if things.kinds else {}
    covered: dict[str, NDArray[np.bool_]] = {}
    for label in labels:
        kind = classes.get(label.item, "") if things.kinds else things.name
        if label.name == things.name and (kind in things.kinds or not things.kinds):
            inside = _inside(label, size_hw, canvas_hw)
            covered[kind] = covered[kind] | inside if kind in covered else inside
    return tuple(Label(things.name, "semantic_mask", mask, text=kind) for kind, mask in covered.items())


def _classes(labels: Sequence[Label], name: str) -> dict[int, str]:
    """Class of each item of the object that a name stands in: of `objects.box` by `objects.class`."""
    prefix = name.rpartition(".")[0]
    return {x.item: x.text for x in labels if x.type == "class" and x.name.rpartition(".")[0] == prefix}


def _inside(label: Label, size_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> NDArray[np.bool_]:
    if label.type in ("instance_mask", "semantic_mask"):
        return label.value.astype(bool)
    corners = np.asarray(label.value, np.float64)
    if label.type == "box":
        left, top, right, bottom = corners.tolist()
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    placed = (corners + 0.5) * fit_of(size_hw, canvas_hw) - 0.5
    if not np.isfinite(placed).all():
        return np.zeros(canvas_hw, bool)
    try:
        return filled([placed], canvas_hw, label.name)
    except LabelError:
        return np.zeros(canvas_hw, bool)
