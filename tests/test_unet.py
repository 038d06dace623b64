"""pix2pix's networks in the paper's numbers: layers, parameters, shapes, what a pixel and a patch depend on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from refinery.errors import TrainingError
from refinery.networks import patchgan, unet

torch.set_num_threads(1)

ENCODER = [64, 128, 256, 512, 512, 512, 512, 512]
DECODER = [512, 512, 512, 512, 256, 128, 64]
DECODER_INPUTS = [512, 1024, 1024, 1024, 1024, 512, 256, 128]
PATCHES = {1: [64, 128], 16: [64, 128], 70: [64, 128, 256, 512], 286: [64, 128, 256, 512, 512, 512]}
"""C64-C128-... as the paper's appendix lists them."""


def of_type(network: nn.Module, *types: type) -> list:
    return [module for module in network.modules() if type(module) in types]


def widths(layers: list[nn.Module]) -> list[tuple[int, int]]:
    return [(layer.in_channels, layer.out_channels) for layer in layers]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images(*size_hw: int, channels: int = 1, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, channels, *size_hw, generator=torch.Generator().manual_seed(0)) * 2 - 1


def small(**settings) -> unet.UNet:
    torch.manual_seed(0)
    network = unet.build(1, **{"width": 4, "levels": 3, **settings})
    with torch.no_grad():
        for module in of_type(network, nn.BatchNorm2d, unet.ImageBatchNorm):
            module.running_mean.normal_(0, 0.01)
            module.running_var.uniform_(1e-4, 1e-3)
    return network


@pytest.mark.parametrize(("skips", "inputs"), [(True, DECODER_INPUTS), (False, [512, *DECODER])])
def test_layers_of_the_paper(skips, inputs):
    network = unet.build(3, levels=8, skips=skips)
    down, up = of_type(network, nn.Conv2d), of_type(network, nn.ConvTranspose2d)
    assert widths(down) == list(zip([3, *ENCODER], ENCODER, strict=False))
    assert widths(up) == list(zip(inputs, [*DECODER, 3], strict=True))
    assert all((layer.kernel_size, layer.stride) == ((4, 4), (2, 2)) for layer in (*down, *up))
    assert [layer.dropout.p if layer.dropout else 0 for layer in network.up] == [0.5, 0.5, 0.5, 0, 0, 0, 0]
    assert isinstance(network.down[-1].norm, nn.Identity)
    assert [norm.num_features for norm in of_type(network, nn.BatchNorm2d)] == [*ENCODER[1:-1], *DECODER]


def test_parameters_of_the_paper():
    """Weights 16 in out; a bias only where no norm follows; two numbers for each feature of a norm."""
    down, up = zip([3, *ENCODER], ENCODER, strict=False), zip(DECODER_INPUTS, [*DECODER, 3], strict=True)
    weights = 16 * sum(a * b for a, b in [*down, *up])
    biases, norms = 64 + 512 + 3, 2 * (sum(ENCODER[1:-1]) + sum(DECODER))
    assert parameters(unet.build(3, levels=8)) == weights + biases + norms
    assert round((weights + biases + norms) / 1e6, 2) == 54.41


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6, 7, 8])
def test_fewer_levels_keep_the_outer_layers(levels):
    down, up = unet.encoder_widths(64, levels), unet.decoder_widths(64, levels)
    assert down == ENCODER[:levels]
    assert up == DECODER[-(levels - 1) :] if levels > 4 else up == down[-2::-1]
    assert unet.decoder_inputs(64, levels, True)[1:] == [2 * width for width in up]
    assert unet.dropout_layers(64, levels) == {8: 3, 7: 3, 6: 2, 5: 1}.get(levels, 1)


@pytest.mark.parametrize(
    ("side", "levels"), [(8, 3), (15, 3), (16, 4), (36, 5), (64, 6), (255, 7), (256, 8), (600, 8), (2, 2)]
)
def test_levels_by_size(side, levels):
    assert unet.levels_for(side) == levels


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("size_hw", [(8, 8), (16, 24), (35, 55), (9, 21), (2, 3)])
def test_every_size_is_kept(size_hw, skips):
    refined = small(skips=skips, out_channels=3).eval()(images(*size_hw))
    assert refined.shape == (2, 3, *size_hw)
    assert refined.abs().max() <= 1


def test_padding_is_reflection_as_often_as_it_takes():
    line = torch.arange(3.0)[None, None, None]
    assert unet._reflect(line, 3, 8)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 1, 0, 1]
    assert torch.equal(unet._reflect(images(8, 16), 2, 8), images(8, 16))
    assert torch.equal(unet._crop(unet._reflect(images(9, 7), 2, 8), 2, 9), images(9, 7))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_receptive_field_is_what_the_gradient_reaches(levels):
    """Of all places within a cell the widest one counts: a pixel beside the middle of a cell sees less."""
    torch.manual_seed(0)
    network = unet.UNet(1, width=2, levels=levels, norm="none", dropout=0.0).double().eval()
    sides = []
    for place in range(48, 48 + 2**levels):
        image = torch.rand(1, 1, 96, 96, dtype=torch.float64, requires_grad=True)
        network(image)[0, 0, place, place].backward()
        reached = image.grad[0, 0].abs().sum(0).nonzero()
        sides.append(int(reached.max() - reached.min()) + 1)
    assert max(sides) == network.receptive_field_px


