"""Tone: rendered images lit as photos are, by a few random numbers."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from test_simgan import TINY, new
from tiny import SIMGAN, Recorder, train_config

from refinery import artifact
from refinery.jobs.train import train
from refinery.networks._tone import Tone
from refinery.networks.resnet_refiner import ResnetRefiner
from refinery.training import tone
from refinery.training.methods.simgan import Settings
from refinery.training.tone import described, energy_distance, fit_tone

LIT = replace(TINY, latent=3, tone=True)


def scenes(seed: int, count: int = 1000, contrast: float = 0.1, light: float = 0.1) -> torch.Tensor:
    """Images (N, 3, 8, 8) of a red square on gray; contrast and light are spread by these deviations."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 8, 8, generator=generator) * 0.2 - 0.1
    images[:, 0, 2:6, 2:6] += 0.7
    images[:, 1:, 2:6, 2:6] -= 0.3
    gain = torch.exp(torch.randn(count, 1, 1, 1, generator=generator) * contrast)
    return (gain * images + torch.randn(count, 1, 1, 1, generator=generator) * light).clamp(-1, 1)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fitted(synthetic: torch.Tensor, real: torch.Tensor, latent: int = 4) -> torch.Tensor:
    tone = Tone(synthetic.shape[1], latent)
    fit_tone(tone, synthetic, real)
    return tone(synthetic, normal(9, len(synthetic), latent))


def light(images: torch.Tensor) -> torch.Tensor:
    return images.mean((1, 2, 3))


@pytest.fixture(scope="module")
def met():
    """A method that has seen dark synthetic images and real ones in many lights, long enough to change something."""
    method = new(LIT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tone, "STEPS", 150)
        method.meet(scenes(0, 300), scenes(1, 300, 0.5, 0.4))
    return method


@pytest.mark.slow
def test_toned_images_are_spread_as_the_real_ones_are():
    synthetic, real = scenes(0), scenes(1, contrast=0.6, light=0.3)
    toned = fitted(synthetic, real)
    assert energy_distance(described(toned), described(real)) < 0.05 * energy_distance(
        described(synthetic), described(real)
    )
    for measure in (light, lambda images: images.std((1, 2, 3))):
        assert float(measure(toned).mean()) == pytest.approx(float(measure(real).mean()), abs=0.03)
        assert float(measure(toned).std()) == pytest.approx(float(measure(real).std()), rel=0.2)


@pytest.mark.slow
def test_rare_colours_come_as_often_as_they_are():
    """A fifth of the photos have red and green exchanged: so have, by their noise, a fifth of the toned images."""
    synthetic, real = scenes(0), scenes(1)
    real[:200] = real[:200, [1, 0, 2]]
    square = fitted(synthetic, real)[:, :, 2:6, 2:6].mean((2, 3))
    greener = (square[:, 1] > square[:, 0] + 0.2).float().mean()
    assert 0.12 < float(greener) < 0.28


@pytest.mark.slow
def test_alike_images_are_left_nearly_alone():
    synthetic, real = scenes(0), scenes(1)
    assert (fitted(synthetic, real) - synthetic).abs().mean() < 0.06


@pytest.mark.slow
def test_gray_images_have_one_gain_and_one_level():
    synthetic, real = scenes(0)[:, :1], scenes(1, contrast=0.5, light=0.3)[:, :1]
    toned = fitted(synthetic, real, latent=1)
    assert float(light(toned).std()) > 2 * float(light(synthetic).std())


@pytest.mark.slow
def test_the_same_images_give_the_same_tone(monkeypatch):
    monkeypatch.setattr(tone, "STEPS", 50)
    first, second = (fitted(scenes(0, 100), scenes(1, 100, 0.5)) for _ in range(2))
    assert torch.equal(first, second)


def test_energy_distance_by_hand():
    first, second = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [5.0]])
    assert float(energy_distance(first, second)) == pytest.approx(2 * (1 + 5 + 1 + 3) / 4 - 2 - 4)


def test_a_part_is_toned_as_the_whole_is(met):
    image, latent = scenes(2, 1), normal(3, 1, 3)
    whole, part = met.trained.toned(image, latent), met.trained.toned(image[..., 2:6, 1:5], latent)
    torch.testing.assert_close(whole[..., 2:6, 1:5], part)


def test_before_it_is_fitted_and_without_it_a_new_refiner_changes_nothing():
    image, latent = scenes(2, 2), torch.randn(2, 2)
    for refiner in (ResnetRefiner(3, width=4, latent=2, tone=True), ResnetRefiner(3, width=4, latent=2)):
        assert torch.allclose(refiner.eval()(image, latent), image, atol=1e-6)


def test_what_trains_and_what_is_exported_are_toned_alike(met):
    synthetic, latent = scenes(0, 50), normal(3, 50, 3)
    trained, exported = (network.toned(synthetic, latent) for network in (met.trained, met.refiner))
    assert torch.equal(trained, exported)
    assert not torch.equal(trained, synthetic)


def test_the_tone_stays_as_it_is_while_the_refiner_trains(met):
    batch = scenes(3, 8)
    before = met.trained.toned(batch, torch.ones(8, 3))
    refined, losses = met._update_refiner(batch, adversarial=False)
    assert float((refined - batch).abs().mean()) > 0.05
    assert float(losses["regularization"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["change"]) == pytest.approx(0, abs=1e-6)
    met._update_refiner(batch, adversarial=True)
    assert torch.equal(met.trained.toned(batch, torch.ones(8, 3)), before)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [{"stop_at": 6}, {"die_at": 9}], ids=["stopped", "killed"])
def test_a_toned_run_stopped_or_killed_and_resumed_is_the_undisturbed_run(stop, tmp_path, monkeypatch):
    monkeypatch.setattr(tone, "STEPS", 50)
    toned = {**SIMGAN, "tone": True}
    train(train_config(tmp_path, "undisturbed"), toned)
    with contextlib.suppress(KeyboardInterrupt):
        train(train_config(tmp_path, "stopped"), toned, observer=Recorder(**stop))
    train(train_config(tmp_path, "stopped"), toned, resume=True)
    first, second = (artifact.load(tmp_path / name).model for name in ("undisturbed", "stopped"))
    assert first == second


def test_without_latent_numbers_there_is_no_tone():
    assert Settings(latent=2).lights
    assert not Settings(latent=0).lights
    assert ResnetRefiner(3, latent=0, tone=True).tone is None
