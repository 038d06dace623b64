"""Killed, interrupted or out of room at any moment: a second run ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import png
from models import write_artifact
from stream import refine, scene, start, tree_of, write_gaze, write_refiner, write_scenes
from test_noise import noisy

SAMPLES = 300
TWICE = ("--variants", 2)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """A folder of 300 samples with some that cannot be read, a refiner with work to do, and the undisturbed result."""
    root = tmp_path_factory.mktemp("job")
    source = write_scenes(root / "in", SAMPLES)
    (source / "0100.png").write_bytes(b"")
    (source / "0200.png").write_bytes(png(scene(0)[0])[:300])
    (source / "odd.png").write_bytes(png(scene(0, size_hw=(90, 70))[0]))
    (source / "notes.txt").write_text("loose")
    model = write_refiner(root, "slow")
    assert refine(source, root / "undisturbed", model).exit_code == 3
    return source, model, tree_of(root / "undisturbed", own=True)


@pytest.fixture(scope="module")
def hdf5_job(tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """The same of one HDF5 file."""
    root = tmp_path_factory.mktemp("hdf5")
    source = write_gaze(root / "in" / "gaze.h5", SAMPLES)
    model = write_refiner(root, "slow")
    assert refine(source, root / "undisturbed", model).exit_code == 0
    return source, model, tree_of(root / "undisturbed", own=True)


@pytest.fixture(scope="module")
def tar_job(tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """The same of a folder of archives, one of them compressed, with a sample that cannot be read."""
    root = tmp_path_factory.mktemp("tar")
    scenes = write_scenes(root / "scenes", SAMPLES)
    (scenes / "0100.png").write_bytes(b"")
    (root / "in").mkdir()
    for number, (name, mode) in enumerate((("a.tar", "w"), ("b.tar.gz", "w:gz"), ("c.tar", "w"))):
        with tarfile.open(root / "in" / name, mode) as archive:
            for path in sorted(scenes.iterdir())[number * 200 : number * 200 + 200]:
                archive.add(path, path.name)
    model = write_refiner(root, "slow")
    assert refine(root / "in", root / "undisturbed", model).exit_code == 3
    return root / "in", model, tree_of(root / "undisturbed", own=True)


@pytest.fixture(scope="module")
def variants_job(tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """Two variants of each sample of a folder, one of which cannot be read, by a refiner with noise."""
    root = tmp_path_factory.mktemp("variants")
    source = write_scenes(root / "in", SAMPLES // 2)
    (source / "0100.png").write_bytes(b"")
    model = write_artifact(root / "model", noisy(), latent=1, deterministic=False)
    assert refine(source, root / "undisturbed", model, *TWICE).exit_code == 3
    return source, model, tree_of(root / "undisturbed", own=True)


def begin(source: Path, out: Path, model: Path, *options: object) -> subprocess.Popen[str]:
    return start("refine", source, "--out", out, "--model", model, "--provider", "cpu", "--workers", 2, *options)


def wait_for_lines(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Until the manifest has so many lines, or the process has ended."""
    manifest = out / ".refinery" / "manifest.jsonl"
    limit = time.monotonic() + 60
    while process.poll() is None and (not manifest.exists() or manifest.read_bytes().count(b"\n") < count):
        assert time.monotonic() < limit
        time.sleep(0.002)


