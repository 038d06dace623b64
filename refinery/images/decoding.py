"""Decode image files without losing what they are: mode, bit depth, way up, colour profile, transparency."""

from __future__ import annotations

import io
import re
import struct
import warnings
from typing import Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from refinery import png
from refinery.errors import SampleError
from refinery.images import jpeg_segments, png_chunks, tiff_tags, webp_chunks
from refinery.images.decoded import FORMATS, MAX_PIXELS, MIN_SIDE_PX, Decoded
from refinery.images.orientation import orientation_of, upright

_PLUGINS = (PngImagePlugin, JpegImagePlugin, BmpImagePlugin, TiffImagePlugin, WebPImagePlugin, PpmImagePlugin)
"""Imported here, so that decoding in threads never has Pillow load them."""
_GRAY16 = ("I;16", "I;16L", "I;16B")
_ORIENTATION = 274
_MAGIC = (
    (b"GIF8", "a GIF"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"<", "HTML or XML text"),
    (b"{", "JSON text"),
)
_ADVICE = {
    "P": "a refined image does not fit its palette; convert it to RGB first",
    "1": "a black-and-white image has nothing to refine; convert it to gray first",
    "CMYK": "convert it to RGB first",
}
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is stricter


def decode(data: bytes, name: str) -> Decoded:
    """Decode one image file, the way up in which it is displayed.

    data: the file's bytes. name: what errors call it.
    Raises SampleError for anything that cannot be refined and written back in kind.
    """
    try:
        file = png_chunks.take_apart(data) if data.startswith(png.SIGNATURE) else None
        with Image.open(io.BytesIO(file.bare if file else data), formats=FORMATS) as opened:
            _refuse(opened, data, name, file.frames if file else 1)
            if file:
                return _png(opened, data, file)
            if opened.format == "PNG":  # a colour key or the way up may be among what is broken
                opened.load()
                raise SampleError(f"{name}: the chunks of this PNG are broken or cut off; save it again")
            return _other(opened, data)
    except SampleError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SampleError(f"{name}: more than {MAX_PIXELS:,} pixels; cut it into tiles first") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... on broken files
        raise SampleError(f"{name}: not a readable image ({_why(data, error)}); replace or remove it") from error


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """Height and width in px, as displayed, without decoding the pixels. Raises SampleError as decode does."""
    try:
        file = png_chunks.take_apart(data) if data.startswith(png.SIGNATURE) else None
        with Image.open(io.BytesIO(file.bare if file else data), formats=FORMATS) as opened:
            lies = opened.format != "TIFF" and stored_orientation(data) >= 5  # Pillow has turned a TIFF's size
            return (opened.width, opened.height) if lies else (opened.height, opened.width)
    except Exception as error:
        raise SampleError(f"{name}: not a readable image ({_why(data, error)}); replace or remove it") from error


def stored_orientation(data: bytes) -> int:
    """How a file stores its pixels, as `Decoded.orientation`, without decoding them; 1 for what is no image."""
    if data.startswith(png.SIGNATURE):
        file = png_chunks.take_apart(data)
        return orientation_of(file.exif, file.xmp) if file else 1
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            return _tiff_orientation(opened) if opened.format == "TIFF" else _orientation(opened, data)
    except Exception:  # as above; who decodes it will hear why
        return 1


def _refuse(opened: Image.Image, data: bytes, name: str, frames: int) -> None:
    """Raise SampleError for what can be opened but not refined and written back in kind; reads the header only."""
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise SampleError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; cut it into tiles first")
    if min(width, height) < MIN_SIDE_PX:
        raise SampleError(f"{name}: {width}x{height} is too small; the shorter side must be {MIN_SIDE_PX} px or more")
    if opened.format != "MPO":  # the further frames of an MPO are previews of the first
        frames = max(frames, getattr(opened, "n_frames", 1))
    if frames > 1:
        raise SampleError(f"{name}: has {frames} frames; split it into single images first")
    if opened.format == "TIFF" and (count := opened.tag_v2.get(277, 1)) > len(opened.getbands()):  # type: ignore[attr-defined]
        raise SampleError(f"{name}: has {count} channels, one of them of unknown meaning; save it as RGB or RGBA first")
    if depth := _odd_depth(opened, data):
        raise SampleError(f"{name}: {depth}; convert it to 8 bits first (gray may have 16)")
    if opened.mode not in ("L", "LA", "RGB", "RGBA", *_GRAY16) and not _is_deep_ppm(opened):
        advice = _ADVICE.get(opened.mode, "convert it to gray or RGB first")
        raise SampleError(f"{name}: mode {opened.mode} is not refined, only gray, 16-bit gray, RGB and alpha; {advice}")


