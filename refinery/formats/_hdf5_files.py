"""The files of an HDF5 dataset, and the image sets in each."""

from __future__ import annotations

from pathlib import Path

from refinery.errors import DatasetError
from refinery.formats._hdf5_layout import ImageSet
from refinery.formats._hdf5_reader import Hdf5Reader
from refinery.formats._packed import PackedFiles

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Hdf5Files(PackedFiles):
    """See `PackedFiles`; reader: reads any of them."""

    suffixes = (".h5", ".hdf5", ".hdf", ".he5")

    def __init__(self, root: Path, only: str | None = None, left_out: frozenset[str] = frozenset()) -> None:
        super().__init__(root, only, left_out)
        self.reader = Hdf5Reader(root)

    def sets(self, path: str) -> tuple[ImageSet, ...]:
        """The image sets of one of `paths`; none where it is not HDF5 or has no images."""
        if not self.holds(path):
            return ()
        try:
            return self.reader.image_sets(path)
        except DatasetError as error:
            self.problems.add(f"{error}; it is carried as it is")
            return ()