@pytest.mark.parametrize(
    "settings", [{}, {"statistics": "image"}, {"norm": "instance"}, {"norm": "none"}, {"noise": True}]
)
def test_an_image_does_not_depend_on_its_neighbours(settings):
    network = small(**settings).eval()
    batch = images(16, 16, batch=3)
    noise = [torch.randn(3, network.latent, generator=torch.Generator().manual_seed(1))] if network.latent else []
    together = network(batch, *noise)
    alone = torch.cat([network(*(part[i : i + 1] for part in (batch, *noise))) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_batch_norm_by_each_image_is_batch_norm_of_a_batch_of_one():
    """As published: the statistics of a test batch of one image, with the weights that were learned."""
    network = small(statistics="image", dropout=0.0)
    image = images(16, 16, batch=1)
    assert torch.allclose(network.eval()(image), network.train()(image), atol=1e-5)
    assert network.sees_whole_image
    running = small(dropout=0.0)
    assert not torch.allclose(running.eval()(image), network.eval()(image), atol=1e-2)


def test_noise_is_of_the_latent_alone():
    network = small(noise=True, levels=4).eval()
    assert network.latent == sum(network.latent_widths) == 16
    batch, generator = images(16, 16), torch.Generator().manual_seed(1)
    first, second = (torch.randn(2, network.latent, generator=generator) for _ in range(2))
    assert torch.equal(network(batch, first), network(batch, first))
    assert not torch.allclose(network(batch, first), network(batch, second), atol=1e-4)
    assert torch.equal(network(batch), small(levels=4).eval()(batch)), "without a latent, no noise"
    assert small(levels=4).latent == 0


@pytest.mark.parametrize("p", [0.5, 0.25])
def test_lattice_keeps_every_place_as_often_as_dropout(p):
    layer = unet.LatticeDropout(p).eval()
    latent = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    kept = layer(torch.ones(4000, 8, 3, 4), latent)
    assert kept.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    share = (kept > 0).float().mean(0)
    assert (share - (1 - p)).abs().max() < 5 * (p * (1 - p) / 4000) ** 0.5
    assert (layer.train()(torch.ones(4000, 8, 1, 1), latent) > 0).float().mean() == pytest.approx(1 - p, abs=0.02)


@pytest.mark.parametrize("patch_px", PATCHES)
def test_discriminator_layers_of_the_paper(patch_px):
    layers = of_type(patchgan.build(6, patch_px=patch_px), nn.Conv2d)
    expected = PATCHES[patch_px]
    assert widths(layers) == list(zip([6, *expected], [*expected, 1], strict=True))
    assert all(layer.kernel_size == ((1, 1) if patch_px == 1 else (4, 4)) for layer in layers)


def test_discriminator_parameters_of_the_paper():
    """Two images of three channels: 2.77 million for patches of 70 px."""
    assert round(parameters(patchgan.build(6)) / 1e6, 2) == 2.77


@pytest.mark.parametrize(("patch_px", "size", "grid"), [(1, 256, 256), (16, 256, 126), (70, 256, 30), (286, 256, 6)])
def test_discriminator_grid(patch_px, size, grid):
    network = patchgan.build(2, patch_px=patch_px, width=2)
    assert network(torch.zeros(1, 2, size, size)).shape == (1, 1, grid, grid)


@pytest.mark.parametrize("patch_px", PATCHES)
def test_a_patch_is_what_the_gradient_reaches(patch_px):
    """With weights of one sign nothing cancels or dies on the way."""
    network = patchgan.build(1, patch_px=patch_px, width=1, norm="none").double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    side = 640 if patch_px == 286 else 192
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    for axis in (0, 1):
        reached = image.grad[0, 0].sum(axis).nonzero()
        assert int(reached.max() - reached.min()) + 1 == len(reached) == patch_px


@pytest.mark.parametrize(("patch_px", "least"), [(1, 1), (16, 6), (70, 24), (286, 96)])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_discriminator_refuses_what_leaves_no_patch(patch_px, least, norm):
    network = patchgan.build(1, patch_px=patch_px, width=2, norm=norm)
    assert network(torch.zeros(2, 1, least, least)).shape == (2, 1, 1, 1)
    if least > 1:
        with pytest.raises(TrainingError, match=rf"patches of {patch_px} px needs images of {least} px"):
            network(torch.zeros(2, 1, least - 1, least))


@pytest.mark.parametrize("network", [unet.build(1, width=16, levels=4), patchgan.build(1, width=16, patch_px=286)])
def test_weights_begin_as_published(network):
    for module in of_type(network, nn.Conv2d, nn.ConvTranspose2d):
        assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.25)
        assert module.bias is None or not module.bias.any()
    for module in of_type(network, nn.BatchNorm2d):
        assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
