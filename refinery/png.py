"""Write PNG files fast: every row filtered "up", deflated at level 1 by ISA-L.

The pixels are the same everywhere. The bytes are the same on all x86-64 processors with SSE4.2 (2008 and later); they
may differ on other processors, with another version of isal, and where there is none: there zlib deflates, at level 1.

Sources: PNG specification (W3C), sections 5 (chunks), 7 (byte order), 9 (filters), 10 (compression), 11.2 (IHDR, IDAT);
RFC 1950 (zlib), RFC 1951 (deflate).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from isal import isal_zlib as _deflate
except ImportError:  # no wheel for this platform
    import zlib as _deflate  # type: ignore[no-redef]

LEVEL = 1
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {(8, 1): 0, (16, 1): 0, (8, 3): 2, (8, 2): 4, (8, 4): 6}
"""By bits and channels."""
_UP = 2
_ZLIB_HEADER = b"\x78\x01"
"""Deflate with a window of 32 KB, fastest level (RFC 1950, 2.2)."""
_STORED_BYTE = b"\x00\x01\x00\xfe\xff"
"""Header of a stored block of one byte that is not the last block (RFC 1951, 3.2.4)."""
_REPLACED = (b"IHDR", b"IDAT")


def encode(pixels: NDArray[Any], like: bytes = b"") -> bytes:
    """A PNG file of the pixels, with the metadata of another PNG file.

    pixels: (H, W, C) uint8, C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); or (H, W, 1) uint16 (gray).
    like: a PNG file of the same bit depth and colour type and of any size, whose chunks but IHDR and IDAT are kept as
    they are, in their order; empty: a file without metadata.
    Raises ValueError for other pixels, and for a `like` that is no whole PNG or has another bit depth or colour type.
    """
    header, data = header_of(pixels), chunk(b"IDAT", _deflated(_filtered(pixels).reshape(-1)))
    if not like:
        return b"".join((SIGNATURE, header, data, END))
    _must_match(like, header)
    own = {b"IHDR": header, b"IDAT": data}
    parts = (own.pop(kind, b"") if kind in _REPLACED else chunk for kind, chunk in _chunks(like))
    return b"".join((SIGNATURE, *parts))


def header_of(pixels: NDArray[Any]) -> bytes:
    """The IHDR chunk (11.2): width, height, bit depth, colour type; deflate, the five filters, not interlaced."""
    if pixels.dtype.kind != "u" or pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels are {pixels.shape} {pixels.dtype}; a PNG needs (H, W, C) uint8 or uint16")
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    if (bits, channels) not in _COLOUR_TYPE:
        raise ValueError(f"{channels} channels of {bits} bits: 1 to 4 of 8 bits or 1 of 16 bits can be written")
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPE[bits, channels], 0, 0, 0))


def _filtered(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Rows as deflate gets them, (H, 1 + bytes a row): the filter's number, then each byte less the one above (9.2)."""
    raw = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(len(pixels), -1)
    rows = np.empty((raw.shape[0], raw.shape[1] + 1), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = raw[0]
    np.subtract(raw[1:], raw[:-1], out=rows[1:, 1:])
    return rows


def _deflated(data: NDArray[np.uint8]) -> bytes:
    """A zlib stream (RFC 1950) of the bytes: the first of them in a stored block, the others deflated behind it.

    At the start of a stream ISA-L's level 1 takes the third byte's hash from the stream's address in memory, so that
    one image in some thousands comes out in other bytes in another thread or process. Behind a dictionary it does not,
    and what a stored block holds serves as one.
    """
    first = data[:1].tobytes()
    stream = _deflate.compressobj(LEVEL, wbits=-15, zdict=first)
    checksum = _deflate.adler32(data).to_bytes(4, "big")
    return b"".join((_ZLIB_HEADER, _STORED_BYTE, first, stream.compress(data[1:]), stream.flush(), checksum))


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk: length, type, body and CRC (5.3)."""
    check = _deflate.crc32(body, _deflate.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", check)))


END = chunk(b"IEND", b"")


def _chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and whole bytes of each chunk of a PNG file."""
    start = len(SIGNATURE)
    while start < len(file):
        length, kind = struct.unpack_from(">I4s", file, start)
        yield kind, file[start : start + 12 + length]
        start += 12 + length


def _must_match(like: bytes, header: bytes) -> None:
    """Raise ValueError unless `like` is a whole PNG of the header's bit depth and colour type."""
    depth_and_colour = slice(24, 26)
    if not like.startswith(SIGNATURE) or like[12:16] != b"IHDR" or not like.endswith(END):
        raise ValueError("like: not a whole PNG file")
    if like[depth_and_colour] != (SIGNATURE + header)[depth_and_colour]:
        raise ValueError("like: its bit depth and colour type are not those of the pixels")
