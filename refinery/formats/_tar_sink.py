"""Writes tar datasets: each archive grows in its own order and takes its name when it is whole.

What is written is the source's archive with other images: every other member, its headers and its place stay. While it
is written it lies in refinery's own folder, ahead of the journal by what was not noted yet; a second run cuts that off
and goes on, so that its bytes are those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from refinery.errors import DatasetError, OutputError
from refinery.formats._files import Files, output_errors, short_name
from refinery.formats._problems import Problems
from refinery.formats._source import Loose
from refinery.formats._tar import END, Member, padded, with_size
from refinery.formats._tar_files import Archive, TarFiles, expanded
from refinery.formats._tar_samples import TarSample
from refinery.sample import Sample

RECORD_BYTES = 10_240
"""An archive's length is a multiple of this, as `tar` and Python write it."""
GZIP_LEVEL, ZSTD_LEVEL = 1, 3
"""Images are compressed already."""
COPY_BYTES = 1 << 20


class TarSink:
    """Takes images in any order and writes them in the order of `commit`."""

    def __init__(self, source: TarFiles, files: Files) -> None:
        self._source, self._files = source, files
        self.is_local = files.is_local
        self._images: dict[int, bytes] = {}
        """By the identity of their member: paths may come twice in an archive."""
        self._growing: _Growing | None = None

    def write_image(self, sample: Sample, data: bytes) -> None:
        """Keep an encoded image until `commit`."""
        if isinstance(sample, TarSample):
            self._images[id(sample.member)] = data

    def carry(self, path: str, to: str = "") -> None:  # noqa: ARG002
        """Copy a file beside the archives; members come with `commit`. Raises OutputError, SampleError."""
        if not self._is_member(path):
            self._files.copy(self._source.pieces(path), path)

    def commit(self, entry: Sample | Loose) -> None:
        """Write the part of the archive that belongs to a sample. Raises OutputError, DatasetError."""
        if not isinstance(entry, TarSample) or entry.home is not self._source:
            return
        if self._growing is None or self._growing.name != entry.archive:
            self._growing = self._begin(entry)
        archive = self._source.archive(entry.archive)
        with output_errors(self._growing.path), self._growing.path.open("ab") as file:
            for member in entry.span:
                data = self._images.pop(id(member), None)
                file.writelines(
                    archive.blocks(member) if data is None else replaced(archive.header(member), member, data)
                )
        if entry.last:
            self._complete()

    def finish(self) -> None:
        """Carry the archives that have no image, and remove what is left of killed runs."""
        for path in self._source.paths():
            if self._source.holds(path) and not self._files.has(path):
                self._carry_whole(path)
        shutil.rmtree(self._spool(""), ignore_errors=True)
        self._files.clean()

    def _is_member(self, path: str) -> bool:
        archive, inside = self._source.locate(path)
        return bool(inside) and self._source.holds(archive)

    def _spool(self, name: str) -> Path:
        return self._files.scratch / "spool" / (short_name(name) if name else "")

    def _begin(self, entry: TarSample) -> _Growing:
        """The archive up to where this sample begins: empty, or what an interrupted run has written of it."""
        path, finished = self._spool(entry.archive), entry.archive
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.first and not path.exists() and self._files.has(finished):  # it was whole, but not noted to be
                copied = path.with_suffix(".tmp")
                with self._files.reader(finished) as whole, copied.open("wb") as file:
                    _copy(expanded(whole), file)
                copied.replace(path)
            length = _length_of(path, entry.archive, entry.first) if entry.first else 0
            with path.open("ab") as file:
                file.truncate(length)
            return _Growing(entry.archive, path)

    def _complete(self) -> None:
        assert self._growing is not None
        growing, self._growing = self._growing, None
        with output_errors(growing.path):
            with growing.path.open("ab") as file:
                file.write(end_of(file.tell()))
            if not is_compressed(growing.name):
                self._files.place(growing.path, growing.name)
                return
            with (
                self._files.replacing(growing.name) as temporary,
                growing.path.open("rb") as plain,
                temporary.open("wb") as raw,
                compressing(raw, growing.name) as packed,
            ):
                _copy(plain, packed)
            growing.path.unlink()

    def _carry_whole(self, path: str) -> None:
        """An archive without images, less what is refused; one that cannot be read at all is copied as it is."""
        try:
            archive = self._source.archive(path)
        except DatasetError:
            return
        with (
            self._files.replacing(path) as temporary,
            temporary.open("wb") as raw,
            compressing(raw, path) as file,
        ):
            size = 0
            for member in archive.members(Problems()):
                for piece in archive.blocks(member):
                    size += file.write(piece)
            file.write(end_of(size))


class _Growing(NamedTuple):
    """An archive that is being written: its name in the output, and where it lies until it is whole."""

    name: str
    path: Path


def replaced(header: bytes, member: Member, data: bytes) -> Iterator[bytes]:
    """A member with these headers and another content."""
    yield with_size(header, member, len(data))
    yield data
    yield bytes(padded(len(data)) - len(data))


def is_compressed(name: str) -> bool:
    """True if an archive of this name is compressed."""
    return not name.lower().endswith(".tar")


@contextlib.contextmanager
def compressing(raw: IO[bytes], name: str) -> Iterator[Any]:
    """A writer into `raw` that compresses as the name says; the same bytes for the same content."""
    if name.lower().endswith((".gz", ".tgz")):
        with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as file:
            yield file
    elif name.lower().endswith(".zst"):
        with zstandard.ZstdCompressor(level=ZSTD_LEVEL).stream_writer(raw, closefd=False) as file:
            yield file
    else:
        yield raw


def end_of(size: int) -> bytes:
    """What ends an archive of this size."""
    return END + bytes(-(size + len(END)) % RECORD_BYTES)


def _length_of(path: Path, name: str, count: int) -> int:
    """Where member `count` of a growing archive ends. Raises OutputError where it has fewer."""
    if path.exists():
        for number, member in enumerate(Archive.at(path, name).members(Problems()), 1):
            if number == count:
                return member.offset + padded(member.size)
    raise OutputError(f"{path}: holds less than the journal says, as after a power cut; give an empty --out")


def _copy(source: Any, target: IO[bytes]) -> None:
    """All that a reader (`read1`) gives. Raises OutputError where it is damaged, OSError."""
    try:
        while piece := source.read1(COPY_BYTES):
            target.write(piece)
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise OutputError(
            f"{target.name}: what was written before is damaged ({error}); give an empty --out"
        ) from error