def _odd_depth(opened: Image.Image, data: bytes) -> str:
    """What Pillow would bring to 8 bits without a word, in words; empty for 8-bit images and 16-bit gray."""
    if opened.format == "PNG" and len(data) > 25:  # PNG specification, IHDR
        depth, colour = struct.unpack(">BB", data[24:26])
        odd = depth == 16 if colour != 0 else depth in (2, 4)
        return f"{depth} bits per channel" if odd else ""
    if opened.format == "TIFF":
        bits = max(opened.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]
        return f"{bits} bits per channel" if bits != 8 and opened.mode in ("L", "LA", "RGB", "RGBA") else ""
    if isinstance(opened, PpmImagePlugin.PpmImageFile) and opened.tile[0].codec_name != "raw":
        return "text, or a largest value other than 255 (65535 for gray)"
    return ""


def _is_deep_ppm(opened: Image.Image) -> bool:
    """A PGM with 16 bits, which Pillow reads as 32-bit integers."""
    return opened.format == "PPM" and opened.mode == "I"


def _png(opened: Image.Image, data: bytes, file: png_chunks.PngFile) -> Decoded:
    before, after = b"".join(file.before), b"".join(file.after)
    info = {key: chunks for key, chunks in (("before", before), ("after", after)) if chunks}
    key = png_chunks.key_of(file.key, data[24], data[25])
    orientation = orientation_of(file.exif, file.xmp)
    return _decoded(opened, orientation, info, file.left_out, key)


def _other(opened: Image.Image, data: bytes) -> Decoded:
    """A file that is no PNG."""
    info: dict[str, Any] = {}
    left_out: tuple[str, ...] = ()
    if opened.format == "TIFF":
        tags, left_out = tiff_tags.tags_of(opened)
        info = {"tiff_tags": tags} | _of(opened, "compression", "icc_profile")
        return _decoded(opened, _tiff_orientation(opened), info, left_out)
    if opened.format in ("JPEG", "MPO"):
        head = jpeg_segments.take_apart(data)
        orientation = orientation_of(head.exif, head.xmp)
        info = {"app0": head.app0, "carried": head.carried, "profile": head.profile}
        info = {key: value for key, value in info.items() if value} | _of(opened, "progressive", "dpi")
        left_out = tuple(head.left_out)
    else:
        exif, xmp = opened.info.get("exif", b""), opened.info.get("xmp", b"")
        orientation = orientation_of(exif, xmp)
        kept, left_out = webp_chunks.kept_of(exif, xmp, data) if opened.format == "WEBP" else ({}, ())
        info = kept | _of(opened, "icc_profile", "dpi")
    return _decoded(opened, orientation, info, left_out)


def _of(opened: Image.Image, *keys: str) -> dict[str, Any]:
    return {key: opened.info[key] for key in keys if opened.info.get(key)}


def _orientation(opened: Image.Image, data: bytes) -> int:
    """Of a file that Pillow does not turn itself."""
    if opened.format in ("JPEG", "MPO"):
        head = jpeg_segments.take_apart(data)
        return orientation_of(head.exif, head.xmp)
    return orientation_of(opened.info.get("exif", b""), opened.info.get("xmp", b""))


def _tiff_orientation(opened: Image.Image) -> int:
    number = opened.getexif().get(_ORIENTATION, 1)
    return number if isinstance(number, int) and 1 <= number <= 8 else 1


def _decoded(
    opened: Image.Image,
    orientation: int,
    info: dict[str, Any],
    left_out: Any = (),
    key: tuple[int, ...] | None = None,
) -> Decoded:
    """The pixels, turned upright; Pillow turns those of a TIFF."""
    opened.load()
    pixels = np.asarray(opened)
    if opened.format != "TIFF":
        pixels = upright(pixels, orientation)
    mode, alpha = opened.mode, None
    if mode in (*_GRAY16, "I"):
        mode, pixels = "I;16", pixels.astype(np.uint16)
    elif mode in ("LA", "RGBA"):
        alpha, pixels = (np.ascontiguousarray(part) for part in (pixels[:, :, -1], pixels[:, :, :-1]))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    file_format = "JPEG" if opened.format == "MPO" else str(opened.format)
    return Decoded(pixels, file_format, mode, alpha, info, orientation, key, tuple(dict.fromkeys(left_out)))


def _why(data: bytes, error: Exception) -> str:
    """The cause in words, without addresses of objects."""
    if not data:
        return "the file is empty"
    known = next((kind for magic, kind in _MAGIC if data.lstrip()[:8].startswith(magic)), "")
    if known:
        return f"the file is {known}"
    if isinstance(error, UnidentifiedImageError):
        return f"no known image format; known: {', '.join(FORMATS)}"
    return words_of(error)


def words_of(error: Exception) -> str:
    """An error in a few words, without addresses of objects."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "the file", str(error))
    return " ".join(text.split()[:12]) or type(error).__name__
