"""The fast refiner: what it costs, what it keeps, and that nobody can see its scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_tiling import photo, session_of, whole_and_cut

from refinery.networks.multiscale_refiner import build
from refinery.training.methods.simgan import Settings, scale

LIVELY = 0.3
"""Deviation of the last layer's weights in these tests; at the beginning of a training they are zero."""


def lively(channels: int = 1, **settings: object) -> torch.nn.Module:
    """A refiner that changes images, always the same one."""
    torch.manual_seed(0)
    network = build(channels, **settings).eval()
    torch.nn.init.normal_(network.last.weight, std=LIVELY)
    return network


def multiplications_a_px(network: torch.nn.Module, channels: int, side: int = 64) -> float:
    """Of all convolutions, counted as they run."""
    counted: list[int] = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda own, _, out: counted.append(own.weight.numel() * out.shape[2] * out.shape[3])
            )
    network(torch.zeros(1, channels, side, side))
    return sum(counted) / side**2


def test_it_costs_a_twelfth_of_the_papers_network():
    network = build(1, latent=4)
    assert sum(weights.numel() for weights in network.parameters()) == 197_473
    assert multiplications_a_px(network, 1) < 24_000
    assert multiplications_a_px(build(3, latent=4), 3) < 25_000


def test_on_large_crops_it_sees_further_and_costs_less_a_px():
    small, large = (scale(Settings(refiner="multiscale_refiner"), (side, side)) for side in (64, 128))
    networks = [build(1, blocks=s.blocks, scales=s.scales, latent=4) for s in (small, large)]
    costs = [multiplications_a_px(network, 1, 128) for network in networks]
    assert costs[1] < 20_000 < costs[0]
    assert [network.receptive_field_px for network in networks] == [73, 121]


@pytest.mark.parametrize("settings", [{}, {"scales": 1}, {"scales": 4, "blocks": 1}, {"latent": 3, "tone": True}])
def test_it_begins_as_the_identity_and_keeps_size_and_range(settings):
    images = torch.rand(2, 3, 9, 27) * 2 - 1
    assert torch.equal(build(3, width=4, **settings)(images), images)
    refined = lively(3, width=4, **settings)(images)
    assert refined.shape == images.shape
    assert refined.abs().max() <= 1


@pytest.mark.parametrize(("scales", "blocks"), [(1, 1), (2, 2), (3, 2), (4, 1)])
def test_the_receptive_field_is_what_the_gradient_reaches(scales, blocks):
    network = build(1, width=4, scales=scales, blocks=blocks).double()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.uniform_(layer.weight, 0.1, 1)
            torch.nn.init.ones_(layer.bias)
    image, middle = torch.zeros(1, 1, 16, 256, dtype=torch.float64, requires_grad=True), 128
    reach = 0
    for column in range(middle, middle + network.cell_px):
        (gradient,) = torch.autograd.grad(network(image)[0, 0, 8, column], image)
        reached = gradient[0, 0].abs().sum(0).nonzero()
        reach = max(reach, column - int(reached.min()), int(reached.max()) - column)
    assert 2 * reach + 1 == network.receptive_field_px


def test_it_moves_with_the_image_by_whole_cells():
    network = lively(1).double()
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, 16, 160)))
    first, second = network(image[..., :-4]), network(image[..., 4:])
    edge = network.receptive_field_px // 2 + 4
    assert torch.allclose(first[..., edge + 4 : -edge], second[..., edge : -edge - 4], atol=1e-12)


def test_a_flat_image_stays_flat():
    network = lively(1).double().train()
    refined = network(torch.full((1, 1, 32, 32), 0.3, dtype=torch.float64))
    assert (refined - refined.mean()).abs().max() < 1e-12


def test_it_draws_no_grid():
    """Of white noise all places of a 4x4 cell are changed alike: the spectrum has no lines at its frequencies."""
    network = lively(1).train()
    with torch.no_grad():
        noise = torch.randn(4, 1, 256, 256, generator=torch.Generator().manual_seed(0)) * 0.3
        change = (network(noise) - noise)[..., 40:-40, 40:-40]
    cells = change.unfold(2, 4, 4).unfold(3, 4, 4).flatten(0, 3).reshape(-1, 16)
    assert float(cells.mean(0).std()) < 0.02 * float(cells.std())
    assert float(cells.std(0).max() / cells.std(0).min()) < 1.1


def test_the_latent_makes_looks_and_cannot_modulate():
    network = lively(1, latent=4)
    images = torch.zeros(1, 1, 16, 16)
    assert not torch.equal(network(images), network(images, torch.ones(1, 4)))
    with pytest.raises(TypeError, match="it takes 'channels'"):
        build(1, latent=4, latent_as="modulation")


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_tiles_give_what_the_whole_image_gives(provider):
    if provider == "openvino":
        pytest.importorskip("openvino")
    network = lively(3, latent=4, tone=True)
    session = session_of(network, 3, provider, threads=2)
    image, latent = photo(0, 700, 903, 3).astype(np.float32) / 127.5 - 1, np.float32([1, -1, 0.5, 0])
    whole, cut, count = whole_and_cut(session, image, 200_000, latent)
    assert count > 1
    assert np.abs(whole - cut).max() < 1e-4
