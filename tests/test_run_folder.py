"""A run's folder has one owner, its files follow the umask, and its last steps are tried before the first."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import SIMGAN, Recorder, train_config

from refinery import networks
from refinery.config import ExportConfig, InspectConfig, RefineConfig
from refinery.errors import ModelError, OutputError
from refinery.jobs.export import export
from refinery.jobs.inspect import inspect
from refinery.jobs.refine import refine
from refinery.jobs.train import train
from refinery.training import run_folder
from refinery.training.run_folder import claimed
from refinery.writable import require_place, require_room, require_writable

QUICK = {"probe": False, "guide_steps": 0}
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither flock nor modes")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_runs_begun_in_one_second_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder.time, "strftime", lambda _: "20260102-030405")
    paths: list[Path] = []
    together = threading.Barrier(8)

    def begin() -> None:
        together.wait()
        with claimed("", "simgan", resume=False) as folder:
            paths.append(folder.path)
            folder.create(resume=False)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = "simgan-20260102-030405"
    assert sorted(path.name for path in paths) == [first, *(f"{first}-{i}" for i in range(2, 9))]


@pytest.mark.slow
@posix
def test_a_folder_in_which_another_process_trains_is_refused_and_left_alone(tmp_path):
    hold = (
        "import sys; from refinery.training.run_folder import claimed\n"
        "with claimed(sys.argv[1], 'simgan', resume=False) as folder:\n"
        "    folder.create(resume=False); print('held', flush=True); sys.stdin.read()"
    )
    run = tmp_path / "run"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", hold, str(run)], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        (run / "cache").mkdir()
        for resume in (False, True):
            (run / "checkpoints" / "last.safetensors").touch()
            with pytest.raises(OutputError, match="run: another refinery is training there; wait, or give another"):
                train(train_config(tmp_path, **QUICK), SIMGAN, resume=resume)
        assert {"cache", "checkpoints", "samples"} <= names_in(run), "the decoded images of the other one are there"
        (run / "checkpoints" / "last.safetensors").unlink()
        other.kill()
    with claimed(str(run), "simgan", resume=False):
        assert ".lock" in names_in(run)
    assert ".lock" not in names_in(run)


@posix
def test_a_lock_that_its_holder_removed_in_between_is_taken_anew(tmp_path):
    """Many processes take, remove and give back one lock: never two hold it."""
    inside, most = [0], [0]
    guard = threading.Lock()

    def take_turns() -> None:
        for _ in range(100):
            try:
                with claimed(str(tmp_path / "run"), "simgan", resume=False):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with guard:
                        inside[0] -= 1
            except OutputError:
                continue

    threads = [threading.Thread(target=take_turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.mark.parametrize("named", [True, False])
def test_a_run_that_could_not_begin_leaves_no_folder(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(RuntimeError), claimed("deep/run" if named else "", "simgan", resume=False) as folder:
        assert folder.path.is_dir()
        raise RuntimeError
    assert names_in(tmp_path) == set()


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="run: is a file; --out takes a folder"):
        train(train_config(tmp_path, **QUICK), SIMGAN)


@pytest.mark.slow
@posix
@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_all_files_of_a_run_and_of_an_output_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        config = train_config(tmp_path, steps=2, **{**QUICK, "checkpoint_every": 1})
        train(config, SIMGAN)
        refine(RefineConfig(source=config.synthetic, out=str(tmp_path / "refined"), model=str(tmp_path / "run")))
        inspect(InspectConfig(path=str(tmp_path / "run"), html=str(tmp_path / "run" / "page.html")))
    finally:
        os.umask(before)
    written = [path for folder in ("run", "refined") for path in (tmp_path / folder).rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in written}
    wrong = {
        str(path.relative_to(tmp_path)): oct(mode)
        for path, mode in modes.items()
        if mode != (0o777 if path.is_dir() else 0o666) & ~umask
    }
    assert len(written) > 100
    assert wrong == {}


NO_ONNX = '''
"""A refiner with an operation that ONNX does not have."""
from torch import linalg, nn

class Refiner(nn.Module):
    receptive_field_px = 1

    def __init__(self, channels):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, images):
        return self.mix(images) + 0 * linalg.svdvals(images).sum()

def build(channels, **settings):
    return Refiner(channels)
'''


@pytest.fixture
def unexportable(tmp_path, monkeypatch) -> str:
    """A network that the family finds by its name, as it finds any file in its folder."""
    (tmp_path / "members").mkdir()
    (tmp_path / "members" / "no_onnx.py").write_text(NO_ONNX)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path / "members")])
    yield "no_onnx"
    sys.modules.pop("refinery.networks.no_onnx", None)


@pytest.mark.slow
def test_a_refiner_that_cannot_be_exported_is_told_before_the_first_step(tmp_path, unexportable):
    observer = Recorder()
    config = train_config(tmp_path, **QUICK)
    with pytest.raises(
        ModelError, match=r"^no step was trained, since the result could not be exported: refiner: "
    ) as told:
        train(config, {**SIMGAN, "refiner": unexportable}, observer=observer)
    assert "with torch" in str(told.value)
    assert "\n" not in str(told.value)
    assert observer.records == []
    assert not Path(config.out).exists()


@pytest.mark.parametrize("taken", ["artifact", "samples", "checkpoints"])
def test_what_cannot_be_written_at_the_end_is_told_before_the_first_step(tmp_path, taken):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / taken).write_text("a file")
    observer = Recorder()
    with pytest.raises(OutputError, match=rf"run/{taken}: cannot be (written|made)"):
        train(train_config(tmp_path, **QUICK), SIMGAN, observer=observer)
    assert observer.records == []


def test_nothing_of_the_rehearsal_stays(tmp_path):
    config = train_config(tmp_path, **QUICK)
    train(config, SIMGAN, observer=Recorder(stop_at=1))
    expected = {"checkpoints", "config.toml", "contents.jsonl", "labels.png", "samples", "stats.jsonl"}
    assert names_in(Path(config.out)) == expected


def test_too_little_room_is_one_line_with_both_figures(tmp_path):
    require_room(tmp_path, 1, "two checkpoints")
    with pytest.raises(OutputError, match=r"MB are free, but two checkpoints take up to 953,674,317 MB; make room, or"):
        require_room(tmp_path, 10**15, "two checkpoints")


def test_asking_for_a_place_leaves_nothing(tmp_path):
    require_writable(tmp_path / "new" / "deep")
    require_place(tmp_path / "new" / "page.html")
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize(("option", "field"), [("--picture", "picture"), ("--html", "html")])
def test_inspect_tries_its_outputs_before_its_work(tmp_path, option, field):
    (tmp_path / "taken").write_text("a file")
    config = InspectConfig(path=str(tmp_path / "no dataset"), **{field: str(tmp_path / "taken" / "x.png")})
    with pytest.raises(OutputError, match=f"taken: the (picture|page) cannot be written .*give another {option}"):
        inspect(config)


def test_export_tries_its_output_before_its_work(tmp_path):
    config = train_config(tmp_path, **QUICK)
    train(config, SIMGAN, observer=Recorder(stop_at=4))
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder, expected a path for a file; give another --out"):
        export(ExportConfig(run=config.out, out=str(tmp_path / "model.onnx")))


def test_a_run_that_still_trains_is_not_what_refine_takes(tmp_path, monkeypatch):
    from refinery.artifact import newest_run

    monkeypatch.chdir(tmp_path)
    config = train_config(tmp_path, "runs/finished", **{**QUICK, "steps": 2})
    train(config, SIMGAN)
    going = replace(config, out=str(tmp_path / "runs" / "going"), steps=50)
    train(going, SIMGAN, observer=Recorder(stop_at=6))
    export(ExportConfig(run=going.out))  # by hand, while it is not finished
    assert newest_run(Path("runs")).name == "finished"
    shutil.rmtree(tmp_path / "runs" / "finished")
    with pytest.raises(ModelError, match="no finished run"):
        newest_run(Path("runs"))
