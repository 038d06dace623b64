"""Surfaces of the fresh split's crates: what is painted on their faces, a ball, and the floor."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from battery._pixels import Image, Plane
from battery.fresh_base import looked_up
from battery.fresh_camera import Camera, face_places, floor_places
from battery.fresh_strokes import Points

FACE_SEEDS = {"top": 1, "right": 2, "left": 3}


def face_surface(crate: Any, name: str, quad: Points, span: tuple[float, float], x: Plane, y: Plane) -> Image:
    """Colours (h, w, 3) of one face under even light, at places x and y px. span: its sides in units of the world."""
    rng = np.random.default_rng([crate.texture_seed, FACE_SEEDS[name]])
    s, t = (np.clip(v, -0.2, 1.2) for v in face_places(quad, x, y))
    a, b = s * np.float32(span[0]), t * np.float32(span[1])
    shade = 1.0 + 0.06 * looked_up(rng.normal(0, 1, (16, 16)).astype(np.float32), a * 5 + 40, b * 5 + 40)
    pitch, soft = rng.uniform(0.22, 0.36), 14.0
    if crate.pattern == "stripes":
        shade = shade + crate.texture_gain * np.tanh(2 * np.sin(2 * np.pi * (a + 0.6 * b) / pitch))
    elif crate.pattern == "planks":
        gap = np.abs((b / pitch) % 1.0 - 0.5) * pitch
        shade = shade - 1.6 * crate.texture_gain * np.clip(1 - gap / 0.05, 0, 1)
    elif crate.pattern == "bands":
        shade = shade + crate.texture_gain * np.tanh(3 * (np.sin(2 * np.pi * a / (2.2 * pitch) + 1) - 0.3))
    rim = np.minimum(np.minimum(s, 1 - s) * span[0], np.minimum(t, 1 - t) * span[1])
    shade = shade * (1 - 0.25 * np.clip(1 - rim / 0.05, 0, 1))
    colours = shade[..., None] * np.array(crate.rgb, np.float32)
    if crate.pattern == "sticker" and name != "top":
        away = np.maximum(np.abs(s - 0.5) * span[0] - 0.27 * span[0], np.abs(t - 0.55) * span[1] - 0.22 * span[1])
        lines = np.clip(np.sin(2 * np.pi * (t - 0.33) / 0.14) * 2 - 0.6, 0, 1) * (np.abs(s - 0.5) < 0.2)
        tag = (0.9 - 0.25 * lines)[..., None] * np.ones(3, np.float32)
        cover = np.clip(0.5 - away * soft * 2, 0, 1) * min(1.0, 0.4 + 2 * crate.texture_gain)
        colours = colours + (tag - colours) * cover[..., None]
    return np.asarray(colours, dtype=np.float32)


def ball_surface(u: Plane, v: Plane, rgb: tuple[float, ...]) -> Image:
    """Colours (h, w, 3) of a ball lit from the upper left, at places in units of its radius."""
    height = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    light = 0.45 + 0.65 * np.clip(-0.4 * u - 0.65 * v + 0.65 * height, 0, 1)
    gloss = np.clip(1 - np.hypot(u + 0.35, v + 0.42) / 0.25, 0, 1)[..., None]
    return np.asarray(light[..., None] * np.array(rgb) * (1 - 0.6 * gloss) + 0.6 * gloss, dtype=np.float32)


@lru_cache(maxsize=32)
def floor_surface(
    seed: int, rgb: tuple[float, ...], gain: float, camera: Camera, shift_xz: tuple[float, float]
) -> Image:
    """Sub-pixels (H * S, W * S, 3) of a floor of planks, tiles or concrete, moved by a shift in units of the world."""
    rng = np.random.default_rng([seed, 53])
    x, z = (v - np.float32(s) for v, s in zip(floor_places(camera), shift_xz, strict=True))
    table = rng.normal(0, 1, (64, 64)).astype(np.float32)
    angle = rng.uniform(0, np.pi)
    a, b = x * np.cos(angle) + z * np.sin(angle) + 50, z * np.cos(angle) - x * np.sin(angle) + 50
    name, pitch = str(rng.choice(["planks", "tiles", "concrete"])), rng.uniform(0.6, 1.0)
    if name == "planks":
        gap = np.abs((b / pitch) % 1.0 - 0.5) * pitch
        tone = table[np.floor(b / pitch + 0.5).astype(int) % 64, 3]
        detail = 0.8 * tone - 2.0 * np.clip(1.5 - gap / 0.025, 0, 1) + 0.5 * looked_up(table, a * 1.5, b * 12)
    elif name == "tiles":
        gap = np.minimum(*(np.abs((v / (1.6 * pitch)) % 1.0 - 0.5) * 1.6 * pitch for v in (a, b)))
        detail = 1.8 * np.clip(1.5 - gap / 0.03, 0, 1) - 0.3 + 0.6 * looked_up(table, a * 3, b * 3)
    else:
        detail = looked_up(table, a * 0.9, b * 0.9) + 0.7 * looked_up(table.T.copy(), a * 5, b * 5)
    return np.asarray(np.clip(np.array(rgb) + gain * detail[..., None], 0, 1), dtype=np.float32)
