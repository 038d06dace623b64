"""Where in the image a label without a place of its own is seen: the box of what it is said about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from refinery.sample import Label

Box = NDArray[np.float64]
PLACELESS = ("class", "number", "vector", "text")
_ORDER = ("box", "instance_mask", "polygon", "keypoint")
"""Types of geometry that tell how large a thing is, the one that tells it best first."""

_GEOMETRY_WORDS = frozenset(
    ("box", "boxes", "bbox", "bounds", "rect", "xyxy", "xywh", "center", "centre", "point", "position", "keypoint")
) | frozenset(("mask", "instance", "polygon", "segmentation", "contour", "outline", "px", "xy", "2d"))


def regions(labels: Sequence[Label]) -> dict[tuple[str, int], Box]:
    """Box of each label that has no geometry (class, number, vector, text), by (name, item): (4,) xyxy px.

    It is the box of its sibling, a geometry of the same name prefix and item: one that shares its stem (`iris_radius`
    and `iris_center`), else one that is named as a geometry only (`coins.center` for `coins.value`), else, for a class
    or a text, the only box, mask or polygon. What speaks for the whole image has none: no sibling, or a number or
    vector at the top of the annotation, or one class beside many boxes.
    """
    siblings: dict[tuple[str, int], list[Label]] = {}
    counts: dict[str, int] = {}
    for label in labels:
        counts[label.name] = counts.get(label.name, 0) + 1
        if label.type in _ORDER:
            siblings.setdefault((_prefix(label.name), label.item), []).append(label)
    found: dict[tuple[str, int], Box] = {}
    for label in labels if siblings else ():
        if label.type in PLACELESS:
            beside = siblings.get((_prefix(label.name), label.item), ())
            own = _own(label, [one for one in beside if not _is_lone_beside_many(label, one, counts)])
            if own is not None:
                found[label.name, label.item] = own
    return found


def box_of(label: Label) -> Box | None:
    """Box of a geometric label, (4,) xyxy px; None for a point without extent, an empty mask, what is not finite."""
    value = label.value
    if label.type in ("box", "polygon"):
        corners = np.asarray(value, dtype=np.float64).reshape(-1, 2)
    elif label.type == "keypoint" and label.extent_px > 0:
        corners = np.asarray(value, dtype=np.float64) + label.extent_px * np.array([[-1.0], [1.0]])
    elif label.type in ("instance_mask", "semantic_mask") and value.ndim == 2 and value.any():
        columns, rows = np.flatnonzero(value.any(axis=0)), np.flatnonzero(value.any(axis=1))
        corners = np.array([[columns[0] - 0.5, rows[0] - 0.5], [columns[-1] + 0.5, rows[-1] + 0.5]])
    else:
        return None
    if not corners.size or not np.isfinite(corners).all():
        return None
    return np.concatenate((corners.min(axis=0), corners.max(axis=0)))


def _own(label: Label, siblings: Sequence[Label]) -> Box | None:
    parts = set(_words(_key(label.name)))
    by_stem = [one for one in siblings if _stem(one.name) and _stem(one.name) <= parts]
    own = [one for one in siblings if not _stem(one.name)]
    wholes = [one for one in siblings if one.type != "keypoint"]
    is_category = label.type in ("class", "text")
    may_be_image = not _prefix(label.name) and not is_category
    for chosen in (by_stem, [] if may_be_image else own, wholes if is_category and len(wholes) == 1 else []):
        for one in sorted(chosen, key=lambda one: _ORDER.index(one.type)):
            box = box_of(one)
            if box is not None:
                return box
    return None


def _is_lone_beside_many(label: Label, sibling: Label, counts: dict[str, int]) -> bool:
    """One class at the top of an annotation that has many boxes is the class of the image."""
    return not _prefix(label.name) and counts[label.name] == 1 < counts[sibling.name]


def _prefix(name: str) -> str:
    return name.rpartition(".")[0]


def _key(name: str) -> str:
    return name.rpartition(".")[2]


@lru_cache(maxsize=4096)
def _stem(name: str) -> frozenset[str]:
    """Words of a geometry's own key that do not say that it is one: `iris_center` -> iris."""
    return frozenset(_words(_key(name))) - _GEOMETRY_WORDS


@lru_cache(maxsize=4096)
def _words(key: str) -> tuple[str, ...]:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key[:128])
    return tuple(word for word in re.split(r"[^A-Za-z0-9]+", parted.lower()) if word)
