"""Decoded images: in memory while they fit, beyond that behind each other in one file that is mapped, not read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from refinery.errors import OutputError
from refinery.processor import memory_bytes

Pixels = NDArray[Any]
MB = 2**20
ALIGNED = 8
WRITTEN_AT_ONCE = 4 * MB
MOST_MB = 4096
"""In memory, per side, where the machine has more than enough."""


class MappedImages(Sequence[Pixels]):
    """Images (H, W, C) uint8 or uint16 in one mapped file; each is a view that is read when it is looked at.

    flat: the file's bytes. places: (N, 5) int64: first byte, height, width, channels, bytes of a value.
    """

    def __init__(self, flat: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
        self._flat, self.places = flat, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        """One image by its number, or some by a slice."""
        if isinstance(index, slice):
            return MappedImages(self._flat, self.places[index])
        first, height, width, channels, value_bytes = self.places[index].tolist()
        whole = self._flat[first : first + height * width * channels * value_bytes]
        return whole.view(np.uint16 if value_bytes == 2 else np.uint8).reshape(height, width, channels)

    def select(self, indices: Sequence[int]) -> MappedImages:
        """Some of the images, in the given order; nothing is copied."""
        return MappedImages(self._flat, self.places[np.asarray(indices, np.int64)])


class DiskCache:
    """A folder for decoded images that is there while a run needs it; what a killed run left in it is replaced.

    limit_mb: of each dataset's pixels. The folder is made when the first dataset exceeds the memory.
    """

    def __init__(self, folder: Path, limit_mb: int) -> None:
        self.folder, self.limit_mb = folder, limit_mb
        self._files = 0

    def __enter__(self) -> Self:
        self.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove the folder; images that are still mapped stay readable (but not on Windows)."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_file(self) -> Path:
        """A name that no dataset has yet. Raises OutputError where the folder cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made ({error.strerror}); give another --out") from error
        self._files += 1
        return self.folder / f"{self._files}.pixels"


def default_memory_mb() -> int:
    """What `memory_mb` of 0 means: MOST_MB, or an eighth of what this process may use where that is less."""
    return max(1, min(MOST_MB, memory_bytes() // MB // 8))


class PixelStore:
    """Takes decoded images of one dataset, one by one, and gives them back as a sequence.

    memory_mb: 0: `default_memory_mb`. cache: where images go, all of them, once they exceed it; None: memory is all
    there is.
    """

    def __init__(self, memory_mb: int, cache: DiskCache | None = None) -> None:
        self.cache, self.memory_bytes = cache, (memory_mb or default_memory_mb()) * MB
        self.bytes = 0
        self.path: Path | None = None
        self._kept: list[Pixels] = []
        self._places: list[tuple[int, int, int, int, int]] = []
        self._file: BinaryIO | None = None

    @property
    def room_mb(self) -> int:
        """How much it can take."""
        return max(self.memory_bytes // MB, self.cache.limit_mb) if self.cache else self.memory_bytes // MB

    def add(self, image: Pixels) -> None:
        """Take one image (H, W, C) uint8 or uint16. Raises OutputError where the disk is full."""
        if self._file is None and self.cache and self.bytes + image.nbytes > self.memory_bytes:
            self._move_to_disk(self.cache)
        if self._file is None:
            self._kept.append(image)
            self.bytes += image.nbytes
        else:
            self._write(image)

    def images(self) -> Sequence[Pixels]:
        """All that was taken, in this order. Raises OutputError where the disk is full."""
        if self._file is None or self.path is None:
            return self._kept
        self._do(self._file.close)
        flat = np.memmap(self.path, np.uint8, mode="r").view(np.ndarray)
        return MappedImages(flat, np.array(self._places, np.int64))

    def _move_to_disk(self, cache: DiskCache) -> None:
        self.path = cache.new_file()
        self._do(lambda: self._open(self.path))
        kept, self._kept, self.bytes = self._kept, [], 0
        for image in kept:
            self._write(image)

    def _open(self, path: Path | None) -> None:
        assert path is not None
        self._file = path.open("xb", buffering=WRITTEN_AT_ONCE)

    def _write(self, image: Pixels) -> None:
        height, width, channels = image.shape
        self._places.append((self.bytes, height, width, channels, image.dtype.itemsize))
        data = image.tobytes()
        padded = data + bytes(-len(data) % ALIGNED)
        assert self._file is not None
        self._do(lambda: self._file and self._file.write(padded))
        self.bytes += len(padded)

    def _do(self, action: Any) -> None:
        try:
            action()
        except OSError as error:
            raise OutputError(
                f"{self.path}: {self.bytes // MB:,} MB of decoded images were written, then: {error.strerror}; free "
                "some space, choose another --out, or set a smaller cache_mb in the TOML"
            ) from error
