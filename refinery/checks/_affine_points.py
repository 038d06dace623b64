"""Where to look for the size of a label: in all of a box, in a band along any other outline."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._measured import MeasuredLabels
from refinery.sample import FloatArray

BOX_POINTS = 160
BOX_MARGIN_PX = 3.0
"""A box is looked at this far round it, so that the edge of what it holds is seen from both sides."""

BAND_PX = (-3.0, -1.5, 0.0, 1.5, 3.0)


def box_corners(measured: MeasuredLabels) -> NDArray[np.float64]:
    """Corners of the boxes: (M, 4, 2)."""
    boxes = np.array([label.value for _, label in measured.jobs], dtype=np.float64)
    return np.stack([boxes[:, pick] for pick in ([0, 1], [2, 1], [2, 3], [0, 3])], axis=1)


def filled_boxes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points that fill the ellipse in each box, and a little more: (M, K, 2)."""
    centre, half = corners.mean(axis=1), np.ptp(corners, axis=1) / 2
    return np.asarray(centre[:, None] + (half[:, None] + BOX_MARGIN_PX) * _spiral(BOX_POINTS))


@lru_cache(maxsize=1)
def _spiral(count: int) -> FloatArray:
    """Points (K, 2) that fill the unit disc evenly, sector by sector (Vogel 1979)."""
    rank = np.arange(count) + 0.5
    radius, angle = np.sqrt(rank / count), rank * np.pi * (3.0 - np.sqrt(5.0)) % (2 * np.pi)
    around = np.argsort(angle)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)[around].astype(np.float32)


def bands(outline: tuple[FloatArray, FloatArray]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of points along outlines, points and normals (M, L, 2), and the normal at each: (M, K, 2) both."""
    points, normals = outline
    rows = points[:, :, None] + np.array(BAND_PX, np.float32)[:, None] * normals[:, :, None]
    return rows.reshape(len(rows), -1, 2), np.repeat(normals, len(BAND_PX), axis=1)
