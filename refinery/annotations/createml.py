"""CreateML: one JSON list for many images, each with `annotations` of a `label` and `coordinates`.

Coordinates are the centre of a box and its size in px, from the upper left corner of the image.
Source: Apple's Create ML, "Building an object detector data source".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.annotations._shared import Records, of_the_image_beside
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
_IMAGE = ("image", "imagefilename", "imageURL")
_OBJECTS = ("annotations", "annotation")


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is CreateML's."""
    names_image = any(f'"{key}"'.encode() in data for key in _IMAGE)
    return data.lstrip()[:1] == b"[" and names_image and b'"coordinates"' in data and b'"annotation' in data


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> Records:
    """All images of the file. Raises LabelError for what is no JSON."""
    images: dict[str, list[dict[str, Any]]] = {}
    for entry in dicts(load(data, path)):
        name = next((entry[key] for key in _IMAGE if isinstance(entry.get(key), str)), "")
        if name:
            objects = next((dicts(entry[key]) for key in _OBJECTS if key in entry), [])
            images.setdefault(name, []).extend(objects)
    return Records(path, images, _labels)


def _labels(things: list[dict[str, Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    parts = Parts(where)
    for item, thing in enumerate(_objects.at_most(things, where)):
        parts.add(_object(thing, item, where))
    return parts.result()


def _object(thing: dict[str, Any], item: int, where: str) -> Iterator[Label]:
    if thing.get("label") is not None:
        yield _objects.category(thing["label"], item)
    told = thing.get("coordinates")
    if isinstance(told, dict):
        values = [told.get(key, "missing") for key in ("x", "y", "width", "height")]
        x, y, width, height = _objects.finite(values, where, "coordinates", item).tolist()
        yield _objects.box_around((x, y), (width, height), item, where)
