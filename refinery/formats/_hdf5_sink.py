"""Writes HDF5 datasets: refined images are spooled, and each file is assembled at the end from a copy of its source."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from refinery.errors import OutputError
from refinery.formats._arrays import to_array
from refinery.formats._files import Files, chunks, output_errors, short_name
from refinery.formats._hdf5_files import Hdf5Files
from refinery.formats._hdf5_layout import ImageSet, names_of
from refinery.formats._names import with_mark
from refinery.formats._source import Loose
from refinery.formats._spool import Place, Spool
from refinery.formats._tree import join
from refinery.sample import Sample

ONTO_OUTPUT = "onto-output"
"""Marks a spool that was begun beside a finished output: its images go onto that output, not onto the source."""


class Hdf5Sink:
    """Assembles the same bytes from the same images, in whatever order and however often they were written.

    marks: of the variants, each of which lies in a further copy of the source's file.
    """

    is_local = True

    def __init__(self, source: Hdf5Files, out: Path, scratch: Path | None = None, marks: Sequence[str] = ()) -> None:
        self._source = source
        self._files = Files(out, scratch)
        self._marks = marks
        self._folder = self._files.scratch / "spool"
        self._spools: dict[str, Spool] = {}
        """By the output's file, so that memory is bounded by the names in one file."""
        self._lock = threading.Lock()

    def in_copies(self, marks: Sequence[str]) -> Hdf5Sink:
        """The same sink, which writes a copy of each file for each mark, too."""
        return Hdf5Sink(self._source, self._files.out, self._files.scratch, marks)

    def write_image(self, sample: Sample, data: bytes) -> None:
        """Keep the .npy bytes of an image for `finish`; the last ones of a sample count. Raises OutputError."""
        inside = self._source.locate(sample.origin.image)[1]
        file = _holder(sample.image, inside)
        with self._lock:
            if not self._spools:
                self._require_own_spool()
                self._begin(file)
            spool = self._spools.setdefault(file, self._spool_of(file))
        spool.append(inside, data)

    def carry(self, path: str, to: str = "") -> None:  # noqa: ARG002
        """Copy a loose file; what lies inside an HDF5 file comes with it in `finish`.

        Raises OutputError, SampleError.
        """
        file, inside = self._source.locate(path)
        if not inside:
            self._files.copy(chunks(self._source.root / file, file), file)

    def commit(self, entry: Sample | Loose) -> None:
        """Nothing: files are put together in `finish`."""

    def finish(self) -> None:
        """Assemble every HDF5 file that has images, and its copies. Raises OutputError; a second call goes on."""
        self._require_own_spool()
        for path in self._source.paths():
            if sets := self._source.sets(path):
                for copy in (path, *(with_mark(path, mark) for mark in self._marks)):
                    places = self._spool_of(copy).places()
                    if places or not (self._files.out / copy).exists():
                        self._assemble(path, copy, sets, places)
        self._retire_spool()
        self._files.clean()

    def _spool_of(self, file: str) -> Spool:
        return Spool(self._folder / short_name(file))

    def _require_own_spool(self) -> None:
        """Raises OutputError where a spool lies here that is not sorted by file: its images would be left out."""
        if next(self._folder.glob("*.spool"), None) is not None:
            raise OutputError(
                f"{self._files.out}: was begun by an older refinery; give another --out, or remove it first"
            )

    def _begin(self, file: str) -> None:
        """Start the spool; whether it goes onto a finished output is settled together with its first appearance."""
        if not self._folder.exists() and (self._files.out / file).exists():
            prepared = self._files.scratch / "tmp" / "spool-onto-output"
            with output_errors(self._folder):
                prepared.mkdir(parents=True, exist_ok=True)
                (prepared / ONTO_OUTPUT).touch()
                prepared.replace(self._folder)

    def _assemble(self, path: str, copy: str, sets: tuple[ImageSet, ...], places: Mapping[str, Place]) -> None:
        """copy: the name in the output of what is made of the source's file `path`."""
        delivered = self._files.out / copy
        onto = (self._folder / ONTO_OUTPUT).exists() and delivered.exists()
        base = delivered if onto else self._source.root / path
        with self._files.replacing(copy) as temporary:
            with temporary.open("wb") as file:
                for chunk in chunks(base, copy):
                    file.write(chunk)
            try:
                with h5py.File(temporary, "r+") as filled:
                    for one in sets:
                        _fill(filled, one, places)
            except (RuntimeError, ValueError, TypeError) as error:
                raise OutputError(f"{copy}: cannot be assembled; run the same command again") from error

    def _retire_spool(self) -> None:
        """Take the spool away at once, so that a kill never leaves a part of it."""
        retired = self._files.scratch / "tmp" / "spool-retired"
        if self._folder.exists():
            with output_errors(self._folder):
                shutil.rmtree(retired, ignore_errors=True)
                retired.parent.mkdir(parents=True, exist_ok=True)
                self._folder.replace(retired)
        self._spools.clear()


def _holder(path: str, inside: str) -> str:
    """The file of a path that leads to `inside` it."""
    return path.removesuffix(f"/{inside}")


def _fill(file: h5py.File, one: ImageSet, places: Mapping[str, Place]) -> None:
    """Overwrite the images of one set in place, in the set's own order: the bytes depend on the images alone."""
    if one.stacked:
        _fill_stack(file[one.path], one.path, places)
        return
    for name in one.members or names_of(file, one.path or "/"):
        if place := places.get(join(one.path, name)):
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
