"""The benchmark of students: what is measured is what is said, and nothing is tested on what it was trained on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from refinery.runtime.probe_answers import Part
from refinery.training.probe_targets import ProbePlan

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "downstream"))

import coins
import signs
from _arms import ARMS, FOLDS, REAL, RIVAL, folds_of
from _consistency import apart, moved, shifted_by
from _downstream import _chosen
from _figures import closed_of, figures, table

POINT = Part("iris_center", "keypoint", "px", "point").at(0, 0)
PLAN = ProbePlan((POINT,), 1, 0, 0, (36, 60))


def test_a_shifted_photo_has_its_px_elsewhere_and_is_never_left_where_it_was() -> None:
    images = torch.rand(200, 1, 12, 20)
    shifted, shift = shifted_by(images, 3, torch.Generator().manual_seed(0))
    assert (shift.abs().amax(1) <= 3).all()
    assert shift.abs().sum(1).min() > 0
    assert {tuple(each) for each in shift.tolist()} >= {(-3, -3), (3, 3), (0, 1), (-1, 0)}
    for image, made, (x, y) in zip(images, shifted, shift.tolist(), strict=True):
        assert torch.equal(made[:, 3 + y : 9 + y, 3 + x : 17 + x], image[:, 3:9, 3:17])


def test_points_are_expected_to_move_with_the_photo() -> None:
    values = torch.tensor([[30.0, 16.0]])
    assert moved(PLAN, values, torch.tensor([[2, -1]])).tolist() == [[32.0, 15.0]]
    assert values.tolist() == [[30.0, 16.0]]


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ([[[0.0, 0.0]], [[6.0, 8.0]]], "px", [[5.0], [5.0]]),
        ([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]], "deg", [[45.0], [45.0]]),
    ],
)
def test_how_far_students_are_from_their_mean(values: list, unit: str, expected: list) -> None:
    assert apart(np.array(values, np.float32), unit) == pytest.approx(np.array(expected), rel=1e-5)


def test_a_group_is_never_split_and_every_fold_has_some() -> None:
    groups = [f"{i // 10}" for i in range(1080)]
    folds = folds_of(groups)
    assert all(len(set(folds[i : i + 10])) == 1 for i in range(0, 1080, 10))
    assert np.bincount(folds).tolist() == [180] * FOLDS


def test_the_closed_share_of_a_known_gap() -> None:
    random = np.random.default_rng(0)
    easy = random.random((5, 300)) * 0.1
    groups = [str(i // 3) for i in range(300)]
    found = closed_of(0.3 + easy, 0.5 + easy, 0.1 + easy, groups)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_no_share_is_told_where_there_is_no_gap() -> None:
    errors = np.random.default_rng(0).random((3, 60))
    assert closed_of(errors, errors, errors, [str(i) for i in range(60)]) is None


def test_the_closed_share_has_an_interval_that_holds_the_truth() -> None:
    random = np.random.default_rng(1)
    rival, own, real = ((random.random((5, 400)) < share).astype(float) for share in (0.4, 0.2, 0.1))
    found = closed_of(own, rival, real, [str(i) for i in range(400)])
    assert found is not None
    assert 0.4 < found.low < 2 / 3 < found.high < 0.85


def test_accuracy_is_told_as_higher_is_better() -> None:
    errors = {RIVAL: 0.4, "ours": 0.2, REAL: 0.1}
    found = {name: {0: {"errors": np.full(50, value), "seconds": np.array(2.0)}} for name, value in errors.items()}
    task = signs.Signs(Path(), Path())
    cases = figures(task, found, [str(i) for i in range(50)], {})
    assert cases["ours"]["figures"]["accuracy"]["mean"] == pytest.approx(0.8)
    assert cases["ours"]["figures"]["difference"]["mean"] == pytest.approx(0.2)
    assert cases["ours"]["figures"]["closed"]["mean"] == pytest.approx(2 / 3, abs=1e-3)
    assert "| ours | 1 | 0.800 [0.800, 0.800] | 0.200 [0.200, 0.200] | 0.667 [0.667, 0.667] |" in table(task, cases)


def test_arms_are_chosen_by_name_or_by_words() -> None:
    task = signs.Signs(Path(), Path())
    assert [name for name in ARMS if _chosen(name, task, ["synthetic", "FDA"])] == ["synthetic", "FDA + augmentation"]
    assert len([name for name in ARMS if _chosen(name, task, None)]) == len(ARMS) - 2


def test_coins_lie_in_one_half_of_the_photo_each_and_crops_cover_the_lower_one() -> None:
    mask = coins.coins_mask()
    assert not mask[coins.HALF_PX - 3 : coins.HALF_PX + 4].any()
    assert 0.25 < mask[: coins.HALF_PX].mean() < 0.45
    corners = list(coins._corners(mask.shape))
    assert min(top for top, _ in corners) == coins.HALF_PX
    assert max(top for top, _ in corners) + coins.SIZE == 303
    assert max(left for _, left in corners) + coins.SIZE == 384
