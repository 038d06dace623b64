"""Training runs from end to end, on tiny images: the same job that the command line calls."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import SIMGAN, Recorder, datasets, train_config, write_images

from refinery import artifact
from refinery.config import LabelOverride, TrainConfig, build, load_toml
from refinery.errors import ConfigError, DatasetError, ModelError, ProviderError, TrainingError, UsageError
from refinery.jobs.train import train
from refinery.registry import names
from refinery.training import checkpoint, loop
from refinery.training.device import Placement
from refinery.training.methods import _adversarial
from refinery.training.methods.simgan import Settings
from refinery.training.stats import read_stats


def tensors(tree: object) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    return [tensor for child in children for tensor in tensors(child)]


def state(root: Path, out: str, name: str = "last") -> dict:
    return checkpoint.load(root / out / "checkpoints" / f"{name}.safetensors")


def same_tensors(first: object, second: object) -> bool:
    pairs = zip(tensors(first), tensors(second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def log(root: Path, out: str) -> list[dict]:
    """The log without its clock, and without the extra record that an interruption writes."""
    records = [{k: v for k, v in record.items() if k != "images_per_s"} for record in read_stats(root / out)]
    return [record for i, record in enumerate(records) if record not in records[:i]]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with the datasets and an undisturbed run."""
    folder = tmp_path_factory.mktemp("train")
    train(train_config(folder, "undisturbed"), SIMGAN)
    return folder


def test_a_run_leaves_everything(root):
    run = root / "undisturbed"
    summary = json.loads((run / "summary.json").read_text())
    assert {"run", "steps", "images_per_s", "best_step", "artifact", "stopped_by", "drift", "realism"} <= summary.keys()
    assert (summary["steps"], summary["stopped_by"]) == (12, "steps")
    assert summary["drift"]["box"]["unit"] == "px"
    assert set(summary["realism"]) == set(names("realism"))
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"step_{i:06d}.png" for i in (4, 8, 12)]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.safetensors", "last.safetensors"]
    assert not list(run.rglob("*.tmp"))
    assert artifact.load(run).manifest.training["step"] == summary["best_step"]
    for grid in (run / "samples").iterdir():
        with Image.open(grid) as picture:
            assert picture.size[0] >= 900


def test_the_log_has_every_step_and_evaluation(root):
    records = log(root, "undisturbed")
    assert [r["step"] for r in records if "phase" in r] == list(range(1, 13))
    assert [r["step"] for r in records if "drift" in r] == [4, 8, 12]
    assert [r["phase"] for r in records if "phase" in r] == ["discriminator alone"] * 2 + ["adversarial"] * 10


def test_the_config_of_a_run_is_resolved_and_reads_back(root):
    tables = load_toml(root / "undisturbed" / "config.toml")
    config = build(TrainConfig, tables["train"], {}, "config.toml")
    assert config == train_config(root, "undisturbed", guide_steps=0)  # decided: 10 steps are a try
    assert {key: tables["simgan"][key] for key in SIMGAN} == SIMGAN


def test_a_try_leaves_out_what_takes_longer_than_all_its_steps(root):
    observer = Recorder()
    train(
        train_config(root, "try", steps=3),
        {**SIMGAN, "lambda_reg": 0.0, "discriminator_pretrain": 9},
        observer=observer,
    )
    said = " ".join(observer.said)
    assert "3 steps are a try: no networks are trained to watch the labels" in said
    assert "no label probe after 3 steps: labels that only it can judge are not judged" in said
    assert state(root, "try")["step"] == 3 + 3


def test_the_same_seed_gives_the_same_run(root):
    train(train_config(root, "again"), SIMGAN)
    for name in ("last", "best"):
        assert same_tensors(state(root, "again", name), state(root, "undisturbed", name))
    assert log(root, "again") == log(root, "undisturbed")
    assert artifact.load(root / "again").model == artifact.load(root / "undisturbed").model


def test_another_seed_gives_another_run(root):
    train(train_config(root, "other", seed=1), SIMGAN, observer=Recorder(stop_at=3))
    assert not same_tensors(
        state(root, "other")["method_state"]["discriminator"],
        state(root, "undisturbed")["method_state"]["discriminator"],
    )


@pytest.mark.parametrize(
    "stop",
    [{"stop_at": 1}, {"stop_at": 6}, {"stop_at": 8}, {"stop_at": 11}, {"die_at": 6}, {"die_at": 9}],
    ids=lambda stop: "-".join(map(str, *stop.items())),
)
def test_a_run_stopped_or_killed_and_resumed_is_the_undisturbed_run(root, stop):
    out = f"stopped-{stop}"
    first = Recorder(**stop)
    if first.die_at:
        with pytest.raises(KeyboardInterrupt):
            train(train_config(root, out), SIMGAN, observer=first)
    else:
        result = train(train_config(root, out), SIMGAN, observer=first)
        assert (result["stopped_by"], result["artifact"], result["steps"]) == ("interrupt", None, first.stop_at)
        assert first.said[-1].endswith(f"go on with: refinery train --resume {root / out}")
    assert not (root / out / "summary.json").exists()
    train(train_config(root, out), SIMGAN, resume=True)
    for name in ("last", "best"):
        ours, theirs = state(root, out, name), state(root, "undisturbed", name)
        assert same_tensors(ours, theirs)
        assert ours["step"] == theirs["step"]
    assert log(root, out) == log(root, "undisturbed")
    assert artifact.load(root / out).model == artifact.load(root / "undisturbed").model


