"""Does a refiner answer in [-1, 1], or plainly in another range, of which clipping makes flat images?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray

STEEP, FOLLOWS = 16.0, 0.5
"""A refiner that follows its input (correlation) with so many times its contrast answers in another range."""

BEYOND, BEYOND_SHARE = 1.5, 0.25
"""More values than this share beyond 1.5 in size are worth a sentence; networks without a bound stray a little."""

DARK, SLACK = -0.4, 0.02
HALF_SLOPES, FOLLOWS_CLOSELY = (0.3, 0.7), 0.8
"""[-1, 1] mapped to [0, 1] has the slope 0.5."""

POINTS = 1 << 14
NAMED = {255.0: ("0 to 255", "y / 127.5 - 1"), 65535.0: ("0 to 65535", "y / 32767.5 - 1")}


@dataclass(frozen=True, slots=True)
class RangeProblem:
    """What is wrong with a refiner's range, as a clause for a person, and whether it is certain that it is."""

    clause: str
    certain: bool


def range_problem(inputs: Sequence[FloatArray], outputs: Sequence[FloatArray]) -> RangeProblem | None:
    """What a few refined images say about the range of their refiner; None where it can be [-1, 1].

    inputs, outputs: (H, W, C) each, as the refiner was given them and as it answered, nothing clipped.
    """
    given = np.concatenate([_points(image) for image in inputs]) if inputs else np.zeros(0)
    answered = np.concatenate([_points(image) for image in outputs]) if outputs else np.zeros(0)
    finite = np.isfinite(answered)
    given, answered = given[finite], answered[finite]
    if not answered.size or not answered.std() > 0 or not given.std() > 0:
        return None
    low, high = float(answered.min()), float(answered.max())
    follows = float(np.corrcoef(given, answered)[0, 1])
    slope = follows * float(answered.std() / given.std())
    stands = f"it answers from {low:.3g} to {high:.3g}, expected -1 to 1"
    if follows >= FOLLOWS and slope >= STEEP and max(-low, high) >= STEEP:
        return RangeProblem(f"{stands}{_remedy(low, high)}", certain=True)
    if float((np.abs(answered) > BEYOND).mean()) > BEYOND_SHARE:
        return RangeProblem(f"{stands}; what lies beyond is cut off, which makes flat images", certain=False)
    dark, darkest = (float(np.quantile(values, 0.05)) for values in (given, answered))
    halved = HALF_SLOPES[0] < slope < HALF_SLOPES[1] and follows >= FOLLOWS_CLOSELY
    if low >= -SLACK and high <= 1.0 + SLACK and dark <= DARK and darkest < -DARK and halved:
        remedy = "it seems to answer in 0 to 1; put y * 2 - 1 behind its last step and export it again"
        return RangeProblem(f"{stands}, and never below 0 where its input is dark: {remedy}", certain=False)
    return None


def _remedy(low: float, high: float) -> str:
    """What to do about a range that is named, or any other."""
    top = next((top for top in NAMED if -0.05 * top <= low and 0.3 * top < high <= 1.2 * top), None)
    if top is None:
        return "; scale its last step, and export it again"
    name, step = NAMED[top]
    return f" (it seems to answer in {name}); put {step} behind its last step, and export it again"


def _points(image: FloatArray) -> NDArray[np.float64]:
    """Mean of the channels at evenly spread pixels: gray and colour can be compared."""
    values = image.reshape(-1, image.shape[2]).mean(axis=1, dtype=np.float64)
    return np.asarray(values[:: max(1, len(values) // POINTS)])
