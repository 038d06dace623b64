"""What a file says or shows of its own pixels: true of the new ones, or left out and said."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from refinery import image, png
from refinery.dataset import open_dataset
from refinery.errors import SampleError
from refinery.images.stale import is_checksum
from refinery.sample import FloatArray, Sample
from refinery.work import Work

RANDOM = np.random.default_rng(0)
SCENE = RANDOM.integers(0, 256, (24, 40, 3), np.uint8)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%s<dc:title>a render</dc:title></x:xmpmeta>'


def saved(pixels: np.ndarray, file_format: str, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, file_format, **options)
    return out.getvalue()


THUMBNAIL = saved(SCENE[::3, ::3], "JPEG")


def opened(file: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(file))
    picture.load()
    return picture


def refined(file: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The file with other pixels, and what was left out."""
    decoded = image.decode(file, "a")
    return image.encode(255 - decoded.pixels, decoded), decoded.left_out


def exif(note: bytes = b"", thumbnail: bytes = THUMBNAIL) -> bytes:
    """An EXIF block with description, orientation 6, a maker note and a thumbnail, by the specification."""
    text = b"a render\0"
    inner, behind = 8 + 2 + 3 * 12 + 4, 0
    strings = inner + 2 + 12 + 4
    second = strings + len(text) + len(note)
    behind = second + 2 + 3 * 12 + 4
    first = struct.pack("<H", 3)
    first += struct.pack("<HHII", 270, 2, len(text), strings) + struct.pack("<HHIHH", 274, 3, 1, 6, 0)
    first += struct.pack("<HHII", 0x8769, 4, 1, inner) + struct.pack("<I", second if thumbnail else 0)
    exif_ifd = struct.pack("<H", 1) + struct.pack("<HHII", 0x927C, 7, len(note), strings + len(text)) + bytes(4)
    thumb_ifd = struct.pack("<H", 3) + struct.pack("<HHIHH", 259, 3, 1, 6, 0)
    thumb_ifd += (
        struct.pack("<HHII", 0x201, 4, 1, behind) + struct.pack("<HHII", 0x202, 4, 1, len(thumbnail)) + bytes(4)
    )
    whole = b"II*\0\x08\0\0\0" + first + exif_ifd + text + note
    return b"Exif\0\0" + whole + (thumb_ifd + thumbnail if thumbnail else b"")


# Colour keys


def keyed(mode: str) -> tuple[bytes, tuple[int, ...]]:
    """A PNG with some pixels of a transparent colour, and that colour."""
    kind, top = (np.uint16, 65535) if mode == "I;16" else (np.uint8, 255)
    shape = (24, 40, 3) if mode == "RGB" else (24, 40)
    pixels = RANDOM.integers(0, top, shape, kind)
    key = (255, 0, 255) if mode == "RGB" else (7,)
    pixels[4:9, 6:30] = key if mode == "RGB" else key[0]
    return saved(pixels, "PNG", transparency=key if mode == "RGB" else key[0]), key


def transparent(file: bytes) -> np.ndarray:
    """Where a viewer shows nothing, by the specification."""
    picture = opened(file)
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    return (pixels == np.atleast_1d(picture.info["transparency"])).all(axis=2)


@pytest.mark.parametrize("shade", ["the key", "one beside it", "inverted"])
@pytest.mark.parametrize("mode", ["L", "I;16", "RGB"])
def test_the_same_pixels_are_transparent_whatever_the_others_become(mode, shade):
    file, key = keyed(mode)
    decoded = image.decode(file, "a.png")
    assert decoded.colour_key == key
    everywhere = np.broadcast_to(np.array(key, decoded.pixels.dtype), decoded.pixels.shape)
    top = np.iinfo(decoded.pixels.dtype).max
    pixels = {"the key": everywhere, "one beside it": np.clip(everywhere, 1, top - 1), "inverted": top - decoded.pixels}
    again = image.encode(pixels[shade], decoded)
    np.testing.assert_array_equal(transparent(again), transparent(file))
    written = image.decode(again, "a.png").pixels.astype(int)
    opaque = ~transparent(file)
    assert np.abs(written - pixels[shade])[opaque].max() <= 1


