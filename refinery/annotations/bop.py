"""BOP (6D poses): `scene_gt_info.json` and `scene_gt.json`, the objects of each image of a scene by its number.

`objects.box` is around what is visible of an object (`bbox_visib`), from the first to the last pixel's centre;
`objects.class` its `obj_id`. What is hidden has no box. Poses say nothing that could be seen to move in px and are left
out; `mask_visib` is read as masks of their own. Source: the BOP challenge's description of its format, and
`calc_2d_bbox` of its toolkit (width = last column - first column).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.annotations._shared import Records, of_the_image_beside
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
_DIGITS = 6


def claims(data: bytes, path: str) -> bool:
    """True if a JSON file is a scene's ground truth."""
    is_named = PurePosixPath(path).name.startswith("scene_gt")
    return is_named and (b'"obj_id"' in data or b'"bbox_visib"' in data)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> Records:
    """All images of the scene, as their numbers of six digits. Raises LabelError for what is no JSON."""
    tree = load(data, path)
    told = tree if isinstance(tree, dict) else {}
    images = {key.zfill(_DIGITS): dicts(objects) for key, objects in told.items() if key.isdigit()}
    return Records(path, images, _labels)


def _labels(things: list[dict[str, Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    parts = Parts(where)
    for item, thing in enumerate(_objects.at_most(things, where)):
        parts.add(_object(thing, item, where))
    return parts.result()


def _object(thing: dict[str, Any], item: int, where: str) -> Iterator[Label]:
    if "obj_id" in thing:
        yield _objects.category(thing["obj_id"], item)
    if "bbox_visib" in thing:
        values = _objects.finite(thing["bbox_visib"], where, "bbox_visib", item).tolist()
        if len(values) != 4:
            raise LabelError(f"{where}: bbox_visib[{item}] has {len(values)} numbers; expected x, y, width and height")
        left, top, width, height = values
        if min(width, height) >= 0:  # -1: nothing of it is visible
            yield _objects.box((left, top, left + width, top + height), item, where)
