"""Decoding and encoding: what an image is survives, and what cannot be refined is said in one line."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from refinery import image
from refinery.errors import SampleError

EXIF = Image.Exif()
EXIF[274] = 6
EXIF[270] = "a render"


def file_bytes(mode: str, file_format: str, size_wh: tuple[int, int] = (20, 16), **options) -> bytes:
    """A random image of a mode, as the bytes of a file."""
    width, height = size_wh
    values = np.random.default_rng(0)
    if mode == "I;16":
        picture = Image.fromarray(values.integers(0, 65536, (height, width), dtype=np.uint16))
    else:
        channels = len(Image.new(mode, (1, 1)).getbands())
        raw = values.integers(0, 256, (height, width, channels), dtype=np.uint8).tobytes()
        picture = Image.new(mode, size_wh) if mode in ("1", "P") else Image.frombytes(mode, size_wh, raw)
    out = io.BytesIO()
    picture.save(out, format=file_format, **options)
    return out.getvalue()


def again(data: bytes) -> bytes:
    """The image decoded and encoded with its own pixels."""
    decoded = image.decode(data, "a")
    return image.encode(decoded.pixels, decoded)


def opened(data: bytes) -> Image.Image:
    """The image as Pillow sees it."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


KINDS = [
    *[(mode, "PNG") for mode in ("L", "LA", "RGB", "RGBA", "I;16")],
    *[(mode, "TIFF") for mode in ("L", "LA", "RGB", "RGBA", "I;16")],
    *[(mode, "BMP") for mode in ("L", "RGB", "RGBA")],
    *[(mode, "PPM") for mode in ("L", "RGB", "I;16")],
    *[(mode, "WEBP") for mode in ("RGB", "RGBA")],
]


@pytest.mark.parametrize(("mode", "file_format"), KINDS)
def test_round_trip_keeps_every_pixel(mode, file_format):
    data = file_bytes(mode, file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    before, after = opened(data), opened(again(data))
    assert (after.mode, after.size, after.format) == (before.mode, before.size, before.format)
    np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


@pytest.mark.parametrize(("mode", "bits", "channels", "has_alpha"), [
    ("L", 8, 1, False), ("LA", 8, 1, True), ("RGB", 8, 3, False), ("RGBA", 8, 3, True), ("I;16", 16, 1, False),
])  # fmt: skip
def test_decoded_separates_colour_and_alpha(mode, bits, channels, has_alpha):
    decoded = image.decode(file_bytes(mode, "PNG"), "a.png")
    assert decoded.pixels.shape == (16, 20, channels)
    assert decoded.size_hw == (16, 20)
    assert decoded.bits == bits
    assert (decoded.alpha is not None) == has_alpha


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compression_is_kept(compression):
    assert opened(again(file_bytes("RGB", "TIFF", compression=compression))).info["compression"] == compression


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_exif_is_kept_and_the_pixels_are_stored_as_before(file_format):
    after = opened(again(file_bytes("RGB", file_format, exif=EXIF)))
    assert after.size == (20, 16)
    assert after.getexif()[274] == 6
    assert after.getexif()[270] == "a render"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_seen_upright_and_stored_as_before(orientation):
    data = file_bytes("RGB", "TIFF", tiffinfo={274: orientation, 270: "a render"})
    raw = np.asarray(opened(file_bytes("RGB", "TIFF")))
    decoded = image.decode(data, "a.tif")
    np.testing.assert_array_equal(image.as_stored(decoded.pixels, orientation), raw)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(opened(data)))
    assert image.size_of(data, "a.tif") == decoded.size_hw
    tags = Image.open(io.BytesIO(again(data))).tag_v2
    assert (tags[274], tags[270]) == (orientation, "a render")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colour_profile_is_kept(file_format):
    assert (
        opened(again(file_bytes("RGB", file_format, icc_profile=b"profile" * 30))).info["icc_profile"]
        == b"profile" * 30
    )


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_density_is_kept(file_format):
    assert opened(again(file_bytes("RGB", file_format, dpi=(300, 300)))).info["dpi"] == pytest.approx(
        (300, 300), abs=0.01
    )


def test_png_chunks_are_kept():
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("camera", "left")
    chunks.add_itxt("scene", "Bäume", "de", "Szene")
    chunks.add(b"gAMA", struct.pack(">I", 45455))
    after = opened(again(file_bytes("RGB", "PNG", pnginfo=chunks)))
    assert after.text == {"camera": "left", "scene": "Bäume"}
    assert (after.text["scene"].lang, after.text["scene"].tkey) == ("de", "Szene")
    assert after.info["gamma"] == pytest.approx(0.45455)