def test_a_gray_key_is_kept_where_the_refiner_makes_colour():
    file, _ = keyed("L")
    decoded = image.decode(file, "a.png")
    again = image.encode(RANDOM.integers(0, 256, (24, 40, 3), np.uint8), decoded)
    assert opened(again).mode == "RGB"
    np.testing.assert_array_equal(transparent(again), transparent(file))


def test_the_checks_see_what_is_written():
    file, _ = keyed("RGB")
    decoded = image.decode(file, "a.png")
    synthetic: FloatArray = image.to_float(decoded.pixels)
    work = Work(Sample("a", "a.png"), decoded=decoded, synthetic=synthetic, refined=-synthetic)
    work.stored = work.quantised(1.0)
    np.testing.assert_array_equal(image.decode(image.encode(work.stored, decoded), "a").pixels, work.stored)


# Previews


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_exif_thumbnail_is_left_out_and_the_rest_of_exif_stays_byte_for_byte(file_format):
    block = exif(note=b"the maker's own")
    again, left_out = refined(saved(SCENE, file_format, exif=block))
    kept = opened(again).info["exif"].removeprefix(b"Exif\0\0")
    expected = bytearray(exif(note=b"the maker's own", thumbnail=b"").removeprefix(b"Exif\0\0"))
    assert kept == bytes(expected)
    assert left_out == ("EXIF thumbnail",)
    assert b"\xff\xd8\xff" not in again[4:]


def test_a_thumbnail_in_front_of_other_exif_is_blanked_and_unlinked():
    block = bytearray(exif(note=b"").removeprefix(b"Exif\0\0"))
    place = struct.unpack_from("<I", block, 10 + 8)[0]
    text = bytes(block[place : place + 9])
    block[18:22] = struct.pack("<I", len(block))  # the description moves behind the thumbnail
    again, left_out = refined(saved(SCENE, "JPEG", exif=b"Exif\0\0" + bytes(block) + text))
    assert left_out == ("EXIF thumbnail",)
    assert opened(again).getexif()[270] == "a render"
    assert b"\xff\xd8\xff" not in again[4:]


def test_of_exif_with_a_preview_in_the_makers_notes_only_the_orientation_stays():
    again, left_out = refined(saved(SCENE, "JPEG", exif=exif(note=THUMBNAIL)))
    assert "EXIF with a preview inside" in left_out
    assert dict(opened(again).getexif()) == {274: 6}


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_thumbnail_in_xmp_is_left_out_and_the_rest_stays(file_format):
    inside = b"<xmp:Thumbnails><xmpGImg:image>" + base64.b64encode(THUMBNAIL) + b"</xmpGImg:image></xmp:Thumbnails>"
    packet = XMP % inside
    if file_format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
        file = saved(SCENE, "PNG", pnginfo=chunks)
    elif file_format == "TIFF":
        file = saved(SCENE, "TIFF", tiffinfo={700: packet})
    else:
        file = saved(SCENE, file_format, xmp=packet)
    again, left_out = refined(file)
    assert left_out == ("XMP thumbnail",)
    assert XMP % b"" in again


def photoshop(*resources: tuple[int, bytes]) -> bytes:
    return b"".join(
        struct.pack(">4sHHI", b"8BIM", number, 0, len(data)) + data + b"\0" * (len(data) % 2)
        for number, data in resources
    )


def with_segments(*segments: tuple[int, bytes], behind: bytes = b"") -> bytes:
    """A JPEG with these segments behind the first."""
    file = saved(SCENE, "JPEG")
    body = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    return file[:20] + body + file[20:] + behind


IPTC = b"\x1c\x02\x78\0\x05title"


