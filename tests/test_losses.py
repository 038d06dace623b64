"""Losses against their equations, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from refinery.losses.hinge import hinge, hinge_refiner
from refinery.losses.local_adversarial import REAL, REFINED, local_adversarial
from refinery.losses.rotation import rotation
from refinery.losses.self_regularization import self_regularization


def probability_of_refined(logits: torch.Tensor) -> torch.Tensor:
    """D of the paper: softmax over the two logits, class 1."""
    return torch.exp(logits[:, 1]) / (torch.exp(logits[:, 0]) + torch.exp(logits[:, 1]))


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (3, 2, 4, 9)])
def test_local_adversarial_is_equation_1_over_the_grid(shape):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    refined = probability_of_refined(logits)
    assert float(local_adversarial(logits, REFINED)) == pytest.approx(float(-torch.log(refined).mean()), rel=1e-6)
    assert float(local_adversarial(logits, REAL)) == pytest.approx(float(-torch.log(1 - refined).mean()), rel=1e-6)


def test_a_discriminator_that_cannot_tell_loses_log_2():
    assert float(local_adversarial(torch.zeros(2, 2, 3, 3), REAL)) == pytest.approx(math.log(2))


def test_local_adversarial_pushes_the_refiner_towards_real():
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    local_adversarial(logits, REAL).backward()
    assert (logits.grad[:, 0] < 0).all()
    assert (logits.grad[:, 1] > 0).all()


def test_local_adversarial_takes_half_precision_logits():
    assert local_adversarial(torch.zeros(1, 2, 2, 2, dtype=torch.bfloat16), REAL).dtype == torch.float32


@pytest.mark.parametrize(
    ("refined", "synthetic", "psi", "expected"),
    [
        ([0.0, 0.0], [0.0, 0.0], lambda x: x, 0.0),
        ([1.0, -1.0], [0.5, 0.0], lambda x: x, 0.75),
        ([1.0, 0.0], [0.0, 1.0], lambda x: x.mean(dim=3, keepdim=True), 0.0),
        ([1.0, 0.5], [0.0, 0.0], lambda x: 2 * x, 1.5),
    ],
)
def test_self_regularization(refined, synthetic, psi, expected):
    pair = [torch.tensor(values).reshape(1, 1, 1, -1) for values in (refined, synthetic)]
    assert float(self_regularization(*pair, psi)) == pytest.approx(expected)


def test_self_regularization_does_not_depend_on_the_size():
    small, large = (self_regularization(torch.ones(1, 1, s, s), torch.zeros(1, 1, s, s), lambda x: x) for s in (8, 64))
    assert float(small) == float(large) == 1


def with_scores(*scores: float) -> torch.Tensor:
    """Logits (1, 2, 1, n) of patches whose logit for real exceeds that for refined by these."""
    real = torch.tensor(scores).reshape(1, 1, 1, -1) + 0.7
    return torch.cat([real, torch.full_like(real, 0.7)], 1)


@pytest.mark.parametrize(
    ("scores", "on_real", "on_refined", "for_refiner"),
    [
        ((0.0,), 1.0, 1.0, 0.0),
        ((2.0,), 0.0, 3.0, -2.0),
        ((-3.0,), 4.0, 0.0, 3.0),
        ((0.5, -0.5, 1.5), (0.5 + 1.5 + 0.0) / 3, (1.5 + 0.5 + 2.5) / 3, -0.5),
    ],
)
def test_hinge(scores, on_real, on_refined, for_refiner):
    """max(0, 1 - s), max(0, 1 + s) and -s."""
    logits = with_scores(*scores)
    assert float(hinge(logits, REAL)) == pytest.approx(on_real)
    assert float(hinge(logits, REFINED)) == pytest.approx(on_refined)
    assert float(hinge_refiner(logits)) == pytest.approx(for_refiner)


def test_hinge_leaves_patches_beyond_the_margin_alone():
    logits = with_scores(1.5, 0.0).requires_grad_(True)
    hinge(logits, REAL).backward()
    assert logits.grad[0, :, 0, 0].tolist() == [0, 0]
    assert logits.grad[0, :, 0, 1].tolist() == pytest.approx([-0.5, 0.5])


def test_rotation_is_the_cross_entropy_of_four_classes():
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 3.0]])
    first = -math.log(math.exp(2) / (math.exp(2) + 3))
    second = -math.log(math.exp(1) / (2 + math.exp(1) + math.exp(3)))
    assert float(rotation(logits, torch.tensor([0, 1]))) == pytest.approx((first + second) / 2)
    assert float(rotation(torch.zeros(8, 4), torch.arange(8) % 4)) == pytest.approx(math.log(4))
