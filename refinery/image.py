"""Decode and encode images without losing what they are: mode, bit depth, orientation, colour profile, alpha.

The refiner sees colour or gray only. Alpha, EXIF, ICC profile, density and text chunks are kept as they were; EXIF
orientation is neither applied nor dropped.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
from refinery.sample import FloatArray

SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 8
JPEG_QUALITY = 95

_PLUGINS = (PngImagePlugin, JpegImagePlugin, BmpImagePlugin, TiffImagePlugin, WebPImagePlugin, PpmImagePlugin)
"""Imported here, so that decoding in threads never has Pillow load them."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
_GRAY16 = ("I;16", "I;16L", "I;16B")
_ORIENTATION = 274
_UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Pillow turns a TIFF by its orientation while loading; this turns it back."""
_TIFF_KEPT = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 700, 33432, 33550, 33922, 34735, 34736, 34737)
"""Description, maker, orientation, density, software, dates, authors, XMP, and where on Earth (GeoTIFF)."""
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


@dataclass(frozen=True)
class Decoded:
    """An image and all that is needed to write another one like it.

    pixels: (H, W, C) uint8 or uint16, C = 1 or 3: what the refiner may change.
    alpha: (H, W) uint8 that is carried through, or None.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16] = field(repr=False)
    format: str
    mode: str
    alpha: NDArray[np.uint8] | None = field(default=None, repr=False)
    info: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 16 if self.pixels.dtype == np.uint16 else 8


def decode(data: bytes, name: str) -> Decoded:
    """Decode one image file.

    data: the file's bytes. name: what errors call it.
    Raises SampleError for anything that cannot be refined and written back in kind.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _refuse(opened, data, name)
            return _split(opened)
    except SampleError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SampleError(f"{name}: more than {MAX_PIXELS:,} pixels; cut it into tiles first") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... on broken files
        raise SampleError(f"{name}: not a readable image ({_why(data, error)}); replace or remove it") from error


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """Height and width in px from the header alone. Raises SampleError as decode does."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            turned = opened.format == "TIFF" and _orientation(opened) >= 5
            return (opened.width, opened.height) if turned else (opened.height, opened.width)
    except Exception as error:
        raise SampleError(f"{name}: not a readable image ({_why(data, error)}); replace or remove it") from error


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16], like: Decoded) -> bytes:
    """Encode pixels (H, W, C) as a file of the same format, mode, bit depth and metadata as `like`.

    Raises SampleError where the format cannot hold what `like` carries.
    """
    whole = _join(pixels, like)
    options = _save_options(like)
    try:
        if like.format != "PNG":
            return _saved(whole, like.format, options)
        metadata = _saved(whole[:1, :1], "PNG", options) if options else b""
        return png.encode(whole, metadata)
    except Exception as error:  # libtiff, libwebp and Pillow raise many kinds
        raise SampleError(
            f"cannot be written as {like.format} {like.mode} ({_words(error)}); convert it first"
        ) from error


