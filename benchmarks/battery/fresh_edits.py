"""Edits of the fresh split that all kinds share: occluders fitted to what they hide, ripples, mirrors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from battery._kind import Kind
from battery._pixels import Image, Plane, sub_pixel_grid, warped
from battery.edits import FLOWS, OCCLUDE
from battery.fresh_base import looked_up

MIN_CONTRAST, REACH_PX = 0.2, 3.0
"""Mean difference, over channels, of an occluder from what it covers; how far beyond the object's box it may go, px."""


def torn_edge(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A sheet torn in teeth, from one side."""
    angle, teeth = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 3.0)
    along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    return along + 0.25 * np.abs((teeth * across + rng.uniform()) % 1.0 - 0.5)


def splash(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """A splash with lobes somewhere on the object."""
    dx, dy, phase = u - rng.uniform(-0.5, 0.5), v - rng.uniform(-0.5, 0.5), rng.uniform(0, 6, 2)
    angle = np.arctan2(dy, dx)
    return np.hypot(dx, dy) / (1 + 0.2 * np.sin(3 * angle + phase[0]) + 0.12 * np.sin(5 * angle + phase[1]))


def slats(u: Plane, v: Plane, rng: np.random.Generator) -> Plane:
    """Slats of a blind, which hide the object in strips."""
    angle = rng.uniform(0, np.pi)
    return np.abs(((u * np.cos(angle) + v * np.sin(angle)) * 1.2 + rng.uniform()) % 1.0 - 0.5)


FIELDS: tuple[Callable[[Plane, Plane, np.random.Generator], Plane], ...] = (torn_edge, splash, slats)


def occluded(fine: Image, hidden: Plane, share: float, per_pixel: int, rng: np.random.Generator) -> Image:
    """Something opaque and mottled, of one of FIELDS' shapes, over `share` of the sub-pixels that an object covers.

    fine: (H * S, W * S, C) in [0, 1]. hidden: opacity (H * S, W * S) of the object.
    """
    x, y = sub_pixel_grid((fine.shape[0] // per_pixel, fine.shape[1] // per_pixel), per_pixel)
    inside = hidden >= 0.5
    middle, half = zip(*(((v[inside].min() + v[inside].max()) / 2, np.ptp(v[inside]) / 2) for v in (x, y)), strict=True)
    reach = max(half)
    u, v = (x - middle[0]) / reach, (y - middle[1]) / reach
    field = FIELDS[rng.integers(len(FIELDS))](u, v, rng)
    level = float(np.quantile(field[inside], share)) + (0.05 if share >= 1.0 else 0.0)
    beyond = np.maximum(np.abs(x - middle[0]) - half[0], np.abs(y - middle[1]) - half[1]) - REACH_PX
    cover = np.clip(0.5 - np.maximum((field - level) * reach, beyond) * per_pixel, 0, 1)[..., None]
    seen = (fine * cover).sum(axis=(0, 1)) / cover.sum()
    tone = seen
    while np.abs(tone - seen).mean() < MIN_CONTRAST:
        tone = rng.uniform(0.05, 0.95, fine.shape[2])
    mottle = looked_up(rng.normal(0, 0.04, (32, 32)).astype(np.float32), x / 2.5 + 9, y / 2.5 + 9)[..., None]
    return np.asarray(fine * (1 - cover) + np.clip(tone + mottle, 0, 1) * cover, dtype=np.float32)


def ripple(kind: Kind, amount: float, rng: np.random.Generator) -> Image:
    """Flow (H * S, W * S, 2) px of at most `amount`: rows and columns sway in waves about as long as the frame."""
    x, y = sub_pixel_grid(kind.size_hw, kind.per_pixel)
    long = max(kind.size_hw) * rng.uniform(0.7, 1.2, 2)
    phase = rng.uniform(0, 2 * np.pi, 2)
    sway = [np.sin(2 * np.pi * y / long[0] + phase[0]), np.sin(2 * np.pi * (x + 0.3 * y) / long[1] + phase[1])]
    flow = np.stack(sway, axis=-1)
    return np.asarray(flow * (amount / float(np.hypot(flow[..., 0], flow[..., 1]).max())), dtype=np.float32)


SAMPLE_EDITS: Mapping[str, Callable[[Image], Image]] = {
    "mirror": lambda fine: fine[:, ::-1],
    "half_turn": lambda fine: fine[::-1, ::-1],
}


def seen(kind: Any, fine: Image, how: str, amount: float, hidden: Any, rng: np.random.Generator) -> Image:
    """Sub-pixels (H * S, W * S, C) after an edit of the image: warped, occluded, mirrored; else as they are.

    hidden: the thing that an occluder hides.
    """
    if how in FLOWS:
        flow = ripple if how == "warp" else FLOWS[how]
        return warped(fine, flow(kind, amount, rng), kind.per_pixel)
    if how == OCCLUDE:
        return occluded(fine, kind.cover(hidden), amount, kind.per_pixel, rng)
    return SAMPLE_EDITS[how](fine) if how in SAMPLE_EDITS else fine
