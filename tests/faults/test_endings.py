"""Every way a job can end, as docs/endings.md lists them: what is printed, the exit code, what is on disk."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from stream import error_of, refinery, start, tree_of, write_refiner, write_scenes
from tiny import SIMGAN, datasets
from watched import CAN_WATCH, run_without_threads

from refinery.cli import _ending
from refinery.errors import DatasetError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 12
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, terminals and limits are POSIX")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """A dataset, a refiner, and what an undisturbed job makes of them."""
    root = tmp_path_factory.mktemp("job")
    source, model = write_scenes(root / "in", SAMPLES), write_refiner(root / "model")
    assert refinery("refine", source, "--out", root / "out", "--model", model, "--provider", "cpu").exit_code == 0
    return source, model, tree_of(root / "out")


@pytest.fixture(scope="module")
def long_job(tmp_path_factory) -> tuple[Path, Path]:
    """A job that takes some seconds."""
    root = tmp_path_factory.mktemp("long")
    return write_scenes(root / "in", 300), write_refiner(root / "model", "slow")


def refining(job, out: Path, *options: object) -> tuple[object, ...]:
    return ("refine", job[0], "--out", out, "--model", job[1], "--provider", "cpu", *options)


def training(folder: Path, *options: object, **settings: object) -> tuple[object, ...]:
    """The command line of a training that lasts until it is stopped, unless `--steps` says otherwise."""
    paths = datasets(folder)
    quick = {"batch_size": 4, "log_every": 1, "eval_every": 1000, "guide_steps": 0, "probe": False, "device": "cpu"}
    (folder / "c.toml").write_text(tomli_w.dumps({"train": {**quick, **settings}, "simgan": SIMGAN}))
    given = ("--real", paths["real"], "--synthetic", paths["synthetic"], "--config", folder / "c.toml")
    return ("train", *given, "--out", folder / "run", *options)


def errors(stderr: str) -> list[str]:
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def wait_for(process: subprocess.Popen, file: Path, lines: int = 1) -> None:
    """Until a file has so many lines, or the process has ended."""
    limit = time.monotonic() + 120
    while process.poll() is None and (not file.exists() or file.read_bytes().count(b"\n") < lines):
        assert time.monotonic() < limit
        time.sleep(0.005)


# The table


def rows() -> list[list[str]]:
    """Cells of the table's rows, without its head."""
    lines = (ROOT / "docs/endings.md").read_text(encoding="utf-8").splitlines()
    table = [line.strip().strip("|").split(" | ") for line in lines if line.startswith("|")]
    return [
        [cell.strip() for cell in cells] for cells in table if cells[0].strip() != "ending" and "---" not in cells[0]
    ]


def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_row_of_the_table_names_tests_that_exist(row):
    ending, command, printed, code, disk, tests = row
    assert all((ending, command, printed, disk))
    assert re.fullmatch(r"-?\d+(?: or -?\d+)*", code)
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
    assert named
    for file, name in named:
        assert name in names_in(file), f"{file} has no {name}"


# Standard output and standard error


def closing(*numbers: int) -> Callable[[], None]:
    return lambda: [os.close(number) for number in numbers] and None


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_closed_streams_stop_no_job_and_no_file_takes_their_place(job, tmp_path, closed):
    process = start(*refining(job, tmp_path / "out"), preexec_fn=closing(*closed))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert errors(stderr) == []
    assert ("12: 12 refined" in stdout) == (1 not in closed)
    assert tree_of(tmp_path / "out") == job[2]


def run_into(arguments: tuple[object, ...], stdout: object, stderr: object = subprocess.PIPE) -> tuple[int, str]:
    """Exit code and stderr of a command with this standard output."""
    command = [sys.executable, "-m", "refinery", *map(str, arguments)]
    done = subprocess.run(command, stdout=stdout, stderr=stderr, text=True, timeout=60, check=False)
    return done.returncode, done.stderr or ""


@pytest.mark.slow
def test_a_log_on_a_full_disk_stops_no_job(job, tmp_path):
    with Path("/dev/full").open("w") as full:
        code, _ = run_into(refining(job, tmp_path / "out"), subprocess.DEVNULL, full)
    assert code == 0
    assert tree_of(tmp_path / "out") == job[2]


