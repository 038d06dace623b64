"""SSGAN: rotations learned on real images and rewarded on refined ones, and the latent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import SIMGAN, train_config
from torch import Tensor

from refinery.config import build
from refinery.errors import ConfigError, TrainingError
from refinery.jobs.train import train as train_job
from refinery.networks import patch_discriminator, resnet_discriminator
from refinery.presets import preset_tables
from refinery.training import checkpoint
from refinery.training.device import Placement
from refinery.training.methods import simgan, ssgan
from refinery.training.methods._adversarial import AdversarialRefinement
from refinery.training.methods._rotations import judge, squares, turned

TINY = ssgan.Settings(**{**SIMGAN, "discriminator_pretrain": 0})


def new(settings: ssgan.Settings = TINY, steps: int = 40) -> AdversarialRefinement:
    torch.manual_seed(0)
    placement = Placement(torch.device("cpu"), False)
    return ssgan.create(3, 3, settings, steps, placement, torch.Generator().manual_seed(0))


def draw(seed: int, size_hw=(12, 12), low=-1.0, high=1.0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.rand(8, 3, *size_hw, generator=generator) * (high - low) + low


def weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def train(method: AdversarialRefinement, first: int, last: int, synthetic, real) -> list[dict[str, float]]:
    losses = [method.step(step, synthetic, real) for step in range(first, last)]
    return [{name: float(value) for name, value in step.items()} for step in losses]


def test_the_papers_four_rotations():
    upright = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    by_hand = [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    assert turned(upright)[:, 0].tolist() == by_hand
    two = turned(torch.cat([upright, -upright]))
    assert two[:, 0, 0, 0].tolist() == [1, -1, 2, -2, 4, -4, 3, -3]


@pytest.mark.parametrize(("size_hw", "side"), [((9, 20), 9), ((20, 9), 9), ((9, 9), 9)])
def test_squares_are_parts_of_their_images(size_hw, side):
    images = torch.arange(4.0 * size_hw[0] * size_hw[1]).reshape(4, 1, *size_hw)
    cut = squares(images, torch.Generator().manual_seed(0))
    assert cut.shape == (4, 1, side, side)
    for image, part in zip(images, cut, strict=True):
        assert torch.equal(part, image[:, -side:, -side:] + part[0, 0, 0] - image[0, -side, -side])


def batches_seen(discriminator) -> list[tuple[int, ...]]:
    """Sizes of the batches that go through it from now on."""
    seen: list[tuple[int, ...]] = []
    discriminator.layers[0].register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    return seen


@pytest.mark.parametrize(
    ("size_hw", "passes"),
    [
        ((12, 12), [(16 + 3 * 2, 3, 12, 12)]),  # the turned quarter joins the pass
        ((12, 20), [(16, 3, 12, 20), (4 * 2, 3, 12, 12)]),
    ],
)
def test_a_quarter_is_turned_four_ways(size_hw, passes):
    torch.manual_seed(0)
    discriminator = patch_discriminator.build(3, variant="small", rotation=True)
    images = torch.rand(16, 3, *size_hw)
    expected = discriminator(images)
    seen = batches_seen(discriminator)
    judged = judge(discriminator, images, slice(8, 16), torch.Generator().manual_seed(0))
    assert seen == passes
    assert torch.allclose(judged.patches, expected, atol=1e-6), "true or fake is asked about upright images alone"
    assert judged.quarter_turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    if size_hw == (12, 12):
        each = discriminator.rotation_logits(discriminator.features(turned(images[8:10])))
        assert torch.allclose(judged.rotations, each, atol=1e-6)


def test_squares_smaller_than_a_patch_are_refused():
    method = new(replace(TINY, discriminator_variant="eyes", discriminator_padding="none"))
    sides = draw(0, (22, 40))
    with pytest.raises(
        TrainingError, match=r"rotation: squares of the training crops are 22 px.*patches of 23 px; set"
    ):
        method.step(0, sides, sides)


def test_rotations_are_learned_on_real_images_only():
    """What the head for rotations learns does not depend on the refined images at all."""
    heads = []
    for seed in (1, 2):
        method = new(replace(TINY, spectral_norm=False))
        method._update_discriminator(draw(seed)(), draw(9)(), 0)
        heads.append(weights(method.discriminator.rotations))
    assert torch.equal(*heads)
    other = new(replace(TINY, spectral_norm=False))
    other._update_discriminator(draw(1)(), draw(8)(), 0)
    assert not torch.equal(heads[0], weights(other.discriminator.rotations))


def test_turned_images_teach_nothing_about_true_and_fake():
    """The layer of the patches' logits learns the same with rotations as without."""
    last = []
    for beta in (0.0, 1.0):
        method = new(replace(TINY, rotation_alpha=0.0, rotation_beta=beta, spectral_norm=False))
        method._update_discriminator(draw(1)(), draw(9)(), 0)
        last.append(weights(method.discriminator.layers[-1]))
    assert torch.allclose(*last, atol=1e-7)


