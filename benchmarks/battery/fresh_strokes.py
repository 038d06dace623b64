"""Strokes of the fresh split: lines of varying width, their distance, their outline and their box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from battery._pixels import Plane

Points = NDArray[np.float64]


class Stroke(NamedTuple):
    """A line through points (N, 2) with half its width (N,) at each, round at both ends."""

    points: Points
    half: NDArray[np.float64]


def arc(middle: tuple[float, float], radii: tuple[float, float], start: float, end: float, count: int = 10) -> Points:
    """Points (count, 2) on an ellipse from one angle to another, in degrees; 90 points down."""
    angle = np.radians(np.linspace(start, end, count))
    return np.stack([middle[0] + radii[0] * np.cos(angle), middle[1] + radii[1] * np.sin(angle)], axis=-1)


def placed(points: Points, center: tuple[float, float], scale: float, angle: float) -> Points:
    """Points (N, 2) of a thing's own frame in px of the image: scaled, turned and moved."""
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) * scale + np.array(center)


def distance(strokes: Sequence[Stroke], x: Plane, y: Plane) -> Plane:
    """Distance in px to the edge of the union of strokes, negative inside."""
    nearest = np.full(x.shape, np.inf, np.float32)
    for points, half in strokes:
        for a, b, half_a, half_b in zip(points[:-1], points[1:], half[:-1], half[1:], strict=True):
            (ax, ay), (ex, ey) = a.astype(np.float32), (b - a).astype(np.float32)
            along = np.clip(((x - ax) * ex + (y - ay) * ey) / max(float(ex * ex + ey * ey), 1e-9), 0, 1)
            away = np.hypot(x - ax - ex * along, y - ay - ey * along)
            nearest = np.minimum(nearest, away - np.float32(half_a) - np.float32(half_b - half_a) * along)
    return nearest


def box_of(strokes: Sequence[Stroke]) -> Points:
    """xyxy in px around strokes."""
    low = np.min([(s.points - s.half[:, None]).min(axis=0) for s in strokes], axis=0)
    high = np.max([(s.points + s.half[:, None]).max(axis=0) for s in strokes], axis=0)
    return np.concatenate([low, high])


def ribbon(stroke: Stroke) -> Points:
    """Outline (2 N + 2, 2) of one stroke: along its left side, around its tip, and back."""
    steps = np.diff(stroke.points, axis=0)
    steps = steps / np.hypot(steps[:, 0], steps[:, 1])[:, None]
    before, after = np.vstack([steps[:1], steps]), np.vstack([steps, steps[-1:]])
    mean = before + after
    mean = mean / np.hypot(mean[:, 0], mean[:, 1])[:, None]
    miter = np.minimum(1.0 / np.maximum((mean * before).sum(axis=1), 0.2), 2.0)
    sideways = np.stack([-mean[:, 1], mean[:, 0]], axis=-1) * (stroke.half * miter)[:, None]
    end, start = stroke.points[-1] + steps[-1] * stroke.half[-1], stroke.points[0] - steps[0] * stroke.half[0]
    left, right = stroke.points + sideways, stroke.points - sideways
    return np.vstack([left, end[None], right[::-1], start[None]])


def crossed(first: Stroke, second: Stroke) -> Points:
    """Outline (12, 2) of two straight bars of two points each that cross each other."""
    a, b = (s.points[1] - s.points[0] for s in (first, second))
    a, b = a / np.hypot(*a), b / np.hypot(*b)
    if a[0] * b[1] - a[1] * b[0] < 0:
        second, b = Stroke(second.points[::-1], second.half[::-1]), -b
    sine = a[0] * b[1] - a[1] * b[0]
    offset = second.points[0] - first.points[0]
    middle = first.points[0] + a * ((offset[0] * b[1] - offset[1] * b[0]) / sine)
    (p, q), across_a, across_b = (float(first.half[0]), float(second.half[0])), turned(a), turned(b)

    def inner(on_a: int, on_b: int) -> Points:
        """Where the side `on_a` of the first bar meets the side `on_b` of the second."""
        return np.asarray(middle + b * (on_a * p / sine) - a * (on_b * q / sine))

    ends = [end + way * half for end, way, half in (
        (first.points[1], a, p), (second.points[1], b, q), (first.points[0], -a, p), (second.points[0], -b, q),
    )]  # fmt: skip
    return np.array([
        ends[0] - across_a * p, ends[0] + across_a * p, inner(1, -1), ends[1] - across_b * q, ends[1] + across_b * q,
        inner(1, 1), ends[2] + across_a * p, ends[2] - across_a * p, inner(-1, 1), ends[3] + across_b * q,
        ends[3] - across_b * q, inner(-1, -1),
    ])  # fmt: skip


def turned(way: Points) -> Points:
    """A direction turned by a quarter, x to y."""
    return np.array([-way[1], way[0]])