def test_png_transparent_colour_is_kept():
    assert opened(again(file_bytes("RGB", "PNG", transparency=(1, 2, 3)))).info["transparency"] == (1, 2, 3)


def test_jpeg_is_written_without_chroma_subsampling_at_high_quality():
    data = again(file_bytes("RGB", "JPEG", comment=b"made up", progressive=True))
    after = opened(data)
    assert [component[1:3] for component in after.layer] == [(1, 1)] * 3
    assert max(after.quantization[0]) <= 12
    assert after.info["comment"] == b"made up"
    assert after.info.get("progressive")


def test_first_frame_of_a_phone_photo_is_used():
    second = opened(file_bytes("RGB", "JPEG"))
    decoded = image.decode(file_bytes("RGB", "MPO", save_all=True, append_images=[second]), "a.jpg")
    assert decoded.format == "JPEG"


def test_misnamed_image_goes_by_its_content():
    assert image.decode(file_bytes("RGB", "PNG"), "photo.jpg").format == "PNG"


def deep_colour_png() -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    rows = zlib.compress(bytes(16 * (1 + 16 * 6)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def shallow_png() -> bytes:
    """A 2-bit gray PNG."""
    data = bytearray(deep_colour_png())
    data[24:26] = bytes([2, 0])
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def bomb() -> bytes:
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    data = bytearray(file_bytes("L", "PNG"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def frames(file_format: str) -> bytes:
    """Three frames in one file."""
    more = [opened(file_bytes("RGB", "PNG", size_wh=(20, 16))).rotate(90 * i) for i in (1, 2)]
    return file_bytes("RGB", file_format, save_all=True, append_images=more)


BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello, this is no image", "no known image format"),
    "json": (b'{"a": 1}', "JSON text"),
    "html": (b"<!DOCTYPE html><html>", "HTML or XML text"),
    "gif": (b"GIF89a" + bytes(40), "a GIF"),
    "cut png": (file_bytes("RGB", "PNG")[:300], "truncated"),
    "cut jpeg": (file_bytes("RGB", "JPEG")[:-200], "runcated"),
    "cut tiff": (file_bytes("RGB", "TIFF")[:400], "truncated"),
    "cut bmp": (file_bytes("RGB", "BMP")[:400], "truncated"),
    "cut webp": (file_bytes("RGB", "WEBP")[:100], "not a readable image"),
    "header only": (file_bytes("RGB", "PNG")[:8], "not a readable image"),
    "one pixel": (file_bytes("RGB", "PNG", size_wh=(1, 1)), "1x1 is too small"),
    "palette": (file_bytes("P", "PNG"), "mode P"),
    "black and white": (file_bytes("1", "PNG"), "mode 1"),
    "CMYK": (file_bytes("CMYK", "JPEG"), "mode CMYK"),
    "bomb": (bomb(), "more than 64,000,000 pixels"),
    "deep colour": (deep_colour_png(), "16 bits per channel"),
    "two-bit gray": (shallow_png(), "2 bits per channel"),
    "deep colour ppm": (b"P6 16 16 65535\n" + bytes(16 * 16 * 6), "largest value"),
    "odd ppm": (b"P5 16 16 100\n" + bytes(256), "largest value"),
    "animated png": (frames("PNG"), "has 3 frames"),
    "animated webp": (frames("WEBP"), "has 3 frames"),
    "many pages": (frames("TIFF"), "has 3 frames"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_image_is_one_clear_line(name):
    data, part = BAD[name]
    with pytest.raises(SampleError) as caught:
        image.decode(data, "folder/bad file.png")
    line = str(caught.value)
    assert line.startswith("folder/bad file.png: ")
    assert part in line
    assert "\n" not in line
    assert "0x" not in line


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_float_conversion_is_exact_for_every_value(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    as_float = image.to_float(values)
    assert as_float.dtype == np.float32
    assert (as_float[0], as_float[-1]) == (-1, 1)
    np.testing.assert_array_equal(image.from_float(as_float, 8 * values.itemsize), values)


def test_from_float_clips():
    np.testing.assert_array_equal(image.from_float(np.array([-3, 3], np.float32), 8), [0, 255])


def test_as_channels():
    gray = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    colour = image.as_channels(gray, 3)
    assert colour.shape == (2, 2, 3)
    np.testing.assert_array_equal(image.as_channels(colour, 1), gray)


def test_decoded_metadata_of_a_broken_file_never_reaches_pillow_globals():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(SampleError):
        image.decode(bomb(), "a.png")
    assert before == Image.MAX_IMAGE_PIXELS
