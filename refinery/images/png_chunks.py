"""The chunks of a PNG file: those that stay true with new pixels are carried as they are, the others are named.

A chunk that nobody knows goes by its own safe-to-copy bit. Source: PNG specification, 5.4 (naming), 11.3 (ancillary
chunks), 14.2 (what editors do with chunks they do not know).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from refinery import png
from refinery.images import stale
from refinery.images.exif import without_pictures

MAX_TEXT_BYTES = 16 << 20
_TRUE = frozenset(b"gAMA cHRM sRGB iCCP cICP mDCV mDCv cLLI cLLi bKGD pHYs sCAL sTER oFFs".split())
"""About colour, density and place: new pixels are of the same."""
_PARTS = frozenset(b"IHDR IDAT IEND tRNS iDOT".split())
"""What is written anew."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE = re.compile(rb"Raw profile type (exif|APP1|8bim|xmp)", re.IGNORECASE)
_XMP = b"XML:com.adobe.xmp"


@dataclass
class PngFile:
    """A PNG file taken apart.

    bare: a file of the same pixels without metadata. before, after: the chunks to carry, in front of the pixels and
    behind them. key: the transparent colour. frames: of an animation.
    """

    bare: bytes
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    exif: bytes = b""
    xmp: bytes = b""
    key: bytes = b""
    frames: int = 1


def take_apart(data: bytes) -> PngFile | None:
    """A PNG file by its chunks; None for what is not whole, which is for a decoder to name."""
    chunks = list(_chunks(data))
    if not chunks or chunks[-1][0] != b"IEND":
        return None
    depth, colour = data[24], data[25]
    file, pixels_met = PngFile(data), False
    others: list[tuple[bytes, bytes, bool]] = []
    for kind, start, end in chunks:
        if kind == b"IDAT":
            pixels_met = True
        elif kind not in (b"IHDR", b"IEND"):
            if zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                return None
            others.append((kind, data[start + 8 : end - 4], pixels_met))
    if any(kind != b"PLTE" for kind, _, _ in others):
        bare = (data[start:end] for kind, start, end in chunks if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"))
        file.bare = b"".join((png.SIGNATURE, *bare))
    for kind, body, behind in others:
        _take(file, kind, body, behind, depth, colour)
    if len(data) > chunks[-1][2] and data[chunks[-1][2] :].strip(b"\0"):
        file.left_out.append("data behind the image's end")
    return file


def put_together(before: bytes, after: bytes, header: bytes) -> bytes:
    """A PNG file with these chunks and no pixels, for `png.encode` to take as its model. header: the IHDR chunk."""
    return b"".join((png.SIGNATURE, header, before, png.chunk(b"IDAT", b""), after, png.END))


def in_colour(before: bytes) -> bytes:
    """Chunks of a gray file for a file in colour: the background as three values, no gray profile."""
    kept = []
    for kind, start, end in _chunks(png.SIGNATURE + before):
        whole = before[start - 8 : end - 8]
        if kind == b"bKGD":
            kept.append(png.chunk(kind, whole[8:10] * 3))
        elif kind not in (b"iCCP", b"sBIT"):
            kept.append(whole)
    return b"".join(kept)


def transparency(key: tuple[int, ...]) -> bytes:
    """The tRNS chunk of one transparent colour."""
    return png.chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))


def key_of(body: bytes, depth: int, colour: int) -> tuple[int, ...] | None:
    """The transparent colour of a gray or RGB file; None without one."""
    count = {0: 1, 2: 3}.get(colour, 0)
    if not count or len(body) != 2 * count:
        return None
    return tuple(value & (2**depth - 1) for value in struct.unpack(f">{count}H", body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk up to IEND, as far as they are whole."""
    start = len(png.SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end


def _take(file: PngFile, kind: bytes, body: bytes, behind: bool, depth: int, colour: int) -> None:
    """Carry a chunk, put another one in its place, or name it."""
    stays = file.after if behind else file.before
    name = kind.decode("latin-1")
    if kind in _TEXTS:
        stays.append(_text(file, kind, body))
    elif kind == b"eXIf":
        file.exif = body
        block, left_out = without_pictures(body)
        file.left_out += left_out
        stays.append(png.chunk(kind, block) if block else b"")
    elif kind == b"tRNS":
        file.key = body
    elif kind == b"acTL" and len(body) >= 4:
        file.frames = max(1, int.from_bytes(body[:4], "big"))
    elif kind == b"fdAT":
        file.frames = max(2, file.frames)
    elif kind == b"caBX":
        file.left_out.append("content credentials")
    elif kind in _PARTS or kind == b"fcTL" or (kind == b"PLTE" and colour == 3):
        pass
    elif (
        kind in _TRUE or (kind == b"sBIT" and set(body) == {depth}) or (kind not in (b"hIST", b"PLTE") and _safe(kind))
    ):
        stays.append(png.chunk(kind, body))
    else:
        file.left_out.append(f"PNG chunk {name}")


def _safe(kind: bytes) -> bool:
    """True if a chunk says that it stays true whatever becomes of the pixels: bit 5 of its last letter."""
    return bool(kind[0] & 32) and bool(kind[3] & 32)


def _text(file: PngFile, kind: bytes, body: bytes) -> bytes:
    """A text chunk as it is, cleaned, or empty where it is a checksum."""
    keyword = body.partition(b"\0")[0]
    name, whole = keyword.decode("latin-1"), png.chunk(kind, body)
    profile = _PROFILE.fullmatch(keyword)
    if not (profile or keyword == _XMP or stale.is_checksum(name, "0" * 8)):
        return whole
    text = _text_of(kind, body)
    if text is None:
        file.left_out.append(f"PNG text {name} of more than {MAX_TEXT_BYTES >> 20} MB")
        return b""
    if keyword == _XMP:
        file.xmp = text
        cleaned, left_out = stale.xmp_without_pictures(text)
        rewritten = png.chunk(b"iTXt", _XMP + bytes(5) + cleaned) if cleaned else b""
    elif profile:
        cleaned, left_out = _profile(file, profile[1].lower(), text)
        rewritten = png.chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(cleaned)) if cleaned else b""
    elif stale.is_checksum(name, text.decode("utf-8", "replace")):
        file.left_out.append(f"checksum {name}")
        return b""
    else:
        return whole
    file.left_out += left_out
    return whole if cleaned == text else rewritten


def _text_of(kind: bytes, body: bytes) -> bytes | None:
    """The text of a chunk, unpacked; None where it is too long or broken."""
    _, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif packed:
        rest = rest[1:]
    if not packed:
        return rest
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(rest, MAX_TEXT_BYTES)
    except zlib.error:
        return None
    return text if stream.eof else None


def _profile(file: PngFile, kind: bytes, text: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A profile in ImageMagick's hexadecimal form without pictures."""
    try:
        head, _, digits = text.strip(b"\n").split(b"\n", 2)
        data = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return text, ()
    if kind == b"8bim":
        cleaned, left_out = stale.photoshop_without_pictures(data)
    elif kind == b"xmp" or (kind == b"app1" and not data.startswith(b"Exif")):
        cleaned, left_out = stale.xmp_without_pictures(data)
    else:
        file.exif = file.exif or data
        cleaned, left_out = without_pictures(data)
    if cleaned == data:
        return text, ()
    lines = cleaned.hex()
    rows = "\n".join(lines[i : i + 72] for i in range(0, len(lines), 72)).encode()
    return (b"\n%s\n%8d\n%s\n" % (head, len(cleaned), rows) if cleaned else b""), left_out
