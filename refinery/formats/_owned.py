"""The files of a folder and of its partner folders, sorted by the picture that each belongs to."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from refinery.formats._grouping import Owners
from refinery.formats._tree import Folder, join

_LOOSE, _PICTURE = -1, -2


class Owned:
    """Held as numbers, 8 bytes a file. folders: that of the pictures, then those whose files go with them."""

    def __init__(self, owners: Owners, folders: Sequence[Folder]) -> None:
        self._folders = folders
        self._starts = [0, *accumulate(len(each.files) for each in folders)]
        self._count = len(owners.pictures)
        self._owner = array("i")
        ahead = iter(owners.pictures)  # in the order of the first folder's names
        picture = next(ahead, None)
        for each in folders:
            for name in each.files:
                if each is folders[0] and name == picture:
                    self._owner.append(_PICTURE)
                    picture = next(ahead, None)
                else:
                    self._owner.append(_LOOSE if (place := owners.of(name)) is None else place)

    def sidecars(self) -> Iterator[tuple[str, ...]]:
        """Of each picture in turn the paths of its files, sorted."""
        by_owner, at = self._by_owner(), 0
        for place in range(self._count):
            found: list[str] = []
            while at < len(by_owner) and self._owner[by_owner[at]] == place:
                found.append(self._path(by_owner[at]))
                at += 1
            yield tuple(sorted(found))

    def loose(self) -> Iterator[str]:
        """The paths of what belongs to no picture, sorted."""
        return heapq.merge(*(self._loose_in(i) for i in range(len(self._folders))))

    def _by_owner(self) -> array[int]:
        """Which files belong to pictures, those of the first picture first."""
        owner = np.asarray(self._owner)
        owned = np.flatnonzero(owner >= 0).astype(np.uint32)
        return array("I", owned[np.argsort(owner[owned], kind="stable")].tobytes())

    def _path(self, at: int) -> str:
        i = bisect_right(self._starts, at) - 1
        return join(self._folders[i].path, self._folders[i].files[at - self._starts[i]])

    def _loose_in(self, i: int) -> Iterator[str]:
        owners = (self._owner[at] for at in range(self._starts[i], self._starts[i + 1]))
        names = zip(self._folders[i].files, owners, strict=True)
        return (join(self._folders[i].path, name) for name, place in names if place == _LOOSE)
