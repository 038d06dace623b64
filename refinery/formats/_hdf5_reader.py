"""Reads images and label values out of HDF5 files, one open file at a time, safe from several threads."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from refinery.errors import DatasetError, LabelError, SampleError
from refinery.formats._hdf5_kinds import sets_and_verdicts
from refinery.formats._hdf5_layout import MAX_VALUES, ImageSet, datasets_beside, names_of, why_refused
from refinery.formats._problems import reason
from refinery.image import MAX_PIXELS
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.rules import Verdict

FILES_REMEMBERED = 256
PARENTS_KEPT = 16
BLOCK_BYTES = 16 << 20


def open_file(path: Path) -> h5py.File:
    """Open for reading. Raises DatasetError with what is wrong with the file."""
    try:
        empty = path.stat().st_size == 0
        with path.open("rb"):
            pass
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({reason(error)}); check the path and its permissions") from error
    try:
        return _open_locked_or_not(path)
    except OSError as error:
        cause = "the file is empty" if empty else "not HDF5, or cut off"
        raise DatasetError(f"{path}: cannot be opened ({cause}); copy or write it again") from error


def _open_locked_or_not(path: Path) -> h5py.File:
    """Some network and read-only disks refuse locks, which reading can do without."""
    try:
        return h5py.File(path, "r")
    except OSError:
        return h5py.File(path, "r", locking=False)


class Hdf5Reader:
    """All reading goes through one lock, as HDF5 itself works one call at a time."""

    def __init__(self, root: Path, choice: Choice = EVERYTHING) -> None:
        self.root = root
        self._choice = choice
        self._lock = threading.RLock()
        self._open: tuple[str, h5py.File] | None = None
        self._parents: dict[str, h5py.Group | h5py.Dataset] = {}
        self._judged = lru_cache(FILES_REMEMBERED)(self._judge)

    def image_sets(self, path: str) -> tuple[ImageSet, ...]:
        """The sets of pictures of a file. Raises DatasetError."""
        return self._judged(path)[0]

    def verdicts(self, path: str) -> tuple[Verdict, ...]:
        """What each family of images of a file was taken for. Raises DatasetError."""
        return self._judged(path)[1]

    def names(self, path: str, inside: str) -> list[str]:
        """Names in a group or rows of a stack, in order."""
        with self._lock:
            return names_of(self._file(path), inside or "/")

    def values_beside(self, path: str, partners: tuple[str, ...], name: str) -> tuple[str, ...]:
        """Which partners have a value of this name, as inner paths."""
        with self._lock:
            file = self._file(path)
            has = (p for p in partners if isinstance(file[p], h5py.Dataset) or name in file[p])
            return tuple(sorted(f"{partner}/{name}" for partner in has))

    def array(self, path: str, inside: str, limit: int = 3 * MAX_PIXELS) -> NDArray[Any]:
        """A dataset or one row of a stack. Raises SampleError."""
        shown = f"{path}/{inside}"
        with self._lock:
            try:
                parent, _, name = inside.rpartition("/")
                return _value(self._node(path, parent or "/"), name, shown, limit)
            except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
                raise SampleError(f"{shown}: cannot be read; the file is damaged there; write it again") from error

    def label(self, path: str, inside: str) -> bytes:
        """A label value as JSON bytes `{"look_vec": [...]}`. Raises SampleError, LabelError."""
        shown = f"{path}/{inside}"
        value = self.array(path, inside, MAX_VALUES)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise LabelError(f"{shown}: has NaN or infinite values; expected numbers; correct the label")
        name = inside.rpartition("/")[0].rpartition("/")[2]
        try:
            return json.dumps({name: np.squeeze(value).tolist()}, default=_text).encode()
        except TypeError as error:
            raise LabelError(f"{shown}: type {value.dtype} is no label; expected numbers or text") from error

    def digest_beside(self, path: str, sets: Sequence[ImageSet]) -> str:
        """Of all datasets of a file that lie in it and hold no pictures, by name. Raises DatasetError."""
        digest = hashlib.sha256()
        with self._lock:
            try:
                for name, dataset in datasets_beside(self._file(path), sets):
                    digest.update(f"{name}\0{dataset.shape}\0{dataset.dtype}\0".encode("utf-8", "surrogateescape"))
                    for block in _blocks(dataset):
                        digest.update(block)
            except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
                raise DatasetError(f"{self.root / path}: damaged HDF5 file; copy or write it again") from error
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file that is open."""
        with self._lock:
            self._parents.clear()
            if self._open:
                self._open[1].close()
                self._open = None

    def _judge(self, path: str) -> tuple[tuple[ImageSet, ...], tuple[Verdict, ...]]:
        with self._lock:
            try:
                return sets_and_verdicts(self._file(path), path, self._choice)
            except (OSError, KeyError, ValueError, RuntimeError) as error:
                raise DatasetError(f"{self.root / path}: damaged HDF5 file; copy or write it again") from error

    def _node(self, path: str, inside: str) -> h5py.Group | h5py.Dataset:
        """A group or stack that values are read from one after the other, kept open."""
        file = self._file(path)
        if inside not in self._parents:
            if len(self._parents) >= PARENTS_KEPT:
                self._parents.clear()
            self._parents[inside] = file[inside]
        return self._parents[inside]

    def _file(self, path: str) -> h5py.File:
        if not self._open or self._open[0] != path:
            self.close()
            self._open = (path, open_file(self.root / path))
        return self._open[1]


def _blocks(dataset: h5py.Dataset) -> Iterator[bytes]:
    """The values of a dataset as bytes, some rows at a time."""
    if not dataset.shape:
        yield repr(dataset[()]).encode("utf-8", "surrogateescape")
        return
    row_bytes = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, dataset.shape[0], step):
        values = dataset[start : start + step]
        yield repr(values.tolist()).encode() if values.dtype.hasobject else np.ascontiguousarray(values).tobytes()


def _value(parent: h5py.Group | h5py.Dataset, name: str, shown: str, limit: int) -> NDArray[Any]:
    if isinstance(parent, h5py.Dataset):
        _check(parent.shape[1:], parent.dtype, shown, limit)
        return np.asarray(parent[int(name)])
    refused = why_refused(parent, name)
    if refused:
        raise SampleError(f"{shown}: {refused}; refinery does not follow it; store the values in this file")
    dataset = parent[name]
    if not isinstance(dataset, h5py.Dataset):
        raise SampleError(f"{shown}: a group where a dataset was expected")
    _check(dataset.shape or (), dataset.dtype, shown, limit)
    return np.asarray(dataset[()])


def _check(shape: tuple[int, ...], dtype: Any, shown: str, limit: int) -> None:
    if h5py.check_ref_dtype(dtype) or dtype.kind == "V":
        raise SampleError(f"{shown}: type {dtype} cannot be read as an array; expected numbers or text")
    if math.prod(shape) > limit:
        raise SampleError(f"{shown}: {math.prod(shape):,} values are more than the {limit:,} that are read at once")


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(type(value).__name__)
