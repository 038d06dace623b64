"""Changes of looks of the blind split: those of `appearance` made in other ways, and some that it does not have.

Image in [0, 1] to image, at severity 0 (mild), 1 (middle) or 2 (heavy). None moves anything: kernels are symmetric, and
lighting is smooth. At the middle severity none changes an image by more gray levels than the look of `appearance` it
stands for, within 10%; `benchmarks/battery_sheets.py OUT --levels` prints both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image as PillowImage

from battery._pixels import Image, Plane, blurred, smooth_noise

Change = Callable[[Image, int, np.random.Generator, Image], Image]


def tone_curve(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """A film's S curve or its inverse, a little steeper in one channel than in another, with a lifted black."""
    strength = (0.25, 0.5, 0.85)[severity]
    slope = np.exp(strength * rng.choice([-1, 1]) * rng.uniform(0.7, 1.0, image.shape[2]))
    toe, shoulder = np.clip(image, 1e-4, 1) ** slope, np.clip(1 - image, 1e-4, 1) ** slope
    lift = 0.12 * strength * rng.uniform(0.3, 1)
    return lift + (1 - lift) * toe / (toe + shoulder)


def colour_matrix(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Channels mixed by a matrix near one, and a gain for each: another sensor's colours; of a gray image the gain."""
    strength, channels = (0.045, 0.08, 0.14)[severity], image.shape[2]
    matrix = np.diag(np.exp(strength * (rng.choice([-1, 1]) + rng.uniform(-0.7, 0.7, channels))))
    if channels > 1:
        mixing = rng.uniform(-1, 1, (channels, channels))
        matrix = matrix + strength * (mixing - mixing.mean(axis=0))
    return image @ matrix


def lens_blur(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Out of focus by a disc of radius .9, 2.2, 3.6 px: the deviations are nearly those of the Gaussians of `blur`."""
    radius = (0.9, 2.2, 3.6)[severity]
    reach = int(np.ceil(radius + 0.5))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return convolved(image, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def motion_blur(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Smeared along one direction over 2.1, 4.5, 7.5 px, as far to one side as to the other."""
    half, angle = (1.05, 2.25, 3.75)[severity], rng.uniform(0, np.pi)
    reach = int(np.ceil(half + 1))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return convolved(image, np.clip(half + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1))


def shot_noise(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Noise that grows with the root of the signal and is the same in two of three channels by half."""
    level = (0.025, 0.075, 0.12)[severity]
    own, shared = rng.normal(0, 1, image.shape), rng.normal(0, 1, (*image.shape[:2], 1))
    return image + level * np.sqrt(np.clip(image, 0.02, 1)) * (0.8 * own + 0.6 * shared)


def row_noise(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """A sensor's rows, and less so its columns, read at other levels; deviation .02, .04, .06."""
    level = (0.02, 0.04, 0.06)[severity]
    rows, columns = rng.normal(0, 1, (image.shape[0], 1, 1)), rng.normal(0, 0.5, (1, image.shape[1], 1))
    return image + level * (rows + columns)


def webp(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """WebP of quality 80, 50, 25."""
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    held = io.BytesIO()
    PillowImage.fromarray(pixels.squeeze()).convert("RGB").save(held, "WEBP", quality=(80, 50, 25)[severity])
    opened = PillowImage.open(held).convert("L" if image.shape[2] == 1 else "RGB")
    return np.asarray(opened, np.float32).reshape(image.shape) / 255


def local_contrast(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Contrast evened out over an eighth to a quarter of the frame, by 25, 50, 75%: flat places gain, busy lose."""
    share, reach = (0.25, 0.5, 0.75)[severity], max(image.shape[:2]) * rng.uniform(0.06, 0.12)
    luminance = image.mean(axis=2, keepdims=True)
    mean = blurred(luminance, reach)
    deviation = np.sqrt(blurred((luminance - mean) ** 2, reach)) + 0.03
    gain = np.clip(0.16 / deviation, 0.5, 2.0)
    evened = luminance.mean() + 0.6 * (mean - luminance.mean()) + (luminance - mean) * gain
    return image + share * (evened - luminance)


def halo(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Sharpened with an unsharp mask of 1 to 2 px by .6, 1.3, 2.2: bright and dark halos along edges."""
    return image + (0.6, 1.3, 2.2)[severity] * (image - blurred(image, float(rng.uniform(1.0, 2.0))))


def haze(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Air light over the image, up to 22, 40, 60%, more to one side."""
    density, angle = (0.22, 0.4, 0.6)[severity], rng.uniform(0, 2 * np.pi)
    y, x = frame(image)
    depth = np.clip(0.5 + 0.6 * (x * np.cos(angle) + y * np.sin(angle)), 0.1, 1)[..., None] * density
    air = np.clip(rng.uniform(0.55, 0.9) + rng.uniform(-0.04, 0.04, image.shape[2]), 0, 1)
    return image * (1 - depth) + air * depth


def soft_shadow(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """The shadow of something outside: a wavy half plane, 20, 40, 55% dark, its edge 4 to 10% of the frame wide."""
    dark, angle = (0.2, 0.4, 0.55)[severity], rng.uniform(0, 2 * np.pi)
    y, x = frame(image)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    edge = rng.uniform(-0.4, 0.4) + 0.15 * np.sin(rng.uniform(2, 6) * across + rng.uniform(0, 6))
    inside = 1 / (1 + np.exp(np.clip(-(along - edge) / rng.uniform(0.04, 0.1), -30, 30)))
    return image * (1 - dark * inside)[..., None]


def pink_texture(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Stains of all sizes, multiplied onto the image: 1/f noise of deviation .06, .12, .18."""
    size = (image.shape[0], image.shape[1])
    cells = (2.0, 4.0, 8.0, 16.0)
    octaves = [(smooth_noise(rng, size, c), smooth_noise(rng, size, c, image.shape[2]), 0.4 + c / 27) for c in cells]
    pattern = np.sum([gain * (gray + 0.2 * colour) for gray, colour, gain in octaves], axis=0)
    return image * np.exp((0.06, 0.12, 0.18)[severity] * pattern / pattern.std())


def spotlight(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """A lamp close by: an oblong bright place somewhere in the frame, the rest darker by 18, 36, 54%."""
    dark, angle = (0.18, 0.36, 0.54)[severity], rng.uniform(0, np.pi)
    y, x = frame(image)
    dx, dy = x - rng.uniform(-0.6, 0.6), y - rng.uniform(-0.6, 0.6)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    light = np.exp(-((along / 1.1) ** 2) - (across / 0.7) ** 2)
    return image * (1 - dark + 1.3 * dark * light)[..., None]


def borrowed(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:
    """Fine structure of another image, filtered by random 5 x 5 kernels and rectified; deviation .022, .042, .065."""
    detail, added = other - blurred(other, 2.0), np.zeros_like(image)
    for _ in range(3):
        kernel = rng.normal(0, 1, (5, 5))
        response = convolved(detail, kernel - kernel.mean(), False)
        added = added + rng.normal(0, 1, image.shape[2]) * np.maximum(response, 0) / max(float(response.std()), 1e-6)
    added = added - added.mean()
    return image + (0.022, 0.042, 0.065)[severity] * np.clip(added / max(float(added.std()), 1e-6), -3, 3)


def negative_band(image: Image, severity: int, rng: np.random.Generator, other: Image) -> Image:  # noqa: ARG001
    """Luminance turned round its mean in a soft band across the frame, 12, 25, 37% of it; colours stay."""
    angle, half = rng.uniform(0, np.pi), (0.12, 0.25, 0.37)[severity]
    y, x = frame(image)
    away = np.abs(x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.3, 0.3)) - half
    inside = 1 / (1 + np.exp(np.clip(away / 0.07, -30, 30)))
    luminance = image.mean(axis=2)
    middle = float((luminance * inside).sum() / inside.sum())
    return image + (2 * inside * (middle - luminance))[..., None]


def frame(image: Image) -> tuple[Plane, Plane]:
    """y and x from -1 to 1 across the frame."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return 2 * y / (height - 1) - 1, 2 * x / (width - 1) - 1


def convolved(image: Image, kernel: Plane, normalize: bool = True) -> Image:
    """(H, W, C) under a kernel of odd side; the edge is repeated."""
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    weights = kernel / kernel.sum() if normalize else kernel
    height, width = image.shape[:2]
    parts = (w * padded[r : r + height, c : c + width] for (r, c), w in np.ndenumerate(weights) if w)
    return np.asarray(sum(parts), dtype=np.float32)


STANDS_FOR: Mapping[str, str] = {
    "borrowed": "residual", "pink_texture": "texture", "negative_band": "inversion", "soft_shadow": "vignette",
    "spotlight": "vignette", "haze": "contrast", "colour_matrix": "cast", "local_contrast": "contrast",
    "tone_curve": "gamma", "lens_blur": "blur", "motion_blur": "blur", "shot_noise": "noise", "row_noise": "noise",
    "halo": "contrast", "webp": "jpeg",
}  # fmt: skip
"""The look of `appearance` that each is measured by, in a camera's order."""

PIXEL_CHANGES: Mapping[str, Change] = {name: globals()[name] for name in STANDS_FOR}