def test_the_refiner_is_rewarded_for_rotations_and_teaches_the_discriminator_nothing():
    refiners = []
    for alpha in (0.0, 0.2):
        method = new(replace(TINY, rotation_alpha=alpha, head="tanh"))
        before = weights(method.discriminator)
        method._schedule(30)
        losses = method._update_refiner(draw(1)(), adversarial=True)[1]
        assert torch.equal(before, weights(method.discriminator))
        assert ("rotation_refined" in losses) == (alpha > 0)
        refiners.append(weights(method.trained))
    assert not torch.equal(*refiners)


def test_the_weights_of_the_papers_sums():
    """L_D is half of real + refined + beta rotations: the gradient of SGD at rate 1 is the loss by hand."""
    settings = replace(TINY, optimizer="sgd", discriminator_lr=1.0, spectral_norm=False, rotation_beta=0.7, decay=0.0)
    method = new(settings)
    refined, real = draw(1)(), draw(2)()
    judged = judge(method.discriminator, torch.cat([refined, real]), slice(8, 16), method.generator)
    score = judged.patches[:, 0] - judged.patches[:, 1]
    by_hand = 0.5 * (
        (1 + score[:8]).clamp(min=0).mean()
        + (1 - score[8:]).clamp(min=0).mean()
        - 0.7 * judged.rotations.log_softmax(1)[range(8), judged.quarter_turns].mean()
    )
    parameters = list(method.discriminator.parameters())
    expected = [p.detach() - g for p, g in zip(parameters, torch.autograd.grad(by_hand, parameters), strict=True)]
    method._update_discriminator(refined, real, 0)
    for parameter, wanted in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.detach(), wanted, atol=1e-6)


def test_a_discriminator_learns_how_images_were_turned():
    """Real images that are brighter at the top."""
    method = new(replace(TINY, discriminator_pretrain=60, discriminator_lr=3e-3, spectral_norm=False))
    slope = torch.linspace(0.8, -0.8, 12).reshape(1, 1, 12, 1)
    noise = draw(3, low=-0.2, high=0.2)
    losses = train(method, 0, 60, draw(1), lambda: noise() + slope)
    assert losses[0]["rotation_accuracy"] < 0.6
    assert losses[-1]["rotation_accuracy"] > 0.9


def test_a_reward_for_what_nobody_learns_is_refused():
    with pytest.raises(ConfigError, match=r"rotation_alpha: got 0\.2 with rotation_beta = 0"):
        replace(TINY, rotation_beta=0.0)


def test_images_of_other_channels_are_refused():
    with pytest.raises(TrainingError, match=r"synthetic images have 1 channel\(s\), the real ones 3"):
        ssgan.build_refiner(1, 3, TINY)


@pytest.mark.parametrize("role", ["refiner", "discriminator"])
def test_networks_of_another_kind_are_refused(role):
    with pytest.raises(ConfigError, match=rf"{role}: the network 'label_probe' does not take its settings .* use "):
        new(replace(TINY, **{role: "label_probe"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"latent_as": "modulation", "discriminator": "resnet_discriminator", "discriminator_width": 4},
        {"latent_as": "channels", "loss": "cross_entropy", "clip": 0.1, "decay_shape": "cosine"},
    ],
    ids=["defaults", "modulation", "channels"],
)
def test_resuming_is_not_stopping(tmp_path, changes):
    settings = replace(TINY, **changes)
    through, first, second = (new(settings, 8) for _ in range(3))
    synthetic, real = draw(1, (12, 16)), draw(2, (12, 16))
    train(through, 0, 8, synthetic, real)
    synthetic, real = draw(1, (12, 16)), draw(2, (12, 16))
    train(first, 0, 5, synthetic, real)
    checkpoint.save(tmp_path / "c", {"state": first.state(), "own": first.own_state()})
    kept = checkpoint.load(tmp_path / "c")
    second.load_state(kept["state"])
    second.load_own_state(kept["own"])
    second.generator.set_state(first.generator.get_state())
    train(second, 5, 8, synthetic, real)
    for name in ("refiner", "trained", "discriminator"):
        states = [getattr(method, name).state_dict() for method in (through, second)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]), name


