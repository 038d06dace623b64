"""Outlines of the blind split's objects: signed distances in closed form, of unit size, negative inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from battery._pixels import Plane

REACH = 1.15
"""No shape reaches further from its middle."""


def bar(x: Plane, y: Plane, middle: tuple[float, float], half: tuple[float, float]) -> Plane:
    """A rectangle."""
    return np.maximum(np.abs(x - middle[0]) - half[0], np.abs(y - middle[1]) - half[1])


def disc(x: Plane, y: Plane, middle: tuple[float, float], radius: float) -> Plane:
    """A disc."""
    return np.hypot(x - middle[0], y - middle[1]) - radius


def arrow(x: Plane, y: Plane) -> Plane:
    """A shaft and a head, to the right."""
    head = np.maximum(0.1 - x, (np.abs(y) * 0.88 + (x - 0.98) * 0.75) / np.hypot(0.88, 0.75))
    return np.minimum(bar(x, y, (-0.4, 0.0), (0.55, 0.26)), head)


def leaf(x: Plane, y: Plane) -> Plane:
    """What two discs have in common."""
    return np.maximum(disc(x, y, (0.0, 0.55), 1.12), disc(x, y, (0.0, -0.55), 1.12))


def moon(x: Plane, y: Plane) -> Plane:
    """A crescent, open to the right."""
    return np.maximum(disc(x, y, (0.0, 0.0), 0.98), -disc(x, y, (0.55, 0.0), 0.72))


def gear(x: Plane, y: Plane) -> Plane:
    """Eight round teeth and a hole."""
    teeth = np.hypot(x, y) - 0.83 - 0.13 * np.tanh(2.5 * np.cos(8 * np.arctan2(y, x)))
    return np.maximum(teeth / 1.6, -disc(x, y, (0.0, 0.0), 0.3))


def letter_e(x: Plane, y: Plane) -> Plane:
    """The letter E."""
    arms = [bar(x, y, (0.05, place), (0.6, 0.17)) for place in (-0.68, 0.0, 0.68)]
    return np.minimum.reduce([bar(x, y, (-0.45, 0.0), (0.2, 0.85)), *arms])


def bolt(x: Plane, y: Plane) -> Plane:
    """A nut seen from above: six sides and a hole."""
    sides = np.maximum(np.abs(y), np.abs(y) / 2 + np.abs(x) * np.sqrt(3) / 2) - 0.84
    return np.maximum(sides, -disc(x, y, (0.0, 0.0), 0.42))


def keyed_washer(x: Plane, y: Plane) -> Plane:
    """A ring with a slot cut into its hole."""
    slot = bar(x, y, (0.5, 0.0), (0.28, 0.16))
    return np.maximum(np.abs(np.hypot(x, y) - 0.68) - 0.29, -slot)


def bracket(x: Plane, y: Plane) -> Plane:
    """An angle with a hole in one leg."""
    legs = np.minimum(bar(x, y, (-0.5, 0.0), (0.26, 0.84)), bar(x, y, (0.05, 0.58), (0.81, 0.26)))
    return np.maximum(legs, -disc(x, y, (0.52, 0.58), 0.12))


def plate(x: Plane, y: Plane) -> Plane:
    """A rounded plate with two holes."""
    qx, qy = np.maximum(np.abs(x) - 0.62, 0), np.maximum(np.abs(y) - 0.38, 0)
    body = np.hypot(qx, qy) - 0.25
    return np.maximum(body, -np.hypot(np.abs(x) - 0.5, y) + 0.16)


def clip(x: Plane, y: Plane) -> Plane:
    """A ring with a gap to the right."""
    return np.maximum(np.abs(np.hypot(x, y) - 0.76) - 0.2, 0.8 * (x * 0.8 - np.abs(y)))


def tee(x: Plane, y: Plane) -> Plane:
    """A T of pipes."""
    return np.minimum(bar(x, y, (0.0, -0.55), (0.9, 0.3)), bar(x, y, (0.0, 0.2), (0.28, 0.7)))


def key(x: Plane, y: Plane) -> Plane:
    """A bow with a hole, a shank and two teeth."""
    bow = np.maximum(disc(x, y, (-0.55, 0.0), 0.42), -disc(x, y, (-0.55, 0.0), 0.18))
    teeth = [bar(x, y, (place, 0.22), (0.08, 0.2)) for place in (0.62, 0.86)]
    return np.minimum.reduce([bow, bar(x, y, (0.37, 0.0), (0.6, 0.11)), *teeth])


def blob(x: Plane, y: Plane) -> Plane:
    """A drop of something with five soft lobes."""
    return (np.hypot(x, y) - 0.8 - 0.15 * np.sin(5 * np.arctan2(y, x))) / 1.3


SHAPES: Mapping[str, Callable[[Plane, Plane], Plane]] = {
    "arrow": arrow, "leaf": leaf, "moon": moon, "gear": gear, "letter_e": letter_e, "bolt": bolt,
    "keyed_washer": keyed_washer, "bracket": bracket, "plate": plate, "clip": clip, "tee": tee,
    "key": key, "blob": blob,
}  # fmt: skip


@lru_cache(maxsize=32)
def outline(shape: str) -> NDArray[np.float64]:
    """Points (N, 2) where the signed distance of a shape of unit size is zero, found on a fine grid."""
    axis = np.linspace(-REACH, REACH, 921)
    x, y = np.meshgrid(axis, axis)
    value, found = SHAPES[shape](x, y), []
    for step in ((0, 1), (1, 0)):
        here, there = (slice(None, -s or None) for s in step), (slice(s, None) for s in step)
        a, b = value[tuple(here)], value[tuple(there)]
        rows, columns = np.nonzero((a <= 0) != (b <= 0))
        share = a[rows, columns] / (a[rows, columns] - b[rows, columns])
        across, down = columns + share * step[1], rows + share * step[0]
        found.append(np.stack([across, down], axis=-1) * (axis[1] - axis[0]) - REACH)
    return np.concatenate(found)