def test_a_run_killed_before_its_first_checkpoint_can_be_begun_again(root):
    with pytest.raises(KeyboardInterrupt):
        train(train_config(root, "early"), SIMGAN, observer=Recorder(die_at=2))
    train(train_config(root, "early"), SIMGAN, observer=Recorder(stop_at=3))
    assert state(root, "early")["step"] == 3


def test_resuming_a_finished_run_changes_nothing(root):
    train(train_config(root, "finished"), SIMGAN)
    before = state(root, "finished")
    result = train(train_config(root, "finished"), SIMGAN, resume=True)
    assert (result["steps"], result["stopped_by"]) == (12, "steps")
    assert same_tensors(state(root, "finished"), before)


@pytest.mark.slow
def test_the_schedule_is_drawn_together_so_that_it_ends_with_the_minutes(root, monkeypatch):
    """By a clock that every look at it moves on, so that a busy machine draws no other schedule."""
    rates: list[float] = []
    clock = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.004 * next(clock)))
    monkeypatch.setattr(_adversarial, "set_rate", lambda _, rate: rates.append(rate))
    result = train(train_config(root, "drawn", minutes=0.02, steps=10**6, eval_every=10**6, probe=False), SIMGAN)
    assert (result["stopped_by"], result["best_step"]) == ("minutes", result["steps"])
    assert 10 < result["steps"] < 10_000
    assert 1 < result["seconds"] < 6
    assert max(rates) == pytest.approx(Settings().refiner_lr, rel=0.01)
    assert rates[-1] < 0.2 * max(rates)


def test_minutes_end_a_run_like_steps_do(root):
    result = train(train_config(root, "minutes", minutes=1e-6), SIMGAN)
    assert (result["steps"], result["stopped_by"], result["best_step"]) == (1, "minutes", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("out", "resume", "settings", "error", "message"),
    [
        ("nowhere", True, SIMGAN, UsageError, "nothing to resume"),
        ("undisturbed", False, SIMGAN, UsageError, "holds a run already; add --resume to go on"),
        (
            "undisturbed",
            True,
            {**SIMGAN, "width": 4},
            ModelError,
            "does not fit the method's settings; resume with those in",
        ),
        ("x", False, {"widht": 4}, ConfigError, r"\[simgan\]: unknown key 'widht'; did you mean 'width'"),
        ("x", False, {"feature_transform": "gradeint"}, ConfigError, "did you mean 'gradient'"),
    ],
)
def test_what_cannot_begin_is_one_line(root, out, resume, settings, error, message):
    with pytest.raises(error, match=message):
        train(train_config(root, out), settings, resume=resume)
    assert not (root / "x").exists()


def test_resuming_with_fewer_steps_than_were_done_is_refused(root):
    train(train_config(root, "short"), SIMGAN, observer=Recorder(stop_at=3))
    with pytest.raises(UsageError, match="stands at step 3 already; resume it with more --steps"):
        train(train_config(root, "short", steps=1), SIMGAN, resume=True)


def test_a_folder_of_the_users_own_is_not_overwritten(root):
    (root / "mine").mkdir()
    (root / "mine" / "config.toml").write_text("mine = 1")
    with pytest.raises(UsageError, match="holds a run already"):
        train(train_config(root, "mine"), SIMGAN)
    assert (root / "mine" / "config.toml").read_text() == "mine = 1"


@pytest.mark.parametrize("every", [{}, {"log_every": 100, "checkpoint_every": 3, "eval_every": 3}])
def test_a_run_that_diverges_ends_in_plain_words(root, every):
    out = f"diverged-{len(every)}"
    settings = {**SIMGAN, "optimizer": "sgd", "refiner_lr": 1e20}
    with pytest.raises(
        TrainingError,
        match=r"^(step \d: |the refiner).*so training cannot go on; the last checkpoint is kept; try half",
    ):
        train(train_config(root, out, **every), settings)
    kept = root / out / "checkpoints" / "last.safetensors"
    assert not kept.exists() or all(torch.isfinite(tensor).all() for tensor in tensors(checkpoint.load(kept)))


def test_refined_equals_synthetic_is_said_once(root):
    observer = Recorder()
    train(train_config(root, "same", steps=20, eval_every=100), {**SIMGAN, "refiner_lr": 1e-9}, observer=observer)
    assert len([sentence for sentence in observer.said if "refined equals synthetic" in sentence]) == 1


