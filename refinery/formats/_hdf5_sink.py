"""Writes HDF5 datasets: refined images are spooled, and each file is assembled at the end from a copy of its source."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from refinery.errors import OutputError
from refinery.formats._arrays import to_array
from refinery.formats._files import Files, chunks, output_errors
from refinery.formats._hdf5_files import Hdf5Files
from refinery.formats._hdf5_layout import ImageSet, names_of
from refinery.formats._hdf5_reader import Hdf5Reader
from refinery.formats._source import Loose
from refinery.formats._spool import Place, Spool
from refinery.formats._tree import join
from refinery.sample import Sample

ONTO_OUTPUT = "onto-output"
"""Marks a spool that was begun beside a finished output: its images go onto that output, not onto the source."""


class Hdf5Sink:
    """Assembles the same bytes from the same images, in whatever order and however often they were written."""

    is_local = True

    def __init__(self, source: Hdf5Files, out: Path, scratch: Path | None = None) -> None:
        self._source = source
        self._files = Files(out, scratch)
        self._spool = Spool(self._files.scratch / "spool")
        self._begun = False

    def write_image(self, sample: Sample, data: bytes) -> None:
        """Keep the .npy bytes of an image for `finish`; the last ones of a sample count. Raises OutputError."""
        if not self._begun:
            self._begin(self._source.locate(sample.image)[0])
        self._spool.append(sample.image, data)

    def carry(self, path: str, to: str = "") -> None:
        """Copy a loose file; what lies inside an HDF5 file comes with it in `finish`, and takes no other name.

        Raises OutputError, SampleError.
        """
        if to not in ("", path):
            raise OutputError(f"{to}: an HDF5 file is filled in place and takes no further images")
        file, inside = self._source.locate(path)
        if not inside:
            self._files.copy(chunks(self._source.root / file, file), file)

    def commit(self, entry: Sample | Loose) -> None:
        """Nothing: files are put together in `finish`."""

    def read_back(self, path: str) -> bytes | None:
        """A loose file, or a value, as it stands in the output; None for a value that `finish` will copy."""
        file, inside = self._source.locate(path)
        if not inside:
            return self._files.read_back(path)
        if not (self._files.out / file).exists():
            return None
        reader = Hdf5Reader(self._files.out)
        try:
            return reader.label(file, inside)
        finally:
            reader.close()

    def finish(self) -> None:
        """Assemble every HDF5 file that has images. Raises OutputError; a second call goes on."""
        places = self._spool.places()
        for path in self._source.paths():
            sets = self._source.sets(path)
            if sets and (places or not (self._files.out / path).exists()):
                self._assemble(path, sets, places)
        self._retire_spool()
        self._files.clean()

    def _begin(self, path: str) -> None:
        """Start the spool; whether it goes onto a finished output is settled together with its first appearance."""
        folder = self._spool.folder
        if not folder.exists() and (self._files.out / path).exists():
            prepared = self._files.scratch / "tmp" / "spool-onto-output"
            with output_errors(folder):
                prepared.mkdir(parents=True, exist_ok=True)
                (prepared / ONTO_OUTPUT).touch()
                prepared.replace(folder)
        self._begun = True

    def _assemble(self, path: str, sets: tuple[ImageSet, ...], places: Mapping[str, Place]) -> None:
        base = self._files.out if (self._spool.folder / ONTO_OUTPUT).exists() else self._source.root
        with self._files.replacing(path) as temporary:
            with temporary.open("wb") as file:
                for chunk in chunks(base / path, path):
                    file.write(chunk)
            try:
                with h5py.File(temporary, "r+") as copy:
                    for one in sets:
                        _fill(copy, one, join(path, one.path), places)
            except (RuntimeError, ValueError, TypeError) as error:
                raise OutputError(f"{path}: cannot be assembled; run the same command again") from error

    def _retire_spool(self) -> None:
        """Take the spool away at once, so that a kill never leaves a part of it."""
        retired = self._files.scratch / "tmp" / "spool-retired"
        if self._spool.folder.exists():
            with output_errors(self._spool.folder):
                shutil.rmtree(retired, ignore_errors=True)
                retired.parent.mkdir(parents=True, exist_ok=True)
                self._spool.folder.replace(retired)
        self._spool = Spool(self._spool.folder)
        self._begun = False


def _fill(file: h5py.File, one: ImageSet, prefix: str, places: Mapping[str, Place]) -> None:
    """Overwrite the images of one set in place, in the set's own order: the bytes depend on the images alone."""
    if one.stacked:
        _fill_stack(file[one.path], prefix, places)
        return
    for name in names_of(file, one.path or "/"):
        if place := places.get(join(prefix, name)):
            file[f"{one.path}/{name}"][...] = to_array(place.read())


def _fill_stack(stack: h5py.Dataset, prefix: str, places: Mapping[str, Place]) -> None:
    rows_at_once = stack.chunks[0] if stack.chunks else 1
    for start in range(0, stack.shape[0], rows_at_once):
        stop = min(start + rows_at_once, stack.shape[0])
        new = {row: place for row in range(start, stop) if (place := places.get(join(prefix, str(row))))}
        if new:
            block: NDArray[Any] = stack[start:stop]
            for row, place in new.items():
                block[row - start] = to_array(place.read())
            stack[start:stop] = block
