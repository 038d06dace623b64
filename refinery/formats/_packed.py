"""Datasets whose files hold many samples each: one such file, or all below a folder, and which paths lead into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from refinery.formats._names import is_image_name, without_mark
from refinery.formats._problems import Problems
from refinery.formats._tree import Tree, join


class PackedFiles:
    """What reading and writing share; a layout derives from it and sets `suffixes`.

    only: the one file of the dataset, relative to root; None for all below it. left_out: files that are as if they were
    not there.
    """

    suffixes: tuple[str, ...] = ()

    def __init__(self, root: Path, only: str | None = None, left_out: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.problems = Problems()
        self._only = only
        self._left_out = left_out
        self._has_copies = False

    @classmethod
    def promises(cls, name: str) -> bool:
        """True if a file name promises a file that holds samples; hidden files never do."""
        return name.lower().endswith(cls.suffixes) and not name.startswith(".")

    @classmethod
    def are_all_of(cls, path: Path) -> bool:
        """True if a folder holds such files and no image file anywhere: beside images they are loose."""
        tree = Tree(path, Problems())
        if not path.is_dir() or not any(map(cls.promises, tree.read("").files)):
            return False
        return not any(is_image_name(name) for folder in tree.walk() for name in folder.files)

    def without(self, files: frozenset[str]) -> Self:
        """The same without these files."""
        return type(self)(self.root, self._only, self._left_out | files)

    def within(self, root: Path) -> Self:
        """The files of the same names in an output, where one that alone was named may have copies for variants."""
        files = type(self)(root, self._only, self._left_out)
        files._has_copies = True
        return files

    def paths(self) -> Iterator[str]:
        """Relative paths of all files of the dataset, packed or not."""
        for path in self._all():
            if path not in self._left_out:
                yield path

    def holds(self, path: str) -> bool:
        """True if one of `paths` is a file that holds samples, by its name or because it alone was named."""
        return self._is_only(path) or self.promises(path.rpartition("/")[2])

    def locate(self, path: str) -> tuple[str, str]:
        """File and path inside it: `a.tar/0.png` -> (`a.tar`, `0.png`); nothing inside for a plain file."""
        parts = path.split("/")
        for at, part in enumerate(parts[:-1], 1):
            file = "/".join(parts[:at])
            if self._is_only(file) or (self.promises(part) and self._is_file(file)):
                return file, "/".join(parts[at:])
        return path, ""

    def _is_only(self, path: str) -> bool:
        """True if this is the one file of the dataset, or in an output a copy of it for a variant."""
        return path == self._only or (self._has_copies and without_mark(path) == self._only)

    def _all(self) -> Iterator[str]:
        if self._only is not None:
            yield self._only
            return
        for folder in Tree(self.root, self.problems).walk():
            yield from (join(folder.path, name) for name in folder.files)

    def _is_file(self, path: str) -> bool:
        return (self.root / path).is_file()
