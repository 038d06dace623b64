"""Where the images of an HDF5 file are: groups of image datasets, or one dataset of stacked images.

Nothing that leads out of the file is followed: external and soft links, virtual datasets, external storage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from refinery.image import MAX_PIXELS, MIN_SIDE_PX
from refinery.pictures.sensor_words import sensor_words

CHILDREN_SEEN = 64
LOOKED_AT = 8
MAX_DEPTH = 8
MAX_VALUES = 4096
"""Bounds on the look: children of a group, images of a group, nesting; and the numbers of a label."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images that lie together in one file.

    path: of the group, or of the stacked dataset (N, H, W[, C]). stacked: which of the two.
    partners: paths of the groups or stacked datasets with a value for each image.
    top: what the largest brightness is in float images, 1 or 255; 0 where the images are integers.
    members: names of the images in the group; all of them where none are given.
    """

    path: str
    stacked: bool
    partners: tuple[str, ...] = ()
    top: float = 0.0
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """The images in one place of a file, pictures or maps: those of an `ImageSet`, and a few of them to look at."""

    one: ImageSet
    count: int
    pixels: tuple[NDArray[Any], ...]


def all_images(file: h5py.File) -> list[Images]:
    """All images of a file by where they are, sorted by path and names; which of them are pictures is not told."""
    found = [each for group in _groups(file) for each in _in_one_parent(file, group)]
    by_place = {(_place(file[each.one.path or "/"]), each.one.members): each for each in reversed(found)}
    return sorted(by_place.values(), key=lambda each: (each.one.path, each.one.members))


def with_partners(file: h5py.File, one: ImageSet, pictures: Sequence[str]) -> ImageSet:
    """The set with the values that lie beside its images. pictures: the paths of all sets of pictures."""
    parent = one.path.rpartition("/")[0]
    return replace(one, partners=tuple(_partners(file, parent, one.path, one.stacked, pictures)))


def datasets_beside(file: h5py.File, sets: Sequence[ImageSet]) -> Iterator[tuple[str, h5py.Dataset]]:
    """All datasets that lie in a file as themselves and hold no images of these sets, each once, with their paths."""
    pictures = {_place(file[one.path]) for one in sets if one.stacked}
    for one in sets:
        if not one.stacked:
            group = file[one.path or "/"]
            pictures |= {_place(group[name]) for name in one.members or group if not why_refused(group, name)}
    seen: set[Any] = set()
    waiting = [("/", file["/"])]
    while waiting:
        path, node = waiting.pop()
        if _place(node) in seen:
            continue
        seen.add(_place(node))
        if isinstance(node, h5py.Group):
            names = sorted((name for name in node if not why_refused(node, name)), reverse=True)
            waiting.extend((f"{path.rstrip('/')}/{name}", node[name]) for name in names)
        elif isinstance(node, h5py.Dataset) and _place(node) not in pictures:
            yield path, node


def names_of(file: h5py.File, path: str) -> list[str]:
    """Names in a group, or row numbers of a stacked dataset, numbers in number order."""
    node = file[path]
    if isinstance(node, h5py.Dataset):
        return [str(row) for row in range(node.shape[0])]
    return sorted(node, key=natural)


def natural(name: str) -> tuple[int, int, str]:
    """Sorts "2" before "10", and numbers before other names."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)


def why_refused(parent: h5py.Group, name: str) -> str:
    """Why a member of a group is not read: empty for one that lies in this file as itself."""
    label = name.encode("utf-8", "surrogateescape")
    if not parent.id.links.exists(label):
        return "missing"
    kind = parent.id.links.get_info(label).type
    if kind != h5py.h5l.TYPE_HARD:
        return "a soft link" if kind == h5py.h5l.TYPE_SOFT else "a link to another file"
    node = h5py.h5o.open(parent.id, label)
    return "stored in other files" if isinstance(node, h5py.h5d.DatasetID) and _is_elsewhere(node) else ""


def _is_elsewhere(dataset: h5py.h5d.DatasetID) -> bool:
    plan = dataset.get_create_plist()
    return bool(plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count())


def contents(file: h5py.File) -> str:
    """The first members of a file in words, for an error message."""
    shown = []
    for name in sorted(file, key=natural)[:6]:
        node = None if why_refused(file, name) else file[name]
        shown.append(f"{name} {node.shape} {node.dtype}" if isinstance(node, h5py.Dataset) else f"group {name}")
    return ", ".join(shown) or "nothing"


