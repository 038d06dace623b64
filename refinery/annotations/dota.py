"""DOTA: a line an object, the x and y of four corners in px, its class, and whether it is difficult.

`objects.class` and the oriented box as `objects.polygon`. Lines "imagesource:..." and "gsd:..." at the top are no
objects. Source: DOTA's description of its annotations.
"""

from __future__ import annotations

from collections.abc import Iterator

from refinery.annotations import _objects
from refinery.annotations._parts import Parts
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".txt",)
COORDINATES = 8
HEADERS = ("imagesource:", "gsd:")
MAX_BYTES = 4 << 20


def claims(data: bytes, path: str) -> bool:
    """Whether the first line that is not empty and no header is eight numbers and a class."""
    first = next((words for _, words in _rows(data[:65536])), [])
    return path.lower().endswith(SUFFIXES) and _is_row(first)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """Class and outline of each object; a line that is no object's is left out. Raises LabelError."""
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes for one image; expected at most {MAX_BYTES:,}")
    rows = list(_rows(data))
    if len(rows) > _objects.MAX_OBJECTS:
        raise LabelError(f"{path}: {len(rows)} objects in one image; expected at most {_objects.MAX_OBJECTS}")
    parts = Parts(path)
    for item, (number, words) in enumerate(rows):
        parts.add(_object(words, item, f"{path} line {number}"))
    return parts.result()


def _object(words: list[str], item: int, where: str) -> Iterator[Label]:
    if not _is_row(words):
        raise LabelError(f"{where}: expected DOTA's eight coordinates, a class and a difficulty")
    corners = _objects.finite([float(word) for word in words[:COORDINATES]], where, "corners", item)
    yield _objects.category(words[COORDINATES], item)
    yield _objects.polygon(corners - _objects.HALF_PX, item, where)


def _is_row(words: list[str]) -> bool:
    if len(words) not in (COORDINATES + 1, COORDINATES + 2) or words[COORDINATES][:1].isdigit():
        return False
    try:
        [float(word) for word in words[:COORDINATES]]
    except ValueError:
        return False
    return words[COORDINATES].lower() not in ("nan", "inf")


def _rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line that is neither empty nor a header."""
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if line.strip() and not line.strip().lower().startswith(HEADERS):
            yield number, line.split()
