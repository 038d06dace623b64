"""Layout `hdf5`: images as arrays in HDF5 files, such as the public `gaze.h5` (group `image` beside group `look_vec`).

A sample's image is `gaze.h5/image/0`. The values that go with it are its sidecars, `gaze.h5/look_vec/0`, and read as
JSON, `{"look_vec": [...]}`; on disk they stay in the file, which the sink copies whole and fills with refined images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refinery.errors import DatasetError
from refinery.formats import _arrays
from refinery.formats._files import read_whole
from refinery.formats._hdf5_files import SIGNATURE, Hdf5Files
from refinery.formats._hdf5_layout import ImageSet, contents
from refinery.formats._hdf5_reader import open_file
from refinery.formats._hdf5_sink import Hdf5Sink
from refinery.formats._hdf5_variants import Hdf5Sample
from refinery.formats._source import Loose
from refinery.formats._stamp import Stamp, settled_stamp_of
from refinery.formats._tree import join
from refinery.image import Decoded
from refinery.pictures.choice import Choice
from refinery.pictures.rules import Verdict
from refinery.sample import Sample


def sniff(path: Path) -> bool:
    """True if the path is an HDF5 file, or a folder that holds some and no image file anywhere."""
    if path.is_file():
        with path.open("rb") as file:
            return Hdf5Files.promises(path.name) or file.read(len(SIGNATURE)) == SIGNATURE
    return Hdf5Files.are_all_of(path)


def open_source(path: Path) -> Hdf5Source:
    """Open an HDF5 file or a folder of them. Raises DatasetError."""
    if path.is_dir():
        return Hdf5Source(Hdf5Files(path))
    with open_file(path) as file:
        found = contents(file)
    files = Hdf5Files(path.parent, path.name)
    if not files.reader.image_sets(path.name):
        raise DatasetError(
            f"{path}: no images in it (found {found}); expected a group of (H, W) or (H, W, 3) datasets, "
            "or one dataset (N, H, W) or (N, H, W, 3), of type uint8, uint16 or float"
        )
    return Hdf5Source(files)


class Hdf5Source:
    """Reads one file, or every HDF5 file below a folder; names that are numbers come in number order.

    Memory holds the names of one group at a time. Links that lead out of a file are not followed.
    """

    endless = False
    layout = "hdf5"

    def __init__(self, files: Hdf5Files) -> None:
        self.root = files.root
        self._files = files
        self._reader = files.reader

    def entries(self) -> Iterator[Sample | Loose]:
        """Every image of every file in order; files without images are loose."""
        for path in self._files.paths():
            sets = self._files.sets(path)
            if not sets:
                yield Loose(path)
            for one in sets:
                yield from self._samples(path, one)

    def stream(self) -> Iterator[Sample | Loose]:
        """The same as `entries`."""
        return self.entries()

    def read(self, sample: Sample) -> bytes:
        """The image as .npy bytes. Raises SampleError."""
        return _arrays.to_bytes(self._reader.array(*self._files.locate(sample.image)))

    def read_file(self, path: str) -> bytes:
        """A value inside a file as JSON, or a loose file as it is. Raises SampleError."""
        file, inside = self._files.locate(path)
        return self._reader.label(file, inside) if inside else read_whole(self.root / path, path)

    def stamp(self, path: str) -> Stamp | None:
        """Of the HDF5 file that a path leads into, or of the loose file that it is."""
        return settled_stamp_of(self.root / self._files.locate(path)[0])

    def decode(self, data: bytes, sample: Sample) -> Decoded:
        """Decode what `read` gave. Raises SampleError."""
        path, inside = self._files.locate(sample.image)
        parent, _, name = inside.rpartition("/")
        sets = self._files.sets(path)
        tops = (one.top for one in sets if one.path == parent and (not one.members or name in one.members))
        return _arrays.decode(data, sample.image, next(tops, 0.0))

    def encode(self, pixels: NDArray[Any], like: Decoded) -> bytes:
        """Encode pixels (H, W, C) uint8 or uint16 as .npy bytes of the original's shape and type."""
        return _arrays.encode(pixels, like)

    def problems(self) -> list[str]:
        """What the reading so far found wrong, one line each."""
        return self._files.problems.lines()

    def lost(self) -> list[str]:
        """What cannot be carried, one line each."""
        return self._files.problems.lost()

    def sink(self, out: Path, scratch: Path | None = None) -> Hdf5Sink:
        """A writer of the same files into the folder `out`."""
        return Hdf5Sink(self._files, out, scratch)

    def delivered(self, out: Path) -> Hdf5Source:
        """The same files in the folder `out`."""
        return Hdf5Source(self._files.within(out))

    def alone(self, file: str) -> Hdf5Source:
        """One file as a dataset of its own, by the same names."""
        return Hdf5Source(self._files.alone(file))

    def verdicts(self) -> list[Verdict]:
        """What each family of images was taken for, and why."""
        return self._files.verdicts()

    def chosen(self, choice: Choice) -> Hdf5Source:
        """The same files, where the user says which images are pictures."""
        return Hdf5Source(self._files.chosen(choice))

    def differing(self, delivered: Hdf5Source) -> Iterator[str]:
        """Files whose datasets, but for the pictures, are not the same in the output."""
        for path in self._files.paths():
            if sets := self._files.sets(path):
                digests = [source._reader.digest_beside(path, sets) for source in (self, delivered)]
                if digests[0] != digests[1]:
                    yield path

    def file_of(self, sample: Sample) -> str:
        """The HDF5 file that holds a sample."""
        return self._files.locate(sample.image)[0]

    def without(self, files: frozenset[str]) -> Hdf5Source:
        """The same dataset without these files: they are neither read nor written."""
        return Hdf5Source(self._files.without(files))

    def _samples(self, path: str, one: ImageSet) -> Iterator[Sample]:
        group = join(path, one.path) if one.path else path
        for name in one.members or self._reader.names(path, one.path):
            image = join(group, name)
            beside = self._reader.values_beside(path, one.partners, name)
            yield Hdf5Sample(image, image, tuple(join(path, value) for value in beside), file=path)