def to_float(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> FloatArray:
    """uint8 or uint16 of any shape to float32 in [-1, 1]; 0 maps to -1, the largest value to 1."""
    half = np.float32(np.iinfo(pixels.dtype).max / 2)
    return pixels.astype(np.float32) / half - np.float32(1)


def from_float(values: FloatArray, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Float in [-1, 1] of any shape to uint8 or uint16 (bits 8 or 16), rounded to nearest, clipped."""
    dtype = np.uint16 if bits == 16 else np.uint8
    top = np.float32(np.iinfo(dtype).max)
    scaled = (values + np.float32(1)) * (top / np.float32(2))
    whole: NDArray[np.uint8] | NDArray[np.uint16] = np.clip(np.rint(scaled), 0, top).astype(dtype)
    return whole


def as_channels(pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    """(H, W, 1 or 3) to (H, W, channels): colour to gray by Rec. 601 luma, gray to colour by repetition."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    kind = pixels.dtype
    rounded = np.rint(luma) if np.issubdtype(kind, np.integer) else luma
    return rounded[:, :, None].astype(kind)


def _refuse(opened: Image.Image, data: bytes, name: str) -> None:
    """Raise SampleError for what can be opened but not refined and written back in kind; reads the header only."""
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise SampleError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; cut it into tiles first")
    if min(width, height) < MIN_SIDE_PX:
        raise SampleError(f"{name}: {width}x{height} is too small; the shorter side must be {MIN_SIDE_PX} px or more")
    frames: int = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format != "MPO":  # the further frames of an MPO are previews of the first
        raise SampleError(f"{name}: has {frames} frames; split it into single images first")
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


def _orientation(opened: Image.Image) -> int:
    return int(opened.tag_v2.get(_ORIENTATION, 1)) if opened.format == "TIFF" else 1  # type: ignore[attr-defined]


def _split(opened: Image.Image) -> Decoded:
    orientation, tags = _orientation(opened), _tiff_tags(opened)
    opened.load()
    image = opened.transpose(_UNTURN[orientation]) if orientation in _UNTURN else opened
    mode, alpha = image.mode, None
    if mode in (*_GRAY16, "I"):
        mode, pixels = "I;16", np.asarray(image).astype(np.uint16)
    elif mode in ("LA", "RGBA"):
        channels = np.asarray(image)
        alpha, pixels = (np.ascontiguousarray(part) for part in (channels[:, :, -1], channels[:, :, :-1]))
    else:
        pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    info = {key: value for key, value in opened.info.items() if isinstance(key, str)}
    file_format = "JPEG" if opened.format == "MPO" else str(opened.format)
    return Decoded(pixels, file_format, mode, alpha, info | tags)


def _join(pixels: NDArray[Any], like: Decoded) -> NDArray[Any]:
    """Colour or gray and alpha as one array (H, W, C)."""
    return pixels if like.alpha is None else np.dstack([pixels, like.alpha])


def _saved(pixels: NDArray[Any], file_format: str, options: dict[str, Any]) -> bytes:
    """What Pillow writes for (H, W, C)."""
    out = io.BytesIO()
    whole = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    Image.fromarray(whole).save(out, format=file_format, **options)
    return out.getvalue()


def _save_options(like: Decoded) -> dict[str, Any]:
    info = like.info
    kept = ("icc_profile",) if like.format == "TIFF" else ("exif", "icc_profile", "dpi")
    options: dict[str, Any] = {key: info[key] for key in kept if info.get(key)}
    if like.format == "PNG":
        chunks = _png_chunks(info)
        options |= {"pnginfo": chunks} if chunks.chunks else {}
        options |= {"transparency": info["transparency"]} if "transparency" in info else {}
    elif like.format == "JPEG":
        options |= {"quality": JPEG_QUALITY, "subsampling": 0, "progressive": bool(info.get("progressive"))}
        options |= {key: info[key] for key in ("comment", "xmp") if key in info}
    elif like.format == "TIFF":
        options |= {"compression": info.get("compression") or "raw"}
        options |= {"tiffinfo": info["tiff_tags"]} if "tiff_tags" in info else {}
        if options["compression"] == "jpeg":
            options["quality"] = JPEG_QUALITY
    elif like.format == "WEBP":
        options |= {"lossless": True, "exact": True}
        options |= {"xmp": info["xmp"]} if "xmp" in info else {}
    return options


def _png_chunks(info: dict[str, Any]) -> PngImagePlugin.PngInfo:
    """Text chunks, and those that say how the numbers are to be shown (gAMA, cHRM, sRGB)."""
    chunks = PngImagePlugin.PngInfo()
    if "gamma" in info:
        chunks.add(b"gAMA", struct.pack(">I", round(info["gamma"] * 100_000)))
    if "chromaticity" in info:
        chunks.add(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in info["chromaticity"])))
    if "srgb" in info:
        chunks.add(b"sRGB", bytes([info["srgb"]]))
    for key, value in info.items():
        if isinstance(value, PngImagePlugin.iTXt):
            chunks.add_itxt(key, value, value.lang or "", value.tkey or "")
        elif isinstance(value, str):
            chunks.add_text(key, value)
    return chunks


def _tiff_tags(opened: Image.Image) -> dict[str, Any]:
    """The descriptive tags of a TIFF, taken before loading (which drops the orientation)."""
    if opened.format != "TIFF":
        return {}
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    found = opened.tag_v2  # type: ignore[attr-defined]
    for tag in _TIFF_KEPT:
        if tag in found:
            tags.tagtype[tag] = found.tagtype[tag]
            tags[tag] = found[tag]
    return {"tiff_tags": tags}


def _why(data: bytes, error: Exception) -> str:
    """The cause in words, without addresses of objects."""
    if not data:
        return "the file is empty"
    known = next((kind for magic, kind in _MAGIC if data.lstrip()[:8].startswith(magic)), "")
    if known:
        return f"the file is {known}"
    if isinstance(error, UnidentifiedImageError):
        return f"no known image format; known: {', '.join(FORMATS)}"
    return _words(error)


def _words(error: Exception) -> str:
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "the file", str(error))
    return " ".join(text.split()[:12]) or type(error).__name__
