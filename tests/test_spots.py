"""What the content check is made of: means of squares, the widest edges, spots that stand alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from refinery.checks._spots import square_means, strongest_spot
from refinery.checks.new_content import _widened


@pytest.mark.parametrize("side", [1, 2, 3, 5, 6, 7, 9])
def test_means_of_squares(side: int) -> None:
    maps = np.random.default_rng(side).uniform(-1, 1, (2, 3, 9, 14)).astype(np.float32)
    expected = sliding_window_view(maps, (side, side), axis=(2, 3)).mean(axis=(4, 5))
    assert square_means(maps, side) == pytest.approx(expected, abs=1e-6)


def test_an_edge_explains_what_lies_two_cells_around_it() -> None:
    maps = np.random.default_rng(0).uniform(0, 1, (2, 8, 11)).astype(np.float32)
    padded = np.pad(maps, ((0, 0), (2, 2), (2, 2)), mode="edge")
    assert np.array_equal(_widened(maps), sliding_window_view(padded, (5, 5), axis=(1, 2)).max(axis=(3, 4)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_spot_that_ends_on_all_sides_is_found_and_a_border_is_not(channels: int) -> None:
    source = np.zeros((2, 40, 60, channels), np.float32)
    refined = source.copy()
    refined[0, 20:24, 30:34] = 0.8
    refined[1, :, 30:] = 0.8
    strength, middle = strongest_spot(refined - source, source, refined)
    assert strength[0] > 0.5 * np.sqrt(channels)
    assert np.abs(middle[0] - (32, 22)).max() <= 2
    assert strength[1] == 0
