"""The layout of points at which the matcher compares a thing: along its outline, or all over a box."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from refinery.sample import FloatArray

POSITIONS = 32
"""Along an outline."""

SECTORS = 8
OFFSETS_PX = (-5.0, -3.0, -1.5, 0.0, 1.5, 3.0)
"""Across an outline, outward, at each position."""

_RINGS = (0.3, 0.6, 0.8, 0.95, 1.1)
"""Of the ellipse in a box; the last of the six points at each angle lies on the box itself."""


@lru_cache(maxsize=1)
def area_offsets() -> tuple[FloatArray, FloatArray]:
    """Points (L, O, 2) that fill a box of half size 1 round 0, and the directions (L, 2) that they lie in."""
    turn = np.arange(POSITIONS) * (2 * np.pi / POSITIONS)
    around = np.stack((np.cos(turn), np.sin(turn)), axis=-1).astype(np.float32)
    on_box = around / np.abs(around).max(axis=1, keepdims=True)
    rings = around[:, None] * np.array(_RINGS, np.float32)[:, None]
    return np.concatenate((rings, on_box[:, None]), axis=1), around
