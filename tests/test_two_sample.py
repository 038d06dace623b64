"""The classifier two-sample test: a guess for images of one kind, sure where one side has something of its own."""

from __future__ import annotations

import numpy as np
import pytest
from test_realism import images

from refinery.training.two_sample import MIN_IMAGES, TwoSampleTest, measured, told

REAL = images(0, 100)


def striped(stack: np.ndarray) -> np.ndarray:
    """With faint stripes of 4 px, as a grid would be: brightness and contrast hardly change."""
    stripes = 0.06 * np.sign(np.sin(np.arange(60) * np.pi / 2 + 0.1))[None, None, :, None]
    return np.clip(stack + stripes, -1, 1).astype(np.float32)


@pytest.mark.slow
def test_images_of_one_kind_are_a_guess():
    share, error = TwoSampleTest(REAL).accuracy(images(1, 100))
    assert share == pytest.approx(0.5, abs=3 * error)


@pytest.mark.slow
def test_a_faint_grid_gives_images_away():
    assert TwoSampleTest(REAL).accuracy(striped(images(1, 100)))[0] > 0.9


@pytest.mark.slow
def test_tone_counts_only_where_it_is_left_as_it_is():
    brighter = np.clip(0.9 * images(1, 100) + 0.3, -1, 1).astype(np.float32)
    equal, error = TwoSampleTest(REAL).accuracy(brighter)
    assert equal == pytest.approx(0.5, abs=3 * error)
    assert TwoSampleTest(REAL, equal_tone=False).accuracy(brighter)[0] > 0.8


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer():
    other = images(1, 40)
    assert TwoSampleTest(REAL[:40]).accuracy(other) == TwoSampleTest(REAL[:40]).accuracy(other)


@pytest.mark.slow
def test_it_is_told_as_other_measures_are():
    found = measured(striped(images(1, 50)), images(2, 50), REAL)
    assert list(found) == ["classifier", "classifier_tone"]
    for numbers in found.values():
        assert numbers["synthetic"] > numbers["refined"]
        assert numbers["floor"] >= 0.5
        assert numbers["ci95"][0] < numbers["refined"] < numbers["ci95"][1]
        assert numbers["gain_ci95"][0] > 0


def test_of_few_images_nothing_is_told():
    few = MIN_IMAGES - 1
    assert measured(images(1, few), images(2, few), REAL) == {}


def test_a_gain_within_the_errors_is_none():
    low, high = told((0.6, 0.02), (0.58, 0.02))["gain_ci95"]
    assert low < 0 < high
