"""pix2pix: what a step trains, its losses and settings, and that it learns pairs of all kinds."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch

from refinery.config import build
from refinery.dataset import open_dataset
from refinery.errors import ConfigError
from refinery.losses.conditional_adversarial import REAL, REFINED, conditional_adversarial
from refinery.losses.reconstruction import reconstruction
from refinery.onnx_export import measure_parity, to_onnx
from refinery.presets import preset_tables
from refinery.training import checkpoint
from refinery.training.data import as_tensor
from refinery.training.device import Placement
from refinery.training.load_pairs import load_pairs
from refinery.training.methods.pix2pix import Pix2pix, Settings, build_refiner, create, scale
from refinery.training.pairs import PairedBatches
from refinery.training.sampling import Chance

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
TINY = Settings(width=4, discriminator_width=4, levels=3, patch_px=16)


def draw(seed: int, channels: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.rand(4, channels, 16, 24, generator=generator) * 2 - 1


def new(settings: Settings = TINY, steps: int = 10, autocast: bool = False, real_channels: int = 1) -> Pix2pix:
    torch.manual_seed(0)
    return create(1, real_channels, settings, steps, Placement(CPU, autocast), torch.Generator().manual_seed(0))


def train(method: Pix2pix, first: int, last: int, real=None) -> list[dict[str, float]]:
    synthetic, real = draw(1), real or draw(2)
    losses = [method.step(step, synthetic, real) for step in range(first, last)]
    return [{name: float(value) for name, value in step.items()} for step in losses]


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


@pytest.mark.parametrize(
    ("changes", "losses", "phase", "judges"),
    [
        ({}, {"discriminator", "discriminator_accuracy", "reconstruction", "refiner_adversarial"}, "adversarial", True),
        ({"adversarial": 0.0}, {"reconstruction"}, "reconstruction", False),
        (
            {"lambda_l1": 0.0},
            {"discriminator", "discriminator_accuracy", "reconstruction", "refiner_adversarial"},
            "adversarial",
            True,
        ),
    ],
)
def test_what_a_step_trains(changes, losses, phase, judges):
    method = new(replace(TINY, **changes))
    before = weights(method.trained), weights(method.discriminator)
    assert train(method, 0, 1)[0].keys() == losses
    assert method.phase(0) == phase
    assert not method.follows_budget
    assert not torch.equal(before[0], weights(method.trained))
    assert torch.equal(before[1], weights(method.discriminator)) != judges
    assert method.describe()["loss"]


def test_the_discriminator_sees_both_images_of_a_pair_and_its_loss_is_halved():
    method = new(real_channels=3)
    seen = []
    method.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    pair = draw(1)(), draw(2, channels=3)()
    losses = method.step(0, lambda: pair[0], lambda: pair[1])
    assert [tuple(images.shape) for images in seen] == [(4, 4, 16, 24)] * 3
    assert all(torch.equal(images[:, :1], pair[0]) for images in seen)
    assert torch.equal(seen[1][:, 1:], pair[1])
    assert float(losses["discriminator"]) == pytest.approx(0.69, abs=0.1), "of a discriminator that knows nothing"


def test_the_losses_are_their_formulas():
    refined, real = draw(1)(), draw(2)()
    assert float(reconstruction(refined, real)) == pytest.approx(float((refined - real).abs().sum()) / refined.numel())
    logits = torch.tensor([[[[0.0, 2.0]]]])
    on_real, on_refined = (torch.sigmoid(sign * logits).log().neg().mean() for sign in (1, -1))
    assert float(conditional_adversarial(logits, REAL)) == pytest.approx(float(on_real))
    assert float(conditional_adversarial(logits, REFINED)) == pytest.approx(float(on_refined))
    assert conditional_adversarial(logits.bfloat16(), REAL).dtype == torch.float32


def test_rates_fall_in_the_second_half():
    method, rates = new(steps=8), []
    for step in range(8):
        train(method, step, step + 1)
        rates.append([optimizer.param_groups[0]["lr"] / 2e-4 for optimizer in method.optimizers.values()])
    assert [rate for rate, _ in rates] == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert all(refiner == discriminator for refiner, discriminator in rates)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"norm": "instance"}, {"statistics": "image"}])
def test_a_kept_state_goes_on_as_if_nothing_had_happened(changes, tmp_path):
    settings = replace(TINY, **changes)
    straight = new(settings)
    train(straight, 0, 3)
    checkpoint.save(tmp_path / "last", {"method": straight.state(), "rng": torch.get_rng_state()})
    train(straight, 3, 5)
    resumed, kept = new(settings), checkpoint.load(tmp_path / "last")
    resumed.load_state(kept["method"])
    torch.set_rng_state(kept["rng"])
    train(resumed, 3, 5)
    assert torch.equal(weights(straight.trained), weights(resumed.trained))
    assert torch.equal(weights(straight.refiner), weights(resumed.refiner))
    assert torch.equal(weights(straight.discriminator), weights(resumed.discriminator))


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_lie_in_memory_as_their_weights_do(norm, autocast):
    """A fused optimiser step pairs them by memory order, not by index."""
    method = new(replace(TINY, norm=norm), autocast=autocast, real_channels=3)
    batches = [
        draw(seed, channels)().contiguous(memory_format=torch.channels_last) for seed, channels in ((1, 1), (2, 3))
    ]
    method.step(0, lambda: batches[0], lambda: batches[1])
    for network in (method.trained, method.discriminator):
        for parameter in network.parameters():
            assert parameter.is_contiguous()
            assert parameter.stride() == parameter.grad.stride()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda_l1": 0.0, "adversarial": 0.0}, "nothing to learn"),
        ({"levels": 9}, "levels: got 9, expected 2 to 8"),
        ({"levels": 1}, "levels: got 1"),
        ({"dropout": 1.0}, "dropout: got 1.0"),
        ({"dropout": 0.0, "refine_noise": True}, "refine_noise: the noise is dropout's"),
        ({"jitter": 0.5}, "jitter: got 0.5, expected 1 or more"),
        ({"patch_px": 71}, "patch_px: got 71, expected one of 0, 1, 16, 70, 286"),
    ],
)
def test_settings_that_cannot_mean_what_they_say(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(Settings, changes, {}, "[pix2pix]")


@pytest.mark.parametrize(
    ("crop_hw", "levels", "patch_px"), [((36, 60), 5, 16), ((64, 64), 6, 70), ((256, 300), 8, 70), ((16, 16), 4, 16)]
)
def test_what_is_left_to_the_size_of_the_crops(crop_hw, levels, patch_px):
    scaled = scale(Settings(), crop_hw)
    assert (scaled.levels, scaled.patch_px) == (levels, patch_px)
    assert scale(scaled, crop_hw) == scaled == scale(scaled, (96, 96))
    with pytest.raises(ValueError, match="levels"):
        build_refiner(1, 1, Settings())


@pytest.mark.parametrize(("patch_px", "least"), [(16, 6), (70, 24), (286, 96)])
def test_patches_that_the_crops_cannot_hold_are_refused_before_training(patch_px, least):
    settings = replace(Settings(), patch_px=patch_px)
    assert scale(settings, (least, 100)).patch_px == patch_px
    message = (
        rf"patch_px: got {patch_px}, but the crops are 100x{least - 1} px, expected {least} px or more.*crop = {least}"
    )
    with pytest.raises(ConfigError, match=message) as refused:
        scale(settings, (least - 1, 100))
    assert "\n" not in str(refused.value)


def test_without_a_discriminator_patches_do_not_matter():
    assert scale(replace(Settings(), patch_px=286, adversarial=0.0), (64, 64)).levels == 6


def test_settings_of_the_paper():
    table = preset_tables("paper", "pix2pix", 256)
    settings = scale(build(Settings, table["pix2pix"], {}, "[pix2pix]"), (256, 256))
    assert table["train"]["batch_size"] == 1
    assert (settings.lambda_l1, settings.refiner_lr, settings.beta1, settings.beta2) == (100, 2e-4, 0.5, 0.999)
    assert (settings.levels, settings.patch_px, settings.width, settings.norm) == (8, 70, 64, "batch")
    assert (settings.statistics, settings.refine_noise, settings.dropout) == ("image", True, 0.5)
    assert settings.jitter == pytest.approx(286 / 256)
    assert settings.ema == settings.clip == 0


def lively_refiner(settings: Settings, real_channels: int) -> torch.nn.Module:
    """An untrained one whose norms have met images, so that what happens deep inside reaches the output."""
    torch.manual_seed(0)
    refiner = build_refiner(1, real_channels, settings)
    with torch.no_grad():
        for _ in range(20):
            refiner(torch.rand(4, 1, 24, 24) * 2 - 1)
    return refiner.eval()


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"refine_noise": True}, {"norm": "instance", "skips": False}])
def test_onnx_is_the_same_at_every_size(changes):
    settings = replace(TINY, **changes)
    refiner = lively_refiner(settings, 3)
    parity = measure_parity(to_onnx(refiner, 1, "pix2pix"), refiner, 1)
    assert max(parity.values()) < 1e-5


@pytest.mark.slow
def test_noise_is_the_same_in_onnx():
    refiner = lively_refiner(replace(TINY, refine_noise=True), 1)
    session = onnxruntime.InferenceSession(to_onnx(refiner, 1, "pix2pix"), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).uniform(-1, 1, (6, 1, 24, 32)).astype(np.float32)
    latents = np.random.default_rng(1).standard_normal((6, refiner.latent), np.float32)
    with torch.inference_mode():
        expected = refiner(torch.from_numpy(images), torch.from_numpy(latents)).numpy()
    got = session.run(None, {"synthetic": images, "latent": latents})[0]
    assert np.abs(got - expected).max() < 1e-5
    assert np.abs(got - session.run(None, {"synthetic": images, "latent": latents[::-1]})[0]).max() > 1e-4


def simulator() -> ModuleType:
    """The example's script, which is not part of any package."""
    spec = importlib.util.spec_from_file_location("examples_pairs", ROOT / "examples" / "pairs" / "simulate.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "channels", "bits", "autocast"),
    [("photo", (3, 3), (8, 8), True), ("map", (1, 3), (8, 8), False), ("depth", (1, 1), (16, 16), False)],
)
def test_it_learns_pairs(tmp_path, kind, channels, bits, autocast):
    """100 steps bring held-out images within half of their distance to what they should be."""
    simulator().main([str(tmp_path), "--kind", kind, "--count", "48", "--size", "32"])
    pairs = load_pairs(open_dataset(tmp_path / "synthetic"), open_dataset(tmp_path / "real"), 100)
    assert (pairs.synthetic.channels, pairs.real.channels) == channels
    assert (pairs.synthetic.bits, pairs.real.bits) == bits
    torch.manual_seed(0)
    settings = scale(Settings(width=16, discriminator_width=8, refiner_lr=1e-3), (32, 32))
    method = create(*channels, settings, 100, Placement(CPU, autocast), torch.Generator())
    kept, held_out = pairs.select(range(8, 48)), pairs.select(range(8))
    batches = PairedBatches(kept.synthetic, kept.real, (32, 32), 8, Chance(0, "synthetic"), CPU)
    for step in range(100):
        method.step(step, batches.draw_synthetic, batches.draw_real)
    synthetic, real = (as_tensor(np.stack(side.images), CPU) for side in (held_out.synthetic, held_out.real))
    with torch.inference_mode():
        refined = method.refiner.eval()(synthetic)
    own, left = (float((images - real).abs().mean()) for images in (synthetic, refined))
    assert left < own / 2
