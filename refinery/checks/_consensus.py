"""One motion of a thing from what its sectors say: shift, growth, turn and two stretches, with their covariance.

Written for arrays of NumPy and tensors of torch alike, so that training and checking compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PRIOR = (0.05, 0.05, 60.0, 60.0, 250.0, 250.0)
"""Precision of no motion at all: px^-2 of the shift, then of growth, turn and stretches, which are shares."""

ROUNDS = 4
FREEDOM = 3.0


def consensus(design: Any, moves: Any, precision: Any, prior: Any, solve: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Motions (T, 6) and their precision matrices (T, 6, 6).

    design (T, K, 2, 6): what a motion moves each sector by. moves (T, K, 2) px. precision (T, K, 2, 2). prior (6, 6).
    Sectors that disagree with the others lose their say: the weights of a Student t distribution of 3 degrees of
    freedom, reweighted ROUNDS times (Lange, Little & Taylor 1989).
    """
    turned, observed = design.swapaxes(-1, -2), moves[..., None]
    weighted = precision
    for _ in range(ROUNDS):
        information = (turned @ weighted @ design).sum(1) + prior
        motion = solve(information, (turned @ weighted @ observed).sum(1))
        left = observed - design @ motion[:, None]
        surprise = left.swapaxes(-1, -2) @ precision @ left
        weighted = precision * ((FREEDOM + 2.0) / (FREEDOM + surprise))
    return motion[..., 0], information


def design_of(places: Any, stack: Callable[[Any, int], Any]) -> Any:
    """What a motion moves points by: places (..., 2) from the centre -> (..., 2, 6)."""
    x, y = places[..., 0], places[..., 1]
    zero, one = x * 0.0, x * 0.0 + 1.0
    across = stack([one, zero, x, -y, x, y], -1)
    down = stack([zero, one, y, x, -y, x], -1)
    return stack([across, down], -2)
