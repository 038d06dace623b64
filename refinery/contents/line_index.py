"""Lines of a JSON Lines file by their key, at 16 bytes a line in memory, and sets of keys without their names."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Line = dict[str, Any]


def digest_of(key: str) -> int:
    """64 bits of a key."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


class KeySet:
    """Keys by 64 bits of each: of a million keys two are confused in one of forty million sets."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = set[int](map(digest_of, keys))

    def add(self, key: str) -> None:
        """Take one key."""
        self._digests.add(digest_of(key))

    def __contains__(self, key: str) -> bool:
        return digest_of(key) in self._digests

    def __len__(self) -> int:
        return len(self._digests)


class LineIndex:
    """The whole lines of a file; of several with one key the last counts. Raises OSError where it cannot be read.

    field: of a line, that holds its key. A file that is not there has no lines.
    """

    def __init__(self, path: Path, field: str = "key") -> None:
        self._path, self._field = path, field
        digests, offsets = array("Q"), array("Q")
        for offset, line in _lines(path):
            if isinstance(key := line.get(field), str):
                digests.append(digest_of(key))
                offsets.append(offset)
        order = np.argsort(np.frombuffer(digests, np.uint64), kind="stable") if digests else np.zeros(0, np.intp)
        self._digests = np.array(digests, np.uint64)[order]
        self._offsets = np.array(offsets, np.uint64)[order]
        self._file = path.open("rb") if digests else None

    def __len__(self) -> int:
        return len(self._digests)

    def get(self, key: str) -> Line | None:
        """The last line of this key."""
        digest = np.uint64(digest_of(key))
        begin, end = (int(np.searchsorted(self._digests, digest, side)) for side in ("left", "right"))
        for place in reversed(range(begin, end)):
            line = self._read(int(self._offsets[place]))
            if line.get(self._field) == key:
                return line
        return None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _read(self, offset: int) -> Line:
        assert self._file is not None
        self._file.seek(offset)
        line: Line = json.loads(self._file.readline())
        return line


def _lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Offset and content of each whole line that is an object."""
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for text in file:
            try:
                line = json.loads(text) if text.endswith(b"\n") else None
            except ValueError:
                line = None
            if isinstance(line, dict):
                yield offset, line
            offset += len(text)
