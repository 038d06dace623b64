"""Boxes in space for the crates of the fresh split: their corners, where they are seen, their shadows; and balls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from battery._kind import Disc
from battery._pixels import Plane
from battery.fresh_base import Ground
from battery.fresh_camera import SIZE_HW, Camera, depth_of, floor_places, projected
from battery.fresh_strokes import Points

CORNERS = ("bottom_near", "bottom_right", "bottom_left", "top_near", "top_right", "top_far", "top_left")
SEEN, SILHOUETTE = (0, 1, 3, 4, 5, 6, 7), (3, 0, 1, 5, 6, 7)
FACES = {"top": (4, 5, 6, 7), "right": (0, 1, 5, 4), "left": (3, 0, 4, 7)}
SIZES: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "crate": ((1.15, 1.5), (1.0, 1.4)), "slab": ((1.4, 1.9), (0.3, 0.5)), "tower": ((0.7, 0.9), (1.7, 2.2)),
}  # fmt: skip
"""Ranges of the base's sides and of the height."""
COLOURS: Mapping[str, tuple[float, float, float]] = {
    "rust": (0.78, 0.36, 0.16), "moss": (0.40, 0.56, 0.18), "ice": (0.50, 0.80, 0.90), "plum": (0.52, 0.20, 0.56),
    "lemon": (0.93, 0.87, 0.32), "denim": (0.20, 0.34, 0.68),
}  # fmt: skip
PATTERNS = ("stripes", "planks", "sticker", "bands")
CRATES, MARGIN_PX, GAP_PX, MIN_CONTRAST = 3, 6.0, 3.0, 0.15


STANDARD = Camera(0.62, 4.0, 150.0)


@dataclass(frozen=True)
class Floor(Ground):
    """The ground: a floor seen by a camera; its shift is in units of the world."""

    camera: Camera = STANDARD


@dataclass(frozen=True)
class Crate:
    """A box: X and Z of its middle, its sides and height, the direction of its right face's normal less a quarter turn.

    shades: light on top, right and left. Only the near faces are seen, and an edit of 10 degrees leaves it so.
    """

    base: tuple[float, float]
    yaw: float
    sides: tuple[float, float, float]
    shape: str
    colour: str
    rgb: tuple[float, ...]
    pattern: str
    texture_seed: int
    texture_gain: float
    shades: tuple[float, float, float]
    camera: Camera
    present: bool = True


@dataclass(frozen=True)
class Ball:
    """A ball on the floor, which no label knows."""

    base: tuple[float, float]
    radius: float
    rgb: tuple[float, ...]
    camera: Camera
    present: bool = True


def corners(crate: Crate) -> Points:
    """All eight corners (8, 3): near, right, far, left below, then above."""
    first, second = (np.array([np.cos(a), np.sin(a)]) for a in (crate.yaw, crate.yaw + np.pi / 2))
    width, depth, height = crate.sides
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    flat = np.array([np.array(crate.base) + a * first * width / 2 + b * second * depth / 2 for a, b in signs])
    rows = [np.stack([flat[:, 0], np.full(4, y), flat[:, 1]], axis=-1) for y in (0.0, height)]
    return np.vstack(rows)


def seen_corners(crate: Crate) -> Points:
    """All eight corners in px, (8, 2); the third is hidden."""
    return projected(crate.camera, corners(crate))


def box_of(thing: Any) -> Points:
    """xyxy in px around a crate or a ball."""
    if isinstance(thing, Ball):
        x, y, radius = disc_of(thing)
        return np.array([x - radius, y - radius, x + radius, y + radius])
    points = seen_corners(thing)[list(SILHOUETTE)]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def disc_of(thing: Any) -> Disc:
    """A circle around a crate, or the ball."""
    if isinstance(thing, Ball):
        middle = np.array([thing.base[0], thing.radius, thing.base[1]])
        (x, y), depth = projected(thing.camera, middle[None])[0], depth_of(thing.camera, middle)
        return Disc(float(x), float(y), float(thing.camera.focal * thing.radius / depth))
    box = box_of(thing)
    return Disc(*((box[:2] + box[2:]) / 2).tolist(), float(np.hypot(*(box[2:] - box[:2])) / 2))


def sides_of(rng: np.random.Generator, shape: str) -> tuple[float, float, float]:
    """Width, depth and height of a crate of a class."""
    base, height = SIZES[shape]
    return float(rng.uniform(*base)), float(rng.uniform(*base)), float(rng.uniform(*height))


def clear(box: Points, taken: list[Points]) -> bool:
    """True if a box keeps away from the frame's edge and from other boxes."""
    inside = (box[:2] >= MARGIN_PX).all() and (box[2:] <= np.array(SIZE_HW[::-1]) - 1 - MARGIN_PX).all()
    return bool(inside) and all((np.maximum(box[:2] - o[2:], o[:2] - box[2:])).max() > GAP_PX for o in taken)


def colour_beside(rng: np.random.Generator, floor: Floor, current: str) -> tuple[str, tuple[float, ...]]:
    """A colour class other than `current`, and a tone of it that stands out from the floor."""
    while True:
        name = str(rng.choice(list(COLOURS)))
        rgb = np.array(COLOURS[name]) * rng.uniform(0.8, 1.05)
        if name != current and np.abs(rgb - np.array(floor.rgb)).mean() >= MIN_CONTRAST:
            return name, tuple(float(v) for v in rgb)


def distance_from_camera(thing: Any) -> float:
    """Sorts far things first."""
    return -float(thing.base[1])


def shadow(thing: Any) -> Plane:
    """How much of the light a thing keeps from each sub-pixel of the floor: soft, around its base."""
    x, z = floor_places(thing.camera)
    dx, dz = x - np.float32(thing.base[0] + 0.1), z - np.float32(thing.base[1])
    if isinstance(thing, Ball):
        away = np.hypot(dx, dz) - 0.8 * thing.radius
    else:
        cos, sin = np.float32(np.cos(thing.yaw)), np.float32(np.sin(thing.yaw))
        along, across = np.abs(dx * cos + dz * sin), np.abs(dz * cos - dx * sin)
        away = np.hypot(*(np.maximum(v - s / 2, 0) for v, s in ((along, thing.sides[0]), (across, thing.sides[1]))))
    return np.exp(-np.clip(away, 0, 9) / 0.16)
