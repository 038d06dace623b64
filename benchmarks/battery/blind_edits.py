"""Edits of the blind split that need no knowledge of the scene: other occluders, mirrors and warps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from battery._kind import Disc, Kind
from battery._pixels import Image, Plane, sub_pixel_grid, warped
from battery.edits import FLOWS, OCCLUDE

MIN_CONTRAST = 0.2
"""Mean difference, over channels, of the occluder's colour from what it covers."""


def round_edge(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Something round, twice as large as the object, from one side."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.hypot(u - 2.0 * np.cos(angle), v - 2.0 * np.sin(angle))


def corner(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A corner of about 110 degrees."""
    angle = rng.uniform(0, 2 * np.pi)
    sides = [u * np.cos(angle + turn) + v * np.sin(angle + turn) for turn in (-0.6, 0.6)]
    return np.maximum(*sides)


def wavy_edge(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A bent edge, as that of a leaf."""
    angle, phase = rng.uniform(0, 2 * np.pi), rng.uniform(0, 6)
    along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    return along + 0.15 * np.sin(5.0 * across + phase)


def band(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A strip somewhere across the object, which is seen on both sides of it."""
    angle, off = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4)
    return np.abs(u * np.cos(angle) + v * np.sin(angle) - off)


FIELDS: tuple[Callable[[Plane, Plane, np.random.Generator], Plane], ...] = (round_edge, corner, wavy_edge, band)


def occluded(fine: Image, disc: Disc, share: float, per_pixel: int, rng: np.random.Generator) -> Image:
    """Something opaque and striped, of one of FIELDS' shapes, drawn over `share` of an object's disc.

    fine: (H * S, W * S, C) sub-pixels in [0, 1].
    """
    size = (fine.shape[0] // per_pixel, fine.shape[1] // per_pixel)
    x, y = sub_pixel_grid(size, per_pixel)
    u, v = (x - disc.x) / disc.radius, (y - disc.y) / disc.radius
    field = FIELDS[rng.integers(len(FIELDS))](u, v, rng)
    inside = np.hypot(u, v) <= 1.0
    level = float(np.quantile(field[inside], share)) + (0.05 if share >= 1.0 else 0.0)
    outside = np.maximum((field - level), np.hypot(u, v) - 1.3) * disc.radius
    cover = np.clip(0.5 - outside * per_pixel, 0, 1)[..., None]
    seen = (fine * cover).sum(axis=(0, 1)) / cover.sum()
    tone = seen
    while np.abs(tone - seen).mean() < MIN_CONTRAST:
        tone = rng.uniform(0.05, 0.95, fine.shape[2])
    stripes = np.sin(rng.uniform(0.5, 1.5) * (x * np.cos(tilt := rng.uniform(0, np.pi)) + y * np.sin(tilt)))
    return np.asarray(fine * (1 - cover) + (tone + 0.05 * stripes[..., None]) * cover, dtype=np.float32)


def mirrored(fine: Image, rng: np.random.Generator) -> Image:
    """Left for right or top for bottom; the camera's grain is added afterwards, as it is."""
    return fine[:, ::-1] if rng.random() < 0.5 else fine[::-1]


def bulge(kind: Kind, amount: float, rng: np.random.Generator) -> Image:
    """Flow (H * S, W * S, 2) px of at most `amount`: the image grows or shrinks around a place, and swirls about it."""
    x, y = sub_pixel_grid(kind.size_hw, kind.per_pixel)
    height, width = kind.size_hw
    dx, dy = x - np.float32(rng.uniform(0.3, 0.7) * width), y - np.float32(rng.uniform(0.3, 0.7) * height)
    fall = np.exp(-(dx**2 + dy**2) / (2 * (0.3 * max(width, height)) ** 2))
    angle = rng.uniform(0, 2 * np.pi)
    flow = np.stack([dx * np.cos(angle) - dy * np.sin(angle), dx * np.sin(angle) + dy * np.cos(angle)], axis=-1)
    flow = flow * fall[..., None]
    return np.asarray(flow * (amount / float(np.hypot(flow[..., 0], flow[..., 1]).max())), dtype=np.float32)


SAMPLE_EDITS: Mapping[str, Callable[[Image, np.random.Generator], Image]] = {
    "mirror": mirrored,
    "half_turn": lambda fine, rng: fine[::-1, ::-1],  # noqa: ARG005
}


def seen(kind: Kind, fine: Image, how: str, amount: float, disc: Disc, rng: np.random.Generator) -> Image:
    """Sub-pixels (H * S, W * S, C) after an edit of the image: warped, occluded, mirrored; else as they are."""
    if how in FLOWS:
        flow = bulge if how == "warp" else FLOWS[how]
        return warped(fine, flow(kind, amount, rng), kind.per_pixel)
    if how == OCCLUDE:
        return occluded(fine, disc, amount, kind.per_pixel, rng)
    return SAMPLE_EDITS[how](fine, rng) if how in SAMPLE_EDITS else fine
