"""The segments of a JPEG file: those that stay true with new pixels are carried as they are, the others are named.

Source: ITU-T T.81, annex B; JFIF 1.02; EXIF 2.32, 4.7; XMP specification, part 3, 1.1.3; ICC.1:2022, annex B.4; CIPA
DC-007 (multi-picture format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from refinery.images import stale
from refinery.images.exif import PREFIX, without_pictures

_APP0, _APP1, _APP2, _APP11, _APP13, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xEF, 0xFE
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MORE_XMP_LINK = b"HasExtendedXMP"
_ICC, _PHOTOSHOP = b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_LARGEST = 65533
"""Bytes that a segment holds."""


@dataclass
class JpegHead:
    """What a JPEG file holds beside its pixels.

    app0: the JFIF segment without thumbnail, empty without one. carried: segments to write again. profile: those of the
    colour profile.
    """

    app0: bytes = b""
    carried: bytes = b""
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    left_out: list[str] = field(default_factory=list)
    more_xmp: list[bytes] = field(default_factory=list)
    photoshop: list[bytes] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)


def take_apart(data: bytes) -> JpegHead:
    """The head of a JPEG file, as far as it can be read."""
    head, end = JpegHead(), 2
    for marker, start, end in _segments(data):
        _take(head, marker, data[start + 4 : end])
    more = _has_more(data, end)
    if more:
        head.left_out.append("further images behind the first")
    head.carried = b"".join(_carried(head, more))
    return head


def put_together(file: bytes, app0: bytes, segments: bytes) -> bytes:
    """What Pillow wrote, its JFIF segment exchanged, with the segments behind it."""
    length = struct.unpack_from(">H", file, 4)[0]
    if file[2:4] != b"\xff\xe0":
        return file[:2] + app0 + segments + file[2:]
    return file[:2] + (app0 or file[2 : 4 + length]) + segments + file[4 + length :]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment before the first scan."""
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if marker in (0xDA, 0xD9) or end > len(data):
            return
        yield marker, start, end
        start = end


def _has_more(data: bytes, scan: int) -> bool:
    """True if anything stands behind the end of the image: previews, a gain map, a film."""
    end = data.find(b"\xff\xd9", scan)
    return end >= 0 and end + 2 < len(data) and bool(data[end + 2 :].strip(b"\0\xff\r\n"))


def _take(head: JpegHead, marker: int, body: bytes) -> None:
    """Note what a segment holds."""
    if marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        head.app0 = _segment(_APP0, body[:12] + bytes(2))
        head.left_out += ["JFIF thumbnail"] * (len(body) > 14)
    elif marker == _APP0:
        head.left_out += ["JFIF thumbnail"] * body.startswith(b"JFXX\0")
    elif marker == _APP1 and body.startswith(PREFIX) and not head.exif:
        head.exif = body
    elif marker == _APP1 and body.startswith(_XMP) and not head.xmp:
        head.xmp = body[len(_XMP) :]
    elif marker == _APP1 and body.startswith(_MORE_XMP):
        head.more_xmp.append(body)
    elif marker == _APP2 and body.startswith(_ICC):
        head.profile += _segment(_APP2, body)
    elif marker == _APP2 and body.startswith(b"MPF\0"):
        pass  # where the further images are
    elif marker == _APP11 and body.startswith(b"JP"):
        head.left_out += ["content credentials"] * ("content credentials" not in head.left_out)
    elif marker == _APP13 and body.startswith(_PHOTOSHOP):
        head.photoshop.append(body[len(_PHOTOSHOP) :])
    elif marker == _COMMENT:
        head.comments.append(body)
    elif _APP0 < marker <= _APP15 and marker != _APP14:  # Adobe's says how the old pixels were coded
        head.left_out.append(f"JPEG segment APP{marker - _APP0}")


def _carried(head: JpegHead, more: bool) -> Iterator[bytes]:
    """The segments to write again."""
    if head.exif:
        block, left_out = without_pictures(head.exif)
        head.left_out += left_out
        if block:
            yield _segment(_APP1, block)
    yield from _carried_xmp(head, more)
    if head.photoshop:
        resources, left_out = stale.photoshop_without_pictures(b"".join(head.photoshop))
        head.left_out += left_out
        room = _LARGEST - len(_PHOTOSHOP)
        for start in range(0, len(resources), room):
            yield _segment(_APP13, _PHOTOSHOP + resources[start : start + room])
    for comment in head.comments:
        name, _, value = comment.decode("latin-1").strip("\0 \r\n").replace("=", ":").partition(":")
        if stale.is_checksum(name, value):
            head.left_out.append(f"checksum {name}")
        else:
            yield _segment(_COMMENT, comment)


def _carried_xmp(head: JpegHead, more: bool) -> Iterator[bytes]:
    """The XMP packet, and its long rest, which it refers to by checksum: carried as it is or not at all."""
    _, told = stale.xmp_without_pictures(b"".join(body[len(_MORE_XMP) + 40 :] for body in head.more_xmp), more)
    packet, left_out = stale.xmp_without_pictures(head.xmp, more)
    head.left_out += dict.fromkeys((*told, *left_out))
    if packet and told:
        packet = packet.replace(_MORE_XMP_LINK, b"HadExtendedXMP")
    if packet:
        yield _segment(_APP1, _XMP + packet)
        if not told:
            yield from (_segment(_APP1, body) for body in head.more_xmp)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
