"""R1: what it is of a discriminator whose gradient is known, and that it holds one flat."""

from __future__ import annotations

import pytest
import torch

from refinery.losses.gradient_penalty import gradient_penalty


def linear(weight: float) -> torch.nn.Conv2d:
    """Answers `weight` times each pixel with "real" and as much against it with "refined"."""
    layer = torch.nn.Conv2d(1, 2, 1, bias=False)
    layer.weight.data = torch.tensor([weight, -weight]).reshape(2, 1, 1, 1)
    return layer


@pytest.mark.parametrize("size_hw", [(4, 4), (9, 6)])
def test_it_is_the_squared_gradient_for_images_of_any_size(size_hw):
    assert gradient_penalty(torch.rand(3, 1, *size_hw), linear(0.5)).item() == pytest.approx((2 * 0.5) ** 2)


def test_it_reaches_back_to_the_weights():
    layer = linear(0.5)
    gradient_penalty(torch.rand(2, 1, 5, 5), layer).backward()
    assert layer.weight.grad.flatten().tolist() == pytest.approx([2.0, -2.0])
