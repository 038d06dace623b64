"""Spots that stand alone: something of an object's size that differs from what lies on all sides of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALES = ((0.05, 0.10), (0.08, 0.18))
"""Side of a spot, and how far away its surroundings are looked at, as shares of the frame's short side."""

FORGIVEN = 1
"""Directions of eight in which a spot need not end; a border that runs through it goes on in two."""

MIN_DIRECTIONS = 5
TILES = 4
USUAL = 2.0
"""How many times the spots that are usual in the frame are taken off one."""

TEXTURE = 1.5
"""How many times the change that half of the frame exceeds is taken off a spot, so that a texture is none."""

_DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_Part = tuple[EllipsisType, slice, slice]
_Map = NDArray[np.float32]


def strongest_spot(off: NDArray[Any], source: NDArray[Any], refined: NDArray[Any]) -> tuple[_Map, NDArray[np.intp]]:
    """How strong the strongest new spot of each image is (N,), and its middle (N, 2), (x, y) in cells.

    off: by how much a refined image differs from what was expected, see `unexpected_colours`. In every direction but
    FORGIVEN of them both `off` and the refined image must change by as much on the way out of the spot, beyond what the
    source changes on that way: what ends where something of the source ends is not new. off, source, refined:
    (N, H, W, C).
    """
    short = min(off.shape[1:3])
    strengths = np.zeros(len(off), np.float32)
    middles = np.zeros((len(off), 2), np.intp)
    planes = [np.ascontiguousarray(np.moveaxis(maps, 3, 0)) for maps in (off, source, refined)]
    means: dict[int, list[_Map]] = {}
    for side_share, distance_share in SCALES:
        side = min(max(2, round(side_share * short)), short)
        distance = max(side, round(distance_share * short))
        if side not in means:
            means[side] = [square_means(maps, side) for maps in planes]
        alone = above_usual(_alone(means[side], distance))
        strength, corner = highest(alone)
        middles[strength > strengths] = (corner + side // 2)[strength > strengths]
        strengths = np.maximum(strengths, strength)
    return strengths, middles


def _alone(maps: Sequence[_Map], distance: int) -> _Map:
    """min over directions, but FORGIVEN, of the change along the mean change of `off`, less |change of source|.

    Less, too, TEXTURE times the mean change in the middle of all places of the frame. maps: `off`, source and
    refined, (C, N, H, W) each. Returns (N, H, W).
    """
    off, source, refined = maps
    parts = list(neighbours((off.shape[2], off.shape[3]), distance))
    mean = np.zeros_like(off)
    for here, there in parts:
        mean[here] += off[here] - off[there]
    length = np.sqrt(np.square(mean).sum(axis=0))
    unit = mean / np.maximum(length, np.float32(1e-9))
    texture = TEXTURE / len(parts) * np.median(length, axis=(1, 2)).astype(np.float32)
    lowest = np.full((FORGIVEN + 1, *off.shape[1:]), np.inf, np.float32)
    directions = np.zeros(off.shape[2:], np.intp)
    for here, there in parts:
        directions[here] += 1
        change = np.minimum(*(((seen[here] - seen[there]) * unit[here]).sum(axis=0) for seen in (off, refined)))
        change -= np.sqrt(np.square(source[here] - source[there]).sum(axis=0))
        for kept in lowest:
            change, kept[here] = np.maximum(kept[here], change), np.minimum(kept[here], change)
    left = np.maximum(lowest[FORGIVEN] - texture[:, None, None], 0.0)
    return np.where(directions >= MIN_DIRECTIONS, left, 0.0).astype(np.float32)


def above_usual(values: _Map) -> _Map:
    """Less USUAL times the median, over 4 x 4 tiles of the frame, of the highest value in each: (N, H, W)."""
    tiles = values
    for axis in (1, 2):
        starts = np.unique(np.linspace(0, values.shape[axis], TILES, endpoint=False).astype(np.intp))
        tiles = np.maximum.reduceat(tiles, starts, axis=axis)
    usual = np.median(tiles.reshape(len(values), -1), axis=1)
    return np.asarray(values - USUAL * usual[:, None, None], dtype=np.float32)


def highest(values: _Map) -> tuple[_Map, NDArray[np.intp]]:
    """The highest of (N, H, W): (N,), and where, (x, y): (N, 2)."""
    flat = values.reshape(len(values), -1)
    rows, columns = np.divmod(flat.argmax(axis=1), values.shape[2])
    return flat.max(axis=1), np.stack((columns, rows), axis=1)


def neighbours(size_hw: tuple[int, int], distance: int) -> Iterator[tuple[_Part, _Part]]:
    """For each direction the part of (..., H, W) that has a neighbour there, and those neighbours."""
    for down, across in _DIRECTIONS:
        rows, columns = _shifted(size_hw[0], down * distance), _shifted(size_hw[1], across * distance)
        yield (..., rows[0], columns[0]), (..., rows[1], columns[1])


def _shifted(length: int, step: int) -> tuple[slice, slice]:
    count = max(0, length - abs(step))
    start = max(0, -step)
    return slice(start, start + count), slice(start + step, start + step + count) if count else slice(0, 0)


def square_means(maps: NDArray[Any], side: int) -> _Map:
    """Means over all squares of `side` cells: (..., H, W) -> (..., H - side + 1, W - side + 1)."""
    sums = np.asarray(maps, dtype=np.float32)
    for axis in (-2, -1):
        sums = _runs(sums, side, axis)
    return np.asarray(sums / np.float32(side**2))


def _runs(maps: _Map, count: int, axis: int) -> _Map:
    """Sums of `count` neighbours along an axis: those of twice as many from those of half as many."""
    if count == 1:
        return maps
    half = _runs(maps, count // 2, axis)
    length, reach = half.shape[axis], 2 * (count // 2)
    pairs = _cut(half, 0, length - count // 2, axis) + _cut(half, count // 2, length, axis)
    if count == reach:
        return pairs
    kept = maps.shape[axis] - count + 1
    return np.asarray(_cut(pairs, 0, kept, axis) + _cut(maps, reach, reach + kept, axis))


def _cut(maps: _Map, start: int, end: int, axis: int) -> _Map:
    return maps[..., start:end] if axis == -1 else maps[..., start:end, :]
