"""Rows of words in a text annotation of one image, a row an object: YOLO, KITTI, DOTA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from refinery.annotations import _objects
from refinery.annotations._numbers import number
from refinery.annotations._parts import Parts
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIX = ".txt"
MAX_BYTES = 4 << 20
LOOKED_AT = 65_536
Words = list[str]


def first_row(data: bytes, path: str, skipped: tuple[str, ...] = ()) -> Words:
    """Words of the first row of a text file; none of any other file."""
    return next((words for _, words in _rows(data[:LOOKED_AT], skipped)), []) if path.lower().endswith(SUFFIX) else []


def rows_of(data: bytes, path: str, skipped: tuple[str, ...] = ()) -> list[tuple[int, Words]]:
    """Line number and words of each row; empty lines, and those that begin with what is skipped, are none.

    Raises LabelError for more bytes or more rows than one image has.
    """
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes for one image; expected at most {MAX_BYTES:,}")
    return _objects.at_most(list(_rows(data, skipped)), path)


def read_rows(
    rows: Iterable[tuple[int, Words]], path: str, read_one: Callable[[Words, int, str], Iterable[Label]]
) -> tuple[Label, ...]:
    """What read_one(words, item, where) gives of each row; a bad one is left out. Raises LabelError."""
    parts = Parts(path)
    for item, (line, words) in enumerate(rows):
        parts.add(read_one(words, item, f"{path} line {line}"))
    return parts.result()


def are_numbers(words: Iterable[str]) -> bool:
    """True if each word is a number."""
    return all(number(word) is not None for word in words)


def _rows(data: bytes, skipped: tuple[str, ...]) -> Iterator[tuple[int, Words]]:
    for line, text in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        words = text.split()
        if words and not words[0].lower().startswith(skipped):
            yield line, words
