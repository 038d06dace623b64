"""What metadata say or show of the old pixels, and become false with new ones: previews, checksums, signatures."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from refinery.images.exif import JPEG_START

_THUMBNAILS = re.compile(rb"<([\w.-]+):Thumbnails\b[^>]*(?<!/)>.*?</\1:Thumbnails\s*>", re.DOTALL)
_PICTURE = re.compile(rb"/9j/[A-Za-z0-9+/\s]{64}|GImage:Data|xmpGImg:image")
"""A JPEG in base64, and names that hold pictures."""
_MANIFEST_LINK = re.compile(rb"\s+dcterms:provenance=(?:\"[^\"]*jumbf[^\"]*\"|'[^']*jumbf[^']*')")
_OTHER_IMAGES = re.compile(rb"Container:Directory|MicroVideo|MotionPhoto|hdrgm:")
"""Names that speak of data behind the image: gain maps, films."""
_PHOTOSHOP_THUMBNAILS = (0x0409, 0x040C)
_KINDS = frozenset(
    ("md5", "sha", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2", "blake2b", "blake3", "crc", "crc32")
)
_WORDS = frozenset(("hash", "checksum", "digest", "signature", "adler32", "xxhash", "phash", "dhash", "ahash", "whash"))
_OF = frozenset(
    ("image", "img", "picture", "pixel", "pixels", "raster", "file", "content", "data", "raw", "sum", "256", "512")
)
"""Words that a checksum is called by. One of a model, a scene or a commit has others, and stays true."""
_DIGEST = re.compile(r"(?:[a-z0-9]{2,9}[:=-])?(?:(?:0x)?[0-9a-f]{8,128}|[a-z0-9+/]{22,86}={0,2})", re.IGNORECASE)


def is_checksum(name: str, value: str) -> bool:
    """True if a text is a checksum of the image by its name (`md5`, `pixel_sha256`, `Image Hash`) and its form."""
    words = re.findall(r"[a-z]+\d*|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower())
    told = set(words) & (_KINDS | _WORDS) or {word for word in words if word.removesuffix("sum") in _KINDS}
    others = {word for word in words if word.removesuffix("sum") not in _KINDS} - _WORDS - _OF
    return bool(told) and not others and _DIGEST.fullmatch(value.strip()) is not None


def xmp_without_pictures(xmp: bytes, alone: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """An XMP packet without thumbnails, and what was left out; empty where it holds other pictures.

    alone: whether the data behind the image, of which it may speak, is left out.
    """
    cleaned = _MANIFEST_LINK.sub(b"", _THUMBNAILS.sub(b"", xmp))
    if _PICTURE.search(cleaned):
        return b"", ("XMP with a preview inside",)
    if alone and _OTHER_IMAGES.search(cleaned):
        return b"", ("XMP about the data behind the image",)
    return cleaned, ("XMP thumbnail",) if _THUMBNAILS.search(xmp) else ()


def photoshop_without_pictures(resources: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Photoshop image resources without those that hold a picture; empty where they cannot be read.

    Source: Adobe Photoshop File Formats Specification, Image Resource Blocks.
    """
    try:
        blocks = list(_photoshop_blocks(resources))
    except struct.error:
        return b"", ("broken Photoshop resources",)
    kept = [block for number, block in blocks if number not in _PHOTOSHOP_THUMBNAILS and JPEG_START not in block]
    return b"".join(kept), ("Photoshop thumbnail",) if len(kept) < len(blocks) else ()


def _photoshop_blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and whole bytes of each block. Raises struct.error."""
    start = 0
    while start + 4 <= len(data) and data[start : start + 1] != b"\0":
        signature, number, name_size = struct.unpack_from(">4sHB", data, start)
        place = start + 6 + (name_size + 2) // 2 * 2
        size: int = struct.unpack_from(">I", data, place)[0]
        end = place + 4 + (size + 1) // 2 * 2
        if not signature.isalnum() or place + 4 + size > len(data):
            raise struct.error("not a resource block")
        yield number, data[start:end]
        start = end