def end(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    """A signal to the whole group (as a terminal sends it); stdout and stderr."""
    if process.poll() is None:
        os.killpg(process.pid, number)
    return process.communicate(timeout=60)


def kill_now_and_then(source: Path, out: Path, model: Path, seed: int, times: int, *options: object) -> int:
    """Kill the job at random moments, each run after it got a bit further; how often it was caught at work."""
    draw = np.random.default_rng(seed)
    caught = 0
    for turn in range(times):
        process = begin(source, out, model, *options)
        if turn:  # the first time at any moment from its start
            wait_for_lines(process, out, int(SAMPLES * turn / (times + 1)))
        time.sleep(draw.uniform(0, 0.05 if turn else 0.6))
        end(process, signal.SIGKILL)
        caught += process.returncode == -signal.SIGKILL
    return caught


@pytest.mark.slow
def test_a_killed_job_goes_on_to_the_same_bytes(job, tmp_path):
    source, model, undisturbed = job
    caught = kill_now_and_then(source, tmp_path / "out", model, 0, times=4)
    assert caught >= 2
    assert refine(source, tmp_path / "out", model).exit_code == 3
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
def test_a_killed_hdf5_job_goes_on_to_the_same_bytes(hdf5_job, tmp_path):
    source, model, undisturbed = hdf5_job
    caught = kill_now_and_then(source, tmp_path / "out", model, 0, times=3)
    assert caught >= 1
    assert refine(source, tmp_path / "out", model).exit_code == 0
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
def test_a_killed_job_of_archives_goes_on_to_the_same_bytes(tar_job, tmp_path):
    source, model, undisturbed = tar_job
    caught = kill_now_and_then(source, tmp_path / "out", model, 0, 4)
    assert caught >= 2
    assert refine(source, tmp_path / "out", model).exit_code == 3
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
def test_a_killed_job_with_variants_goes_on_to_the_same_bytes(variants_job, tmp_path):
    source, model, undisturbed = variants_job
    caught = kill_now_and_then(source, tmp_path / "out", model, 0, 3, *TWICE)
    assert caught >= 1
    assert refine(source, tmp_path / "out", model, *TWICE).exit_code == 3
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
def test_fifty_kills_at_any_moment_each_gone_on_from_to_the_same_bytes(job, hdf5_job, tar_job, variants_job, tmp_path):
    """The whole group is killed between its first import and its last file; the next run ends it."""
    draw = np.random.default_rng(50)
    kinds = [(*job, ()), (*hdf5_job, ()), (*tar_job, ()), (*variants_job, TWICE)]
    caught = 0
    for turn in range(50):
        source, model, undisturbed, options = kinds[turn % len(kinds)]
        out = tmp_path / str(turn)
        process = begin(source, out, model, *options)
        wait_for_lines(process, out, int(draw.integers(0, SAMPLES)) if draw.random() < 0.8 else 0)
        time.sleep(draw.uniform(0, 0.1))
        end(process, signal.SIGKILL)
        caught += process.returncode == -signal.SIGKILL
        refine(source, out, model, *options)
        assert tree_of(out, own=True) == undisturbed, turn
        shutil.rmtree(out)
    assert caught >= 40


@pytest.mark.slow
def test_killed_while_the_file_is_put_together_it_goes_on_to_the_same_bytes(hdf5_job, tmp_path):
    source, model, undisturbed = hdf5_job
    for turn in range(3):
        process = begin(source, tmp_path / "out", model)
        wait_for_lines(process, tmp_path / "out", SAMPLES)
        time.sleep(0.01 * turn)
        end(process, signal.SIGKILL)
    assert refine(source, tmp_path / "out", model).exit_code == 0
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_job_says_how_to_go_on(job, tmp_path, number):
    source, model, undisturbed = job
    process = begin(source, tmp_path / "out", model)
    wait_for_lines(process, tmp_path / "out", 1)
    stdout, stderr = end(process, number)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1].startswith("error: interrupted; run the same command again to go on")
    assert "Traceback" not in stderr
    assert refine(source, tmp_path / "out", model).exit_code == 3
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
def test_a_second_process_is_told_to_wait(job, tmp_path):
    source, model, _ = job
    process = begin(source, tmp_path / "out", model)
    wait_for_lines(process, tmp_path / "out", 1)
    process.send_signal(signal.SIGSTOP)  # it must not end before the second one has begun
    done = refine(source, tmp_path / "out", model)
    end(process, signal.SIGKILL)
    assert done.exit_code == 1
    assert "another refinery is writing there" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "hdf5"])
def test_a_full_disk_is_one_line_and_the_job_goes_on_when_there_is_room(job, hdf5_job, tmp_path, kind):
    """A file may not grow beyond some size: what the operating system refuses as it refuses a full disk."""
    source, model, undisturbed = job if kind == "folder" else hdf5_job
    limit = 20_000 if kind == "folder" else 200_000  # the manifest and the spool grow beyond; the first files do not
    process = start(
        *("refine", source, "--out", tmp_path / "out", "--model", model, "--provider", "cpu"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    stdout, stderr = process.communicate(timeout=60)
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert process.returncode == 1
    assert stdout == ""
    assert len(errors) == 1
    assert "File too large" in errors[0]
    assert "run the same command again" in errors[0]
    assert "Traceback" not in stderr
    assert refine(source, tmp_path / "out", model).exit_code == (3 if kind == "folder" else 0)
    assert tree_of(tmp_path / "out", own=True) == undisturbed


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_traceback(job, tmp_path):
    source, model, _ = job
    process = start("refine", source, "--out", tmp_path / "out", "--model", model, "--provider", "cpu")
    process.stdout.close()
    assert process.wait(timeout=60) in (1, 3)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
