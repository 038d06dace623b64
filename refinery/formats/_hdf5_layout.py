"""Where the images of an HDF5 file are: groups of image datasets, or one dataset of stacked images.

Nothing that leads out of the file is followed: external and soft links, virtual datasets, external storage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from refinery.formats._content import few_beside_many
from refinery.formats._names import PICTURE_FOLDERS, says_role, words_of
from refinery.image import MAX_PIXELS, MIN_SIDE_PX

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
    """

    path: str
    stacked: bool
    partners: tuple[str, ...] = ()
    top: float = 0.0


def image_sets(file: h5py.File) -> list[ImageSet]:
    """The image sets of a file, sorted by path; masks, depth and normals are not among them."""
    found = [candidate for group in _groups(file) for candidate in _in_one_parent(file, group)]
    by_place = {_place(file[one.path or "/"]): one for one in reversed(found)}
    return sorted(by_place.values(), key=lambda one: one.path)


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


def _in_one_parent(file: h5py.File, parent: str) -> list[ImageSet]:
    """The image sets that are direct children of `parent`, or `parent` itself if it is the root."""
    group = file[parent or "/"]
    stacks = {
        _join(parent, name): _rows(group[name]) for name in _members(group, h5py.Dataset) if _is_stack(group[name])
    }
    series = {_join(parent, name): _images(group[name]) for name in _members(group, h5py.Group)}
    if not parent and not stacks:
        series |= {"": _images(group)}
    looks = {path: images for path, images in {**stacks, **series}.items() if images}
    chosen = _without_masks(looks)
    return [
        ImageSet(path, path in stacks, tuple(_partners(file, parent, path, path in stacks, chosen)), _top(looks[path]))
        for path in chosen
    ]


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


def _without_masks(looks: dict[str, list[Any]]) -> list[str]:
    """The paths that are pictures: not named as labels, not flat beside a rich one, not float beside integers."""
    unnamed = {path: images for path, images in looks.items() if not says_role(_base(path))}
    whole = [path for path, images in unnamed.items() if images[0].dtype.kind != "f"]
    fits = [path for path in unnamed if path in whole or not whole or words_of(_base(path)) in _PICTURE_NAMES]
    return [path for path in fits if not any(_is_mask_of(unnamed[path], unnamed[other]) for other in fits)]


_PICTURE_NAMES = [[name] for name in PICTURE_FOLDERS]


def _is_mask_of(candidates: list[Any], pictures: list[Any]) -> bool:
    pairs = list(zip(candidates, pictures, strict=False))
    return all(one.shape[:2] == other.shape[:2] and few_beside_many(one, other) for one, other in pairs)


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


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name
