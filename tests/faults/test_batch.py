"""Parts of a batch job as processes of their own: side by side, killed and gone on with."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stream import refine, start, tree_of, write_gaze, write_refiner, write_scenes
from test_kill import end

SAMPLES = 60
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX")


@pytest.fixture(scope="module", params=["folder", "hdf5"])
def job(request, tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """A dataset with a loose file, a refiner with work to do, and what one job makes of it."""
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "folder":
        write_scenes(root / "in", SAMPLES)
    else:
        for i in range(4):
            write_gaze(root / "in" / f"{i}.h5", SAMPLES // 4)
    (root / "in/notes.txt").write_text("loose")
    model = write_refiner(root, "slow")
    assert refine(root / "in", root / "one", model).exit_code == 0
    return root / "in", model, tree_of(root / "one")


def begin(job, out: Path, shard: str, **options) -> subprocess.Popen[str]:
    command = ("refine", job[0], "--out", out, "--model", job[1], "--provider", "cpu", "--workers", 1)
    return start(*command, "--shard", shard, **options)


def wait_for_line(process: subprocess.Popen[str], out: Path, folder: str) -> None:
    """Until a part's manifest has a line, or the process has ended."""
    manifest, limit = out / ".refinery/parts" / folder / "manifest.jsonl", time.monotonic() + 60
    while process.poll() is None and not (manifest.exists() and manifest.stat().st_size):
        assert time.monotonic() < limit
        time.sleep(0.002)


@pytest.mark.slow
def test_a_part_that_was_killed_goes_on_while_another_runs(job, tmp_path):
    """The second part begins, writes and cleans up while the first one is stopped in its middle."""
    out, draw = tmp_path / "out", np.random.default_rng(0)
    killed = begin(job, out, "1/2")
    wait_for_line(killed, out, "01-of-02")
    killed.send_signal(signal.SIGSTOP)
    other = begin(job, out, "2/2")
    assert other.wait(timeout=120) == 0
    other.communicate()
    assert not (out / ".refinery/parts/01-of-02/summary.json").exists()
    end(killed, signal.SIGKILL)
    for _ in range(2):
        again = begin(job, out, "1/2")
        time.sleep(draw.uniform(0, 0.8))
        end(again, signal.SIGKILL)
    last = begin(job, out, "1/2")
    last.communicate(timeout=120)
    assert last.returncode == 0
    assert tree_of(out) == job[2]


@pytest.mark.slow
def test_a_second_process_on_the_same_part_is_told_to_wait(job, tmp_path):
    first = begin(job, tmp_path / "out", "1/2")
    wait_for_line(first, tmp_path / "out", "01-of-02")
    first.send_signal(signal.SIGSTOP)
    same, whole = (refine(job[0], tmp_path / "out", job[1], *shard) for shard in (("--shard", "1/2"), ()))
    end(first, signal.SIGKILL)
    assert (same.exit_code, whole.exit_code) == (1, 1)
    assert "another refinery is writing there (part 1/2); wait" in same.stderr
    assert "another refinery is writing there; wait" in whole.stderr


@pytest.mark.slow
def test_parts_that_begin_at_the_same_moment_put_one_job_together(job, tmp_path):
    """Four parts into a folder that is not there yet: the bytes of one job."""
    processes = [begin(job, tmp_path / "out", f"{i}/4") for i in (2, 4, 1, 3)]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert tree_of(tmp_path / "out") == job[2]


@pytest.mark.slow
def test_an_array_reads_its_part_from_the_environment(job, tmp_path, monkeypatch):
    for task in (0, 1):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(task))
        assert refine(job[0], tmp_path / "out", job[1], "--shard", "auto/2").exit_code == 0
    assert tree_of(tmp_path / "out") == job[2]
