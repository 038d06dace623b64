"""Shell pipelines: a tar archive that comes through standard input, and one that goes out through standard output.

Not a layout that is found out by looking: `-` names it. What comes in is read once; its beginning is kept, so that the
labels can be looked at and the checks calibrated before the first sample goes on.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from io import BufferedReader, FileIO
from itertools import chain
from pathlib import Path
from typing import IO, Any
from weakref import WeakValueDictionary

from numpy.typing import NDArray

from refinery import image, registry
from refinery.errors import DatasetError, OutputError, SampleError, UsageError
from refinery.formats._files import COPY_BYTES, Files, chunks, output_errors
from refinery.formats._noted import Noted
from refinery.formats._problems import Problems
from refinery.formats._source import Loose, Source
from refinery.formats._stamp import Stamp
from refinery.formats._tar import Member, Read, padded, read_members
from refinery.formats._tar_files import EXPANDING_ERRORS, expanded
from refinery.formats._tar_kinds import TarKinds
from refinery.formats._tar_samples import Names, TarSample, samples_of
from refinery.formats._tar_sink import end_of, replaced
from refinery.image import Decoded
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.rules import Verdict
from refinery.sample import Sample

HEAD_SAMPLES, HEAD_BYTES = 256, 128 << 20
"""The beginning that is kept: so many samples, or the first ones of so many bytes."""
NAME = "standard input"


class PipeSource:
    """Samples out of a tar archive that is read once; a sample's files live as long as somebody holds the sample."""

    layout = "tar stream"
    endless = True

    def __init__(self, file: BufferedReader, choice: Choice = EVERYTHING) -> None:
        self.root = Path()
        self._kinds = TarKinds(choice)
        self._problems, self._looks = Problems(), Noted()
        self._near: WeakValueDictionary[str, Member] = WeakValueDictionary()
        self._rest = self._read(expanded(file))
        self._head: list[Sample | Loose] | None = None

    def entries(self) -> Iterator[Sample | Loose]:
        """The beginning of the stream, at every call; the first one waits for it."""
        if self._head is None:
            self._head, size = [], 0
            samples = 0
            for entry in self._rest:
                self._head.append(entry)
                if isinstance(entry, TarSample):
                    samples, size = samples + 1, size + sum(member.size for member in entry.span)
                    if samples == HEAD_SAMPLES or size > HEAD_BYTES:
                        break
        return iter(self._head)

    def stream(self) -> Iterator[Sample | Loose]:
        """All of it, once."""
        return chain(self.entries(), self._rest)

    def read(self, sample: Sample) -> bytes:
        """The image file's bytes."""
        if isinstance(sample, TarSample) and sample.member is not None and sample.home is self:
            return sample.member.data or b""
        return self.read_file(sample.image)

    def read_file(self, path: str) -> bytes:
        """A file of a sample that is on its way. Raises SampleError for others: they have gone by."""
        member = self._near.get(path)
        if member is None:
            raise SampleError(f"{path}: not among the files that are on their way through the pipe")
        return member.data or b""

    def stamp(self, path: str) -> Stamp | None:  # noqa: ARG002
        """None: what came through a pipe has no state."""
        return None

    def decode(self, data: bytes, sample: Sample) -> Decoded:
        """Decode what `read` gave; the content decides the format, not the suffix. Raises SampleError."""
        return self._looks.decode(data, sample.image)

    def encode(self, pixels: NDArray[Any], like: Decoded) -> bytes:
        """Encode pixels (H, W, C) uint8 or uint16 as a file of the same format, mode and metadata as `like`."""
        return image.encode(pixels, like)

    def verdicts(self) -> list[Verdict]:
        """What each family of images was taken for at the beginning of the stream, and why."""
        self.entries()
        return self._kinds.verdicts

    def chosen(self, choice: Choice) -> PipeSource:
        """Itself: a stream is read once, with the choice that it was opened with."""
        if choice != self._kinds.choice:
            raise UsageError("which images are pictures has to be said before a stream is read")
        return self

    def problems(self) -> list[str]:
        """What the reading so far found wrong, one line each."""
        return [*self._problems.lines(), *self._looks.lines()]

    def lost(self) -> list[str]:
        """What cannot be carried, one line each."""
        return self._problems.lost()

    def sink(self, out: Path, scratch: Path | None = None) -> UnpackSink:
        """A writer of the archive's files into the folder `out`."""
        return UnpackSink(out, scratch)

    def delivered(self, out: Path) -> Source:
        """The folder that the archive was unpacked into."""
        unpacked: Source = registry.find("format", "folder").open_source(out)
        return unpacked

    def _read(self, file: Any) -> Iterator[Sample | Loose]:
        try:
            members = self._kinds.ahead(self._noted(read_members(_reader(file), self._lose)), "")
            yield from samples_of(members, "", self, Names().is_new, self._lose, is_picture=self._kinds.is_picture)
        except DatasetError as error:
            self._lose(f"{error}; what follows is missing")
        except EXPANDING_ERRORS as error:
            self._lose(f"broken off ({' '.join(str(error).split())[:100]}); what follows is missing")

    def _noted(self, members: Iterable[Member]) -> Iterator[Member]:
        """Members, each to be found by its path while it is held."""
        for member in members:
            self._near[member.path] = member
            yield member

    def _lose(self, line: str) -> None:
        self._problems.lose(f"{NAME}: {line}")


