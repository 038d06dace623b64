"""KITTI object labels: a line an object, its type and 14 numbers (15 with a score); columns 5 to 8 are the box in px.

`objects.class` and `objects.box`; pixels count from 0 at their centres. DontCare regions are no objects. Sizes,
positions and angles in space are not looked at. Source: the readme of KITTI's object development kit.
"""

from __future__ import annotations

from collections.abc import Iterator

from refinery.annotations import _objects
from refinery.annotations._rows import SUFFIX, are_numbers, first_row, read_rows, rows_of
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (SUFFIX,)
COLUMNS = (15, 16)
BOX = slice(4, 8)
IGNORED = "DontCare"


def claims(data: bytes, path: str) -> bool:
    """True if the first row is a word and 14 or 15 numbers."""
    return _is_row(first_row(data, path))


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """Class and box of each object; a line that is no object's is left out. Raises LabelError."""
    rows = ((line, words) for line, words in rows_of(data, path) if words[0] != IGNORED)
    return read_rows(rows, path, _object)


def _object(words: list[str], item: int, where: str) -> Iterator[Label]:
    if not _is_row(words):
        raise LabelError(f"{where}: {len(words)} columns; expected KITTI's type and 14 or 15 numbers")
    yield _objects.category(words[0], item)
    yield _objects.box([float(word) for word in words[BOX]], item, where)


def _is_row(words: list[str]) -> bool:
    return len(words) in COLUMNS and words[0][:1].isalpha() and are_numbers(words[1:])
