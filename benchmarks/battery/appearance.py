"""Changes of looks that move no label: image in [0, 1] to image, at severity 0 (mild), 1 (middle) or 2 (heavy).

`texture_swap` is done by drawing the scene again (`Kind.retextured`); all others work on pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image as PillowImage

from battery import blind_looks, fresh_looks
from battery._pixels import Image, blurred, smooth_noise

SEVERITIES = ("mild", "middle", "heavy")
TEXTURE_SWAP = "texture_swap"
SWAP_STRENGTH = (0.12, 0.25, 0.4)
PARTS_OF_COMPOSITE = 2
FROM_ANOTHER = frozenset({"residual", "borrowed"})
"""Looks that take something from another image of the kind."""

Change = Callable[[Image, int, np.random.Generator, Image], Image]


def identical(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Control: nothing changes."""
    return image


def gamma(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Exponent e^+-.25, .5, .85."""
    return image ** np.float32(np.exp(rng.choice([-1, 1]) * (0.25, 0.5, 0.85)[severity]))


def contrast(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Contrast by 1 / (1 + s) or 1 + s around the mean, brightness by +- s / 3; s = .2, .4, .7."""
    strength = (0.2, 0.4, 0.7)[severity]
    gain = (1.0 + strength) ** rng.choice([-1, 1])
    return (image - image.mean()) * gain + image.mean() + rng.uniform(-1, 1) * strength / 3


def cast(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """A gain for each channel and one that varies smoothly over the frame, up to 8, 15, 25% each."""
    strength = (0.08, 0.15, 0.25)[severity]
    light = np.clip(smooth_noise(rng, (image.shape[0], image.shape[1]), 0.7 * max(image.shape)) / 2, -1, 1)
    return image * (1 + strength * rng.uniform(-1, 1, image.shape[2])) * (1 + strength * light)


def blur(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Gaussian of .6, 1.3, 2.2 px."""
    return blurred(image, (0.6, 1.3, 2.2)[severity])


def noise(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """White noise of deviation .02, .06, .10."""
    return image + rng.normal(0.0, (0.02, 0.06, 0.10)[severity], image.shape)


def jpeg(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """JPEG of quality 80, 50, 30."""
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    held = io.BytesIO()
    PillowImage.fromarray(pixels.squeeze()).save(held, "JPEG", quality=(80, 50, 30)[severity])
    return np.asarray(PillowImage.open(held), np.float32).reshape(image.shape) / 255


def texture(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Two octaves of texture over everything, of deviation .03, .06, .09."""
    size = (image.shape[0], image.shape[1])
    pattern = smooth_noise(rng, size, 3.0) + smooth_noise(rng, size, float(rng.uniform(5, 12)))
    return image + (0.03, 0.06, 0.09)[severity] * pattern / np.float32(np.sqrt(2))


def vignette(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Dark towards the corners, by 25, 50, 75%."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    off = rng.uniform(-0.15, 0.15, 2)
    reach = ((x / (width - 1) - 0.5 - off[0]) ** 2 + (y / (height - 1) - 0.5 - off[1]) ** 2) / 0.5
    return image * (1 - (0.25, 0.5, 0.75)[severity] * np.clip(reach, 0, 1.2))[..., None]


def residual(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:
    """What a random small filter bank adds to another image, carried over: deviation .025, .05, .075, at most three.

    The bank stands for a refiner: rectified differences of neighbours, mixed. Its residual has the other image's
    edges in it, which is what makes it hard. What two trained SimGAN refiners add beside their tone curve deviates by
    .044 (signs) and .106 (eyes), medians of 200 images.
    """
    grown = blurred(other, 0.6)
    down, across = np.gradient(grown, axis=0), np.gradient(grown, axis=1)
    bank = np.concatenate([f(g) for g in (down, across, grown - blurred(grown, 1.5)) for f in (np.abs, np.tanh)], -1)
    mixed = bank @ rng.normal(0.0, 1.0, (bank.shape[2], image.shape[2]))
    mixed = mixed - mixed.mean()
    return image + (0.025, 0.05, 0.075)[severity] * np.clip(mixed / max(float(mixed.std()), 1e-6), -3, 3)


def inversion(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Luminance turned round within a soft-edged region of 15, 30, 50% of the frame; its colours stay."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    radius = np.sqrt((0.15, 0.3, 0.5)[severity] * height * width / np.pi)
    away = np.hypot(x - rng.uniform(0.2, 0.8) * width, y - rng.uniform(0.2, 0.8) * height)
    inside = 1 / (1 + np.exp(np.clip((away - radius) / (0.04 * width), -30, 30)))
    luminance = image.mean(axis=2)
    middle = float((luminance * inside).sum() / inside.sum())
    return image + (2 * inside * (middle - luminance))[..., None]


PIXEL_CHANGES: Mapping[str, Change] = {
    "identical": identical, "gamma": gamma, "blur": blur, "noise": noise, "jpeg": jpeg, "contrast": contrast,
    "cast": cast, "texture": texture, "vignette": vignette, "residual": residual, "inversion": inversion,
    **blind_looks.PIXEL_CHANGES, **fresh_looks.PIXEL_CHANGES,
}  # fmt: skip
KINDS = (*PIXEL_CHANGES, TEXTURE_SWAP)


def draw_composite(kinds: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Names of two changes to be made one after the other, in a camera's order."""
    candidates = [kind for kind in kinds if kind != "identical"]
    chosen = rng.choice(candidates, min(PARTS_OF_COMPOSITE, len(candidates)), replace=False)
    order = (TEXTURE_SWAP, "residual", "texture", "inversion", "cast", "vignette", "contrast", "gamma", "blur", "noise")
    return tuple(
        sorted((str(name) for name in chosen), key=(*order, "jpeg", *blind_looks.STANDS_FOR, *fresh_looks.NAMES).index)
    )


def change(image: Image, names: Sequence[str], severity: int, rng: np.random.Generator, other: Image) -> Image:
    """The image after these changes, clipped to [0, 1] after each. other: another image of the kind, (H, W, C)."""
    for name in names:
        if name != TEXTURE_SWAP:
            image = np.clip(PIXEL_CHANGES[name](image, severity, rng, other), 0.0, 1.0).astype(np.float32)
    return image