@pytest.mark.slow
def test_a_log_whose_reader_went_away_stops_no_job(job, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        assert run_into(refining(job, tmp_path / "out"), subprocess.DEVNULL, gone)[0] == 0
    assert tree_of(tmp_path / "out") == job[2]


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("kind", ["full", "gone"])
def test_a_result_that_cannot_be_written_is_one_line(job, tmp_path, options, kind):
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("w") as full, os.fdopen(writer, "w") as gone:
        code, stderr = run_into(refining(job, tmp_path / "out", *options), full if kind == "full" else gone)
    assert code == 1
    assert len(errors(stderr)) == 1
    assert "standard output cannot be written" in errors(stderr)[0]
    assert tree_of(tmp_path / "out") == job[2]


@pytest.mark.slow
def test_json_for_a_closed_standard_output_is_one_line(job, tmp_path):
    process = start(*refining(job, tmp_path / "out", "--json"), preexec_fn=closing(1))
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert len(errors(stderr)) == 1
    assert tree_of(tmp_path / "out") == job[2]


@pytest.mark.slow
def test_a_tar_stream_for_a_closed_standard_output_is_one_line(job):
    process = start(*refining(job, Path("-")), preexec_fn=closing(1))
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert len(errors(stderr)) == 1


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("refine", "--help")], ids=" ".join)
def test_help_and_version_for_a_full_disk_are_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        code, stderr = run_into(arguments, full)
    assert code == 1
    assert len(errors(stderr)) == 1


def on_a_terminal(
    arguments: tuple[object, ...], environment: dict[str, str], until: Callable[[], bool]
) -> tuple[int, bytes]:
    """Run a command on a terminal of its own, closed as soon as `until` holds; exit code and what it showed."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "refinery", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, **environment}
    )
    os.close(slave)
    os.set_blocking(master, False)
    shown = b""
    while process.poll() is None and not until():
        with contextlib.suppress(BlockingIOError, OSError):
            shown += os.read(master, 65536)
        time.sleep(0.005)
    with contextlib.suppress(BlockingIOError, OSError):
        shown += os.read(master, 65536)
    os.close(master)
    return process.wait(timeout=120), shown


@pytest.mark.slow
def test_a_terminal_that_goes_away_stops_no_job(long_job, tmp_path):
    manifest = tmp_path / "out/.refinery/manifest.jsonl"
    code, shown = on_a_terminal(
        refining(long_job, tmp_path / "out", "--no-check"),
        {},
        lambda: manifest.exists() and manifest.stat().st_size > 0,
    )
    assert code == 0
    assert b"refine into" in shown
    assert manifest.read_bytes().count(b"\n") == 300


@pytest.mark.slow
def test_a_terminal_that_goes_away_stops_no_training(tmp_path):
    stats = tmp_path / "run/stats.jsonl"
    code, _ = on_a_terminal(training(tmp_path, "--steps", 60), {}, lambda: stats.exists() and stats.stat().st_size > 0)
    assert code == 0
    assert (tmp_path / "run/artifact/refiner.onnx").exists()


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "xterm"}


@pytest.mark.parametrize("command", ["", "train", "refine", "export", "inspect"])
def test_an_ascii_terminal_gets_help(command):
    code, shown = on_a_terminal((*command.split(), "--help"), ASCII, lambda: False)
    assert code == 0
    assert b"Usage" in shown
    assert shown.isascii()


@pytest.mark.slow
def test_an_ascii_terminal_gets_a_bar(long_job, tmp_path):
    code, shown = on_a_terminal(refining(long_job, tmp_path / "out", "--no-check"), ASCII, lambda: False)
    assert code == 0
    assert b"/300" in shown
    assert shown.isascii()


# Signals


def hear_of_hangups() -> None:
    """Undo what nohup did, if the tests run under it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_refining_in_words_and_the_same_command_goes_on(long_job, tmp_path, number):
    process = start(*refining(long_job, tmp_path / "out", "--no-check"), preexec_fn=hear_of_hangups)
    wait_for(process, tmp_path / "out/.refinery/manifest.jsonl")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert errors(stderr)[0].startswith("error: interrupted; run the same command again to go on")
    assert refinery(*refining(long_job, tmp_path / "out", "--no-check")).exit_code == 0


@pytest.mark.slow
def test_a_hangup_that_is_ignored_stays_ignored(long_job, tmp_path):
    """As nohup has it."""
    ignoring = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None  # noqa: E731
    process = start(*refining(long_job, tmp_path / "out", "--no-check"), preexec_fn=ignoring)
    wait_for(process, tmp_path / "out/.refinery/manifest.jsonl")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_training_with_a_checkpoint(tmp_path, number):
    process = start(*training(tmp_path, "--steps", 100000), preexec_fn=hear_of_hangups)
    wait_for(process, tmp_path / "run/stats.jsonl", 3)
    process.send_signal(number)
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 130, stderr
    assert (tmp_path / "run/checkpoints/last.safetensors").exists()
    assert "go on with: refinery train --resume" in " ".join(stderr.split())
    assert errors(stderr) == []


