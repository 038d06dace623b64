"""The files of an HDF5 dataset, and the image sets in each."""

from __future__ import annotations

import contextlib
from pathlib import Path

from refinery.errors import DatasetError
from refinery.formats._hdf5_kinds import together
from refinery.formats._hdf5_layout import ImageSet
from refinery.formats._hdf5_reader import Hdf5Reader
from refinery.formats._names import without_mark
from refinery.formats._packed import PackedFiles
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.rules import Verdict

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Hdf5Files(PackedFiles):
    """See `PackedFiles`; reader: reads any of them."""

    suffixes = (".h5", ".hdf5", ".hdf", ".he5")

    def __init__(
        self,
        root: Path,
        only: str | None = None,
        left_out: frozenset[str] = frozenset(),
        choice: Choice = EVERYTHING,
        decided: Hdf5Files | None = None,
    ) -> None:
        super().__init__(root, only, left_out)
        self.reader = Hdf5Reader(root, choice)
        self._choice, self._decided = choice, decided

    def without(self, files: frozenset[str]) -> Hdf5Files:
        """The same without these files."""
        return Hdf5Files(self.root, self._only, self._left_out | files, self._choice, self._decided)

    def within(self, root: Path) -> Hdf5Files:
        """The files of the same names in an output: what are pictures there was decided by what they were made of."""
        files = Hdf5Files(root, self._only, self._left_out, self._choice, self)
        files._has_copies = True
        return files

    def alone(self, file: str) -> Hdf5Files:
        """One of the files as a dataset of its own."""
        files = Hdf5Files(self.root, file, choice=self._choice, decided=self._decided)
        files.reader = self.reader
        return files

    def chosen(self, choice: Choice) -> Hdf5Files:
        """The same files, where the user says which images are pictures."""
        return Hdf5Files(self.root, self._only, self._left_out, choice)

    def verdicts(self) -> list[Verdict]:
        """What each family of images was taken for, over all files."""
        found: list[Verdict] = []
        for path in self.paths():
            if self.sets(path) or self.holds(path):
                with contextlib.suppress(DatasetError):
                    found += self.reader.verdicts(path)
        return together(found)

    def sets(self, path: str) -> tuple[ImageSet, ...]:
        """The image sets of one of `paths`; none where it is not HDF5 or has no images."""
        if not self.holds(path):
            return ()
        if self._decided is not None:
            original = path if (self._decided.root / path).exists() else without_mark(path)
            if (self._decided.root / original).exists():
                return self._decided.sets(original)
        try:
            return self.reader.image_sets(path)
        except DatasetError as error:
            self.problems.add(f"{error}; it is carried as it is")
            return ()
