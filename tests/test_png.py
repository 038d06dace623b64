"""The PNG writer: other decoders read the same pixels, metadata stay byte for byte, wrong arguments are said."""

from __future__ import annotations

import importlib.util
import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from refinery import image, png
from refinery.errors import SampleError

KINDS = {"L": (1, np.uint8), "LA": (2, np.uint8), "RGB": (3, np.uint8), "RGBA": (4, np.uint8), "I;16": (1, np.uint16)}
SIZES_WH = [(1, 1), (8, 8), (17, 9), (9, 33), (60, 36), (2001, 8), (8, 1500)]
EXIF = Image.Exif()
EXIF[274] = 6
EXIF[270] = "a render"


def noise(mode: str, size_wh: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(H, W, C) of a mode, every value possible."""
    channels, dtype = KINDS[mode]
    shape = (size_wh[1], size_wh[0], channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def picture(pixels: np.ndarray) -> Image.Image:
    """The pixels as a Pillow image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def pillow_file(pixels: np.ndarray, **options) -> bytes:
    """What Pillow writes, all of it."""
    out = io.BytesIO()
    picture(pixels).save(out, "PNG", **options)
    return out.getvalue()


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """Type and body of every chunk, the CRCs checked."""
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    found, start = [], 8
    while start < len(file):
        length = struct.unpack_from(">I", file, start)[0]
        kind_and_body = file[start + 4 : start + 8 + length]
        assert struct.unpack_from(">I", file, start + 8 + length)[0] == zlib.crc32(kind_and_body)
        found.append((kind_and_body[:4], kind_and_body[4:]))
        start += 12 + length
    return found


def by_hand(file: bytes) -> np.ndarray:
    """The pixels by zlib and the specification alone, for files of "up" rows."""
    (_, header), *others = chunks(file)
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", header)
    assert rest == [0, 0, 0]
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    raw = zlib.decompress(b"".join(body for kind, body in others if kind == b"IDAT"))
    rows = np.frombuffer(raw, np.uint8).reshape(height, -1)
    assert set(rows[:, 0]) == {2}
    values = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    return values.reshape(-1).view(">u2" if bits == 16 else np.uint8).reshape(height, width, channels)


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def _deflate(request, monkeypatch):
    """Every test with and without isal."""
    if request.param == "zlib":
        monkeypatch.setattr(png, "_deflate", zlib)


@pytest.mark.parametrize("size_wh", SIZES_WH, ids=str)
@pytest.mark.parametrize("mode", KINDS)
def test_other_decoders_read_the_same_pixels(mode, size_wh):
    pixels = noise(mode, size_wh)
    file = png.encode(pixels)
    opened = Image.open(io.BytesIO(file))
    assert (opened.mode, opened.size) == (mode, size_wh)
    np.testing.assert_array_equal(np.asarray(opened).reshape(pixels.shape), pixels)
    np.testing.assert_array_equal(by_hand(file), pixels)


@pytest.mark.parametrize("pixels", [
    noise("RGB", (20, 16))[::-1, ::2],
    np.asfortranarray(noise("RGBA", (20, 16))),
    noise("RGB", (20, 16)).transpose(1, 0, 2),
    noise("I;16", (20, 16)).astype(">u2"),
    np.broadcast_to(np.uint8(7), (16, 20, 3)),
], ids=["flipped", "column order", "turned", "big-endian", "broadcast"])  # fmt: skip
def test_any_memory_layout_is_written(pixels):
    before = pixels.copy()
    np.testing.assert_array_equal(by_hand(png.encode(pixels)), pixels)
    np.testing.assert_array_equal(pixels, before)


def test_a_file_without_metadata_has_three_chunks():
    assert [kind for kind, _ in chunks(png.encode(noise("RGB", (60, 36))))] == [b"IHDR", b"IDAT", b"IEND"]


def texts() -> PngImagePlugin.PngInfo:
    """One of every kind of text chunk, gamma, chromaticity, and a chunk after the pixels."""
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"cHRM", struct.pack(">8I", *range(31270, 31278)))
    info.add(b"sRGB", b"\0")
    info.add_text("camera", "left")
    info.add_text("long", "x" * 3000, zip=True)
    info.add_itxt("scene", "Bäume", "de", "Szene")
    info.add_itxt("long scene", "Bäume" * 300, zip=True)
    return info


METADATA = {
    "text, gamma, chromaticity, sRGB": {"pnginfo": texts()},
    "profile": {"icc_profile": bytes(range(256)) * 12},
    "exif": {"exif": EXIF},
    "density": {"dpi": (300, 200)},
    "all": {"pnginfo": texts(), "icc_profile": b"profile" * 30, "exif": EXIF, "dpi": (72, 72)},
}
TRANSPARENT = {"L": 0, "I;16": 60_000, "RGB": (0, 2, 3)}


def metadata_of(file: bytes) -> list[tuple[bytes, bytes]]:
    """All but the pixels, and where among the rest these stand."""
    once = dict.fromkeys((kind, b"" if kind == b"IDAT" else body) for kind, body in chunks(file))
    return list(once)


