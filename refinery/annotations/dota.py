"""DOTA: a line an object, the x and y of four corners in px, its class, and whether it is difficult.

`objects.class` and the oriented box as `objects.polygon`. Lines "imagesource:..." and "gsd:..." at the top are no
objects. Source: DOTA's description of its annotations.
"""

from __future__ import annotations

from collections.abc import Iterator

from refinery.annotations import _objects
from refinery.annotations._rows import SUFFIX, are_numbers, first_row, read_rows, rows_of
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (SUFFIX,)
COORDINATES = 8
HEADERS = ("imagesource:", "gsd:")


def claims(data: bytes, path: str) -> bool:
    """True if the first row that is no header is eight numbers and a class."""
    return _is_row(first_row(data, path, HEADERS))


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """Class and outline of each object; a line that is no object's is left out. Raises LabelError."""
    return read_rows(rows_of(data, path, HEADERS), path, _object)


def _object(words: list[str], item: int, where: str) -> Iterator[Label]:
    if not _is_row(words):
        raise LabelError(f"{where}: expected DOTA's eight coordinates, a class and a difficulty")
    corners = _objects.finite([float(word) for word in words[:COORDINATES]], where, "corners", item)
    yield _objects.category(words[COORDINATES], item)
    yield _objects.polygon(corners - _objects.HALF_PX, item, where)


def _is_row(words: list[str]) -> bool:
    if len(words) not in (COORDINATES + 1, COORDINATES + 2):
        return False
    return are_numbers(words[:COORDINATES]) and not are_numbers(words[COORDINATES : COORDINATES + 1])
