"""Encode pixels as a file of the same kind as another one, with all of its metadata that stay true."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery import png
from refinery.errors import SampleError
from refinery.images import jpeg_segments, png_chunks
from refinery.images.colour_key import key_for, transparent_kept
from refinery.images.decoded import Decoded
from refinery.images.decoding import words_of
from refinery.images.orientation import as_stored

JPEG_QUALITY = 95


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16], like: Decoded) -> bytes:
    """Encode pixels (H, W, C) as a file of the same format, mode, bit depth, way up and metadata as `like`.

    pixels: as displayed. Where they are colour and `like` is gray, its gray profile is left out.
    Raises SampleError where the format cannot hold what `like` carries.
    """
    try:
        displayed = transparent_kept(pixels, like)
        whole = as_stored(displayed if like.alpha is None else np.dstack([displayed, like.alpha]), like.orientation)
        recoloured = pixels.shape[2] != like.pixels.shape[2]
        if like.format == "PNG":
            return png.encode(whole, _png_model(whole, like, recoloured))
        saved = _saved(whole, like.format, _save_options(like, recoloured))
        return saved if like.format != "JPEG" else _with_segments(saved, like, recoloured)
    except Exception as error:  # libtiff, libwebp and Pillow raise many kinds
        raise SampleError(
            f"cannot be written as {like.format} {like.mode} ({words_of(error)}); convert it first"
        ) from error


def _png_model(whole: NDArray[Any], like: Decoded, recoloured: bool) -> bytes:
    """A PNG file with the metadata of `like` for these pixels; empty without any."""
    before, after = like.info.get("before", b""), like.info.get("after", b"")
    if recoloured:
        before = png_chunks.in_colour(before)
    if like.colour_key is not None:
        before += png_chunks.transparency(key_for(like, whole.shape[2]))
    return png_chunks.put_together(before, after, png.header_of(whole)) if before or after else b""


def _with_segments(saved: bytes, like: Decoded, recoloured: bool) -> bytes:
    """A JPEG file with the segments of `like`."""
    info = like.info
    segments = info.get("carried", b"") + (b"" if recoloured else info.get("profile", b""))
    return jpeg_segments.put_together(saved, info.get("app0", b""), segments)


def _saved(pixels: NDArray[Any], file_format: str, options: dict[str, Any]) -> bytes:
    """What Pillow writes for (H, W, C)."""
    out = io.BytesIO()
    whole = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    Image.fromarray(whole).save(out, format=file_format, **options)
    return out.getvalue()


def _save_options(like: Decoded, recoloured: bool) -> dict[str, Any]:
    info = like.info
    options: dict[str, Any] = {key: info[key] for key in ("exif", "xmp", "icc_profile", "dpi") if info.get(key)}
    if recoloured:
        options.pop("icc_profile", None)
    if like.format == "JPEG":
        options |= {"quality": JPEG_QUALITY, "subsampling": 0, "progressive": bool(info.get("progressive"))}
    elif like.format == "TIFF":
        options |= {"compression": info.get("compression") or "raw"}
        options |= {"tiffinfo": info["tiff_tags"]} if "tiff_tags" in info else {}
        if options["compression"] == "jpeg":
            options["quality"] = JPEG_QUALITY
    elif like.format == "WEBP":
        options |= {"lossless": True, "exact": True}
    return options
