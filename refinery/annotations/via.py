"""VGG Image Annotator (VIA 1 and 2): one JSON file for many images, as a project or as its export.

rect -> box; circle, and an ellipse that is round -> keypoint with its radius; polygon -> polygon; point -> keypoint; of
other shapes only the class. The class is the region attribute called class, label, type, name or category, or the only
one there is. Source: VIA's documentation of its annotation format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.annotations._shared import Records, of_the_image_beside
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
_METADATA = "_via_img_metadata"
_CLASS = ("class", "label", "type", "name", "category")


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is VIA's."""
    return b'"shape_attributes"' in data and b'"regions"' in data and b'"filename"' in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> Records:
    """All images of the file. Raises LabelError for what is no JSON."""
    tree = load(data, path)
    told = tree.get(_METADATA, tree) if isinstance(tree, dict) else {}
    images: dict[str, list[dict[str, Any]]] = {}
    for entry in told.values() if isinstance(told, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("filename"), str):
            regions = entry.get("regions")
            images.setdefault(entry["filename"], []).extend(
                dicts(list(regions.values()) if isinstance(regions, dict) else regions)
            )
    return Records(path, images, _labels)


def _labels(regions: list[dict[str, Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    parts = Parts(where)
    for item, region in enumerate(_objects.at_most(regions, where, "regions")):
        parts.add(_object(region, item, where))
    return parts.result()


def _object(region: dict[str, Any], item: int, where: str) -> Iterator[Label]:
    name = _class_of(region.get("region_attributes"))
    if name:
        yield _objects.category(name, item)
    told = region.get("shape_attributes")
    shape: dict[str, Any] = told if isinstance(told, dict) else {}

    def values(*keys: str) -> list[float]:
        missing = [shape.get(key, "missing") for key in keys]
        numbers: list[float] = _objects.finite(missing, where, str(shape.get("name"))[:20], item).tolist()
        return numbers

    edge = _objects.HALF_PX
    kind = shape.get("name")
    if kind == "rect":
        x, y, width, height = values("x", "y", "width", "height")
        yield _objects.box_at((x, y), (width, height), item, where)
    elif kind == "point":
        x, y = values("cx", "cy")
        yield _objects.keypoint("point", (x - edge, y - edge), item, where)
    elif kind in ("circle", "ellipse"):
        x, y, *radii = values("cx", "cy", *(("r",) if kind == "circle" else ("rx", "ry")))
        radius = sum(radii) / len(radii) if max(radii) - min(radii) <= 1 else 0.0
        yield _objects.keypoint("center", (x - edge, y - edge), item, where, radius=radius)
    elif kind == "polygon":
        across, down = (_objects.finite(shape.get(f"all_points_{side}", ()), where, "polygon", item) for side in "xy")
        count = min(len(across), len(down))
        yield _objects.polygon(np.stack((across[:count], down[:count]), axis=1) - edge, item, where)


def _class_of(attributes: Any) -> str:
    """The class of a region; of a choice of several the first that is chosen."""
    told = attributes if isinstance(attributes, dict) else {}
    names = {str(key).lower(): value for key, value in told.items()}
    value = next(
        (names[key] for key in _CLASS if key in names), next(iter(told.values()), "") if len(told) == 1 else ""
    )
    if isinstance(value, dict):
        value = next((key for key, chosen in value.items() if chosen), "")
    return str(value) if isinstance(value, str | int) else ""
