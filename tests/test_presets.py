"""`--preset paper`: the published settings by one word, below whatever a user gives, and nothing of ours among them."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
from stream import error_of, refinery
from tiny import datasets, write_images

from refinery.config import TrainConfig, build
from refinery.errors import ConfigError
from refinery.jobs._preset import with_preset
from refinery.presets import names, preset_tables
from refinery.registry import find
from refinery.training.methods._adversarial_networks import build_refiner

LEFT = {"latent_as", "beta1", "beta2", "decay_shape", "gradient_penalty_every", "psi_seed", "scales"} | {
    f"discriminator_{name}" for name in ("width", "blocks", "head", "variant", "padding")
}
"""Settings that do nothing beside those that a preset gives."""


@pytest.mark.parametrize(("method", "side_px"), [("simgan", 35), ("simgan", 224), ("pix2pix", 256), ("ssgan", 32)])
def test_a_preset_leaves_nothing_to_our_defaults(method, side_px):
    tables = preset_tables("paper", method, side_px)
    build(TrainConfig, tables["train"], {}, "[train]")
    fields = {field.name for field in dataclasses.fields(find("method", method).Settings)}
    assert fields - tables[method].keys() <= LEFT
    assert not tables[method].keys() - fields


@pytest.mark.parametrize(("side_px", "parameters"), [(35, 296_129), (127, 296_129), (128, 741_825)])
def test_simgan_is_that_of_eyes_or_hands_by_size(side_px, parameters):
    settings = build(find("method", "simgan").Settings, preset_tables("paper", "simgan", side_px)["simgan"], {}, "")
    refiner = build_refiner(1, 1, settings)
    assert sum(weights.numel() for weights in refiner.parameters()) == parameters
    assert settings.optimizer == "sgd"
    assert not settings.lights


def test_what_a_user_gives_wins(tmp_path):
    datasets(tmp_path)
    config = TrainConfig(synthetic=str(tmp_path / "synthetic"), preset="paper")
    tables = with_preset(config, {"train": {"batch_size": 2}, "simgan": {"width": 4}, "refine": {"seed": 1}}, {})
    assert (tables["train"]["batch_size"], tables["simgan"]["width"]) == (2, 4)
    assert (tables["simgan"]["optimizer"], tables["refine"]) == ("sgd", {"seed": 1})


def test_the_size_is_that_of_the_images_or_the_crop(tmp_path):
    large = write_images(tmp_path / "large", 1, size_hw=(130, 140))
    config = TrainConfig(synthetic=str(large), preset="paper")
    assert with_preset(config, {}, {})["train"]["crop"] == 224
    assert "crop" not in with_preset(config, {}, {"crop": 64})["train"]


def test_of_a_simulator_the_size_has_to_be_said():
    config = TrainConfig(synthetic="python simulate.py |", preset="paper")
    with pytest.raises(ConfigError, match=r"the size of these images is not known yet; say it by --crop, such as 128$"):
        with_preset(config, {}, {})
    assert with_preset(config, {}, {"crop": 224})["train"]["crop"] == 224


def test_an_unknown_preset_is_one_line(tmp_path):
    datasets(tmp_path)
    done = refinery("train", "--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic", "--preset", "papper")
    assert done.exit_code == 2
    assert error_of(done).endswith("--preset: got 'papper', expected one of paper")
    assert names() == ("paper",)


@pytest.mark.slow
def test_a_run_of_a_preset_keeps_it_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    datasets(tmp_path)
    (tmp_path / "small.toml").write_text(
        "[train]\nbatch_size = 2\nprobe = false\n[simgan]\nwidth = 4\nblocks = 1\nrefiner_pretrain = 1\n"
        'discriminator_pretrain = 1\ndiscriminator_variant = "small"\n'
    )
    call = ("train", "--real", "real", "--synthetic", "synthetic", "--preset", "paper", "--config", "small.toml")
    assert refinery(*call, "--steps", 2, "--out", "run").exit_code == 0
    kept = tomllib.loads((tmp_path / "run/config.toml").read_text())
    assert (kept["train"]["preset"], kept["simgan"]["optimizer"], kept["simgan"]["width"]) == ("paper", "sgd", 4)
    assert refinery("train", "--resume", "run", "--steps", 3).exit_code == 0
