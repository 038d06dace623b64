"""Which images of a dataset are masks, depth or normals and not samples; decided once, from a bounded look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, permutations
from pathlib import Path

from refinery.formats._content import is_mask_beside
from refinery.formats._names import heads, is_counter, is_image_name, is_label_folder, picture_core, says_role, stem_of
from refinery.formats._tree import Folder, Tree, join

Judge = Callable[[Path, Path], bool]

FOLDERS_SEEN = 64
NAMES_SEEN = 20_000
KINDS_TRIED = 8
PAIRS_EACH = 3
"""Bounds on the look: folders listed, names read in each, kinds of partner tried, pairs decoded for each kind."""


@dataclass(frozen=True)
class Roles:
    """What was decided about one dataset.

    endings: what follows a picture's stem in the name of a mask of it (`_mask`, `.semantic segmentation`, `_b`).
    bare: whether the file with nothing after the stem is the mask (`a.png` beside `a_rgb.png`).
    folders: name of a folder of masks -> name of the picture folder beside it, where only the content tells.
    """

    endings: frozenset[str] = frozenset()
    bare: bool = False
    folders: Mapping[str, str] = field(default_factory=dict)


def decide(tree: Tree, judge: Judge = is_mask_beside) -> Roles:
    """Look at the first folders of the tree and decide; judge(candidate, picture) tells a mask by its content."""
    named: set[str] = set()
    unnamed: dict[str, list[tuple[Path, Path]]] = {}
    folders: dict[str, str] = {}
    for folder in islice(tree.walk(), FOLDERS_SEEN):
        for ending, candidate, picture in _partners(folder.files):
            if ending and says_role(ending):
                named.add(ending)
            else:
                _remember(unnamed, ending, tree.root / folder.path / candidate, tree.root / folder.path / picture)
        if len(folders) < KINDS_TRIED:
            folders |= _mask_folders(tree, folder, judge)
    masks = {ending for ending, pairs in unnamed.items() if all(judge(*pair) for pair in pairs)}
    return Roles(frozenset(named | masks) - {""}, "" in masks, folders)


def _partners(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(ending, name, picture) for each image whose name goes on after another image's stem."""
    images = [name for name in islice(names, NAMES_SEEN) if is_image_name(name)]
    by_stem = {stem_of(name): name for name in images}
    by_core = {core: name for name in images if (core := picture_core(stem_of(name)))}
    for stem, name in by_stem.items():
        if stem in by_core:
            yield "", name, by_core[stem]
        for head, ending in heads(stem):
            picture = by_stem.get(head) or by_core.get(head)
            if picture and picture != name and not is_counter(ending):
                yield ending, name, picture
                break


def _remember(kinds: dict[str, list[tuple[Path, Path]]], ending: str, candidate: Path, picture: Path) -> None:
    if ending in kinds or len(kinds) < KINDS_TRIED:
        pairs = kinds.setdefault(ending, [])
        if len(pairs) < PAIRS_EACH:
            pairs.append((candidate, picture))


def _mask_folders(tree: Tree, folder: Folder, judge: Judge) -> dict[str, str]:
    """Mask folder -> picture folder among the subfolders whose names say nothing, told by equal stems and content."""
    unknown = [name for name in folder.folders if not is_label_folder(name)][:KINDS_TRIED]
    images = {name: _first_images(tree, join(folder.path, name)) for name in unknown} if len(unknown) > 1 else {}
    found: dict[str, str] = {}
    for masks, pictures in permutations(images, 2):
        shared = sorted(images[masks].keys() & images[pictures].keys())[:PAIRS_EACH]
        known = masks in found or pictures in found
        if shared and not known and all(judge(images[masks][stem], images[pictures][stem]) for stem in shared):
            found[masks] = pictures
    return found


def _first_images(tree: Tree, path: str) -> dict[str, Path]:
    if not tree.enters(path):
        return {}
    names = islice((name for name in tree.read(path).files if is_image_name(name)), NAMES_SEEN)
    return {stem_of(name): tree.root / path / name for name in names}
