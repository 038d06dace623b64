"""Random looks before a discriminator: nothing moves, and the gradient goes through."""

from __future__ import annotations

import pytest
import torch

from refinery.training.looks import jitter


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_looks_change_and_places_do_not(channels):
    images = torch.rand(6, channels, 9, 12, generator=seeded()) * 2 - 1
    changed = jitter(images, 1.0, seeded())
    assert changed.shape == images.shape
    for before, after in zip(images.flatten(0, 1), changed.flatten(0, 1), strict=True):
        assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.999
        assert (after - before).abs().max() > 0.01
    assert len({round(float(image.mean()), 4) for image in changed}) == 6


def test_by_hand():
    image = torch.tensor([[[[-1.0, 1.0]]]])
    drawn = torch.rand(1, 3, 1, 1, generator=seeded()).flatten() * 2 - 1
    contrast, brightness, gain = (float(value) for value in drawn)
    top = 2 * (1 + 0.25 * gain)
    expected = [side * top / 2 * (1 + 0.5 * contrast) + top / 2 + 0.5 * brightness - 1 for side in (-1, 1)]
    assert jitter(image, 1.0, seeded()).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_no_strength_changes_nothing_and_draws_nothing():
    images, generator = torch.rand(2, 1, 8, 8), seeded()
    assert jitter(images, 0.0, generator) is images
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_weaker_is_nearer_and_the_generator_decides():
    images = torch.rand(8, 3, 8, 8, generator=seeded()) * 2 - 1
    strong, weak = jitter(images, 1.0, seeded()), jitter(images, 0.1, seeded())
    assert (weak - images).abs().mean() < 0.15 * (strong - images).abs().mean()
    assert torch.equal(strong, jitter(images, 1.0, seeded()))


def test_the_gradient_reaches_every_pixel_also_beyond_the_range():
    images = (torch.rand(4, 1, 8, 8, generator=seeded()) * 4 - 2).requires_grad_(True)
    jitter(images, 1.0, seeded()).square().mean().backward()
    assert (images.grad != 0).all()
    assert jitter(images.bfloat16(), 1.0, seeded()).dtype == torch.bfloat16


def test_memory_order_is_kept():
    images = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert jitter(images, 1.0, seeded()).is_contiguous(memory_format=torch.channels_last)
