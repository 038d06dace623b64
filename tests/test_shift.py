"""The loss on shifts of edges: what moves costs, what is only lit otherwise does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_simgan import TINY, new
from torch.nn import functional

from refinery.losses.shift import shift


def discs(radius: float = 6.0, away: float = 0.0, count: int = 4) -> torch.Tensor:
    """Soft dark discs (N, 1, 24, 24), each at its own place."""
    middle = 11 + 2 * torch.rand(count, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    distance = torch.hypot(rows - middle[:, 0], columns - middle[:, 1] - away)
    return (torch.sigmoid(distance - radius) - 0.5)[:, None]


def cost(refined: torch.Tensor, synthetic: torch.Tensor) -> float:
    """In px."""
    return math.sqrt(float(shift(refined, synthetic)))


@pytest.mark.parametrize("away", [0.25, 0.5])
def test_what_moves_costs_by_how_far(away):
    assert 0.2 * away < cost(discs(away=away), discs()) < away


def test_what_shrinks_costs_though_its_middle_stays():
    assert cost(discs(radius=5.5), discs()) > 0.2


def test_light_and_contrast_are_free():
    synthetic = discs()
    assert cost(synthetic, synthetic) == 0
    assert cost(0.4 * synthetic - 0.3, synthetic) < 5e-3
    assert cost(-synthetic, synthetic) < 5e-3


def test_blur_costs_less_than_a_small_shift():
    synthetic = discs()
    blurred = functional.avg_pool2d(functional.pad(synthetic, (1, 1, 1, 1), mode="replicate"), 3, 1)
    assert cost(blurred, synthetic) < cost(discs(away=0.25), synthetic)


def test_even_images_and_small_ones_are_no_trouble():
    even = torch.zeros(2, 3, 8, 8)
    refined = even + 0.1
    refined.requires_grad_()
    loss = shift(refined, even)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert torch.isfinite(refined.grad).all()


def test_its_gradient_moves_a_disc_back():
    synthetic, refined = discs(), discs(away=0.5).requires_grad_()
    (slope,) = torch.autograd.grad(shift(refined, synthetic), refined)
    assert float(shift(refined.detach() - 20 * slope, synthetic)) < float(shift(refined.detach(), synthetic))


def test_training_weighs_it():
    method = new(replace(TINY, shift=3.0))
    _, losses = method._update_refiner(torch.rand(4, 3, 16, 16), adversarial=False)
    assert set(losses) == {"regularization", "shift", "change"}
