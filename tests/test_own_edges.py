"""A round thing behind a lid that moves: its window is dragged, its own edges are not."""

from __future__ import annotations

import numpy as np
import pytest

from refinery.checks import CheckBatch, CheckContext, run_checks
from refinery.checks.own_edges import check
from refinery.sample import Label, Pair, Sample


def eye(seed: int, lid_y: float = 14.0, lid_px: float = 0.0, iris_px: float = 0.0) -> Pair:
    """A dark disc under a bright lid with a straight edge: (48, 48, 1). The lid or the disc moves down."""
    x0, y0, radius = 23.0 + seed % 3, 24.0, 11.0
    synthetic, refined = (
        _drawn(seed, x0, y0 + move[0], radius, lid_y + move[1]) for move in ((0, 0), (iris_px, lid_px))
    )
    lid = np.array([[2.0, lid_y], [46.0, lid_y], [46.0, 46.0], [2.0, 46.0]])
    labels = (Label("iris", "keypoint", np.array([x0, y0]), extent_px=radius), Label("lid", "polygon", lid))
    return Pair(Sample(f"{seed}", f"{seed}.png"), synthetic, refined, labels)


def _drawn(seed: int, x0: float, y0: float, radius: float, lid_y: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.02, (48, 48))
    y, x = np.mgrid[0:48, 0:48].astype(float)
    image = 0.3 - 0.8 * np.clip(radius + 0.5 - np.hypot(x - x0, y - y0), 0, 1)
    cover = np.clip(lid_y + 0.5 - y, 0, 1)
    return (image * (1 - cover) + 0.7 * cover + noise).astype(np.float32)[..., None]


CONTEXT = CheckContext(max_drift={"": 0.3})


def irises(pairs: list[Pair]) -> list[str]:
    return [f.verdict for own in run_checks(pairs, CONTEXT) for f in own if f.label == "iris"]


def test_a_lid_that_moves_fails_no_iris_that_stays():
    """Seven of eight failed before: the lid's edge lies in the iris's window."""
    verdicts = irises([eye(seed, lid_y=17.0, lid_px=3.0) for seed in range(8)])
    assert verdicts.count("fail") <= 1


@pytest.mark.parametrize("lid_px", [0.0, 2.0])
def test_an_iris_that_moves_is_not_taken_back(lid_px):
    verdicts = irises([eye(seed, lid_px=lid_px, iris_px=2.0) for seed in range(8)])
    assert verdicts.count("fail") >= 7
    assert "pass" not in verdicts


def test_what_stayed_needs_no_word():
    assert check(CheckBatch([eye(0)]), CONTEXT) == [[]]
