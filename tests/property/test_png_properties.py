"""Properties of the PNG writer over sizes, modes and texts: what is read is what was written."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from refinery import image, png

KINDS = [(1, np.uint8), (2, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16)]
sides = st.integers(1, 70)
seeds = st.integers(0, 2**32 - 1)
levels = st.sampled_from([1, 2, 5, 256, 65_536])


def some_pixels(kind: tuple[int, type], width: int, height: int, seed: int, levels: int) -> np.ndarray:
    """(H, W, C) of few values, as renders have, or of all of them."""
    channels, dtype = kind
    top = min(levels, int(np.iinfo(dtype).max) + 1)
    values = np.random.default_rng(seed).integers(0, top, (height, width, channels))
    return (values * (int(np.iinfo(dtype).max) // max(1, top - 1))).astype(dtype)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), sides, sides, seeds, levels)
def test_pillow_reads_what_was_written(kind, width, height, seed, levels):
    pixels = some_pixels(kind, width, height, seed, levels)
    read = np.asarray(Image.open(io.BytesIO(png.encode(pixels))))
    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read.reshape(pixels.shape), pixels)


keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map("k-".__add__)
words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=50)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(8, 40),
    st.integers(8, 40),
    seeds,
    st.dictionaries(keys, words, max_size=4),
    st.binary(max_size=200),
    st.none() | st.integers(1, 1200),
)
def test_texts_profile_and_density_come_back(kind, width, height, seed, texts, profile, dpi):
    pixels = some_pixels(kind, width, height, seed, 65_536)
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value, "en", "word")
    out = io.BytesIO()
    options = {"dpi": (dpi, dpi)} if dpi else {}
    options |= {"icc_profile": profile} if profile else {}
    Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels).save(
        out, "PNG", pnginfo=info, **options
    )
    before = image.decode(out.getvalue(), "a.png")
    after = image.decode(image.encode(before.pixels, before), "a.png")
    assert after.info == before.info
    np.testing.assert_array_equal(after.pixels, before.pixels)
    if before.alpha is not None:
        np.testing.assert_array_equal(after.alpha, before.alpha)
