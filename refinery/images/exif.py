"""EXIF blocks: the orientation they give, and the same block without the picture of the old pixels.

Every offset stays what it was, so that maker notes, which have offsets of their own, stay readable. Source: TIFF 6.0,
section 2; EXIF 2.32, 4.5 (the thumbnail stands in IFD 1, behind the link of IFD 0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFIX = b"Exif\0\0"
JPEG_START = b"\xff\xd8\xff"
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value, by type."""
_ORIENTATION = 0x0112
_INNER = (0x8769, 0x8825, 0xA005)
"""Links to the Exif, GPS and interoperability IFDs."""
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class _Entry:
    """One entry of an IFD. at: where its value stands. size: of the value in bytes."""

    tag: int
    kind: int
    at: int
    size: int


class _Block:
    """A TIFF structure. Raises ValueError or struct.error where it is none."""

    def __init__(self, data: bytes) -> None:
        if data[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("no TIFF header")
        self.data = data
        self.order = "<" if data[:1] == b"I" else ">"
        self.first = self.number(4, 4)

    def number(self, at: int, size: int) -> int:
        value: int = struct.unpack_from(self.order + {1: "B", 2: "H", 4: "I"}[size], self.data, at)[0]
        return value

    def entries(self, ifd: int) -> Iterator[_Entry]:
        count = self.number(ifd, 2)
        if count > _MOST_ENTRIES:
            raise ValueError("too many entries")
        for start in range(ifd + 2, ifd + 2 + 12 * count, 12):
            kind = self.number(start + 2, 2)
            size = _SIZES.get(kind, 1) * self.number(start + 4, 4)
            yield _Entry(self.number(start, 2), kind, start + 8 if size <= 4 else self.number(start + 8, 4), size)

    def link_at(self, ifd: int) -> int:
        """Where the offset of the next IFD stands."""
        return ifd + 2 + 12 * self.number(ifd, 2)

    def end_of(self, ifd: int, depth: int = 0) -> int:
        """The end of all that an IFD and those inside it hold."""
        end = self.link_at(ifd) + 4
        for entry in self.entries(ifd):
            end = max(end, min(entry.at + entry.size, len(self.data)))
            if entry.tag in _INNER and depth < 2:
                end = max(end, self.end_of(self.number(entry.at, 4), depth + 1))
        return end


def orientation_in(exif: bytes) -> int | None:
    """The orientation that a block gives, 1 to 8; None without one."""
    try:
        block = _Block(exif.removeprefix(PREFIX))
        for entry in block.entries(block.first):
            if entry.tag == _ORIENTATION and entry.size:
                number = block.number(entry.at, min(_SIZES.get(entry.kind, 2), 4))
                return number if 1 <= number <= 8 else 1
    except (ValueError, KeyError, struct.error):
        pass
    return None


def without_pictures(exif: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A block without thumbnail, and what was left out, in words.

    Where a picture is left in it, as in the notes of some cameras, only the orientation stays.
    """
    prefix = PREFIX if exif.startswith(PREFIX) else b""
    data = exif[len(prefix) :]
    left_out: tuple[str, ...] = ()
    try:
        block = _Block(data)
        link = block.link_at(block.first)
        second = block.number(link, 4)
        if second:
            data, left_out = _unlinked(block, link, second), ("EXIF thumbnail",)
    except (ValueError, KeyError, struct.error):
        pass
    if JPEG_START not in data:
        return prefix + data, left_out
    number = orientation_in(data)
    return (prefix + _only_orientation(number) if number else b""), ("EXIF with a preview inside",)


def _unlinked(block: _Block, link: int, second: int) -> bytes:
    """The data without IFD 1: cut off where nothing else follows, else blank."""
    data = bytearray(block.data)
    data[link : link + 4] = bytes(4)
    end = block.end_of(block.first)
    if second >= end:
        return bytes(data[:end])
    for start, size in _pictures(block, second):
        if start >= link + 4:
            data[start : start + size] = bytes(len(data[start : start + size]))
    return bytes(data)


def _pictures(block: _Block, ifd: int) -> Iterator[tuple[int, int]]:
    """Place and bytes of the picture of IFD 1: a JPEG, or one strip of plain pixels."""
    values = {
        entry.tag: block.number(entry.at, _SIZES[entry.kind])
        for entry in block.entries(ifd)
        if entry.kind in (3, 4) and entry.size in (2, 4)
    }
    for place, size in ((0x0201, 0x0202), (0x0111, 0x0117)):
        if place in values and size in values:
            yield values[place], values[size]


def _only_orientation(number: int) -> bytes:
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, _ORIENTATION, 3, 1, number, 0, 0)
