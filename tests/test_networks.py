"""The paper's networks in numbers, and what ours promise beyond it."""

from __future__ import annotations

import pytest
import torch

from refinery.errors import TrainingError
from refinery.networks import patch_discriminator, resnet_discriminator, resnet_refiner

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


LATENT_AS = ("channels", "modulation", "batch_modulation")


@pytest.mark.parametrize(
    ("latent_as", "count"),
    [
        ("channels", 296_129 + 4 * 9 * 64),  # four more input channels of the first convolution
        ("modulation", 296_129 + 4 * (4 * 32 + 32 + 32 * 128 + 128)),  # in each block 4 -> 32 -> 2 x 64
        ("batch_modulation", 296_129 + 4 * (4 * 32 + 32 + 32 * 128 + 128)),  # its norm has no weights of its own
    ],
)
def test_what_a_latent_adds(latent_as, count):
    assert parameters(resnet_refiner.build(1, latent=4, latent_as=latent_as)) == count


@pytest.mark.parametrize("latent_as", LATENT_AS)
def test_a_latent_changes_its_own_image_alone(latent_as):
    torch.manual_seed(0)
    refiner = resnet_refiner.build(1, width=8, blocks=2, latent=3, latent_as=latent_as)
    torch.nn.init.normal_(refiner.last.weight, std=0.1)
    refiner(torch.rand(4, 1, 12, 12), torch.randn(4, 3))  # running statistics of some batch
    refiner.eval()
    images, latent = torch.rand(1, 1, 12, 17).expand(3, -1, -1, -1) - 0.5, torch.randn(3, 3)
    latent[2] = latent[0]
    with torch.no_grad():
        refined = refiner(images, latent)
        alone = torch.cat([refiner(images[i : i + 1], latent[i : i + 1]) for i in range(3)])
        middle = refiner(images)
    assert torch.allclose(refined, alone, atol=1e-6)
    assert torch.allclose(refined[0], refined[2], atol=1e-6)
    assert (refined[0] - refined[1]).abs().mean() > 1e-3
    assert torch.allclose(middle, refiner(images, torch.zeros(3, 3)), atol=1e-6)


def test_self_modulated_batch_norm_by_hand():
    """(1 + scale) (h - mean) / std + shift, scale and shift from 32 hidden units."""
    torch.manual_seed(0)
    layer = resnet_refiner.Modulation(2, 3, batch_norm=True).double()
    features, latent = torch.randn(5, 2, 4, 4, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    normed = (features - features.mean((0, 2, 3), keepdim=True)) / (
        features.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    hidden = (latent @ layer.hidden.weight.T + layer.hidden.bias).clamp(min=0)
    scale, shift = (hidden @ layer.scale_shift.weight.T + layer.scale_shift.bias).reshape(5, 2, 2, 1, 1).unbind(1)
    assert torch.allclose(layer(features, latent), (1 + scale) * normed + shift)
    assert layer.hidden.out_features == 32


@pytest.mark.parametrize(("head", "grid_hw"), [("patches", (9, 15)), ("global", (1, 1))])
def test_resnet_discriminator_judges_places_or_the_whole(head, grid_hw):
    discriminator = resnet_discriminator.build(1, width=8, head=head, rotation=True, spectral_norm=True)
    images = torch.zeros(2, 1, 36, 60)
    assert discriminator(images).shape == (2, 2, *grid_hw)
    assert discriminator.rotation_logits(discriminator.features(images)).shape == (2, 4)


def test_resnet_discriminator_parameters():
    """Four blocks of 128: the first with a 1x1 shortcut from the image, the second with one of 128."""
    convolution = 9 * 128 * 128 + 128
    first = 9 * 3 * 128 + 128 + convolution + 3 * 128 + 128
    blocks = first + (2 * convolution + 128 * 128 + 128) + 2 * (2 * convolution)
    assert parameters(resnet_discriminator.build(3, width=128)) == blocks + 2 * 128 + 2
    with_rotations = resnet_discriminator.build(3, width=128, rotation=True)
    assert parameters(with_rotations) == blocks + 2 * 128 + 2 + 4 * 128 + 4


def test_resnet_discriminator_refuses_less_than_8_px():
    with pytest.raises(TrainingError, match="images of 8 px and more, but the training crops are 9x7 px"):
        resnet_discriminator.build(1, width=4)(torch.zeros(1, 1, 7, 9))


@pytest.mark.parametrize("network", [patch_discriminator, resnet_discriminator])
def test_spectral_norm_holds_every_layer_at_one(network):
    torch.manual_seed(0)
    discriminator = network.build(1, rotation=True, spectral_norm=True)
    images = torch.rand(2, 1, 32, 32)
    for _ in range(30):
        discriminator.rotation_logits(discriminator.features(images))
        discriminator(images)
    discriminator.eval()
    layers = [layer for layer in discriminator.modules() if hasattr(layer, "parametrizations")]
    assert len(layers) == sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in discriminator.modules())
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("network", [patch_discriminator, resnet_discriminator])
def test_a_discriminator_without_a_head_tells_no_rotations(network):
    discriminator = network.build(1)
    with pytest.raises(TrainingError, match="tells no rotations: build it with rotation = true"):
        discriminator.rotation_logits(discriminator.features(torch.zeros(1, 1, 32, 32)))
