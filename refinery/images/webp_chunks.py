"""The chunks of a WebP file beside its pixels. Source: RFC 9649, section 2."""

from __future__ import annotations

import struct

from refinery.images import stale
from refinery.images.exif import without_pictures

_PARTS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ")


def kept_of(exif: bytes, xmp: bytes, data: bytes) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """EXIF and XMP to write again, by Pillow's names, and what is left out."""
    block, no_exif = without_pictures(exif) if exif else (b"", ())
    packet, no_xmp = stale.xmp_without_pictures(xmp) if xmp else (b"", ())
    kept = {key: value for key, value in (("exif", block), ("xmp", packet)) if value}
    return kept, (*no_exif, *no_xmp, *_others(data))


def _others(data: bytes) -> tuple[str, ...]:
    """Chunks that nobody knows, in words."""
    names: list[str] = []
    start = 12
    while start + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, start)
        if kind == b"C2PA":
            names.append("content credentials")
        elif kind not in _PARTS:
            names.append(f"WebP chunk {kind.decode('latin-1').strip()}")
        start += 8 + size + size % 2
    return tuple(dict.fromkeys(names))
