"""What a label probe's answers mean, and how far two answers about one label are apart, in the label's unit."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal[
    "point", "edges", "class", "number", "direction", "radians", "degrees", "angles", "angles_radians", "region"
]
"""point: (x, y) px. edges: of a box, xyxy px. class: probabilities. number: any components in the label's unit.
direction: a vector whose length says nothing. radians, degrees: (pitch, yaw) of a direction. angles, angles_radians:
angles, compared one by one. region: probability of every cell of a coarse map of the image."""

DIRECTIONS: tuple[Form, ...] = ("direction", "radians", "degrees")
FORMS: tuple[Form, ...] = ("point", "edges", "class", "number", *DIRECTIONS, "angles", "angles_radians", "region")


def as_answer(form: Form, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Label values (N, D) as a probe answers them: directions as vectors of length 1, angles in degrees."""
    if form == "direction":
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))
    if form in ("radians", "degrees"):
        pitch, yaw = (values if form == "radians" else np.radians(values)).T
        return np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=1)
    return np.degrees(values) if form == "angles_radians" else np.asarray(values, np.float64)


def changes(form: Form, before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far answers (N, D) are apart: (N,), in px, degrees or the label's unit; flips 0 or 1; regions 1 - IoU.

    Of a box: how far the corner moved that moved furthest. NaN where an answer is not finite.
    """
    first, second = before.astype(np.float64), after.astype(np.float64)
    if form == "class":
        flipped = (first.argmax(axis=1) != second.argmax(axis=1)).astype(np.float64)
        return np.asarray(np.where(np.isfinite(first.sum(axis=1) + second.sum(axis=1)), flipped, np.nan))
    if form == "region":
        one, other = first > 0.5, second > 0.5
        union = (one | other).sum(axis=1)
        return np.asarray(1.0 - (one & other).sum(axis=1) / np.maximum(union, 1) * (union > 0) - (union == 0))
    if form in DIRECTIONS:
        first, second = as_answer("direction", first), as_answer("direction", second)
        apart, along = np.linalg.norm(first - second, axis=1), np.linalg.norm(first + second, axis=1)
        return np.asarray(np.degrees(2.0 * np.arctan2(apart, along)))
    moved = second - first
    if form == "edges":
        return np.asarray(np.hypot(moved[:, 0::2], moved[:, 1::2]).max(axis=1))
    return np.asarray(np.linalg.norm(moved, axis=1))


def doubts(form: Form, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the networks' answers (N, M, D) are from their mean, the furthest of them: (N,), as `changes` counts."""
    mean = values.mean(axis=1)
    apart = [changes(form, mean, values[:, m]) for m in range(values.shape[1])]
    return np.asarray(np.max(apart, axis=0, initial=0.0))
