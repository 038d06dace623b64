"""SimGAN's steps: phases, losses, the history, and that every setting does something."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import SIMGAN

from refinery.config import build
from refinery.losses.local_adversarial import REAL, REFINED, local_adversarial
from refinery.presets import preset_tables
from refinery.training.device import Placement
from refinery.training.methods._adversarial import AdversarialRefinement
from refinery.training.methods._adversarial_networks import build_discriminator, build_refiner
from refinery.training.methods.simgan import Settings, create, scale

TINY = Settings(latent=0, shift=0.0, **{**SIMGAN, "discriminator_pretrain": 1, "refiner_pretrain": 2})


def draw(seed: int, channels: int = 3, low: float = -1.0, high: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.rand(4, channels, 8, 16, generator=generator) * (high - low) + low


def new(settings: Settings = TINY, autocast: bool = False, steps: int = 10) -> AdversarialRefinement:
    torch.manual_seed(0)
    placement = Placement(torch.device("cpu"), autocast)
    return create(3, 3, settings, steps, placement, torch.Generator().manual_seed(0))


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def train(method: AdversarialRefinement, first: int, last: int, draws=None) -> list[dict[str, float]]:
    synthetic, real = draws or (draw(1), draw(2, high=0.0))
    losses = [method.step(step, synthetic, real) for step in range(first, last)]
    return [{name: float(value) for name, value in step.items()} for step in losses]


def test_phases_and_what_each_of_them_trains():
    method = new()
    assert method.total_steps == 13
    seen = []
    for step in range(4):
        before = weights(method.refiner), weights(method.discriminator)
        train(method, step, step + 1)
        moved = [
            not torch.equal(a, weights(n)) for a, n in zip(before, (method.refiner, method.discriminator), strict=True)
        ]
        seen.append((method.phase(step), *moved))
    assert seen[2:] == [("discriminator alone", False, True), ("adversarial", True, True)]
    assert [phase for phase, *_ in seen[:2]] == ["refiner alone"] * 2
    assert not seen[0][2]


def test_pretraining_leaves_time_for_training_where_that_is_short():
    method = new(replace(TINY, refiner_pretrain=1000, discriminator_pretrain=200), steps=10_000)
    assert method.phase(999) == "refiner alone"
    method.total_steps = 600
    assert [method.phase(step) for step in (99, 100, 119, 120)] == [
        "refiner alone",
        "discriminator alone",
        "discriminator alone",
        "adversarial",
    ]


def test_refiner_pretraining_brings_a_tanh_refiner_near_the_identity():
    method = new(replace(TINY, head="tanh", refiner_pretrain=60, refiner_lr=3e-3))
    losses = train(method, 0, 60)
    assert losses[-1]["regularization"] < 0.7 * losses[0]["regularization"]


def test_the_discriminator_learns_to_tell():
    method = new(replace(TINY, refiner_pretrain=0, discriminator_pretrain=60, discriminator_lr=3e-3))
    draws = draw(1, low=-1, high=-0.4), draw(2, low=0.4, high=1)
    losses = train(method, 0, 60, draws)
    assert losses[0]["discriminator"] == pytest.approx(0.69, abs=0.05)
    assert losses[-1]["discriminator"] < 0.1
    assert losses[-1]["discriminator_accuracy"] == 1


@pytest.mark.slow
def test_the_refiner_goes_where_the_real_images_are():
    method = new(replace(TINY, refiner_pretrain=0, refiner_lr=3e-3, discriminator_lr=3e-3, lambda_reg=0.01), steps=150)
    synthetic = draw(1, low=-0.2, high=0.2)
    train(method, 0, 120, (synthetic, draw(2, low=0.2, high=0.6)))
    with torch.no_grad():
        assert float(method.refiner(synthetic()).mean()) > 0.1


def test_a_large_lambda_holds_the_image():
    changes = []
    for lambda_reg in (1e-9, 100.0):
        method = new(replace(TINY, refiner_pretrain=0, lambda_reg=lambda_reg, refiner_lr=1e-3))
        changes.append(train(method, 0, 11)[-1]["change"])
    assert changes[1] < 0.5 * changes[0]


@pytest.mark.parametrize(("refiner_steps", "discriminator_steps"), [(1, 1), (3, 1), (1, 2), (2, 3)])
def test_k_g_and_k_d_count_the_batches(refiner_steps, discriminator_steps):
    counts = {"synthetic": 0, "real": 0}

    def counted(name, source):
        def one():
            counts[name] += 1
            return source()

        return one

    settings = replace(TINY, refiner_pretrain=0, discriminator_pretrain=0)
    method = new(replace(settings, refiner_steps=refiner_steps, discriminator_steps=discriminator_steps))
    train(method, 0, 1, (counted("synthetic", draw(1)), counted("real", draw(2))))
    assert counts == {"synthetic": refiner_steps + discriminator_steps - 1, "real": discriminator_steps}


def test_the_history_fills_while_training_only_adversarially():
    method = new()
    train(method, 0, 3)
    assert len(method.history) == 0
    train(method, 3, 8)
    assert len(method.history) == 6


@pytest.mark.parametrize(
    ("changes", "refiner", "discriminator"),
    [
        ({}, [1, 1, 1, 1, 1, 0.75, 0.5, 0.25], [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        ({"warmup": 4}, [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25], [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        ({"decay": 0.0}, [1] * 8, [1] * 8),
    ],
)
def test_learning_rates_rise_and_fall(changes, refiner, discriminator):
    method = new(replace(TINY, refiner_pretrain=0, discriminator_pretrain=0, **changes), steps=8)
    rates = []
    for step in range(8):
        train(method, step, step + 1)
        groups = [method.optimizers[name].param_groups[0]["lr"] for name in ("refiner", "discriminator")]
        rates.append((groups[0] / TINY.refiner_lr, groups[1] / TINY.discriminator_lr))
    assert [rate for rate, _ in rates] == pytest.approx(refiner)
    assert [rate for _, rate in rates] == pytest.approx(discriminator)


def test_the_steps_are_the_plain_algorithm_bit_for_bit():
    """The refiner's step, then the discriminator's on the images from before it, written out."""
    plain = {"refiner_pretrain": 0, "discriminator_pretrain": 0, "history_size": 0, "ema": 0.0, "decay": 0.0}
    settings = replace(TINY, **plain)
    method = new(settings)
    train(method, 0, 3)

    torch.manual_seed(0)
    refiner = build_refiner(3, 3, settings).to(memory_format=torch.channels_last)
    discriminator = build_discriminator(3, settings).to(memory_format=torch.channels_last)
    of_refiner = torch.optim.Adam(refiner.parameters(), settings.refiner_lr, (0.5, 0.999), fused=True)
    of_discriminator = torch.optim.Adam(discriminator.parameters(), settings.discriminator_lr, (0.5, 0.999), fused=True)
    synthetic, real = draw(1), draw(2, high=0.0)
    for _ in range(3):
        batch = synthetic()
        refined = refiner(batch)
        loss = 0.1 * (refined - batch).abs().mean() + local_adversarial(discriminator(refined), REAL)
        of_refiner.zero_grad()
        loss.backward()
        of_refiner.step()
        on_refined, on_real = discriminator(torch.cat([refined.detach(), real()])).split([4, 4])
        loss = 0.5 * (local_adversarial(on_refined, REFINED) + local_adversarial(on_real, REAL))
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()
    assert torch.equal(weights(method.refiner), weights(refiner))
    assert torch.equal(weights(method.discriminator), weights(discriminator))


SSGAN_PARTS = {"loss": "hinge", "rotation_alpha": 0.2, "rotation_beta": 1.0, "spectral_norm": True, "clip": 1.0}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("parts", [{}, SSGAN_PARTS], ids=["simgan", "all parts"])
def test_gradients_lie_in_memory_as_their_weights_do(optimizer, autocast, parts):
    """A fused optimiser step pairs them by memory order, not by index."""
    method = new(replace(TINY, optimizer=optimizer, **parts), autocast)
    train(method, 2, 5)
    for network in (method.trained, method.discriminator):
        for parameter in network.parameters():
            dense = parameter.contiguous(memory_format=torch.channels_last) if parameter.dim() == 4 else parameter
            assert parameter.stride() == dense.stride() == parameter.grad.stride()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_kept_state_goes_on_the_same(tmp_path, optimizer, autocast):
    from refinery.training import checkpoint

    settings = replace(TINY, optimizer=optimizer)
    draws = draw(1), draw(2)
    first = new(settings, autocast)
    train(first, 0, 6, draws)
    own, state = first.own_state(), first.history.generator.get_state()
    checkpoint.save(tmp_path / "c", {"method": first.state(), "own": own, "generator": state})
    kept = checkpoint.load(tmp_path / "c")
    second = new(settings, autocast)
    second.load_state(kept["method"])
    second.load_own_state(kept["own"])
    second.history.generator.set_state(kept["generator"])
    for method in (first, second):
        train(method, 6, 10, (draw(3), draw(4)))
    assert torch.equal(weights(first.refiner), weights(second.refiner))
    assert torch.equal(weights(first.discriminator), weights(second.discriminator))


@pytest.mark.parametrize(
    ("name", "size_hw", "parameters", "grid_hw"),
    [("eyes", (35, 55), 296_129, (9, 14)), ("hands", (224, 224), 741_825, (7, 7))],
)
def test_the_papers_settings_describe_its_networks(name, size_hw, parameters, grid_hw):
    settings = build(Settings, preset_tables("paper", "simgan", min(size_hw))["simgan"], {}, name)
    placement = Placement(torch.device("cpu"), False)
    method = create(1, 1, settings, 1, placement, torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in method.refiner.parameters()) == parameters
    assert method.discriminator(torch.zeros(1, 1, *size_hw)).shape == (1, 2, *grid_hw)
    assert (settings.refiner_pretrain, settings.discriminator_pretrain) == (1000, 200)
    assert (settings.refiner_steps, settings.discriminator_steps, settings.optimizer) == (2, 1, "sgd")


@pytest.mark.parametrize(
    ("crop_hw", "expected"),
    [((20, 60), (4, 3, "small")), ((36, 60), (4, 3, "eyes")), ((224, 224), (10, 7, "hands"))],
)
def test_networks_are_chosen_by_the_size_of_the_crops(crop_hw, expected):
    scaled = scale(Settings(refiner="resnet_refiner"), crop_hw)
    assert (scaled.blocks, scaled.kernel, scaled.discriminator_variant) == expected
    assert scale(Settings(blocks=2, kernel=5, discriminator_variant="eyes"), crop_hw).blocks == 2
