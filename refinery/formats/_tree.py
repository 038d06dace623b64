"""A folder tree read one directory at a time, in one order, without being trapped by links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from refinery.formats._name_list import NameList, Sorter, repeated
from refinery.formats._names import normalised
from refinery.formats._problems import Problems, reason

OWN_FOLDER = ".refinery"
"""What refinery itself writes at the root of an output; no part of a dataset."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One directory. path: relative to the root, POSIX, "" for the root; files, folders: names, sorted."""

    path: str
    files: NameList
    folders: NameList


def join(folder: str, name: str) -> str:
    """Relative path of a name in a folder, where "" is the root."""
    return f"{folder}/{name}" if folder else name


class Tree:
    """One reading of the tree below `root`; what cannot be read is noted in `problems` and the rest goes on.

    A link to a directory is followed once, and only when it leads out of what is read anyway, so that no link makes a
    loop and no file is met twice by way of links.
    """

    def __init__(self, root: Path, problems: Problems) -> None:
        self.root = root
        self._problems = problems
        self._real_root = os.path.realpath(root)
        self._followed: dict[str, str] = {}
        self._latest: Folder | None = None

    def walk(self) -> Iterator[Folder]:
        """Every directory, depth first, names in code point order."""
        waiting = [""]
        while waiting:
            folder = self.read(waiting.pop())
            yield folder
            below = [path for name in folder.folders if self.enters(path := join(folder.path, name))]
            waiting.extend(reversed(below))

    def read(self, path: str) -> Folder:
        """One directory; an unreadable one is noted and empty."""
        if self._latest and self._latest.path == path:
            return self._latest
        files, folders = Sorter(), Sorter()
        try:
            with os.scandir(self.root / path) as entries:
                for entry in entries:
                    self._sort_in(entry, path, files, folders)
        except OSError as error:
            self._problems.lose(f"{path or self.root}: cannot be read ({reason(error)}); what is in it is left out")
        self._latest = Folder(path, files.names(), folders.names())
        self._note_case_clashes(self._latest)
        return self._latest

    def enters(self, path: str) -> bool:
        """True if `walk` goes into this directory: always, unless it is a link that leads back or somewhere twice."""
        full = self.root / path
        if not full.is_symlink():
            return True
        real = os.path.realpath(full)
        if self._followed.get(real) == path:
            return True
        if _overlaps(real, self._real_root) or any(_inside(real, seen) for seen in self._followed):
            self._problems.add(f"{path}: a link to a folder that is read anyway ({real}); the link is left out")
            return False
        self._followed[real] = path
        return True

    def as_stored(self, path: str) -> str:
        """The path as the disk spells it, where only the Unicode normalisation is another one (macOS decomposes)."""
        if path.isascii() or (self.root / path).exists():
            return path
        stored = ""
        for part in path.split("/"):
            names = [part] if (self.root / stored / part).exists() else self.read(stored).folders
            same = [name for name in names if name == part or normalised(name) == normalised(part)]
            if not same:
                return path
            stored = join(stored, same[0])
        return stored

    def reaches(self, path: str) -> bool:
        """True if `walk` comes to this directory."""
        parts = path.split("/") if path else []
        prefixes = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        return all((self.root / prefix).is_dir() and self.enters(prefix) for prefix in prefixes)

    def _sort_in(self, entry: os.DirEntry[str], path: str, files: Sorter, folders: Sorter) -> None:
        if not path and entry.name == OWN_FOLDER:
            return
        if entry.is_dir():
            folders.add(entry.name)
        elif entry.is_file():
            files.add(entry.name)
        else:
            kind = "a broken link" if entry.is_symlink() else "not a plain file"
            self._problems.add(f"{join(path, entry.name)}: {kind}; it is left out")

    def _note_case_clashes(self, folder: Folder) -> None:
        count = len(folder.files) + len(folder.folders)
        clashes = repeated((name.casefold() for name in chain(folder.files, folder.folders)), count)
        if clashes:
            found = sorted(name for name in chain(folder.files, folder.folders) if hash(name.casefold()) in clashes)
            shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
            self._problems.add(
                f"{folder.path or '.'}: {len(found)} names differ only in case ({shown}); "
                "on a disk that ignores case they would overwrite each other; rename them"
            )


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _overlaps(one: str, other: str) -> bool:
    return _inside(one, other) or _inside(other, one)
