"""Worker processes: the same files as threads make, chosen where threads wait for each other, and never left behind."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from models import write_artifact
from stream import refine, start, tree_of, write_gaze, write_refiner, write_scenes
from test_noise import noisy

from refinery import pipeline as stream
from refinery.errors import RefineryError, SampleError
from refinery.pace import PAYS_S, TRIAL_S, Pace
from refinery.runtime.processes import WorkerProcesses

FEW = 12
AT_ONCE = (
    "import refinery.pace as pace, refinery.pipeline as stream; "
    f"pace.TRIAL_S = pace.PAYS_S = 0; pace.IDLE = -1; stream.CHUNK_SAMPLES = {FEW}; stream.IN_FLIGHT = 0; "
    "stream.cores = lambda: 2; pace.Pace.is_slower = lambda _: False; "
    "from refinery.cli import main; main()"
)
"""The command line, with worker processes from the first chunks on, whatever is measured."""


# Whether they pay, with clocks of the test's own


class Clock:
    """Seconds, and CPU seconds of which `busy` pass in each."""

    def __init__(self) -> None:
        self.now, self.cpu, self.busy = 0.0, 0.0, 1.0

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.cpu += seconds * self.busy


def paced(clock: Clock, chunks: int, cores: int = 2) -> Pace[int]:
    given = iter([[0] * 10 for _ in range(chunks)])
    return Pace(given, 10 * chunks, 1, cores, lambda: clock.now, lambda: clock.cpu)


def run(pace: Pace[int], clock: Clock, stop, seconds: float) -> int:
    """Chunks that a way takes, each in so many seconds."""
    taken = 0
    for chunk in pace.until(stop):
        clock.wait(seconds)
        pace.count(len(chunk))
        taken += 1
    return taken


def test_a_long_job_whose_threads_wait_gets_processes_and_a_busy_or_a_short_one_does_not():
    enough = int(TRIAL_S + PAYS_S) + 10
    for chunks, busy, switched in ((enough, 1.5, True), (enough, 1.9, False), (int(TRIAL_S + PAYS_S) - 2, 1.5, False)):
        clock = Clock()
        clock.busy = busy
        pace = paced(clock, chunks)
        taken = run(pace, clock, pace.pays, seconds=1.0)
        assert (taken < chunks) == switched, (chunks, busy)
        assert (pace.left, pace.stopped) == (10 * (chunks - taken), switched)


@pytest.mark.parametrize(("seconds", "back"), [(0.5, False), (1.5, True)])
def test_what_is_slower_than_threads_is_given_up_and_no_chunk_is_lost(seconds, back):
    clock, chunks = Clock(), 60
    pace = paced(clock, chunks)
    first = run(pace, clock, pace.pays, seconds=1.0)
    pace.start(skipped=1)
    assert pace.rate == pytest.approx(10)
    second = run(pace, clock, pace.is_slower, seconds)
    assert (pace.left > 0, pace.stopped) == (back, back)
    assert first + second + pace.left // 10 == chunks


# The processes


def make_worker(argument):
    """What the processes of these tests do with an item."""

    def work(item):
        if item == "pid":
            return os.getpid()
        if item == "print":
            print("a library prints")
        if item == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "sample":
            raise SampleError("a.png: broken")
        if item == "foreign":
            raise Unportable("never seen")
        return argument, item

    return work


class Unportable(Exception):  # noqa: N818
    """Cannot be made again from what it holds."""

    def __init__(self, text: str, *, more: str = "") -> None:
        super().__init__(text, more, open)

    def __reduce__(self):
        return Unportable, ()


@pytest.fixture
def processes():
    with WorkerProcesses(2, make_worker, pickle.dumps("given")) as started:
        yield started


@pytest.mark.slow
def test_items_come_back_from_all_processes_and_what_they_print_is_no_reply(processes):
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(processes.call, [*range(20), "print"]))
    assert replies == [("given", item) for item in [*range(20), "print"]]
    assert processes.call("pid") != os.getpid()


@pytest.mark.slow
def test_errors_are_raised_as_they_were_and_the_process_goes_on(processes):
    for _ in range(3):
        with pytest.raises(SampleError, match=r"a\.png: broken"):
            processes.call("sample")
    with pytest.raises(RuntimeError, match=r"Unportable: .*never seen"):
        processes.call("foreign")
    assert processes.call(1) == ("given", 1)


@pytest.mark.slow
def broken_make(argument):
    raise SampleError(f"{argument}: cannot be opened")


def test_what_fails_at_the_start_is_raised_by_the_first_call():
    with WorkerProcesses(1, broken_make, pickle.dumps("in")) as started:
        for _ in range(2):
            with pytest.raises(SampleError, match="in: cannot be opened"):
                started.call(1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_process_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr("refinery.runtime.processes.PATIENCE_S", 0.2)
    with WorkerProcesses(1, make_worker, pickle.dumps("given")) as started:
        pid = started.call("pid")
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_process_that_is_killed_is_one_clear_line(processes):
    with pytest.raises(RefineryError, match=r"signal 9.*run the same command again"):
        processes.call("die")


@pytest.mark.slow
def test_where_none_can_be_started_threads_go_on(tmp_path, monkeypatch):
    def refused() -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("refinery.runtime.processes._started", refused)
    monkeypatch.setattr(stream, "CHUNK_SAMPLES", FEW)
    monkeypatch.setattr(stream, "cores", lambda: 2)
    for name, value in {"TRIAL_S": 0, "PAYS_S": 0, "IDLE": -1}.items():
        monkeypatch.setattr(f"refinery.pace.{name}", value)
    source = write_scenes(tmp_path / "in", 10 * FEW)
    done = refine(source, tmp_path / "out", write_refiner(tmp_path), "--no-check")
    assert done.exit_code == 0
    assert "no worker processes could be started (Resource temporarily unavailable); going on with one" in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 10 * FEW


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    source, model = write_scenes(tmp_path / "in", 10 * FEW), write_refiner(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        AT_ONCE.partition("from refinery.cli")[0]
        + f"\nprint('once')\nfrom refinery.config import RefineConfig\nfrom refinery.jobs.refine import refine\n"
        f"print(refine(RefineConfig({str(source)!r}, {str(tmp_path / 'out')!r}, {str(model)!r}))['refined'])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.returncode) == (["once", str(10 * FEW)], 0), done.stderr


# A job in them


def in_processes(source: Path, out: Path, model: Path, *options: object) -> subprocess.CompletedProcess[str]:
    arguments = ["refine", source, "--out", out, "--model", model, "--provider", "cpu", *options]
    command = [sys.executable, "-c", AT_ONCE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind_options", [("slow",), ("nudged", "--max-drift", "1.5px"), ("moved", "--on-drift", "quarantine")], ids=" ".join
)
def test_the_output_is_that_of_threads_byte_for_byte(tmp_path, kind_options):
    kind, *options = kind_options
    source, model = write_scenes(tmp_path / "in", 10 * FEW), write_refiner(tmp_path, kind)
    (source / "0017.png").write_bytes(b"broken")
    (source / "0018.json").unlink()
    (source / "notes.txt").write_text("loose")
    assert refine(source, tmp_path / "threads", model, *options).exit_code == 3
    done = in_processes(source, tmp_path / "processes", model, *options)
    assert (done.returncode, "2 worker processes from here on" in done.stderr) == (3, True), done.stderr
    assert tree_of(tmp_path / "processes", own=True) == tree_of(tmp_path / "threads", own=True)
    again = in_processes(source, tmp_path / "processes", model, *options)
    assert "this job is finished already" in again.stderr


@pytest.mark.slow
def test_variants_and_files_about_many_images_come_out_the_same(tmp_path):
    source = write_scenes(tmp_path / "in", 8 * FEW)
    boxes = [[5, 5, 20 + i % 7, 20] for i in range(8 * FEW)]
    coco = {
        "images": [{"id": i, "file_name": f"{i:04d}.png", "width": 64, "height": 48} for i in range(8 * FEW)],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)],
    }
    (source / "coco.json").write_text(json.dumps(coco))
    model = write_artifact(tmp_path / "model", noisy(), latent=1, deterministic=False)
    assert refine(source, tmp_path / "threads", model, "--variants", 2).exit_code == 0
    done = in_processes(source, tmp_path / "processes", model, "--variants", 2)
    assert done.returncode == 0, done.stderr
    assert tree_of(tmp_path / "processes", own=True) == tree_of(tmp_path / "threads", own=True)


@pytest.mark.slow
def test_a_part_of_a_batch_job_comes_out_the_same(tmp_path):
    source, model = write_scenes(tmp_path / "in", 16 * FEW), write_refiner(tmp_path)
    for part in ("1/2", "2/2"):
        assert refine(source, tmp_path / "threads", model, "--shard", part).exit_code == 0
        done = in_processes(source, tmp_path / "processes", model, "--shard", part)
        assert (done.returncode, "worker processes from here on" in done.stderr) == (0, True), done.stderr
    assert tree_of(tmp_path / "processes", own=True) == tree_of(tmp_path / "threads", own=True)


@pytest.mark.slow
def test_one_file_of_many_samples_and_one_worker_stay_with_threads(tmp_path):
    model = write_refiner(tmp_path)
    done = in_processes(write_gaze(tmp_path / "in.h5", 5 * FEW), tmp_path / "a", model)
    assert (done.returncode, "worker processes" in done.stderr) == (0, False), done.stderr
    done = in_processes(write_scenes(tmp_path / "in", 5 * FEW), tmp_path / "b", model, "--workers", 1)
    assert (done.returncode, "worker processes" in done.stderr) == (0, False), done.stderr


@pytest.mark.slow
def test_a_label_that_fails_stops_the_job_as_with_threads(tmp_path):
    source, model = write_scenes(tmp_path / "in", 10 * FEW), write_refiner(tmp_path, "moved")
    done = in_processes(source, tmp_path / "out", model, "--on-drift", "fail")
    assert done.returncode == 1
    assert "error: 0000.png: label 'disc.center' does not hold" in done.stderr


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes in /proc")
@pytest.mark.parametrize("victim", ["first", "worker"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_none_is_left_and_the_next_run_ends_with_the_same_bytes(tmp_path, victim, number):
    source, model = write_scenes(tmp_path / "in", 40 * FEW), write_refiner(tmp_path, "slow")
    arguments = ["refine", source, "--out", tmp_path / "out", "--model", model, "--provider", "cpu", "--no-check"]
    job = start(*arguments, code=AT_ONCE)
    manifest, deadline = tmp_path / "out/.refinery/manifest.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and not (
        len(workers := children(job.pid)) == 2 and manifest.exists() and manifest.stat().st_size
    ):
        time.sleep(0.01)
    assert len(workers) == 2
    os.kill(job.pid if victim == "first" else workers[0], number)
    _, said = job.communicate(timeout=120)
    expected = {("first", "SIGKILL"): -9, ("first", "SIGINT"): 130, ("worker", "SIGKILL"): 1, ("worker", "SIGINT"): 0}
    assert job.returncode == expected[victim, number.name], said
    assert ("error: a worker process ended (signal 9)" in said) == (expected[victim, number.name] == 1)
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert refine(source, tmp_path / "out", model, "--no-check").exit_code == 0
    assert refine(source, tmp_path / "whole", model, "--no-check").exit_code == 0
    assert tree_of(tmp_path / "out", own=True) == tree_of(tmp_path / "whole", own=True)


def test_a_chunk_is_small_enough_for_every_core_to_have_some():
    sizes = {(36, 60): 64, (128, 128): 61, (256, 256): 15, (512, 512): 8, (720, 1280): 4, (4000, 3000): 1}
    assert {hw: stream.samples_a_chunk(*hw) for hw in sizes} == sizes
