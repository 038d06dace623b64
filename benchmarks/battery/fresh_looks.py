"""Changes of looks of the fresh split. Image in [0, 1] to image, at severity 0 (mild), 1 (middle) or 2 (heavy).

None moves anything: pixels change by their own value, by their neighbourhood on all sides alike, or by smooth light.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image as PillowImage

from battery._pixels import Image, Plane, blurred, smooth_noise

Change = Callable[[Image, int, np.random.Generator, Image], Image]


def split_tone(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Shadows tinted one way and lights the other, by .12, .24, .38; of a gray image shadows lifted, lights lowered."""
    strength, light = (0.12, 0.24, 0.38)[severity], image.mean(axis=2, keepdims=True)
    tint = rng.uniform(-1, 1, image.shape[2])
    tint = tint - tint.mean() + 0.2 if image.shape[2] == 3 else np.full(1, 0.4)
    return image + strength * tint * (1 - 2 * light)


def sepia_fade(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """An old print: contrast down by 12, 25, 40%, blacks lifted, colours drawn to brown by .2, .35, .5."""
    fade, brown = (0.12, 0.25, 0.4)[severity], (0.2, 0.35, 0.5)[severity]
    if image.shape[2] == 3:
        gray = image @ np.array([0.3, 0.59, 0.11], np.float32)
        image = image + brown * (gray[..., None] * np.array([1.12, 0.98, 0.78], np.float32) - image)
    return image * (1 - fade) + fade * rng.uniform(0.45, 0.7)


def channel_gamma(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Another exponent for each channel, e^+-.2, .4, .65 at most."""
    strength = (0.2, 0.4, 0.65)[severity]
    slope = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0, image.shape[2])
    return np.clip(image, 1e-4, 1) ** np.exp(strength * slope)


def tone_mapping(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Broad light compressed by 30, 55, 80% as of high-range photographs, detail raised by a tenth to a third."""
    share, reach = (0.3, 0.55, 0.8)[severity], max(image.shape[:2]) * float(rng.uniform(0.08, 0.14))
    log = np.log(image.mean(axis=2, keepdims=True) + 0.05)
    base = blurred(log, reach)
    mapped = base.mean() + (1 - share) * (base - base.mean()) + (1 + 0.45 * share) * (log - base)
    return image * np.exp(mapped - log) * (1 + 0.12 * share)


def colour_blotches(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Stains a fifth to a third of the frame wide, of another colour each; deviation .03, .055, .09."""
    cell = max(image.shape[:2]) * float(rng.uniform(0.2, 0.33))
    own, shared = (smooth_noise(rng, image.shape[:2], cell, c) for c in (image.shape[2], 1))
    return image + (0.03, 0.055, 0.09)[severity] * (0.75 * own + 0.65 * shared)


def glow(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Soft light: a blurred copy screened over the image, by 12, 25, 42%."""
    share, soft = (0.12, 0.25, 0.42)[severity], blurred(image, float(rng.uniform(2.5, 5.0)))
    return 1 - (1 - image) * (1 - share * soft)


def bilateral(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Smoothed among neighbours of like colour, 5 x 5, 7 x 7, 9 x 9: grain goes, edges stay."""
    reach, alike = (2, 3, 4)[severity], (0.06, 0.09, 0.13)[severity]
    height, width = image.shape[:2]
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total, weights = np.zeros_like(image), np.zeros((height, width, 1), np.float32)
    for down in range(2 * reach + 1):
        for across in range(2 * reach + 1):
            there = padded[down : down + height, across : across + width]
            far = ((down - reach) ** 2 + (across - reach) ** 2) / (2 * (0.6 * reach) ** 2)
            weight = np.exp(-far - ((there - image) ** 2).mean(axis=2, keepdims=True) / (2 * alike**2))
            total, weights = total + weight * there, weights + weight
    return total / weights


def guided(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """A noise filter that is guided by the image itself: where it varies little it becomes its local mean."""
    reach, level = (1.5, 2.0, 2.5)[severity], (0.03, 0.06, 0.1)[severity]
    mean = blurred(image, reach)
    spread = np.maximum(blurred(image**2, reach) - mean**2, 0)
    share = spread / (spread + level**2)
    return blurred(share, reach) * image + blurred((1 - share) * mean, reach)


def posterized(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Few levels for each channel, 18, 11, 7, the steps a little soft."""
    levels, start = (18, 11, 7)[severity], rng.uniform(0, 1)
    place = image * levels + start
    return (np.floor(place) + 0.5 + 0.3 * (place % 1.0 - 0.5) - start) / levels


def dithered(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Few levels, 11, 6, 4, between which a 4 x 4 pattern of thresholds decides."""
    levels = (11, 6, 4)[severity] - 1
    tile = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32
    tile = np.roll(tile, rng.integers(0, 4, 2), axis=(0, 1))
    repeated = np.tile(tile, [-(-side // 4) for side in image.shape[:2]])[: image.shape[0], : image.shape[1], None]
    return np.floor(image * levels + repeated) / levels


def film_grain(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Grain of about a pixel, strongest in mid tones, the same in all channels; deviation up to .03, .07, .11."""
    grain = blurred(rng.normal(0, 1, (*image.shape[:2], 1)).astype(np.float32), 0.6)
    light = np.clip(image.mean(axis=2, keepdims=True), 0.03, 0.97)
    return image + (0.03, 0.07, 0.11)[severity] * np.sqrt(4 * light * (1 - light)) * grain / grain.std()


def chroma_noise(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Noise of some pixels' size in colour, and a third as strong in light; of a gray image in light alone."""
    level = (0.025, 0.05, 0.08)[severity]
    grain = blurred(rng.normal(0, 1, image.shape).astype(np.float32), 1.0)
    grain = grain / grain.std()
    if image.shape[2] == 1:
        return image + level * grain
    light = grain.mean(axis=2, keepdims=True)
    return image + level * (1.2 * (grain - light) + 0.6 * light)


def salt_pepper(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """One of 150, 60, 30 pixels half way to black or white."""
    hit = rng.random((*image.shape[:2], 1)) < (1 / 150, 1 / 60, 1 / 30)[severity]
    return np.where(hit, image + 0.65 * (rng.integers(0, 2, hit.shape) - image), image)


def jpeg_420(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """JPEG of quality 70, 40, 20 with colour at half the resolution."""
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    held, quality = io.BytesIO(), (70, 40, 20)[severity]
    PillowImage.fromarray(pixels.squeeze()).convert("RGB").save(held, "JPEG", quality=quality, subsampling=2)
    opened = PillowImage.open(held).convert("L" if image.shape[2] == 1 else "RGB")
    return np.asarray(opened, np.float32).reshape(image.shape) / 255


def sine_print(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """A printer's fine screen multiplied onto the image: crossed waves of 2.5 to 4 px, by 5, 9, 14%."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(2.5, 4.0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32) * (2 * np.pi / period)
    waves: Plane = np.cos(x * np.cos(angle) + y * np.sin(angle)) + np.cos(y * np.cos(angle) - x * np.sin(angle))
    return image * (1 + (0.05, 0.09, 0.14)[severity] * waves[..., None])


NAMES = (
    "tone_mapping", "colour_blotches", "sepia_fade", "split_tone", "channel_gamma", "glow", "bilateral", "guided",
    "film_grain", "chroma_noise", "sine_print", "salt_pepper", "posterized", "dithered", "jpeg_420",
)  # fmt: skip
"""In the order of a camera and what comes after it."""

PIXEL_CHANGES: Mapping[str, Change] = {name: globals()[name] for name in NAMES}
