"""Looks taken from photos: the photo's values or amplitudes arrive, and nothing moves."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from refinery.utility.transfers import fourier, histogram_matching

TRANSFERS = pytest.mark.parametrize("family", [fourier, histogram_matching], ids=["fourier", "histogram_matching"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, channels: int = 3, height: int = 12, width: int = 20, seed: int = 0) -> Tensor:
    """Smooth images with values in [-1, 1]."""
    coarse = torch.rand(count, channels, 4, 5, generator=generator(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


@TRANSFERS
def test_an_image_with_the_look_of_itself_is_itself(family: ModuleType) -> None:
    image = noise(1)
    assert torch.allclose(family.transfer(image, image, generator()), image, atol=1e-5)


@TRANSFERS
def test_shape_type_and_range_are_kept_and_the_input_is_untouched(family: ModuleType) -> None:
    images, real = noise(5).half(), noise(3, seed=1).half()
    before = images.clone()
    made = family.transfer(images, real, generator())
    assert made.shape == images.shape
    assert made.dtype == torch.float16
    assert made.abs().max() <= 1
    assert torch.equal(images, before)


@TRANSFERS
def test_the_same_generator_draws_the_same_photos(family: ModuleType) -> None:
    images, real = noise(6), noise(9, seed=1)
    first, again, other = (family.transfer(images, real, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@TRANSFERS
def test_a_dark_image_gets_the_light_of_a_bright_photo(family: ModuleType) -> None:
    image, photo = noise(1, seed=2) * 0.1 - 0.8, noise(1, seed=3) * 0.1 + 0.6
    made = family.transfer(image, photo, generator())
    assert made.mean().item() == pytest.approx(photo.mean().item(), abs=0.02)
    together = torch.corrcoef(torch.stack([image.flatten(), made.flatten()]))[0, 1]
    assert together > 0.2


def test_matched_channels_have_the_values_of_the_photo_in_the_order_of_the_image() -> None:
    image = torch.tensor([[[[-0.5, 0.1, 0.0, 0.7]], [[0.2, 0.1, 0.0, -0.1]]]])
    photo = torch.tensor([[[[0.4, 0.9, 0.6, 0.5]], [[-1.0, 1.0, 0.0, 0.5]]]])
    made = histogram_matching.transfer(image, photo, generator())
    assert torch.allclose(made, torch.tensor([[[[0.4, 0.6, 0.5, 0.9]], [[1.0, 0.5, 0.0, -1.0]]]]))


def test_equal_px_stay_equal_and_photos_may_have_another_size() -> None:
    image = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    photo = torch.linspace(-1, 1, 7).reshape(1, 1, 1, 7)
    made = histogram_matching.transfer(image, photo, generator())
    assert torch.allclose(made, torch.tensor([[[[-1 / 3, -1 / 3], [-1 / 3, 1.0]]]]), atol=1e-6)


def test_low_amplitudes_come_from_the_photo_and_phases_and_high_amplitudes_stay() -> None:
    image, photo = noise(1, 1, 20, 40, seed=4) * 0.3, noise(1, 1, 20, 40, seed=5) * 0.3
    made, own, other = (
        torch.fft.fft2((x + 1) / 2)[0, 0] for x in (fourier.transfer(image, photo, generator()), image, photo)
    )
    low = torch.zeros(20, 40, dtype=torch.bool)
    low[[0, 1, 19], :3] = low[[0, 1, 19], 38:] = True
    assert torch.allclose(made.abs()[low], other.abs()[low], rtol=1e-3, atol=1e-3)
    assert torch.allclose(made[~low], own[~low], rtol=1e-3, atol=1e-3)
    assert torch.allclose(torch.polar(made.abs(), own.angle())[low], made[low], rtol=1e-2, atol=1e-2)
