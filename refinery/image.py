"""Decode and encode images without losing what they are: mode, bit depth, orientation, colour profile, alpha.

The refiner sees colour or gray only. Alpha, EXIF, ICC profile, density and text chunks are kept as they were; EXIF
orientation is neither applied nor dropped.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from refinery.errors import SampleError
from refinery.sample import FloatArray

SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 8
JPEG_QUALITY = 95
PNG_LEVEL = 1
"""Level 1 costs half the time of level 6 (LIMITS: 160 against 80 images/s at 256x256) for files a few percent larger."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
_GRAY16 = ("I;16", "I;16L", "I;16B")
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
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            _refuse(opened, data, name)
            opened.load()
            return _split(opened)
    except SampleError:
        raise
    except Image.DecompressionBombError as error:
        raise SampleError(f"{name}: {error}; refinery refuses more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... on broken files
        raise SampleError(f"{name}: not a readable image ({_why(data, error)}); replace or remove it") from error


def size_of(data: bytes, name: str) -> tuple[int, int]:
    """Height and width in px from the header alone. Raises SampleError as decode does."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            return opened.height, opened.width
    except Exception as error:
        raise SampleError(f"{name}: not a readable image ({_why(data, error)}); replace or remove it") from error


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16], like: Decoded) -> bytes:
    """Encode pixels (H, W, C) as a file of the same format, mode, bit depth and metadata as `like`."""
    image = _join(pixels, like)
    out = io.BytesIO()
    image.save(out, format=like.format, **_save_options(like))
    return out.getvalue()


def to_float(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> FloatArray:
    """uint8 or uint16 of any shape to float32 in [-1, 1]; 0 maps to -1, the largest value to 1."""
    half = np.float32(np.iinfo(pixels.dtype).max / 2)
    return pixels.astype(np.float32) / half - np.float32(1)


def from_float(values: FloatArray, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Float in [-1, 1] of any shape to uint8 or uint16 (bits 8 or 16), rounded to nearest, clipped."""
    dtype = np.uint16 if bits == 16 else np.uint8
    top = np.float32(np.iinfo(dtype).max)
    scaled = (values + np.float32(1)) * (top / np.float32(2))
    return np.clip(np.rint(scaled), 0, top).astype(dtype)


def as_channels(pixels: NDArray[np.generic], channels: int) -> NDArray[np.generic]:
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
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise SampleError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; cut it into tiles first")
    if min(width, height) < MIN_SIDE_PX:
        raise SampleError(f"{name}: {width}x{height} is too small; the shorter side must be {MIN_SIDE_PX} px or more")
    if getattr(opened, "n_frames", 1) > 1:
        raise SampleError(f"{name}: has {opened.n_frames} frames; split it into single images first")
    if _is_deep_colour_png(data):
        raise SampleError(f"{name}: 16 bits per colour channel; only gray is refined at 16 bits; convert it to 8 bits")
    if opened.mode not in ("L", "LA", "RGB", "RGBA", *_GRAY16):
        advice = _ADVICE.get(opened.mode, "convert it to gray or RGB first")
        raise SampleError(f"{name}: image mode {opened.mode} is not refined (gray, RGB, alpha, 16-bit gray are); {advice}")


def _is_deep_colour_png(data: bytes) -> bool:
    """Pillow reads 16-bit colour PNG as 8 bits without a word; the header tells (PNG spec, IHDR)."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 26:
        return False
    depth, colour = struct.unpack(">BB", data[24:26])
    return bool(depth == 16 and colour != 0)


def _split(opened: Image.Image) -> Decoded:
    mode, alpha = opened.mode, None
    if mode in _GRAY16:
        pixels: NDArray[Any] = np.asarray(opened).astype(np.uint16)
    elif mode in ("LA", "RGBA"):
        alpha = np.asarray(opened.getchannel("A"))
        pixels = np.asarray(opened.convert("L" if mode == "LA" else "RGB"))
    else:
        pixels = np.asarray(opened)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return Decoded(pixels, str(opened.format), mode, alpha, dict(opened.info))


def _join(pixels: NDArray[Any], like: Decoded) -> Image.Image:
    flat = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image = Image.fromarray(flat)
    if like.alpha is not None:
        image.putalpha(Image.fromarray(like.alpha))
    return image


def _save_options(like: Decoded) -> dict[str, Any]:
    info = like.info
    options: dict[str, Any] = {k: info[k] for k in ("exif", "icc_profile", "dpi") if info.get(k)}
    if like.format == "PNG":
        options |= {"compress_level": PNG_LEVEL, "pnginfo": _text_chunks(info)}
        options |= {"transparency": info["transparency"]} if "transparency" in info else {}
    elif like.format == "JPEG":
        options |= {"quality": JPEG_QUALITY, "subsampling": 0, "progressive": bool(info.get("progressive"))}
        options |= {"comment": info["comment"]} if "comment" in info else {}
    elif like.format == "TIFF":
        options |= {"compression": info.get("compression") or "raw"}
        if options["compression"] == "jpeg":
            options["quality"] = JPEG_QUALITY
    elif like.format == "WEBP":
        options |= {"lossless": True, "exact": True}
    return options


def _text_chunks(info: dict[str, Any]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for key, value in info.items():
        if isinstance(value, PngImagePlugin.iTXt):
            chunks.add_itxt(key, value, value.lang or "", value.tkey or "")
        elif isinstance(key, str) and isinstance(value, str):
            chunks.add_text(key, value)
    return chunks


def _why(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    return " ".join(str(error).replace("<_io.BytesIO object at ", "").split()[:12]) or type(error).__name__
