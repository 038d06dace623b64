"""Refined arrays on their way into a file that is assembled at the end: append-only, safe against being killed."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from refinery.formats._files import output_errors

MAGIC = b"RSP1"
_HEAD = struct.Struct("<4sIQI")
"""Magic, length of the name, length of the data, CRC-32 of both."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of one record lies."""

    file: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """The record's data."""
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


class Spool:
    """Records (name, data) in a folder: each run appends to a file of its own; the last record of a name counts.

    A record that a killed run left half written ends its file and is ignored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: Path | None = None
        self._lock = threading.Lock()

    def append(self, name: str, data: bytes) -> None:
        """Add a record; once this returns, killing the process does not lose it. Raises OutputError."""
        label = name.encode("utf-8", "surrogateescape")
        head = _HEAD.pack(MAGIC, len(label), len(data), zlib.crc32(data, zlib.crc32(label)))
        with self._lock, output_errors(self.folder):
            self._file = self._file or self._start()
            with self._file.open("ab", buffering=0) as file:
                start = file.tell()
                try:
                    _write_all(file, head + label + data)
                except OSError:
                    file.truncate(start)
                    raise

    def places(self) -> dict[str, Place]:
        """Where the last whole record of each name lies."""
        found: dict[str, Place] = {}
        for path in sorted(self.folder.glob("*.spool")):
            found.update(_records(path))
        return found

    def _start(self) -> Path:
        """A new, empty file that comes after all others."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max((int(path.stem) for path in self.folder.glob("*.spool")), default=-1)
        while True:
            number += 1
            path = self.folder / f"{number:08d}.spool"
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:
                continue


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _records(path: Path) -> Iterator[tuple[str, Place]]:
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, label_length, length, checksum = _HEAD.unpack(head)
            offset = file.tell() + label_length
            if magic != MAGIC or offset + length > end:
                return
            label = file.read(label_length)
            if zlib.crc32(file.read(length), zlib.crc32(label)) != checksum:
                return
            yield label.decode("utf-8", "surrogateescape"), Place(path, offset, length)
