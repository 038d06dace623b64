"""The paper's networks in numbers, and what ours promise beyond it."""

from __future__ import annotations

import pytest
import torch

from refinery.errors import TrainingError
from refinery.networks import patch_discriminator, resnet_refiner

PAPER = {"padding": "zeros", "head": "tanh"}


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("channels", "settings", "count"),
    [
        (1, PAPER, 296_129),  # eyes, as published
        (1, {}, 296_129),  # reflection adds none
        (3, PAPER, 297_411),
        (1, {**PAPER, "kernel": 7, "blocks": 10}, 741_825),  # hands
    ],
)
def test_refiner_parameters(channels, settings, count):
    assert parameters(resnet_refiner.build(channels, **settings)) == count


@pytest.mark.parametrize("settings", [{}, PAPER, {"kernel": 7}, {"head": "tanh"}])
@pytest.mark.parametrize("size_hw", [(8, 8), (35, 55), (9, 21)])
def test_refiner_keeps_odd_sizes_and_the_range(settings, size_hw):
    refiner = resnet_refiner.build(1, width=4, blocks=2, **settings).eval()
    images = torch.rand(2, 1, *size_hw) * 2 - 1
    refined = refiner(images)
    assert refined.shape == images.shape
    assert refined.abs().max() <= 1


def test_residual_refiner_begins_as_the_identity():
    images = torch.rand(2, 3, 12, 17) * 2 - 1
    refiner = resnet_refiner.build(3, width=8)
    assert torch.equal(refiner.train()(images), images)
    assert torch.equal(refiner.eval()(images), images)


def test_residual_refiner_is_clamped_only_outside_training():
    refiner = resnet_refiner.build(1, width=4, blocks=1)
    torch.nn.init.constant_(refiner.last.bias, 3.0)
    images = torch.zeros(1, 1, 8, 8)
    assert refiner.train()(images).min() == 3
    assert refiner.eval()(images).max() == 1


@pytest.mark.parametrize("settings", [{"width": 4, "blocks": 2}, {"width": 4, "blocks": 1, "kernel": 7}])
def test_receptive_field_is_what_the_gradient_reaches(settings):
    torch.manual_seed(0)
    refiner = resnet_refiner.build(1, padding="zeros", head="tanh", **settings).double()
    image = torch.rand(1, 1, 41, 41, dtype=torch.float64, requires_grad=True)
    refiner(image)[0, 0, 20, 20].backward()
    reached = image.grad[0, 0].abs().sum(0).nonzero()
    assert int(reached.max() - reached.min()) + 1 == refiner.receptive_field_px


def test_reflection_leaves_no_frame_on_a_flat_image():
    torch.manual_seed(1)
    refiner = resnet_refiner.build(1, width=8, blocks=2, head="tanh").double()
    refined = refiner(torch.full((1, 1, 16, 16), 0.3, dtype=torch.float64))
    assert (refined - refined.mean()).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("variant", "padding", "size_hw", "grid_hw"),
    [
        ("eyes", "zeros", (35, 55), (9, 14)),
        ("eyes", "none", (35, 55), (4, 9)),
        ("eyes", "none", (36, 60), (4, 10)),
        ("eyes", "none", (23, 23), (1, 1)),
        ("hands", "zeros", (224, 224), (7, 7)),
        ("hands", "none", (224, 224), (5, 5)),
        ("hands", "none", (71, 71), (1, 1)),
        ("small", "none", (7, 7), (1, 1)),
        ("small", "none", (8, 16), (1, 3)),
    ],
)
def test_discriminator_grid(variant, padding, size_hw, grid_hw):
    discriminator = patch_discriminator.build(1, variant=variant, padding=padding)
    assert discriminator(torch.zeros(2, 1, *size_hw)).shape == (2, 2, *grid_hw)


@pytest.mark.parametrize(("variant", "side"), [("eyes", 22), ("hands", 70), ("small", 6)])
def test_discriminator_refuses_less_than_a_patch(variant, side):
    discriminator = patch_discriminator.build(1, variant=variant)
    with pytest.raises(TrainingError, match=rf"patches of {side + 1} px, but the training crops are 90x{side} px; set"):
        discriminator(torch.zeros(1, 1, side, 90))


@pytest.mark.parametrize(("variant", "count"), [("eyes", 75_906), ("hands", 178_050)])
def test_discriminator_parameters(variant, count):
    """Sums of (kernel^2 in + 1) out over the paper's layers."""
    assert parameters(patch_discriminator.build(1, variant=variant)) == count
