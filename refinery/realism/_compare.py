"""Realism before and after: how far synthetic and refined images are from real ones, and real ones from each other."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery import registry
from refinery.errors import DatasetError
from refinery.realism._pixels import Images
from refinery.sample import FloatArray

MIN_IMAGES = 4
GROUPS = 10
_STUDENT_T_95 = {3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""By degrees of freedom, groups - 1."""


def compare(synthetic: Images, refined: Images, real: Images, seed: int = 0) -> dict[str, dict[str, Any]]:
    """By measure: {"synthetic", "refined", "floor", "ci95", "gain_ci95"}.

    The reals are split at random into two halves; "synthetic" and "refined" are mean distances to the halves, "floor"
    that of one half to the other, all of equally many images. "ci95" is the 95% interval of "refined"; "gain_ci95" of
    synthetic minus refined: when it holds 0 there is no realism gain to speak of. Intervals are -+ t standard errors of
    a jackknife that leaves out one of 10 groups of images at a time (no image twice, which would bias both measures).

    synthetic, refined, real: (N, H, W, C) float32 in [-1, 1] of one size. Pair i of synthetic and refined is left out
    together, if they are equally many. Raises DatasetError below 4 synthetic, 4 refined or 8 real images.
    """
    count = min(len(synthetic), len(refined), len(real) // 2)
    if count < MIN_IMAGES:
        raise DatasetError(
            f"{len(synthetic)} synthetic, {len(refined)} refined and {len(real)} real images are too few to compare; "
            f"expected at least {MIN_IMAGES}, {MIN_IMAGES} and {2 * MIN_IMAGES}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(real))
    chosen = rng.permutation(min(len(synthetic), len(refined)))[:count]
    sets = synthetic[chosen], refined[chosen], real[order[:count]], real[order[count : 2 * count]]
    return {name: _measured(registry.find("realism", name), sets, seed) for name in registry.names("realism")}


def paired_l1(
    synthetic: Sequence[FloatArray], refined: Sequence[FloatArray], targets: Sequence[FloatArray]
) -> dict[str, Any]:
    """Mean absolute difference of images to their own targets, as `compare` tells a measure; its floor is 0.

    Each (H, W, C) float32 in [-1, 1], image i of all three of one shape. Intervals are 1.96 standard errors of means.
    """
    before, after = (
        np.array([np.abs(image - target).mean() for image, target in zip(side, targets, strict=True)])
        for side in (synthetic, refined)
    )
    columns = np.column_stack((after, before - after))
    slack = 1.96 * columns.std(axis=0, ddof=1) / np.sqrt(len(columns))
    mean = columns.mean(axis=0)
    low, high = mean - slack, mean + slack
    return {
        "synthetic": float(before.mean()),
        "refined": float(mean[0]),
        "floor": 0.0,
        "ci95": [float(low[0]), float(high[0])],
        "gain_ci95": [float(low[1]), float(high[1])],
    }


def _measured(measure: ModuleType, sets: tuple[Images, Images, Images, Images], seed: int) -> dict[str, Any]:
    """The three distances of one measure with their intervals, from features that are computed once."""
    described = [measure.features(images, np.random.default_rng(seed)) for images in sets]
    count = len(described[0])
    groups = np.arange(count) % min(GROUPS, count)
    point = _distances(measure, described)
    left_out = np.array(
        [_distances(measure, [one[groups != group] for one in described]) for group in range(groups.max() + 1)]
    )
    columns = np.column_stack((left_out[:, 1], left_out[:, 0] - left_out[:, 1]))
    slack = _jackknife_slack(columns)
    gain = point[0] - point[1]
    return {
        "synthetic": float(point[0]),
        "refined": float(point[1]),
        "floor": float(point[2]),
        "ci95": [float(point[1] - slack[0]), float(point[1] + slack[0])],
        "gain_ci95": [float(gain - slack[1]), float(gain + slack[1])],
    }


def _distances(measure: ModuleType, described: list[FloatArray]) -> NDArray[np.float64]:
    """(synthetic, refined, floor): distances to both halves of the reals, and between the halves."""
    synthetic, refined, first_half, second_half = described
    to_halves = [
        (measure.distance(one, first_half) + measure.distance(one, second_half)) / 2 for one in (synthetic, refined)
    ]
    floor = (measure.distance(first_half, second_half) + measure.distance(second_half, first_half)) / 2
    return np.array([*to_halves, floor])


def _jackknife_slack(left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half width of the 95% interval: t_{g-1} sqrt((g - 1) / g sum (theta_i - mean)^2), for the columns of (g, k)."""
    groups = len(left_out)
    squares = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(_STUDENT_T_95[groups - 1] * np.sqrt((groups - 1) / groups * squares))
