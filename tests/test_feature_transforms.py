"""What each psi holds and what it leaves free."""

from __future__ import annotations

import pytest
import torch

from refinery.registry import find


def psi(name: str, channels: int = 3, seed: int = 0):
    return find("feature_transform", name).build(channels, seed)


def images(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 12, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_identity():
    assert torch.equal(psi("identity")(images()), images())


def test_gradient_by_hand():
    ramp = torch.tensor([[0.0, 1.0, 3.0], [10.0, 20.0, 40.0]]).reshape(1, 1, 2, 3)
    assert psi("gradient", 1)(ramp).tolist() == [[[[1.0, 2.0]], [[10.0, 19.0]]]]


def test_channel_mean_by_hand():
    pixel = torch.tensor([0.0, 0.3, 0.9]).reshape(1, 3, 1, 1)
    assert float(psi("channel_mean")(pixel)) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gradient", lambda x: x + 0.1),
        ("convolutional", lambda x: x + 0.1),
        ("contrast_normalized", lambda x: x + 0.1),
        ("channel_mean", lambda x: x + torch.tensor([0.1, -0.1, 0.0]).reshape(1, 3, 1, 1)),
    ],
)
def test_what_is_left_free(name, change):
    assert torch.allclose(psi(name)(change(images())), psi(name)(images()), atol=1e-6)


def test_contrast_is_left_nearly_free():
    strong, weak = (psi("contrast_normalized")(images() * scale) for scale in (1.0, 0.8))
    assert (strong - weak).abs().mean() < 0.1 * strong.abs().mean()


def test_low_pass_keeps_flat_images_and_takes_noise_away():
    flat, noise = torch.full((1, 3, 12, 16), 0.5), images()
    assert torch.allclose(psi("low_pass")(flat), torch.tensor(0.5))
    assert psi("low_pass")(noise).std() < 0.3 * noise.std()


def test_convolutional_is_chosen_by_its_seed():
    assert torch.equal(psi("convolutional", seed=1)(images()), psi("convolutional", seed=1)(images()))
    assert not torch.equal(psi("convolutional", seed=1)(images()), psi("convolutional", seed=2)(images()))