class _InOrder:
    """What sinks share that write in the order of `commit`: images wait, everything else comes with its sample."""

    def __init__(self) -> None:
        self._images: dict[str | int, bytes] = {}
        """By the identity of a stream's member, or by name in the output."""

    def write_image(self, sample: Sample, data: bytes) -> None:
        """Keep an encoded image until `commit`."""
        self._images[id(sample.member) if isinstance(sample, TarSample) else sample.image] = data

    def carry(self, path: str, to: str = "") -> None:
        """Nothing: files come with `commit`."""


class UnpackSink(_InOrder):
    """Writes the files of a stream into a folder."""

    is_local = True

    def __init__(self, out: Path, scratch: Path | None = None) -> None:
        super().__init__()
        self._files = Files(out, scratch)

    def commit(self, entry: Sample | Loose) -> None:
        """Write what goes into the output with a sample. Raises OutputError."""
        for member in entry.span if isinstance(entry, TarSample) else ():
            data = self._images.pop(id(member), None)
            self._files.write(member.path, (member.data or b"") if data is None else data)

    def finish(self) -> None:
        """Remove what killed runs left under temporary names."""
        self._files.clean()


class PipeSink(_InOrder):
    """Writes a tar archive: members of a stream with their own headers, files of a folder with plain ones."""

    is_local = False

    def __init__(self, source: Source, out: IO[bytes]) -> None:
        super().__init__()
        self._source, self._out = source, out
        self._size = 0

    def carry(self, path: str, to: str = "") -> None:  # noqa: ARG002
        """See whether a file can be read, which `commit` does. Raises SampleError."""
        if not self._source.endless:
            next(chunks(self._source.root / path, path), b"")

    def commit(self, entry: Sample | Loose) -> None:
        """Write a sample's files. Raises OutputError."""
        if isinstance(entry, TarSample):
            for member in entry.span:
                data = self._images.pop(id(member), None)
                if data is None:
                    content = member.data or b""
                    self._write(member.header + content + bytes(padded(len(content)) - len(content)))
                else:
                    header, content, padding = replaced(member.header, member, data)
                    self._require_framed(header, content)
                    self._write(header + content + padding)
        elif isinstance(entry, Sample):
            for name, path in sorted(
                [(entry.image, entry.origin.image), *((to, path) for path, to in entry.carried())]
            ):
                self._add(name, path, self._images.pop(name, None))
        elif not self._source.endless:
            self._add(entry.path, entry.path, None)

    def finish(self) -> None:
        """Write the end of the archive."""
        self._write(end_of(self._size))
        with output_errors(Path("standard output")):
            self._out.flush()

    def _require_framed(self, header: bytes, data: bytes) -> None:
        """Raise OutputError where an archive's reader would not find the content behind its header."""
        try:
            info = tarfile.TarInfo.frombuf(header[-tarfile.BLOCKSIZE :], "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise OutputError(f"standard output: a broken header was about to be written ({error})") from error
        if info.size != len(data):
            raise OutputError(f"standard output: {info.name}: {info.size:,} bytes announced, {len(data):,} written")

    def _add(self, name: str, path: str, data: bytes | None) -> None:
        """A file of the source's folder, or other content in its place; `carry` has told of what cannot be read."""
        info = tarfile.TarInfo(name)
        try:
            with (self._source.root / path).open("rb") as file:
                found = os.fstat(file.fileno())
                info.mtime, info.size = int(found.st_mtime), found.st_size
                if data is None:
                    self._write(info.tobuf(tarfile.PAX_FORMAT))
                    self._copy(file, info.size, path)
                    return
        except OSError:
            if data is None:
                return
        info.size = len(data)
        self._require_framed(info.tobuf(tarfile.PAX_FORMAT), data)
        self._write(info.tobuf(tarfile.PAX_FORMAT) + data + bytes(padded(len(data)) - len(data)))

    def _copy(self, file: IO[bytes], size: int, path: str) -> None:
        """So many bytes of a file, whole blocks. Raises DatasetError where it has fewer by now."""
        left = size
        while left:
            piece = file.read(min(left, COPY_BYTES))
            if not piece:
                raise DatasetError(f"{path}: became shorter while it was read; run the command again")
            self._write(piece)
            left -= len(piece)
        self._write(bytes(padded(size) - size))

    def _write(self, data: bytes) -> None:
        with output_errors(Path("standard output")):
            self._out.write(data)
        self._size += len(data)


def _reader(file: Any) -> Read:
    """Reads so many bytes, fewer only at the end: a pipe or a decompressor gives them in pieces."""

    def read(count: int) -> bytes:
        parts: list[bytes] = []
        while count and (part := file.read1(count)):
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def standard_input() -> BufferedReader:
    """Standard input as bytes."""
    return BufferedReader(FileIO(os.dup(0), "rb"), 1 << 20)
