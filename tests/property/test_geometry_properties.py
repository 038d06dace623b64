"""Properties of the geometry check over many scenes: symmetry, blindness to tone, independence of order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from refinery.checks import CheckContext, run_checks
from refinery.checks._moved import shifted
from refinery.checks._orientation import orientation_field
from refinery.checks._windows import contour_windows
from refinery.sample import Label, Pair, Sample

seeds = st.integers(0, 2**32 - 1)
moves = st.floats(-2.5, 2.5, allow_nan=False)


def smooth_noise(seed: int, height: int = 32, width: int = 40) -> np.ndarray:
    """A random texture with structure of about 4 px in every direction: (H, W, 1) float32 in [-1, 1]."""
    image = np.random.default_rng(seed).standard_normal((height, width, 1))
    for _ in range(4):
        image = (np.roll(image, 1, 0) + 2 * image + np.roll(image, -1, 0)) / 4
        image = (np.roll(image, 1, 1) + 2 * image + np.roll(image, -1, 1)) / 4
    return (image / np.abs(image).max() * 0.9).astype(np.float32)


def whole_shift(synthetic: np.ndarray, refined: np.ndarray) -> np.ndarray:
    (found,) = run_checks([Pair(Sample("s", "s.png"), synthetic, refined)], CheckContext())
    return np.array(found[0].shift_px)


@settings(max_examples=25, deadline=None)
@given(seeds, moves, moves)
def test_a_known_shift_is_measured(seed: int, dx: float, dy: float) -> None:
    image = smooth_noise(seed)
    assert np.allclose(whole_shift(image, shifted(image, (dx, dy))), (dx, dy), atol=0.3)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.2, 1.0), st.floats(-0.05, 0.05), st.booleans())
def test_the_field_does_not_see_contrast_brightness_or_sign(
    seed: int, gain: float, offset: float, negative: bool
) -> None:
    image = smooth_noise(seed)[None]
    changed = (image * (-gain if negative else gain) + offset).astype(np.float32)
    assert np.allclose(orientation_field(image), orientation_field(changed), atol=0.05)


@settings(max_examples=25, deadline=None)
@given(seeds, st.permutations(range(6)))
def test_findings_follow_their_pairs(seed: int, order: list[int]) -> None:
    pairs = [
        Pair(Sample(str(i), f"{i}.png"), smooth_noise(seed + i), shifted(smooth_noise(seed + i), (0.2 * i, 0.0)),
             (Label("p", "keypoint", np.array([20.0, 16.0])),))
        for i in range(6)
    ]  # fmt: skip
    findings = run_checks(pairs, CheckContext())
    assert run_checks([pairs[i] for i in order], CheckContext()) == [findings[i] for i in order]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99)), min_size=3, max_size=12))
def test_contour_points_stay_within_the_band(corners: list[tuple[float, float]]) -> None:
    polygon = np.array(corners)
    points = contour_windows([polygon]).points_xy[0]
    assert np.isfinite(points).all()
    assert (points >= polygon.min(axis=0) - 1.6).all()
    assert (points <= polygon.max(axis=0) + 1.6).all()
