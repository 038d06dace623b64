"""A pin-hole camera over a floor: what the crates of the fresh split are seen by.

World: X right, Y up, Z away from the camera, the floor at Y = 0; the camera is above the origin and looks down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from battery._pixels import Plane, sub_pixel_grid
from battery.fresh_strokes import Points

SIZE_HW, PER_PIXEL = (96, 128), 3
MIDDLE_XY = ((SIZE_HW[1] - 1) / 2, (SIZE_HW[0] - 1) / 2)


class Camera(NamedTuple):
    """Angle below the horizon in rad, height over the floor, focal length in px."""

    pitch: float
    height: float
    focal: float

    @property
    def axes(self) -> Points:
        """Unit vectors (3, 3) to the right, down and forward, as rows."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, -cos, -sin], [0.0, -sin, cos]])


def projected(camera: Camera, points: Points) -> Points:
    """Points (N, 3) of the world in px (N, 2)."""
    seen = (points - (0.0, camera.height, 0.0)) @ camera.axes.T
    return seen[:, :2] / seen[:, 2:] * camera.focal + np.array(MIDDLE_XY)


def depth_of(camera: Camera, point: Points) -> float:
    """Distance of a point (3,) along the camera's axis."""
    return float((point - np.array([0.0, camera.height, 0.0])) @ camera.axes[2])


def floor_at(camera: Camera, x: float, y: float) -> tuple[float, float]:
    """X and Z of the floor that is seen at px x and y."""
    right, down, forward = camera.axes
    ahead = (x - MIDDLE_XY[0]) / camera.focal * right + (y - MIDDLE_XY[1]) / camera.focal * down + forward
    far = -camera.height / ahead[1]
    return float(far * ahead[0]), float(far * ahead[2])


@lru_cache(maxsize=16)
def floor_places(camera: Camera) -> tuple[Plane, Plane]:
    """X and Z of the floor at each sub-pixel."""
    x, y = sub_pixel_grid(SIZE_HW, PER_PIXEL)
    ray = [(x - MIDDLE_XY[0]) / camera.focal, (y - MIDDLE_XY[1]) / camera.focal]
    right, down, forward = camera.axes
    ahead = ray[1][..., None] * down + forward
    far = -camera.height / ahead[..., 1]
    return np.asarray(far * ray[0] * right[0], np.float32), np.asarray(far * ahead[..., 2], np.float32)


def face_places(quad: Points, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Where px lie on a face: s and t, with (0, 0), (1, 0), (1, 1), (0, 1) at the corners (4, 2) px of its image."""
    rows = []
    for (s, t), (px, py) in zip(((0, 0), (1, 0), (1, 1), (0, 1)), quad, strict=True):
        rows.append([px, py, 1, 0, 0, 0, -s * px, -s * py, s])
        rows.append([0, 0, 0, px, py, 1, -t * px, -t * py, t])
    system = np.array(rows, dtype=float)
    h = np.linalg.solve(system[:, :8], system[:, 8])
    scale = h[6] * x + h[7] * y + 1.0
    return (h[0] * x + h[1] * y + h[2]) / scale, (h[3] * x + h[4] * y + h[5]) / scale


def outside(quad: Points, x: Plane, y: Plane) -> Plane:
    """Distance in px from the nearest side of a convex polygon (N, 2), negative inside."""
    following = np.roll(quad, -1, axis=0)
    turn = np.sign(np.sum(quad[:, 0] * following[:, 1] - quad[:, 1] * following[:, 0]))
    away = np.full(x.shape, -np.inf, np.float32)
    for (ax, ay), (bx, by) in zip(quad, following, strict=True):
        length = max(float(np.hypot(bx - ax, by - ay)), 1e-6)
        away = np.maximum(away, np.float32(turn) * ((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / np.float32(length))
    return away