@pytest.mark.parametrize(("file", "left_out", "stays"), [
    (with_segments((0xED, b"Photoshop 3.0\0" + photoshop((0x0404, IPTC), (0x040C, bytes(28) + THUMBNAIL)))),
     ("Photoshop thumbnail",), photoshop((0x0404, IPTC))),
    (with_segments((0xE0, b"JFXX\0\x10" + THUMBNAIL)), ("JFIF thumbnail",), b"JFIF"),
    (with_segments((0xEB, b"JP\0\x01" + bytes(40))), ("content credentials",), b"JFIF"),
    (with_segments((0xEC, b"Ducky" + bytes(9))), ("JPEG segment APP12",), b"JFIF"),
    (saved(SCENE, "MPO", save_all=True, append_images=[opened(THUMBNAIL)]),
     ("further images behind the first",), b"JFIF"),
    (with_segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP % b"<Container:Directory/>"), behind=THUMBNAIL),
     ("further images behind the first", "XMP about the data behind the image"), b"JFIF"),
    (with_segments((0xFE, b"md5: " + hashlib.md5(SCENE).hexdigest().encode())), ("checksum md5",), b"JFIF"),
    (with_segments((0xFE, b"seed: 7"), (0xEE, b"Adobe\0\x64\0\0\0\0\x01")), (), b"seed: 7"),
], ids=["photoshop", "jfxx", "c2pa", "unknown", "mpf", "gain map", "comment", "true"])  # fmt: skip
def test_jpeg_segments(file, left_out, stays):
    again, told = refined(file)
    assert told == left_out
    assert stays in again
    assert opened(again).size == (40, 24)
    assert again.count(b"\xff\xd8\xff") == 1
    assert refined(again) == (refined(again)[0], ())


def test_extended_xmp_with_a_picture_is_left_out_and_nothing_refers_to_it():
    guid = b"0" * 32
    packet = b'<x:xmpmeta xmpNote:HasExtendedXMP="%s"/>' % guid
    picture = b"<GImage:Data>" + base64.b64encode(THUMBNAIL) + b"</GImage:Data>"
    more = b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">II", len(picture), 0) + picture
    again, left_out = refined(with_segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet), (0xE1, more)))
    assert left_out == ("XMP with a preview inside",)
    assert b"HasExtendedXMP" not in again


# PNG chunks