@pytest.mark.slow
def test_a_discriminator_that_won_is_said_once(tmp_path):
    write_images(tmp_path / "synthetic", 20, contrast=0.05)
    for i in range(8):
        (tmp_path / "real").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 16), 250, np.uint8)).save(tmp_path / "real" / f"{i}.png")
    observer = Recorder()
    settings = {**SIMGAN, "latent": 0, "refiner_lr": 1e-9, "discriminator_lr": 5e-3, "discriminator_pretrain": 60}
    train(train_config(tmp_path, steps=20, eval_every=100), settings, observer=observer)
    assert len([sentence for sentence in observer.said if "tells every patch apart" in sentence]) == 1


@pytest.mark.parametrize(
    ("synthetic", "real", "message"),
    [
        (
            {"channels": 3},
            {},
            "are gray, the synthetic ones in .* are colour: a refiner cannot learn colours from gray",
        ),
        ({"count": 7}, {}, r"synthetic: 7 usable image\(s\); training needs 8"),
        ({}, {"count": 7}, r"real: 7 usable image\(s\); training needs 8"),
    ],
)
def test_datasets_that_cannot_be_trained_on(tmp_path, synthetic, real, message):
    write_images(tmp_path / "synthetic", **{"count": 20, **synthetic})
    write_images(tmp_path / "real", **{"count": 8, **real})
    with pytest.raises(DatasetError, match=message) as caught:
        train(train_config(tmp_path), SIMGAN)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_eight_images_are_enough_and_names_that_no_label_has_are_said(tmp_path):
    for name in ("synthetic", "real"):
        write_images(tmp_path / name, count=8)
    observer = Recorder()
    config = replace(train_config(tmp_path), max_drift="iris=2px")
    assert train(config, SIMGAN, observer=observer, overrides={"pupil": LabelOverride(type="box")})["artifact"]
    said = " ".join(observer.said)
    assert "--max-drift: no label named 'iris' was found" in said
    assert "[labels.pupil]: no label of this name was found" in said


@pytest.mark.parametrize("missing", ["real", "synthetic"])
def test_a_missing_path_names_its_option(root, missing):
    with pytest.raises(UsageError, match=f"^--{missing} is missing"):
        train(replace(train_config(root), **{missing: ""}))


def test_images_smaller_than_a_patch_are_told_what_to_set(root):
    with pytest.raises(TrainingError, match=r'are 16x8 px; set discriminator_variant = "small"'):
        train(train_config(root, "patch"), {**SIMGAN, "discriminator_variant": "eyes"})


def test_16_bit_images(tmp_path):
    datasets(tmp_path, bits=16)
    result = train(train_config(tmp_path), SIMGAN)
    manifest = artifact.load(result["artifact"]).manifest
    assert (manifest.bits, manifest.channels) == (16, 1)


def test_colour_real_for_gray_synthetic_of_mixed_sizes(tmp_path):
    write_images(tmp_path / "synthetic", 15, labels=True)
    write_images(tmp_path / "synthetic" / "wide", 15, (12, 30), seed=3)
    write_images(tmp_path / "real", 10, (40, 50), channels=3, seed=1)
    observer = Recorder(stop_at=5)
    train(train_config(tmp_path), SIMGAN, observer=observer)
    table = next(iter(observer.tables.values()))
    assert table["crops"] == "16x8 px"
    assert "scaled to cover" in table["real"]
    assert any("used as gray" in sentence for sentence in observer.said)


def test_cropped_real_images_keep_their_scale(tmp_path):
    write_images(tmp_path / "synthetic", 20)
    write_images(tmp_path / "real", 10, (40, 50), channels=3, seed=1)
    observer = Recorder(stop_at=1)
    train(train_config(tmp_path, real_fit="crop"), SIMGAN, observer=observer)
    assert next(iter(observer.tables.values()))["real"].endswith("10 images, 50x40, 1 channel(s), 8 bits, cropped")


def test_images_left_out_are_named_and_counted(tmp_path):
    datasets(tmp_path)
    for i in range(8):
        (tmp_path / "real" / f"broken{i}.png").write_bytes(b"no image")
    observer = Recorder(stop_at=1)
    train(train_config(tmp_path), SIMGAN, observer=observer)
    left_out = [sentence for sentence in observer.said if sentence.startswith("left out: ")]
    assert len(left_out) == 6
    assert left_out[-1] == "left out: 3 more images"


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_file_names_that_are_not_unicode(tmp_path):
    datasets(tmp_path)
    (tmp_path / "real" / "000.png").rename(tmp_path / "real" / os.fsdecode(b"\xff.png"))
    assert train(train_config(tmp_path), SIMGAN, observer=Recorder(stop_at=1))["stopped_by"] == "interrupt"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_not_there(root):
    with pytest.raises(ProviderError, match="device cuda was asked for, but torch finds no CUDA device"):
        train(train_config(root, "cuda", device="cuda"), SIMGAN)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_stated(root, precision):
    observer = Recorder(stop_at=1)
    train(train_config(root, f"in-{precision}", precision=precision), SIMGAN, observer=observer)
    assert next(iter(observer.tables.values()))["device"] == f"cpu, {precision}"
    assert Placement(torch.device("cpu"), precision == "bf16").precision == precision
