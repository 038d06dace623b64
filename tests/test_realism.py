"""Realism measures: about the floor for equal distributions, larger the more an image is spoilt."""

from __future__ import annotations

import numpy as np
import pytest

from refinery import registry
from refinery.errors import DatasetError
from refinery.realism import compare, equalise, paired_l1


def images(seed: int, count: int = 80) -> np.ndarray:
    """Discs of random place and tone on smooth ground: (count, 36, 60, 1)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:36, 0:60]
    cx, cy, tone, ground = rng.uniform((15, 10, -0.9, 0.0), (45, 26, -0.3, 0.5), (count, 4)).T[:, :, None, None]
    edge = 1 / (1 + np.exp(2 * (np.hypot(x - cx, y - cy) - 8)))
    return (ground + (tone - ground) * edge + rng.normal(0, 0.03, (count, 36, 60)))[..., None].astype(np.float32)


def noisy(stack: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, 1, stack.shape)
    return np.clip(stack + sigma * noise, -1, 1).astype(np.float32)


def blurred(stack: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        padded = np.pad(stack, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
        stack = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return stack.astype(np.float32)


MEASURES = registry.names("realism")


def distance(name: str, first: np.ndarray, second: np.ndarray) -> float:
    measure = registry.find("realism", name)
    return float(measure.distance(*(measure.features(stack, np.random.default_rng(0)) for stack in (first, second))))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("spoil", [noisy, lambda s, a: blurred(s, int(10 * a)), lambda s, a: s + np.float32(a)],
                         ids=["noise", "blur", "brightness"])  # fmt: skip
def test_distance_grows_with_the_damage(name: str, spoil: object) -> None:
    assert callable(spoil)
    found = [distance(name, spoil(images(0), amount), images(1)) for amount in (0.0, 0.1, 0.3)]
    assert found[0] < found[1] < found[2]


def test_equal_distributions_lie_at_the_floor_and_spoilt_ones_do_not() -> None:
    report = compare(noisy(images(0), 0.15), images(2), images(1, 160))
    assert set(report) == set(MEASURES)
    for row in report.values():
        width = row["ci95"][1] - row["ci95"][0]
        assert abs(row["refined"] - row["floor"]) < max(2 * width, 0.02)
        assert row["synthetic"] > 3 * abs(row["floor"])
        assert row["gain_ci95"][0] > 0
        assert row["ci95"][0] <= row["refined"] <= row["ci95"][1]


def test_no_change_is_no_gain() -> None:
    for row in compare(images(0), images(0), images(1, 160)).values():
        assert row["gain_ci95"] == [0.0, 0.0]


def test_the_same_seed_gives_the_same_numbers() -> None:
    sets = images(0, 20), images(2, 20), images(1, 40)
    assert compare(*sets, seed=3) == compare(*sets, seed=3)
    assert compare(*sets, seed=3) != compare(*sets, seed=4)


def test_colour_and_small_images_are_compared_too() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.uniform(-1, 1, (9, 5, 4, 3)).astype(np.float32) for _ in range(3)]
    assert all(np.isfinite(row["refined"]) for row in compare(*sets).values())


def test_too_few_images_are_an_error() -> None:
    with pytest.raises(DatasetError, match="3 synthetic"):
        compare(images(0, 3), images(2, 9), images(1, 9))
    with pytest.raises(DatasetError, match="no images"):
        equalise([], (8, 8), 4)


def test_equalise_gives_one_size_and_channel_count() -> None:
    shapes = [(36, 60, 1), (80, 100, 3), (20, 90, 3), (5, 5, 4)]
    mixed = [np.full(shape, 0.25, np.float32) for shape in shapes]
    assert equalise(mixed, (36, 60), 10).shape == (4, 36, 60, 1)
    assert equalise(mixed, (36, 60), 2, channels=3).shape == (2, 36, 60, 3)
    assert np.allclose(equalise(mixed, (36, 60), 10), 0.25, atol=1e-6)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    image = images(0, 1)[0]
    assert np.array_equal(equalise([image], (36, 60), 1)[0], image)


def test_the_distance_to_partners_by_hand():
    targets = [np.zeros((4, 4, 1), np.float32) for _ in range(4)]
    before = [target + 0.5 for target in targets]
    after = [target + offset for target, offset in zip(targets, (0.1, 0.2, 0.1, 0.2), strict=True)]
    found = paired_l1(before, after, targets)
    assert (found["synthetic"], found["floor"]) == (0.5, 0.0)
    assert found["refined"] == pytest.approx(0.15)
    slack = 1.96 * np.std([0.1, 0.2, 0.1, 0.2], ddof=1) / 2
    assert found["ci95"] == pytest.approx([0.15 - slack, 0.15 + slack])
    assert found["gain_ci95"] == pytest.approx([0.35 - slack, 0.35 + slack])
