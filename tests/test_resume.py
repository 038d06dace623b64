"""A resumed run goes on with its own settings and its own images, wherever it is resumed from; others are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_train import same_tensors, state
from tiny import SIMGAN, Recorder, datasets, train_config, write_images

from refinery.cli import app
from refinery.config import TrainConfig, build, load_toml
from refinery.errors import DatasetError, UsageError
from refinery.jobs.train import train
from refinery.training import checkpoint

QUICK = {"probe": False, "guide_steps": 0}


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A folder with a run that was begun in it with relative paths and interrupted at step 5, and its datasets."""
    root = tmp_path_factory.mktemp("begun")
    datasets(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        config = replace(train_config(root, **QUICK), real="real", synthetic="synthetic", out="run")
        train(config, SIMGAN, observer=Recorder(stop_at=5))
    return root


@pytest.fixture
def project(begun, tmp_path) -> Path:
    """A copy of it at another place; the original is not there to be found."""
    shutil.copytree(begun, tmp_path / "project")
    path = tmp_path / "project" / "run" / "checkpoints" / "last.safetensors"
    gone = {side: [side, str(tmp_path / "gone" / side)] for side in ("real", "synthetic")}
    checkpoint.save(path, {**checkpoint.load(path), "paths": gone})
    return tmp_path / "project"


def config_of(run: Path, **changes) -> TrainConfig:
    """The settings that `--resume` takes from a run."""
    config = build(TrainConfig, load_toml(run / "config.toml")["train"], {}, "config.toml")
    return replace(config, out=str(run), **changes)


def at(root: Path, **changes) -> TrainConfig:
    """The same with the datasets of a folder."""
    return config_of(root / "run", **{"real": str(root / "real"), "synthetic": str(root / "synthetic"), **changes})


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_paths_of_a_run_hold_in_every_folder(begun):
    tables = load_toml(begun / "run" / "config.toml")["train"]
    paths = {name: str(begun / name) for name in ("real", "synthetic")} | {"out": str(begun / "run")}
    assert {name: tables[name] for name in paths} == paths


@pytest.mark.slow
def test_a_run_moved_with_its_datasets_is_resumed_and_is_the_undisturbed_run(begun, project, tmp_path, monkeypatch):
    shutil.copytree(begun, tmp_path / "same")
    train(at(tmp_path / "same"), SIMGAN, resume=True)
    monkeypatch.chdir(tmp_path)
    moved = config_of(project / "run", **{side: str(tmp_path / "gone" / side) for side in ("real", "synthetic")})
    train(moved, SIMGAN, resume=True)
    assert same_tensors(state(project, "run"), state(tmp_path / "same", "run"))
    assert load_toml(project / "run" / "config.toml")["train"]["real"] == str(project / "real")


def change_pixels(folder: Path) -> None:
    write_images(folder, 3, seed=77)


def change_labels(folder: Path) -> None:
    (folder / "004.json").write_text(json.dumps({"box": [3, 3, 12, 6]}))


def remove(folder: Path) -> None:
    for path in folder.glob("002.*"):
        path.unlink()


def add(folder: Path) -> None:
    shutil.copy(folder / "000.png", folder / "zz.png")


def rename(folder: Path) -> None:
    (folder / "001.png").rename(folder / "001b.png")


def add_shared_labels(folder: Path) -> None:
    (folder / "labels.csv").write_text("image,gaze\n" + "".join(f"{i:03d}.png,{i}\n" for i in range(40)))


@pytest.mark.parametrize(
    ("side", "change", "words"),
    [
        ("synthetic", change_pixels, r"3 of 40 images changed \(first: 000\)"),
        ("real", change_pixels, r"3 of 16 images changed \(first: 000\)"),
        ("synthetic", change_labels, r"1 of 40 have other labels \(first: 004\)"),
        ("synthetic", remove, r"1 of 40 are missing \(first: 002\)"),
        ("real", remove, r"1 of 16 are missing \(first: 002\)"),
        ("real", add, r"1 beside the 16 are new \(first: zz\)"),
        ("real", rename, r"1 of 16 are missing \(first: 001\), 1 beside the 16 are new \(first: 001b\)"),
        ("synthetic", add_shared_labels, r"1 beside the 40 are new \(first: labels.csv\)"),
    ],
)
def test_other_contents_are_refused_before_anything_is_written(project, side, change, words):
    change(project / side)
    before = files(project / "run")
    with pytest.raises(DatasetError, match=rf"{side}: not the {side} images that .*run was trained on: {words}; give"):
        train(at(project), SIMGAN, resume=True)
    assert files(project / "run") == before


def test_labels_of_real_images_that_nothing_learns_from_may_change(project):
    (project / "real" / "000.json").write_text('{"a": 1}')
    assert train(at(project), SIMGAN, resume=True)["stopped_by"] == "steps"


def test_without_the_list_of_contents_other_images_are_refused_all_the_same(project):
    change_pixels(project / "real")
    (project / "run" / "contents.jsonl").write_text("{broken")
    with pytest.raises(DatasetError, match=r"not the real images that .*run was trained on; give --real"):
        train(at(project), SIMGAN, resume=True)


def of_an_older_refinery(run: Path) -> None:
    path = run / "checkpoints" / "last.safetensors"
    old = checkpoint.load(path)
    checkpoint.save(path, {name: old[name] for name in old if name not in ("contents", "paths", "train")})
    (run / "contents.jsonl").unlink()


def test_a_checkpoint_of_an_older_refinery_is_compared_by_its_images(project):
    of_an_older_refinery(project / "run")
    change_pixels(project / "real")
    with pytest.raises(DatasetError, match="not the real images"):
        train(at(project), SIMGAN, resume=True)


def test_a_checkpoint_of_an_older_refinery_goes_on_and_says_what_was_not_compared(project):
    of_an_older_refinery(project / "run")
    observer = Recorder()
    train(at(project), SIMGAN, resume=True, observer=observer)
    assert "the run is of an older refinery: only its images were compared" in observer.said


@pytest.mark.parametrize(
    "changes", [{"seed": 3}, {"crop": 8}, {"batch_size": 8}, {"validation": 5}, {"real_fit": "crop"}, {"control": 6}]
)
def test_another_setting_that_decides_what_is_drawn_is_refused(project, changes):
    ((name, value),) = changes.items()
    before = files(project / "run")
    with pytest.raises(UsageError, match=rf"run: was trained with {name} = \S+, now {value}; .*leave it away"):
        train(at(project, **changes), SIMGAN, resume=True)
    assert files(project / "run") == before


def test_another_method_is_refused(project):
    with pytest.raises(UsageError, match="was trained with method = simgan, now ssgan"):
        train(at(project, method="ssgan"), resume=True)


def test_another_learning_rate_goes_on_and_is_said(project):
    observer = Recorder()
    train(at(project), {**SIMGAN, "refiner_lr": 1e-4}, resume=True, observer=observer)
    assert [line for line in observer.said if line.startswith("resumed with another")] == [
        "resumed with another refiner_lr: was 0.0005, now 0.0001"
    ]


def test_a_folder_with_other_datasets_at_the_same_relative_paths_is_asked_about(begun, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    write_images(tmp_path / "real", 16, seed=9)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(begun / "run", tmp_path / "copy")
    asked = CliRunner().invoke(app, ["train", "--resume", "copy"])
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert f"began with {begun / 'real'}, from here it is {tmp_path / 'real'}" in asked.stderr
    answered = CliRunner().invoke(app, ["train", "--resume", "copy", "--real", str(begun / "real")])
    assert answered.exit_code == 0, answered.stderr