@pytest.mark.slow
def test_a_second_ctrl_c_ends_training_at_once(tmp_path):
    process = start(*training(tmp_path, "--steps", 100000))
    wait_for(process, tmp_path / "run/stats.jsonl", 3)
    process.send_signal(signal.SIGSTOP)  # both wait for it
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert len(errors(stderr)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_before_a_command_has_begun_ends_it_in_words(number):
    """Also of PID 1, which would hear of none without a handler."""
    code = (
        f"import os\nfrom refinery.cli import _start\n_start.prepare()\nos.kill(os.getpid(), {int(number)})\nprint(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=hear_of_hangups
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("error: interrupted")


def test_the_handlers_stand_before_anything_heavy_is_imported():
    code = (
        "import sys\nfrom refinery.cli import _start\n_start.prepare()\n"
        "sys.exit(str({'typer', 'rich', 'numpy', 'torch', 'onnx', 'PIL'} & set(sys.modules) or 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0"


# A scheduler's shell


def kubernetes_command() -> list[str]:
    """command and args of the documented Job."""
    page = (ROOT / "docs/batch.md").read_text(encoding="utf-8")
    text = re.search(r"^```yaml\n(.*?)^```", page, re.M | re.S)[1]
    command = re.search(r"^ +command: \[(.*)\]$", text, re.M)[1].split(", ")
    return [*command, *json.loads(re.search(r"^ +args: (\[.*\])$", text, re.M)[1])]


def documented(job, out: Path) -> list[str]:
    """The documented command with paths of this machine, in a job of one part."""
    shell, option, line = kubernetes_command()
    assert (shell, option) == ("sh", "-c")
    for old, new in (
        ("/data/synth", job[0]),
        ("/data/refined", out),
        ("/data/runs/NAME", job[1]),
        ("auto/16", "auto/1"),
    ):
        assert old in line
        line = line.replace(old, str(new))
    return [shell, option, line.replace("refinery refine", f"{sys.executable} -m refinery refine --provider cpu", 1)]


@pytest.mark.slow
def test_the_kubernetes_example_passes_sigterm_on(long_job, tmp_path):
    environment = {**os.environ, "JOB_COMPLETION_INDEX": "0"}
    process = subprocess.Popen(
        documented(long_job, tmp_path / "out"), env=environment, stderr=subprocess.PIPE, text=True
    )
    manifest = tmp_path / "out/.refinery/parts/01-of-01/manifest.jsonl"
    wait_for(process, manifest)
    process.terminate()
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert len(errors(stderr)) == 1
    assert manifest.read_bytes().count(b"\n") < 300


@pytest.mark.slow
def test_the_kubernetes_example_succeeds_where_a_sample_is_rejected(job, tmp_path):
    source = write_scenes(tmp_path / "in", 3)
    (source / "0001.png").write_bytes(b"")
    environment = {**os.environ, "JOB_COMPLETION_INDEX": "0"}
    command = documented((source, job[1]), tmp_path / "out")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "1 rejected" in done.stdout
    plain = refinery(*refining((source, job[1]), tmp_path / "plain"))
    assert plain.exit_code == 3


# Other processes that never come


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_wait_for_other_processes(tmp_path, number, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for name, value in {"WORLD_SIZE": 2, "RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    process = start(*training(tmp_path, "--steps", 2))
    said = process.stderr.readline()
    while "waiting for process 1 of 2" not in said:
        assert process.poll() is None
        said = process.stderr.readline()
    process.send_signal(number)
    stderr = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert len(errors(stderr)) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("value", ["", "1", "two"])
def test_refining_does_not_care_about_the_size_of_the_world(job, tmp_path, monkeypatch, value):
    monkeypatch.setenv("WORLD_SIZE", value)
    process = start(*refining(job, tmp_path / "out"))
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 0, stderr


def test_a_senseless_world_size_is_a_usage_error_of_training(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    done = refinery(*training(tmp_path, "--steps", 2))
    assert done.exit_code == 2
    assert "WORLD_SIZE is 'two'; expected a whole number" in error_of(done)


# What the machine lacks


@pytest.fixture
def nowhere(monkeypatch):
    """A machine without a temporary folder that can be written."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/read-only"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("TMPDIR", raising=False)


@pytest.mark.usefixtures("nowhere")
def test_without_a_temporary_folder_one_beside_the_output_serves(job, tmp_path):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/a.tar.gz", "w:gz") as archive:
        for path in sorted(job[0].iterdir()):
            archive.add(path, path.name)
    done = refinery(*refining((tmp_path / "in", job[1]), tmp_path / "out"))
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.slow
@pytest.mark.usefixtures("nowhere")
def test_without_a_temporary_folder_training_and_export_work(tmp_path):
    assert refinery(*training(tmp_path, "--steps", 4)).exit_code == 0
    done = refinery("export", tmp_path / "run", "--out", tmp_path / "model")
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


OF_THE_MACHINE = {
    "memory": (MemoryError(), _ending.OUT_OF_MEMORY),
    "memory, NumPy": (MemoryError("Unable to allocate 8.00 GiB for an array"), _ending.OUT_OF_MEMORY),
    "memory, torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), _ending.OUT_OF_MEMORY),
    "memory, the system": (OSError(errno.ENOMEM, "Cannot allocate memory"), _ending.OUT_OF_MEMORY),
    "threads": (RuntimeError("can't start new thread"), _ending.OUT_OF_THREADS),
    "processes": (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), _ending.OUT_OF_THREADS),
    "temporary folder": (
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']"),
        "no temporary folder can be written (/tmp, /var/tmp); set TMPDIR to a folder that can be",
    ),
    "a vanished file": (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.png"), "a.png: No such file"),
}


@pytest.mark.parametrize(("error", "said"), OF_THE_MACHINE.values(), ids=OF_THE_MACHINE)
def test_what_the_machine_lacks_is_one_line_with_the_cure(error, said):
    assert _ending.sentence(error).startswith(said)
    wrapped = ValueError("a library's own words")
    wrapped.__cause__ = error
    if "vanished" not in said and error.args and not getattr(error, "filename", None):
        assert _ending.sentence(wrapped).startswith(said)


def test_an_error_that_nobody_foresaw_is_a_bug_in_one_line():
    assert _ending.sentence(ZeroDivisionError("division by zero")) == (
        "ZeroDivisionError: division by zero; this is a bug of refinery: please report it with --debug"
    )
    assert _ending.broken_package(DatasetError("no")) is None


@pytest.mark.slow
@pytest.mark.skipif(not CAN_WATCH, reason="the limit is made by seccomp, on Linux")
@pytest.mark.parametrize("provider", ["cpu", "openvino", "auto"])
def test_a_limit_of_threads_is_one_line_with_the_cure(job, tmp_path, provider):
    arguments = ("refine", job[0], "--out", tmp_path / "out", "--model", job[1], "--provider", provider)
    done = run_without_threads("-m", "refinery", *map(str, arguments))
    assert done.returncode == 1, done.stderr
    assert errors(done.stderr) == ["error: " + _ending.OUT_OF_THREADS]


# Packages that are not what they should be

BROKEN = {
    "raises": ("numpy.py", "raise RuntimeError('boom')", "numpy", "boom"),
    "is another package": ("onnx.py", "", "onnx", ""),
    "lacks what others want": ("PIL/__init__.py", "", "PIL", "cannot import name"),
    "one of the command line": ("rich/__init__.py", "import nowhere_at_all", "nowhere_at_all", "No module named"),
    "a library that is missing": (
        "h5py.py",
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
        "h5py",
        "install the system library libGL.so.1",
    ),
    "of Python itself": ("json.py", "", "json", "json"),
}


@pytest.mark.parametrize(("file", "text", "name", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_package_is_one_line_that_names_it(job, tmp_path, monkeypatch, file, text, name, said):
    path = tmp_path / "bad" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "bad"), str(ROOT)]))
    process = start(*refining(job, tmp_path / "out"))
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1, stderr
    assert len(errors(stderr)) == 1, stderr
    assert f"the package {name} " in errors(stderr)[0]
    assert said in errors(stderr)[0]
    assert "bug of refinery" not in stderr
    if name != "nowhere_at_all" and "system library" not in said:
        assert f"take {tmp_path / 'bad'} out of it" in errors(stderr)[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_broken_openvino_is_said_and_auto_goes_on(job, tmp_path, monkeypatch):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/openvino.py").write_text("raise OSError('libtbb.so.12: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "bad"), str(ROOT)]))
    auto = start("refine", job[0], "--out", tmp_path / "out", "--model", job[1])
    stderr = auto.communicate(timeout=60)[1]
    assert auto.returncode == 0, stderr
    assert "the package openvino cannot be imported (libtbb.so.12" in " ".join(stderr.split())
    asked = start("refine", job[0], "--out", tmp_path / "other", "--model", job[1], "--provider", "openvino")
    stderr = asked.communicate(timeout=60)[1]
    assert asked.returncode == 1
    assert errors(stderr)[0].startswith("error: the package openvino cannot be imported (libtbb.so.12")
