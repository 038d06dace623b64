"""Label Studio: one JSON file for many images, as JSON or JSON_MIN; coordinates are per cents of the image.

rectanglelabels -> box, or its four corners where it is turned; polygonlabels -> polygon; keypointlabels -> keypoint;
ellipselabels -> keypoint with its radius where it is round in px; choices -> class of the image. Of others only the
class. An upload's name loses the eight digits that the tool put before it. Source: Label Studio's export formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from refinery.annotations import _objects
from refinery.annotations._json import dicts, load
from refinery.annotations._parts import Parts
from refinery.annotations._shared import Records, of_the_image_beside
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)
_KINDS = ("rectanglelabels", "polygonlabels", "keypointlabels", "ellipselabels", "brushlabels", "choices")
_SIZES = ("original_width", "original_height")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if a JSON file is Label Studio's."""
    return b'"original_width"' in data and any(f'"{kind}"'.encode() in data for kind in _KINDS)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the file lies beside. Raises LabelError."""
    return of_the_image_beside(open_shared(data, path), size_hw)


def open_shared(data: bytes, path: str) -> Records:
    """All images of the file. Raises LabelError for what is no list of tasks."""
    tree = load(data, path)
    if not isinstance(tree, list | dict):
        raise LabelError(f"{path}: not a list of tasks; expected Label Studio's JSON or JSON_MIN")
    results: dict[str, list[dict[str, Any]]] = {}
    for task in dicts(tree if isinstance(tree, list) else [tree]):
        image, told = _image_of(task), list(_results_of(task))
        if image:
            results.setdefault(image, []).extend(told)
    return Records(path, results, _labels)


def _labels(results: list[dict[str, Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of one image. Raises LabelError, also where the original size contradicts the image."""
    for result in _objects.at_most(results, where):
        _objects.require_size((result.get("original_width"), result.get("original_height")), size_hw, where)
    parts = Parts(where)
    for item, result in enumerate(results):
        parts.add(_object(result, item, where, size_hw))
    return parts.result()


def _image_of(task: dict[str, Any]) -> str:
    """The name of a task's image: of an upload without its mark, of others as it stands."""
    inner = task.get("data")
    data: dict[str, Any] = inner if isinstance(inner, dict) else task
    told = next(
        (data[key] for key in ("image", "img", "ocr", "image_url", "url") if isinstance(data.get(key), str)), ""
    )
    path = PurePosixPath(told.partition("?d=")[2] or told)
    return _UPLOADED.sub("", path.name) if "upload" in path.parts else path.as_posix().lstrip("/")


def _results_of(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each result as one object: its value and the size it is of."""
    for annotation in dicts(task.get("annotations") or task.get("completions")):
        for result in dicts(annotation.get("result")):
            value = result.get("value")
            if isinstance(value, dict) and not annotation.get("was_cancelled"):
                sizes: dict[str, Any] = {key: result[key] for key in _SIZES if key in result}
                yield {**value, **sizes}
    for values in task.values():
        yield from (one for one in dicts(values) if any(kind in one for kind in _KINDS))


def _object(result: dict[str, Any], item: int, where: str, size_hw: tuple[int, int]) -> Iterator[Label]:
    kind = next((kind for kind in _KINDS if isinstance(result.get(kind), list)), "")
    names = [str(name) for name in result[kind]] if kind else []
    if kind == "choices":
        for name in names:
            yield Label("class", "class", np.zeros(0), "flip", text=name)
        return
    if names:
        yield _objects.category(names[0], item)
    side = np.array([size_hw[1], size_hw[0]]) / 100
    if kind == "polygonlabels":
        points = _objects.finite(result.get("points", ()), where, "points", item).reshape(-1, 2)
        yield _objects.polygon(points * side - _objects.HALF_PX, item, where)
        return
    if kind not in ("rectanglelabels", "keypointlabels", "ellipselabels"):
        return
    keys = {"rectanglelabels": ("width", "height"), "ellipselabels": ("radiusX", "radiusY")}.get(kind, ())
    told = [result.get(key, "missing") for key in ("x", "y", *keys)]
    values = _objects.finite(told, where, "value", item)
    start = values[:2] * side - _objects.HALF_PX
    if kind == "keypointlabels":
        yield _objects.keypoint("point", start.tolist(), item, where)
    elif kind == "ellipselabels":
        across, down = (values[2:] * side).tolist()
        round_radius = (across + down) / 2 if abs(across - down) <= 1 else 0.0
        yield _objects.keypoint("center", start.tolist(), item, where, radius=round_radius)
    else:
        yield _box(start, values[2:] * side, result.get("rotation", 0), item, where)


def _box(start: Any, size: Any, rotation: Any, item: int, where: str) -> Label:
    """A box, or its four corners where it is turned about its upper left corner."""
    turn = float(np.radians(_objects.finite([rotation], where, "rotation", item).item()))
    if not turn:
        return _objects.box([*start.tolist(), *(start + size).tolist()], item, where)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    right, down = along * size[0], across * size[1]
    return _objects.polygon(np.stack((start, start + right, start + right + down, start + down)), item, where)