@pytest.mark.slow
@pytest.mark.parametrize("latent_as", ["channels", "modulation"])
def test_the_latent_is_used_where_real_images_vary(latent_as):
    """Synthetic images are gray, real ones from dark to bright (0.35 of spread): so one gray image comes out."""
    settings = replace(TINY, latent_as=latent_as, lambda_reg=0.2, refiner_lr=1e-3, discriminator_lr=3e-3, ema=0.0)
    method = new(settings, 100)
    synthetic, noise = draw(1, low=-0.1, high=0.1), draw(2, low=-0.1, high=0.1)
    sides = torch.Generator().manual_seed(0)

    def real() -> Tensor:
        return noise() + 1.2 * torch.rand(8, 1, 1, 1, generator=sides) - 0.6

    train(method, 0, 100, synthetic, real)
    images = synthetic()[:1].expand(64, -1, -1, -1)
    with torch.no_grad():
        refined = method.refiner.eval()(images, torch.randn(64, 4, generator=sides))
    assert float(refined.mean((1, 2, 3)).std()) > 0.1


@pytest.mark.slow
def test_a_run_ends_in_an_artifact_that_takes_a_latent(tmp_path):
    config = train_config(tmp_path, method="ssgan", steps=4, probe=False)
    summary = train_job(config, {**SIMGAN, "latent": 3})
    manifest = json.loads((Path(summary["artifact"]) / "manifest.json").read_text())
    assert (manifest["method"], manifest["latent"], manifest["deterministic"]) == ("ssgan", 3, False)
    assert manifest["parity"]["max_abs"] < 1e-4


@pytest.mark.parametrize("part", ["loss", "rotation_alpha", "spectral_norm", "latent", "ema"])
def test_every_part_can_be_switched_on_for_simgan(part):
    parts = {"loss": "hinge", "rotation_alpha": 0.2, "spectral_norm": True, "latent": 6, "ema": 0.9}
    changes = {part: parts[part]} | ({"rotation_beta": 1.0} if part == "rotation_alpha" else {})
    placement, finals = Placement(torch.device("cpu"), False), []
    for more in ({}, changes):
        settings = simgan.Settings(**{**SIMGAN, "ema": 0.0, "discriminator_pretrain": 0, **more})
        torch.manual_seed(0)
        method = simgan.create(3, 3, settings, 4, placement, torch.Generator().manual_seed(0))
        train(method, 0, 4, draw(1), draw(2))
        finals.append(weights(method.refiner))
    assert finals[0].shape != finals[1].shape or not torch.equal(*finals)


def test_the_papers_settings_describe_its_discriminator():
    tables = preset_tables("paper", "ssgan", 32)
    settings = build(ssgan.Settings, tables["ssgan"], {}, "ssgan")
    method = ssgan.create(3, 3, settings, 1, Placement(torch.device("cpu"), False), torch.Generator().manual_seed(0))
    assert isinstance(method.discriminator, resnet_discriminator.ResnetDiscriminator)
    assert method.discriminator(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 1, 1)
    assert (settings.rotation_alpha, settings.rotation_beta, settings.loss) == (0.2, 1.0, "hinge")
    assert (settings.beta1, settings.beta2, settings.refiner_lr) == (0.0, 0.9, 2e-4)
    assert (settings.discriminator_steps, settings.refiner_steps, tables["train"]["batch_size"]) == (2, 1, 64)
    assert (settings.spectral_norm, settings.latent_as, settings.history_size) == (True, "batch_modulation", 0)
    widths = {layer.out_channels for layer in method.discriminator.blocks.modules() if hasattr(layer, "out_channels")}
    assert widths == {128}
