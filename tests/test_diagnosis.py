"""What goes wrong in a run is said in plain words, once."""

from __future__ import annotations

import math

import pytest
import torch

from refinery.errors import TrainingError
from refinery.training.diagnosis import Watch, require_finite, require_finite_state

FINE = {"discriminator_accuracy": 0.7, "discriminator": 0.6, "change": 0.1}
WON = {**FINE, "discriminator_accuracy": 1.0, "discriminator": 0.001}
SAME = {**FINE, "change": 0.0}


def advice(records, patience=3, phase="adversarial") -> list[list[str]]:
    watch = Watch(patience)
    return [watch.advice(phase, record) for record in records]


@pytest.mark.parametrize(
    ("record", "words"),
    [(WON, "the discriminator tells every patch apart"), (SAME, "refined equals synthetic")],
)
def test_what_lasts_is_said_once(record, words):
    said = advice([record] * 8)
    assert [len(sentences) for sentences in said] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert said[2][0].startswith(words)
    assert "try" in said[2][0]


def test_what_passes_is_not_said():
    assert not any(advice([WON, WON, FINE] * 5))


def test_what_comes_back_is_not_said_again():
    assert sum(map(len, advice([WON] * 3 + [FINE] + [WON] * 9))) == 1


def test_two_things_are_said_beside_each_other():
    assert len(advice([{**WON, "change": 0.0}] * 3)[2]) == 2


def turned(*accuracies: float) -> list[dict[str, float]]:
    return [{**FINE, "rotation_accuracy": accuracy} for accuracy in accuracies]


def test_rotations_that_cannot_be_told_are_said_once_by_their_mean():
    """One record counts few images, so that its accuracy swings around chance; here six records are enough."""
    said = advice(turned(0.25, 0.4, 0.25, 0.25, 0.17, 0.3, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25))
    assert [len(sentences) for sentences in said] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert said[5][0].startswith(
        "the discriminator cannot tell how real images are turned (accuracy 0.27, chance 0.25)"
    )
    assert "try rotation_alpha = 0 and rotation_beta = 0" in said[5][0]


@pytest.mark.parametrize("accuracies", [[0.25, 0.25, 0.5, 0.25, 0.25, 0.5], [0.25, 0.3, 0.45, 0.6, 0.8, 1.0]])
def test_rotations_that_are_told_at_times_are_not_given_up(accuracies):
    assert not any(advice(turned(*accuracies)))


def test_rotations_that_stop_being_told_are_noticed_later():
    assert sum(map(len, advice(turned(*[0.9] * 4, *[0.25] * 9)))) == 1


@pytest.mark.parametrize("phase", ["refiner alone", "discriminator alone"])
def test_pretraining_is_not_judged(phase):
    assert not any(advice([{"discriminator": 0.0}] * 5, phase=phase))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_run(value):
    with pytest.raises(
        TrainingError, match=r"^step 7: the loss 'discriminator' is .*last checkpoint is kept; try half"
    ):
        require_finite({"regularization": 0.1, "discriminator": value}, 7)
    require_finite(FINE, 7)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_never_reach_a_checkpoint(value):
    with pytest.raises(TrainingError, match=r"^step 7: weights became NaN or infinite.*; the last checkpoint is kept"):
        require_finite_state({"nets": [{"w": torch.tensor([0.0, value])}], "rate": 0.1}, 7)
    require_finite_state({"w": torch.zeros(2), "step": torch.tensor(3), "images": None}, 7)
