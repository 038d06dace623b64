"""KITTI object labels: a line an object, its type and 14 numbers (15 with a score); columns 5 to 8 are the box in px.

`objects.class` and `objects.box`; pixels count from 0 at their centres. DontCare regions are no objects. Sizes,
positions and angles in space are not looked at. Source: the readme of KITTI's object development kit.
"""

from __future__ import annotations

from collections.abc import Iterator

from refinery.annotations import _objects
from refinery.annotations._parts import Parts
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".txt",)
COLUMNS = (15, 16)
BOX = slice(4, 8)
IGNORED = "DontCare"
MAX_BYTES = 4 << 20


def claims(data: bytes, path: str) -> bool:
    """Whether the first line that is not empty is a word and 14 or 15 numbers."""
    first = next((line for line in _lines(data[:65536]) if line.strip()), "").split()
    return path.lower().endswith(SUFFIXES) and len(first) in COLUMNS and _is_row(first)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """Class and box of each object; a line that is no object's is left out. Raises LabelError."""
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes for one image; expected at most {MAX_BYTES:,}")
    rows = [(number, line.split()) for number, line in enumerate(_lines(data), 1) if line.strip()]
    if len(rows) > _objects.MAX_OBJECTS:
        raise LabelError(f"{path}: {len(rows)} objects in one image; expected at most {_objects.MAX_OBJECTS}")
    parts = Parts(path)
    objects = ((number, words) for number, words in rows if words[0] != IGNORED)
    for item, (number, words) in enumerate(objects):
        parts.add(_object(words, item, f"{path} line {number}"))
    return parts.result()


def _object(words: list[str], item: int, where: str) -> Iterator[Label]:
    if len(words) not in COLUMNS or not _is_row(words):
        raise LabelError(f"{where}: {len(words)} columns; expected KITTI's type and 14 or 15 numbers")
    box = _objects.box([float(word) for word in words[BOX]], item, where)
    yield _objects.category(words[0], item)
    yield box


def _is_row(words: list[str]) -> bool:
    try:
        [float(word) for word in words[1:]]
    except ValueError:
        return False
    return words[0][:1].isalpha()


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8-sig", "replace").splitlines()