def with_chunks(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with these chunks in front of its pixels."""
    file = saved(pixels, "PNG")
    return file[:33] + b"".join(png.chunk(kind, body) for kind, body in chunks) + file[33:]


CHUNKS = {
    "known and true": ([(b"gAMA", struct.pack(">I", 45455)), (b"cICP", b"\x01\x0d\0\x01"), (b"pHYs", bytes(9))], ()),
    "background": ([(b"bKGD", bytes([0, 1, 0, 2, 0, 3]))], ()),
    "all bits significant": ([(b"sBIT", bytes([8, 8, 8]))], ()),
    "fewer bits significant": ([(b"sBIT", bytes([5, 6, 5]))], ("PNG chunk sBIT",)),
    "unknown, safe to copy": ([(b"prVt", b"mine")], ()),
    "unknown, unsafe to copy": ([(b"prVT", b"mine")], ("PNG chunk prVT",)),
    "when the image was changed": ([(b"tIME", bytes(7))], ("PNG chunk tIME",)),
    "suggested palette": ([(b"PLTE", bytes(6)), (b"hIST", bytes(4))], ("PNG chunk PLTE", "PNG chunk hIST")),
    "content credentials": ([(b"caBX", bytes(40))], ("content credentials",)),
    "where pixels begin": ([(b"iDOT", bytes(28))], ()),
    "how it was made": ([(b"tEXt", b"parameters\0a cat, Model hash: 0123456789")], ()),
    "checksum": ([(b"tEXt", b"pixel_sha256\0" + b"ab" * 32)], ("checksum pixel_sha256",)),
    "packed checksum": ([(b"zTXt", b"md5\0\0" + zlib.compress(b"ab" * 16))], ("checksum md5",)),
    "checksum of the model": ([(b"tEXt", b"model_hash\0" + b"0123456789abcdef")], ()),
    "3 MB of text": ([(b"zTXt", b"notes\0\0" + zlib.compress(b"x" * 3_000_000))], ()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHUNKS)
def test_png_chunks(name):
    chunks, left_out = CHUNKS[name]
    again, told = refined(with_chunks(SCENE, *chunks))
    assert told == left_out
    for kind, body in chunks:
        gone = any(kind.decode() in line for line in told) or kind in (b"caBX", b"iDOT") or "checksum" in " ".join(told)
        assert (png.chunk(kind, body) in again) != gone
    np.testing.assert_array_equal(image.decode(again, "a").pixels, 255 - SCENE)


def test_an_imagemagick_profile_loses_its_thumbnail_and_keeps_its_orientation():
    digits = exif().hex()
    text = f"\nexif\n{len(exif()):8d}\n{digits}\n".encode()
    file = with_chunks(SCENE, (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    again, left_out = refined(file)
    assert left_out == ("EXIF thumbnail",)
    assert opened(again).getexif()[274] == 6
    assert image.decode(again, "a").orientation == 6


def test_chunks_of_a_gray_file_fit_the_colour_file_that_comes_of_it():
    chunks = (
        (b"bKGD", bytes([0, 9])),
        (b"iCCP", b"gray\0\0" + zlib.compress(bytes(128))),
        (b"gAMA", struct.pack(">I", 45455)),
    )
    decoded = image.decode(with_chunks(SCENE[:, :, 0], *chunks), "a.png")
    again = image.encode(SCENE, decoded)
    assert png.chunk(b"bKGD", bytes([0, 9] * 3)) in again
    assert b"iCCP" not in again
    assert b"gAMA" in again


def test_a_gray_profile_is_not_put_into_a_colour_jpeg():
    decoded = image.decode(saved(SCENE[:, :, 0], "JPEG", icc_profile=b"gray profile" * 20), "a.jpg")
    assert opened(image.encode(SCENE, decoded)).info.get("icc_profile") is None
    assert opened(image.encode(decoded.pixels, decoded)).info["icc_profile"] == b"gray profile" * 20


def test_a_png_whose_chunks_are_broken_is_refused():
    file = bytearray(with_chunks(SCENE, (b"tRNS", bytes(6))))
    with pytest.raises(SampleError, match=r"a\.png: .*(broken|truncated)"):
        image.decode(bytes(file[:-6]), "a.png")
    file[45] ^= 1  # inside tRNS
    with pytest.raises(SampleError, match=r"a\.png: not a readable image"):
        image.decode(bytes(file), "a.png")


def test_webp_chunks_that_nobody_knows_are_named():
    file = bytearray(saved(SCENE, "WEBP", lossless=True, exif=exif(thumbnail=b"")))
    file += b"C2PA" + struct.pack("<I", 4) + b"mine"
    file[4:8] = struct.pack("<I", len(file) - 8)
    assert image.decode(bytes(file), "a").left_out == ("content credentials",)


def test_tiff_tags_that_are_not_carried_are_named():
    file = saved(SCENE, "TIFF", tiffinfo={270: "a render", 34377: photoshop((0x040C, THUMBNAIL)), 65000: "mine"})
    again, left_out = refined(file)
    assert left_out == ("Photoshop resources", "TIFF tag 65000")
    assert opened(again).tag_v2[270] == "a render"
    assert THUMBNAIL not in again


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("md5", "d41d8cd98f00b204e9800998ecf8427e", True), ("Image Hash", "0xdeadbeef", True),
    ("pixelSHA256", "a" * 64, True),
    ("checksum", "sha256:" + "b" * 64, True), ("Signature", "c" * 64, True), ("md5sum", "d" * 32, True),
    ("Signature", "J. Doe", False), ("Model hash", "a" * 10, False), ("scene_hash", "a" * 40, False),
    ("commit", "a" * 40, False),
    ("hash", "none", False), ("seed", "12345678", False),
])  # fmt: skip
def test_what_counts_as_a_checksum_of_the_image(name, value, expected):
    assert is_checksum(name, value) == expected


def test_a_dataset_says_what_is_left_out(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(saved(SCENE, "JPEG", exif=exif()))
    source = open_dataset(tmp_path)
    for entry in source.entries():
        source.decode(source.read(entry), entry)
    assert source.problems()[0] == (
        "EXIF thumbnail: left out of 3 images looked at (0.jpg, ...), new pixels make it false"
    )
