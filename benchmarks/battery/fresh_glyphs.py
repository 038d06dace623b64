"""Letters of the fresh split, drawn from strokes: capitals of height 1, each of its own width, y from 0 (top) to 1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from battery.fresh_strokes import Points, arc

Lines = tuple[Points, ...]


def lines(*each: tuple[tuple[float, float], ...]) -> Lines:
    """Straight strokes through the given points."""
    return tuple(np.array(points, dtype=float) for points in each)


def bowl(top: float, bottom: float, width: float) -> Points:
    """A stroke from the stem's left out to the right and back, as of D and P."""
    middle, half = (top + bottom) / 2, (bottom - top) / 2
    bow = arc((width - half * 0.8, middle), (half * 0.8, half), -90, 90, 11)
    return np.vstack([[(0.0, top)], bow, [(0.0, bottom)]])


def s_curve() -> Points:
    """The bent stroke of an S."""
    upper, lower = arc((0.27, 0.25), (0.25, 0.25), -30, -270, 12), arc((0.27, 0.75), (0.27, 0.25), -90, 150, 12)
    return np.vstack([upper, lower[1:]])


_STEM = ((0.0, 0.0), (0.0, 1.0))
GLYPHS: Mapping[str, tuple[float, Lines]] = {
    "A": (0.7, lines(((0, 1), (0.35, 0), (0.7, 1)), ((0.12, 0.66), (0.58, 0.66)))),
    "C": (0.62, (arc((0.36, 0.5), (0.36, 0.5), -45, -315, 16),)),
    "D": (0.6, (*lines(_STEM), bowl(0, 1, 0.6))),
    "E": (0.5, lines(((0.5, 0), (0, 0), (0, 1), (0.5, 1)), ((0, 0.48), (0.42, 0.48)))),
    "F": (0.5, lines(((0.5, 0), (0, 0), (0, 1)), ((0, 0.5), (0.42, 0.5)))),
    "H": (0.6, lines(_STEM, ((0.6, 0), (0.6, 1)), ((0, 0.5), (0.6, 0.5)))),
    "I": (0.0, lines(_STEM)),
    "K": (0.58, lines(_STEM, ((0.56, 0), (0, 0.6)), ((0.2, 0.4), (0.58, 1)))),
    "L": (0.48, lines(((0, 0), (0, 1), (0.48, 1)))),
    "M": (0.78, lines(((0, 1), (0, 0), (0.39, 0.75), (0.78, 0), (0.78, 1)))),
    "N": (0.62, lines(((0, 1), (0, 0), (0.62, 1), (0.62, 0)))),
    "O": (0.72, (arc((0.36, 0.5), (0.36, 0.5), 0, 360, 21),)),
    "P": (0.55, (*lines(_STEM), bowl(0, 0.55, 0.55))),
    "R": (0.58, (*lines(_STEM, ((0.25, 0.55), (0.58, 1))), bowl(0, 0.55, 0.55))),
    "S": (0.54, (s_curve(),)),
    "T": (0.6, lines(((0, 0), (0.6, 0)), ((0.3, 0), (0.3, 1)))),
    "U": (0.6, (np.vstack([[(0, 0)], arc((0.3, 0.68), (0.3, 0.32), 180, 0, 11), [(0.6, 0)]]),)),
    "V": (0.66, lines(((0, 0), (0.33, 1), (0.66, 0)))),
    "W": (0.9, lines(((0, 0), (0.22, 1), (0.45, 0.25), (0.68, 1), (0.9, 0)))),
    "X": (0.62, lines(((0, 0), (0.62, 1)), ((0.62, 0), (0, 1)))),
    "Y": (0.64, lines(((0, 0), (0.32, 0.5), (0.64, 0)), ((0.32, 0.5), (0.32, 1)))),
    "Z": (0.58, lines(((0, 0), (0.58, 0), (0, 1), (0.58, 1)))),
}
"""(width, strokes)."""

WORDS = (
    "RIVER", "STONE", "CLOUD", "HOUSE", "NORTH", "PAPER", "TRAIN", "LEMON", "FRUIT", "METAL", "SOLID", "CHAIR", "WATER",
    "PLANT", "OCEAN", "SHORE", "MUSIC", "POWER", "TIMER", "VOLTS", "WHEEL", "XENON", "ZEROS", "KNIFE", "DAISY", "EXTRA",
    "FLINT", "MAPLE", "TOWER", "SWIRL", "YACHT", "WIDTH", "DRIVE", "CANOE", "PILOT",
)  # fmt: skip
LETTERS = 5
"""Letters of each word, so that letter k of word i is item LETTERS * i + k."""