@pytest.mark.parametrize("size_wh", [(8, 8), (333, 250)], ids=str)
@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("metadata", METADATA)
def test_metadata_are_what_pillow_writes_into_the_whole_image(mode, metadata, size_wh):
    pixels, other = noise(mode, size_wh), noise(mode, (400, 300), seed=1)
    whole = pillow_file(pixels, **METADATA[metadata])
    for like in (whole, pillow_file(other, compress_level=0, **METADATA[metadata])):  # the second has many IDAT chunks
        file = png.encode(pixels, like)
        assert metadata_of(file) == metadata_of(whole)
        assert sum(kind == b"IDAT" for kind, _ in chunks(file)) == 1
        np.testing.assert_array_equal(by_hand(file), pixels)


@pytest.mark.parametrize("mode", TRANSPARENT)
def test_the_transparent_colour_is_kept(mode):
    pixels = noise(mode, (20, 16))
    whole = pillow_file(pixels, transparency=TRANSPARENT[mode])
    decoded = image.decode(whole, "a.png")
    file = image.encode(decoded.pixels, decoded)
    assert metadata_of(file) == metadata_of(whole)
    assert Image.open(io.BytesIO(file)).info["transparency"] == TRANSPARENT[mode]


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("metadata", METADATA)
def test_an_image_keeps_its_metadata(mode, metadata):
    pixels = noise(mode, (20, 16))
    once = image.decode(pillow_file(pixels, **METADATA[metadata]), "a.png")
    file = image.encode(once.pixels, once)
    again = image.decode(file, "a.png")
    assert image.encode(again.pixels, again) == file
    assert again.info == once.info
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))).reshape(pixels.shape), pixels)


def test_chunks_after_the_pixels_stay_there():
    info = PngImagePlugin.PngInfo()
    info.add(b"prVt", b"mine", after_idat=True)
    file = png.encode(noise("L", (8, 8)), pillow_file(noise("L", (1, 1)), pnginfo=info))
    assert [kind for kind, _ in chunks(file)] == [b"IHDR", b"IDAT", b"prVt", b"IEND"]


@pytest.mark.parametrize("pixels", [
    noise("RGB", (8, 8))[:, :, 0],
    noise("RGB", (8, 8)).astype(np.float32),
    noise("RGB", (8, 8)).astype(np.int8),
    noise("RGB", (8, 8)).astype(np.uint16),
    noise("L", (8, 8)).astype(np.uint32),
    np.zeros((8, 8, 5), np.uint8),
    np.zeros((0, 8, 3), np.uint8),
    np.zeros((8, 8, 0), np.uint8),
], ids=lambda pixels: f"{pixels.shape} {pixels.dtype}")  # fmt: skip
def test_what_no_png_holds_is_refused(pixels):
    with pytest.raises(ValueError, match=r"pixels are|channels of"):
        png.encode(pixels)


@pytest.mark.parametrize(("like", "part"), [
    (b"\xff\xd8\xff", "not a whole PNG"),
    (png.SIGNATURE, "not a whole PNG"),
    (pillow_file(noise("RGB", (8, 8)))[:-20], "not a whole PNG"),
    (pillow_file(noise("RGBA", (8, 8))), "colour type"),
    (pillow_file(noise("I;16", (8, 8))), "colour type"),
])  # fmt: skip
def test_metadata_of_another_kind_of_file_are_refused(like, part):
    with pytest.raises(ValueError, match=part):
        png.encode(noise("RGB", (8, 8)), like)


def test_what_the_format_cannot_hold_is_one_clear_line():
    like = image.Decoded(noise("I;16", (8, 8)), "PNG", "I;16")
    with pytest.raises(SampleError, match="cannot be written as PNG"):
        image.encode(noise("RGB", (8, 8)).astype(np.uint16), like)


def test_the_bytes_are_the_same_every_time():
    pixels = noise("RGB", (333, 250))
    first = png.encode(pixels)
    png.encode(noise("RGB", (60, 36), seed=2))
    assert png.encode(pixels.copy()) == first


def test_the_bytes_are_the_same_in_another_process():
    code = (
        "import sys, numpy as np; from refinery import png; "
        "pixels = np.random.default_rng(5).integers(0, 9, (200, 300, 3), np.uint8); "
        "sys.stdout.buffer.write(png.encode(pixels))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.slow
def test_the_bytes_are_the_same_in_another_thread():
    """Threads have stacks of their own: what a library takes from an address in memory differs there."""
    starts = np.random.default_rng(6).integers(0, 256, (4000, 1, 8, 1), np.uint8)
    pictures = np.concatenate((starts, np.full((4000, 1, 400, 1), 7, np.uint8), starts), axis=2)
    first = [png.encode(pixels) for pixels in pictures]
    for _ in range(6):
        with ThreadPoolExecutor(2) as pool:  # new threads each time
            assert list(pool.map(png.encode, pictures)) == first


def test_without_isal_zlib_writes_the_same_pixels(monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)
    spec = importlib.util.spec_from_file_location("png_without_isal", png.__file__)
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    assert alone._deflate is zlib
    pixels = noise("RGB", (60, 36))
    np.testing.assert_array_equal(by_hand(alone.encode(pixels)), by_hand(png.encode(pixels)))
