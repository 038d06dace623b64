"""The files of an HDF5 dataset: one file, or all below a folder, and which paths lead into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from refinery.errors import DatasetError
from refinery.formats._hdf5_layout import ImageSet
from refinery.formats._hdf5_reader import Hdf5Reader
from refinery.formats._problems import Problems
from refinery.formats._tree import Tree, join

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5_name(name: str) -> bool:
    """Whether a file name promises HDF5."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


class Hdf5Files:
    """What reading and writing share. only: the one file of the dataset, relative to root; None for all below it.

    left_out: files that are as if they were not there.
    """

    def __init__(self, root: Path, only: str | None = None, left_out: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.reader = Hdf5Reader(root)
        self.problems = Problems()
        self._only = only
        self._left_out = left_out

    def without(self, files: frozenset[str]) -> Hdf5Files:
        """The same without these files."""
        return Hdf5Files(self.root, self._only, self._left_out | files)

    def paths(self) -> Iterator[str]:
        """Relative paths of all files of the dataset, HDF5 or not."""
        for path in self._all():
            if path not in self._left_out:
                yield path

    def sets(self, path: str) -> tuple[ImageSet, ...]:
        """The image sets of one of `paths`; none where it is not HDF5 or has no images."""
        if path != self._only and not is_hdf5_name(path.rpartition("/")[2]):
            return ()
        try:
            return self.reader.image_sets(path)
        except DatasetError as error:
            self.problems.add(f"{error}; it is carried as it is")
            return ()

    def locate(self, path: str) -> tuple[str, str]:
        """File and path inside it: `gaze.h5/image/0` -> (`gaze.h5`, `image/0`); nothing inside for a plain file."""
        parts = path.split("/")
        for at, part in enumerate(parts[:-1], 1):
            file = "/".join(parts[:at])
            if file == self._only or (is_hdf5_name(part) and (self.root / file).is_file()):
                return file, "/".join(parts[at:])
        return path, ""

    def _all(self) -> Iterator[str]:
        if self._only is not None:
            yield self._only
            return
        for folder in Tree(self.root, self.problems).walk():
            yield from (join(folder.path, name) for name in folder.files)
