"""Which images of a folder tree are pictures: its names sorted into families, a few files of each looked at, judged."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinery.errors import SampleError
from refinery.formats._files import read_whole
from refinery.formats._grouping import pictures_in
from refinery.formats._name_list import Chosen, NameList
from refinery.formats._names import is_image_name
from refinery.formats._problems import Problems
from refinery.formats._roles import FOLDERS_SEEN, Roles, decide
from refinery.formats._tree import Folder, Tree, join
from refinery.image import size_of
from refinery.pictures.appearance import appearance_of, outlines_of
from refinery.pictures.choice import Choice
from refinery.pictures.family import Families, Family, Place, frame_of
from refinery.pictures.rules import Looked, Verdict, judge, likely_pictures

LOOKED_AT, FAMILIES_LOOKED_AT = 5, 64
"""Files looked at of each family; of further families one each."""


class FolderKinds:
    """Decided once, from all names and a few files; then holds for the tree's output, too."""

    def __init__(self, root: Path, choice: Choice) -> None:
        self._root, self._choice = root, choice
        self.roles: Roles = decide(Tree(root, Problems()))
        self._families = Families()
        self._named: Counter[Place] = Counter()
        self._read_names()

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What each family was taken for, and why."""
        families = self._families.all()
        looked = [self._look(family, at < FAMILIES_LOOKED_AT) for at, family in enumerate(families)]
        return judge(looked, self._choice)

    def pictures_of(self, folder: Folder) -> NameList:
        """The images of a folder that are samples, in order."""
        by_name = pictures_in(folder.files, self.roles)
        if not self._choice:
            return Chosen(by_name, lambda name: self._is_picture(folder.path, name))
        kept = frozenset(by_name)
        return Chosen(folder.files, lambda name: is_image_name(name) and self._is_chosen(folder.path, name, kept))

    def has_pictures(self, folder: str) -> bool:
        """True if any image of a folder was taken for a picture: then it holds nobody's labels."""
        return self._families.folder_of(folder) in self._picture_folders

    @cached_property
    def _pictures(self) -> dict[Place, bool]:
        return likely_pictures(self.verdicts)

    @cached_property
    def _picture_folders(self) -> frozenset[str]:
        return frozenset(place.folder for place, is_picture in self._pictures.items() if is_picture)

    def _is_picture(self, folder: str, name: str) -> bool:
        return self._pictures.get(self._families.of(folder, name), False)

    def _is_chosen(self, folder: str, name: str, by_name: frozenset[str]) -> bool:
        says = self._choice.says(join(folder, name))
        return says == "picture" or (not says and name in by_name and self._is_picture(folder, name))

    def _read_names(self) -> None:
        for count, folder in enumerate(Tree(self._root, Problems()).walk()):
            images = Chosen(folder.files, is_image_name)
            kept = frozenset(pictures_in(folder.files, self.roles)) if count < FOLDERS_SEEN else None
            for name in images:
                self._families.add(folder.path, name)
                if kept is not None:
                    self._named[self._families.of(folder.path, name)] += -1 if name in kept else 1

    def _look(self, family: Family, thoroughly: bool) -> Looked:
        count = LOOKED_AT if thoroughly else 1
        step = max(1, len(family.paths) // count)
        looks, outlines = list[str](), dict[str, NDArray[np.float32]]()
        sizes_hw = set[tuple[int, int]]()
        for path in family.paths[::step][:count]:
            data = self._content(path)
            if (look := appearance_of(data)) is not None:
                looks.append(look)
                with contextlib.suppress(SampleError):
                    sizes_hw.add(size_of(data, path))
            if family.sense != "map" and (steep := outlines_of(data)) is not None:
                outlines[frame_of(path)] = steep
        lossy = family.place.suffix in (".jpg", ".jpeg")
        return Looked(family, tuple(looks), self._named[family.place] > 0, lossy, outlines, frozenset(sizes_hw))

    def _content(self, path: str) -> bytes:
        try:
            return read_whole(self._root / path, path)
        except SampleError:
            return b""
