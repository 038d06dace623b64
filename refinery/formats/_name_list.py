"""Names of one folder, held small: a folder of a million files must not take a gigabyte."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

RUN = 1 << 13
"""So many names are sorted at a time."""
FEW = 256
"""Up to here sorting pairs is quicker than NumPy."""
_SHORT = 0xFFFFFFFF


class NameList:
    """Texts in the order given, packed: 4 bytes beyond each one's own, where a `str` in a tuple takes 65."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._text = bytearray()
        self._ends = array("I", [0])
        for name in names:
            self._text += name.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: int) -> str:
        """The name at a place counted from 0, or from behind where it is negative."""
        at = at if at >= 0 else at + len(self)
        return self._text[self._ends[at] : self._ends[at + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        text, start = self._text, 0
        for end in islice(self._ends, 1, None):
            yield text[start:end].decode("utf-8", "surrogatepass")
            start = end


class Chosen(NameList):
    """Some names of a list, in its order: 4 bytes each."""

    def __init__(self, names: NameList, wanted: Callable[[str], bool]) -> None:
        self._all: NameList = names._all if isinstance(names, Chosen) else names
        places: Iterable[int] = names._places if isinstance(names, Chosen) else range(len(names))
        self._places: array[int] = array(
            "I", (place for place, name in zip(places, names, strict=True) if wanted(name))
        )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, at: int) -> str:
        return self._all[self._places[at]]

    def __iter__(self) -> Iterator[str]:
        return (self._all[place] for place in self._places)


class Sorter:
    """Takes names in any order and gives them in code point order, holding only `run` of them as they came."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._runs: list[NameList] = []
        self._latest: list[str] = []

    def add(self, name: str) -> None:
        """One more name."""
        self._latest.append(name)
        if len(self._latest) == self._run:
            self._pack()

    def names(self) -> NameList:
        """All of them; the sorter is empty after it."""
        self._pack()
        runs, self._runs = self._runs, []
        return runs[0] if len(runs) == 1 else NameList(heapq.merge(*runs))

    def _pack(self) -> None:
        self._runs.append(NameList(sorted(self._latest)))
        self._latest = []


class Keys:
    """Which of some names have a text in them, such as a stem; 8 bytes a name, where a dictionary takes 150.

    text_of: the text in a name; None or nothing where it has none. few: up to so many are sorted without NumPy.
    """

    def __init__(self, names: NameList, text_of: Callable[[str], str | None], few: int = FEW) -> None:
        self._names = names
        self._text_of = text_of
        hashes, places = array("I"), array("I")
        for place, name in enumerate(names):
            if text := text_of(name):
                hashes.append(hash(text) & _SHORT)
                places.append(place)
        self._hashes, self._places = _in_order(hashes, places, few)

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, text: str) -> bool:
        return self.first(text) is not None

    def first(self, text: str) -> int | None:
        """Where the first name with this text stands."""
        return next(self.places(text), None)

    def only(self, text: str) -> int | None:
        """Where the name with this text stands if no other has it."""
        found = self.places(text)
        place = next(found, None)
        return place if next(found, None) is None else None

    def places(self, text: str) -> Iterator[int]:
        """Where the names with this text stand, in order."""
        hashes, wanted = self._hashes, hash(text) & _SHORT
        for at in range(bisect_left(hashes, wanted), len(hashes)):
            if hashes[at] != wanted:
                return
            if self._text_of(self._names[self._places[at]]) == text:
                yield self._places[at]


def repeated(texts: Iterable[str], count: int) -> frozenset[int]:
    """The hashes of the texts that come more than once among so many."""
    hashes = np.fromiter(map(hash, texts), np.int64, count)
    hashes.sort()
    return frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def _in_order(hashes: array[int], places: array[int], few: int) -> tuple[array[int], array[int]]:
    """Both by hash, equal ones by place."""
    if len(hashes) <= few:
        pairs = sorted(zip(hashes, places, strict=True))
        return array("I", [pair[0] for pair in pairs]), array("I", [pair[1] for pair in pairs])
    order = np.argsort(np.asarray(hashes), kind="stable").astype(np.uint32)
    return array("I", np.asarray(hashes)[order].tobytes()), array("I", np.asarray(places)[order].tobytes())
