"""COCO: one JSON file for many images, with `images`, `annotations` and `categories`.

`objects.class`, `objects.box`, an `objects.polygon` of one part, an `objects.mask` of several parts or run lengths, and
a keypoint for each named point of the category; visibility 0 is not there, 1 is hidden. `caption` is a text. Of
panoptic files each segment is an object. Boxes and
outlines count from the corner of the first pixel, keypoints of whole numbers from its centre. A box of five numbers is
oriented: cx, cy, w, h and the angle in degrees, counter-clockwise.
Source: COCO's format description; on pixel corners, Detectron2's data conventions.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.annotations import _fill, _objects, _rle
from refinery.annotations._json import dicts, load_without, text_of
from refinery.annotations._parts import Parts
from refinery.annotations._shared import Shared, of_the_image_beside
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is COCO's."""
    if b'"images"' not in data or b'"file_name"' not in data:
        return False
    return any(word in data for word in (b'"annotations"', b'"categories"', b'"licenses"'))


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> Shared:
    """All images of the file. Raises LabelError for what is not COCO."""
    return _Coco(path, text_of(data, path))


class _Coco:
    """The file's text and where in it the annotations of each image stand; nothing is written after the constructor."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self._text = text
        self._places: dict[str, array[int]] = {}
        tree = load_without(text, path, "annotations", self._take)
        self._images: dict[str, tuple[str, Any, Any]] = {}
        self._twice: set[str] = set()
        for one in dicts(tree.get("images")):
            if "file_name" in one:
                name, entry = str(one["file_name"]), (_id(one.get("id")), one.get("width"), one.get("height"))
                if self._images.setdefault(name, entry) != entry:
                    self._twice.add(name)
        self._categories = {_id(one.get("id")): one for one in dicts(tree.get("categories"))}

    def _take(self, annotation: Any, start: int, end: int) -> None:
        if isinstance(annotation, dict):
            self._places.setdefault(_id(annotation.get("image_id")), array("q")).extend((start, end))

    @property
    def names(self) -> Iterable[str]:
        """The `file_name` of each image."""
        return self._images

    def read(self, name: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
        """Labels of one image. Raises LabelError, also where width and height contradict the image."""
        image, width, height = self._images[name]
        where = f"{self.path}: {name[:120]}"
        if name in self._twice:
            raise LabelError(f"{where}: two images of this name and of different ids; it is read for none; rename one")
        _objects.require_size((width, height), size_hw, where)
        parts = Parts(where)
        for item, thing in enumerate(_objects.at_most(self._things(image), where)):
            for part in self._object(thing, item, where, size_hw):
                parts.add(part)
        return parts.result()

    def _things(self, image: str) -> list[dict[str, Any]]:
        """The annotations of one image; of a panoptic one its segments."""
        places = self._places.get(image, array("q"))
        told = [json.loads(self._text[start:end]) for start, end in zip(places[::2], places[1::2], strict=True)]
        return [thing for one in told for thing in dicts(one.get("segments_info")) or [one]]

    def fields(self, name: str) -> dict[str, str]:  # noqa: ARG002
        """None are kept."""
        return {}

    def _object(
        self, thing: dict[str, Any], item: int, where: str, size_hw: tuple[int, int]
    ) -> Iterator[Iterable[Label]]:
        """What is said of an object, in parts that may each be bad without the others."""
        category = self._categories.get(_id(thing.get("category_id")), {})
        if "category_id" in thing:
            yield [_objects.category(category.get("name") or thing["category_id"], item)]
        if isinstance(thing.get("caption"), str):
            yield [Label("objects.text", "text", np.zeros(0), "flip", item, thing["caption"])]
        yield _box(thing.get("bbox"), item, where)
        yield _outline(thing.get("segmentation"), item, where, size_hw)
        if thing.get("keypoints"):
            yield _keypoints(thing["keypoints"], category.get("keypoints"), item, where)


def _id(value: Any) -> str:
    """An id as text; 1, 1.0 and "1" are one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _box(bbox: Any, item: int, where: str) -> Iterator[Label]:
    if not bbox:
        return
    values = _objects.finite(bbox, where, "bbox", item).tolist()
    if len(values) == 5:
        cx, cy, width, height, angle = values
        yield _objects.polygon(
            _objects.oriented(cx, cy, width, height, -math.radians(angle)) - _objects.HALF_PX, item, where
        )
    elif len(values) == 4:
        yield _objects.box_at(values[:2], values[2:], item, where)
    else:
        raise LabelError(f"{where}: bbox[{item}] has {len(values)} numbers; expected x, y, width and height")


def _outline(outline: Any, item: int, where: str, size_hw: tuple[int, int]) -> Iterator[Label]:
    if not outline:
        return
    mask: NDArray[np.bool_] | None = None
    most = _objects.most_masks(size_hw)
    if isinstance(outline, dict):
        mask = _rle.decode(outline, size_hw, f"{where}: object {item}") if item < most else None
    elif isinstance(outline, list) and len(outline) == 1:
        yield _objects.polygon(np.subtract(_objects.finite(outline[0], where, "outline", item), 0.5), item, where)
    elif isinstance(outline, list) and item < most:
        parts = [_objects.polygon(part, item, where).value for part in outline[: _objects.MAX_OBJECTS]]
        mask = _fill.filled([np.asarray(part) - _objects.HALF_PX for part in parts], size_hw, f"{where}: object {item}")
    if mask is not None and mask.any():
        yield Label("objects.mask", "instance_mask", mask, item=item)


def _keypoints(values: Any, names: Any, item: int, where: str) -> Iterator[Label]:
    triples = _objects.finite(values, where, "keypoints", item)
    if triples.size % 3 or triples.size > 3 * _objects.MAX_OBJECTS:
        raise LabelError(f"{where}: keypoints[{item}] has {triples.size} numbers; expected x, y, visibility of each")
    told = [str(name) for name in names] if isinstance(names, list) else []
    edge = 0.0 if (triples == np.floor(triples)).all() else _objects.HALF_PX
    for k, (x, y, visibility) in enumerate(triples.reshape(-1, 3).tolist()):
        if visibility:
            name = told[k].replace(".", "_") if k < len(told) else f"keypoint_{k}"
            yield _objects.keypoint(name, (x - edge, y - edge), item, where, hidden=visibility == 1)
