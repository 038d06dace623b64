"""The archives of a tar dataset: which files they are, and reading any part of one.

A compressed archive (`.tar.gz`, `.tgz`, `.tar.zst`) is unpacked into a nameless temporary file while it is read, so
that any image of it can be fetched; what expands beyond reason is refused.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Self

import zstandard

from refinery.errors import DatasetError, OutputError
from refinery.formats._files import chunks, read_whole
from refinery.formats._packed import PackedFiles
from refinery.formats._problems import Problems, reason
from refinery.formats._tar import Member, padded, read_members

OPEN_ARCHIVES = 2
PIECE_BYTES = 1 << 20
AHEAD_BYTES = 4096
"""Read at a member's beginning: its headers, and those of the next one behind a small file."""
MOST_TIMES_LARGER, SPARED_BYTES = 100, 1 << 30
"""An archive may expand to so many times its size and so much more: images are compressed already."""


def expanded(file: BufferedReader) -> Any:
    """A reader (`read1`) of the tar archive in a file that may be compressed; its first bytes tell."""
    magic = file.peek(4)[:4]
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file, mode="rb")
    if magic == zstandard.FRAME_HEADER[:4]:
        return zstandard.ZstdDecompressor(max_window_size=128 << 20).stream_reader(file, read_across_frames=True)
    return file


EXPANDING_ERRORS = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class Archive:
    """One archive that is open for reading; closed when nothing refers to it any more. Safe from several threads.

    file: at its beginning; may be closed afterwards. Raises DatasetError where it cannot be read.
    """

    def __init__(self, file: BufferedReader, name: str) -> None:
        self.name = name
        try:
            source = expanded(file)
            self._fd, self._damage = (os.dup(file.fileno()), "") if source is file else _unpacked(source, file, name)
        except OSError as error:
            raise _unreadable(name, error) from error
        weakref.finalize(self, os.close, self._fd)
        self.size = os.fstat(self._fd).st_size

    @classmethod
    def at(cls, path: Path, name: str) -> Self:
        """Open a file. Raises DatasetError."""
        try:
            with path.open("rb") as file:
                return cls(file, name)
        except OSError as error:
            raise _unreadable(name, error) from error

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from there, fewer at the end. Raises OSError."""
        parts: list[bytes] = []
        while size and (part := os.pread(self._fd, min(size, PIECE_BYTES * 64), offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def blocks(self, member: Member) -> Iterator[bytes]:
        """A member as it stands in the archive, piece by piece: headers, content, padding."""
        yield self.header(member)
        at, end = member.offset, member.offset + padded(member.size)
        while at < end:
            piece = self.read(at, min(PIECE_BYTES, end - at))
            if not piece and at < member.offset + member.size:
                raise DatasetError(f"{self.name}/{member.path}: cannot be read any more; check the archive")
            yield piece or bytes(end - at)  # an archive may end without the last padding
            at += len(piece) or end - at

    def header(self, member: Member) -> bytes:
        """A member's headers."""
        return member.header or self.read(member.start, member.offset - member.start)

    def members(self, problems: Problems) -> Iterator[Member]:
        """All that can be used, up to where the archive breaks off; what is refused or missing is noted as lost."""
        at, ahead, begin = 0, b"", 0  # headers of one member are read at once

        def read(count: int) -> bytes:
            nonlocal at, ahead, begin
            if not begin <= at <= at + count <= begin + len(ahead):
                ahead, begin = self.read(at, max(count, AHEAD_BYTES)), at
            data = ahead[at - begin : at - begin + count]
            at += len(data)
            return data

        def skip(count: int) -> None:
            nonlocal at
            at += count

        try:
            yield from read_members(read, lambda line: problems.lose(f"{self.name}: {line}"), skip, self.size)
        except DatasetError as error:
            problems.lose(f"{self.name}: {error}; what follows is missing")
            return
        if self._damage:
            problems.lose(f"{self.name}: its compression is broken ({self._damage}); what follows is missing")


class TarFiles(PackedFiles):
    """See `PackedFiles`; the archives of a dataset."""

    suffixes = (".tar", ".tar.gz", ".tgz", ".tar.zst")

    def __init__(self, root: Path, only: str | None = None, left_out: frozenset[str] = frozenset()) -> None:
        super().__init__(root, only, left_out)
        self._recent: OrderedDict[str, Archive] = OrderedDict()
        self._open: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def archive(self, path: str) -> Archive:
        """An archive, open; the last few stay so, and those that somebody holds. Raises DatasetError."""
        with self._lock:
            archive = self._open.get(path)
            if archive is None:
                archive = self._open[path] = Archive.at(self.root / path, path)
            self._recent[path] = archive
            self._recent.move_to_end(path)
            while len(self._recent) > OPEN_ARCHIVES:
                self._recent.popitem(last=False)
            return archive

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file beside the archives. Raises SampleError."""
        return chunks(self.root / path, path)

    def whole(self, path: str) -> bytes:
        """The same at once. Raises SampleError, also where it is too large."""
        return read_whole(self.root / path, path)


def _unpacked(source: Any, packed: BufferedReader, name: str) -> tuple[int, str]:
    """Descriptor of a nameless file with what a compressed archive expands to, and why that is not all of it.

    Raises DatasetError for what expands without end, OutputError where there is no room for it.
    """
    damage = ""
    most = os.fstat(packed.fileno()).st_size * MOST_TIMES_LARGER + SPARED_BYTES
    with tempfile.TemporaryFile(prefix="refinery-") as file:
        try:
            while piece := source.read1(PIECE_BYTES):
                file.write(piece)
                if file.tell() > most:
                    raise DatasetError(
                        f"{name}: expands to more than {MOST_TIMES_LARGER} times its size, which no images do; "
                        "replace or remove it"
                    )
        except EXPANDING_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise OutputError(
                    f"{name}: cannot be unpacked into {tempfile.gettempdir()} ({reason(error)}); "
                    "make room there, or set TMPDIR, and run the same command again"
                ) from error
            damage = " ".join(str(error).split())[:100] or type(error).__name__
        file.flush()
        return os.dup(file.fileno()), damage


def _unreadable(name: str, error: OSError) -> DatasetError:
    return DatasetError(f"{name}: cannot be read ({reason(error)}); check the file")