def _groups(file: h5py.File) -> Iterator[str]:
    """Paths of groups, outermost first; a group met again through another hard link is left out."""
    seen: set[Any] = set()
    waiting = [("/", 0)]
    while waiting:
        path, depth = waiting.pop(0)
        group = file[path]
        if _place(group) not in seen:
            seen.add(_place(group))
            yield path.strip("/")
            inner = _members(group, h5py.Group) if depth < MAX_DEPTH else []
            waiting.extend((f"{path.rstrip('/')}/{name}", depth + 1) for name in inner)


def _place(node: h5py.Group | h5py.Dataset) -> Any:
    """What tells one object of a file from another, whatever links lead to it."""
    return h5py.h5o.get_info(node.id).addr


def _members(group: h5py.Group, kind: type) -> list[str]:
    """Names of the datasets or groups among the first children of a group."""
    names = sorted(group, key=natural)[:CHILDREN_SEEN]
    return [name for name in names if not why_refused(group, name) and isinstance(group[name], kind)]


def _in_one_parent(file: h5py.File, parent: str) -> Iterator[Images]:
    """The images that are direct children of `parent`, or `parent` itself if it is the root."""
    group = file[parent or "/"]
    stacks = [name for name in _members(group, h5py.Dataset) if _is_stack(group[name])]
    for name in stacks:
        pixels = tuple(_rows(group[name]))
        yield Images(ImageSet(_join(parent, name), True, top=_top(pixels)), group[name].shape[0], pixels)
    for name in _members(group, h5py.Group):
        yield from _series(group[name], _join(parent, name))
    if not parent and not stacks:
        yield from _series(group, "")


def _series(group: h5py.Group, path: str) -> Iterator[Images]:
    """The images of a group: all together, or apart by what their names say they are (`colors`, `depth`)."""
    names = _members(group, h5py.Dataset)
    apart = [name for name in names if sensor_words(name) and _is_image(group[name].shape or (), group[name].dtype)]
    if not apart:
        if pixels := tuple(_images(group)):
            yield Images(ImageSet(path, False, top=_top(pixels)), len(group), pixels)
        return
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name in apart:
        kinds.setdefault(tuple(sorted(set(sensor_words(name)))), []).append(name)
    for members in kinds.values():
        pixels = tuple(group[name][()] for name in _spread(members))
        yield Images(ImageSet(path, False, top=_top(pixels), members=tuple(members)), len(members), pixels)


def _is_stack(dataset: h5py.Dataset) -> bool:
    """(N, H, W) or (N, H, W, C) with C = 1 or 3, of a type that images have."""
    shape: tuple[int, ...] = dataset.shape or ()
    flat = len(shape) == 3 and shape[-1] not in (1, 3)
    return bool(
        (flat or (len(shape) == 4 and shape[-1] in (1, 3))) and shape[0] and _is_image(shape[1:], dataset.dtype)
    )


def _is_image(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    good_shape = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    good_type = dtype in (np.uint8, np.uint16) or dtype.kind == "f"
    return good_shape and good_type and min(shape[:2]) >= MIN_SIDE_PX and shape[0] * shape[1] <= MAX_PIXELS


def _rows(stack: h5py.Dataset) -> list[Any]:
    return [stack[row] for row in _spread(range(stack.shape[0]))]


def _images(group: h5py.Group) -> list[Any]:
    """A few images of a group whose members are mostly images; none if they are not."""
    names = _spread(_members(group, h5py.Dataset))
    images = [group[name] for name in names if _is_image(group[name].shape or (), group[name].dtype)]
    return [image[()] for image in images] if 2 * len(images) > len(names) else []


def _partners(file: h5py.File, parent: str, path: str, stacked: bool, pictures: Sequence[str]) -> Iterator[str]:
    """Paths beside an image set that hold a small value for each of its images."""
    if not path:
        return
    group, count = file[parent or "/"], file[path].shape[0] if stacked else 0
    first = names_of(file, path)[0]
    for name in sorted(group, key=natural)[:CHILDREN_SEEN]:
        other = _join(parent, name)
        if other in pictures or why_refused(group, name):
            continue
        node = group[name]
        if stacked and isinstance(node, h5py.Dataset) and node.shape and node.shape[0] == count:
            small = math.prod(node.shape[1:]) <= MAX_VALUES
        elif not stacked and isinstance(node, h5py.Group) and first in node and not why_refused(node, first):
            small = isinstance(node[first], h5py.Dataset) and (node[first].size or 0) <= MAX_VALUES
        else:
            small = False
        if small:
            yield other


def _top(images: Sequence[Any]) -> float:
    if images[0].dtype.kind != "f":
        return 0.0
    return 1.0 if all(np.nanmax(image, initial=0) <= 1 for image in images) else 255.0


def _spread(names: Sequence[Any]) -> list[Any]:
    """At most LOOKED_AT of the names, evenly."""
    count = min(len(names), LOOKED_AT)
    return [names[i * len(names) // count] for i in range(count)]


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name
