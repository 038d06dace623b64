"""Images of the sensors of a simulator, as its world writes them: renders, label maps, depth, normals, flow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZE_HW = (36, 48)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """An image file of (H, W[, C])."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind, **options)
    return out.getvalue()


def scene(rng: np.random.Generator) -> np.ndarray:
    """(H, W) int: which of up to 12 things stands at each pixel; 0 is the ground."""
    height, width = SIZE_HW
    things = np.zeros(SIZE_HW, int)
    rows, columns = np.mgrid[:height, :width]
    for number in range(1, int(rng.integers(3, 12))):
        y, x, r = rng.integers(0, height), rng.integers(0, width), rng.integers(4, 16)
        things[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = number
    return things


def depth_of(things: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float in [0, 1]: a ground that recedes, and things before it."""
    ground = np.linspace(0.9, 0.1, things.shape[0])[:, None] * np.ones(things.shape[1])
    own = rng.uniform(0.05, 0.6, 20)[things] + np.linspace(0, 0.02, things.shape[1])
    return np.where(things > 0, own, ground)


def render(things: np.ndarray, rng: np.random.Generator, noise: float = 9.0) -> np.ndarray:
    """(H, W, 3) uint8: shaded things with texture."""
    colours = rng.uniform(30, 220, (20, 3))[things]
    shade = rng.uniform(0.6, 1.2) * np.linspace(0.7, 1.1, things.shape[1])[None, :, None]
    texture = rng.normal(0, noise, (*things.shape, 1)) + rng.normal(0, noise / 3, (*things.shape, 3))
    return np.clip(colours * shade + texture, 0, 255).astype(np.uint8)


def photo_like_noise(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 noise: a render of grass, or of a broken sampler."""
    return rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)


def label_map(things: np.ndarray) -> bytes:
    """Numbers of classes in gray."""
    return encoded(things.astype(np.uint8))


def colour_map(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Classes as colours."""
    return encoded(rng.integers(0, 256, (20, 3), dtype=np.uint8)[things])


def palette_map(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Numbers of classes with a palette, as Pascal VOC has them."""
    image = Image.fromarray(things.astype(np.uint8)).convert("P")
    image.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def depth16(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Millimetres in 16 bits."""
    return encoded((depth_of(things, rng) * 60000).astype(np.uint16))


def depth24(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """CARLA: depth of 24 bits, the low byte in red."""
    value = (depth_of(things, rng) * (2**24 - 1)).astype(np.uint32)
    return encoded(np.stack([value & 255, value >> 8 & 255, value >> 16], axis=2).astype(np.uint8))


def normal_map(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Directions as (n + 1) / 2."""
    height, width = things.shape
    rows, columns = np.mgrid[:height, :width].astype(float)
    tilt = rng.uniform(-0.5, 0.5, (20, 2))[things]
    vector = np.stack([tilt[..., 0] + np.sin(columns / 9) * 0.3, tilt[..., 1] + np.cos(rows / 7) * 0.3,
                       np.ones_like(rows)], axis=2)  # fmt: skip
    vector /= np.linalg.norm(vector, axis=2, keepdims=True)
    return encoded(np.clip((vector + 1) * 127.5, 0, 255).round().astype(np.uint8))


def flow_map(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Two components of motion, and nothing in blue."""
    motion = rng.integers(60, 200, (20, 2))[things] + np.linspace(0, 12, things.shape[1])[None, :, None]
    return encoded(np.dstack([motion, np.zeros(things.shape)]).astype(np.uint8))


def smoothed_map(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Classes as colours, with smoothed edges."""
    height, width = things.shape
    large = Image.fromarray(rng.integers(0, 256, (20, 3), dtype=np.uint8)[things]).resize((width * 4, height * 4), 0)
    return encoded(np.asarray(large.resize((width * 2, height * 2), Image.Resampling.BOX)))


def depth8(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Depth as 8 bits of gray."""
    return encoded((depth_of(things, rng) * 255).astype(np.uint8))


def flow_wheel(things: np.ndarray, rng: np.random.Generator) -> bytes:
    """Motion as hue and saturation."""
    hue = rng.integers(0, 256, 20)[things]
    saturation = np.clip(rng.integers(40, 255, 20)[things] + np.linspace(0, 30, things.shape[1]), 0, 255)
    hsv = np.dstack([hue, saturation, np.full(things.shape, 255)]).astype(np.uint8)
    return encoded(np.asarray(Image.fromarray(hsv, "HSV").convert("RGB")))
