"""Grounds of the blind split: gradients with clutter, stripes, 1/f noise, checks, brushed metal, rows of holes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from battery._pixels import Plane, smooth_noise

Painter = Callable[[np.random.Generator, Plane, Plane, int], Plane]


def clutter(rng: np.random.Generator, x: Plane, y: Plane, per_pixel: int) -> Plane:  # noqa: ARG001
    """A slope of light with a dozen thin bars and specks strewn over it."""
    height, width = float(y.max()), float(x.max())
    detail = rng.normal() * (x / width - 0.5) * 2 + rng.normal() * (y / height - 0.5) * 2
    for _ in range(12):
        angle, half = rng.uniform(0, np.pi), (rng.uniform(1.0, 9.0), rng.uniform(0.5, 1.6))
        dx, dy = x - np.float32(rng.uniform(0, width)), y - np.float32(rng.uniform(0, height))
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        outside = np.maximum(np.abs(along) - half[0], np.abs(across) - half[1])
        detail = detail + rng.choice([-1.6, 1.6]) * np.clip(0.5 - outside, 0, 1)
    return detail


def stripes(rng: np.random.Generator, x: Plane, y: Plane, per_pixel: int) -> Plane:  # noqa: ARG001
    """Bands with soft edges, a little bent."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(9.0, 22.0)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bend = rng.uniform(0.0, 3.0) * np.sin(along / 17.0 + rng.uniform(0, 6))
    return np.tanh(rng.uniform(1.0, 5.0) * np.sin(2 * np.pi * (across + bend) / period))


def pink(rng: np.random.Generator, x: Plane, y: Plane, per_pixel: int) -> Plane:
    """Noise whose amplitude falls as 1 / frequency, as in photographs."""
    height, width = x.shape
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1.0
    amplitude = np.where(frequency < 0.4 / per_pixel, 1.0 / frequency, 0.0)
    waves = amplitude * np.exp(2j * np.pi * rng.random(frequency.shape))
    waves[0, 0] = 0.0
    field = np.fft.irfft2(waves, s=(height, width))
    return np.asarray(field / field.std(), dtype=np.float32) + 0.0 * y


def checks(rng: np.random.Generator, x: Plane, y: Plane, per_pixel: int) -> Plane:  # noqa: ARG001
    """A tilted chessboard that shrinks towards one side."""
    angle, pitch = rng.uniform(0, np.pi / 2), rng.uniform(11.0, 22.0)
    depth = 1.0 + rng.uniform(0.0, 0.6) * y / float(y.max())
    along, across = (x * np.cos(angle) + y * np.sin(angle)) / depth, (y * np.cos(angle) - x * np.sin(angle)) / depth
    return np.tanh(6.0 * np.sin(np.pi * along / pitch) * np.sin(np.pi * across / pitch))


def brushed(rng: np.random.Generator, x: Plane, y: Plane, per_pixel: int) -> Plane:
    """Fine lines of brushed metal under a broad sheen."""
    lines = smooth_noise(rng, (x.shape[0], 2), 1.2 * per_pixel)[:, :1, 0]
    sheen = np.cos(np.pi * (x / float(x.max()) - rng.uniform(0.2, 0.8)) * rng.uniform(1.0, 2.0))
    return 0.6 * lines + 0.9 * sheen + 0.0 * y


def holes(rng: np.random.Generator, x: Plane, y: Plane, per_pixel: int) -> Plane:  # noqa: ARG001
    """A perforated sheet: rows of round holes, each row half a step on."""
    pitch, radius = rng.uniform(13.0, 24.0), rng.uniform(0.18, 0.3)
    row = np.floor(y / pitch)
    dx = (x / pitch + 0.5 * (row % 2) + rng.uniform()) % 1.0 - 0.5
    away = np.hypot(dx, (y / pitch) % 1.0 - 0.5)
    return 0.5 - 2.5 * np.clip((radius - away) * pitch + 0.5, 0, 1)


PAINTERS: Mapping[str, Painter] = {
    "clutter": clutter, "stripes": stripes, "pink": pink, "checks": checks, "brushed": brushed, "holes": holes,
}  # fmt: skip
