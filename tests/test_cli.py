"""The command line: usage, TOML, exit codes, what goes to stdout and what to stderr, and what is imported for it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from stream import error_of, manifest, refine, refinery, start, write_refiner, write_scenes

from refinery.cli import main
from refinery.cli._command import signals
from refinery.report.terminal import TerminalObserver

COMMANDS = ("train", "refine", "export", "inspect")


@pytest.fixture
def job(tmp_path, monkeypatch) -> tuple[Path, Path, Path]:
    """A dataset, an output and a refiner; the tests run where they are."""
    monkeypatch.chdir(tmp_path)
    return write_scenes(tmp_path / "synth", 3), tmp_path / "refined", write_refiner(tmp_path / "models")


# Usage


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command, flag):
    done = refinery(*command.split(), flag)
    assert done.exit_code == 0
    assert "Usage:" in done.stdout
    assert done.stderr == ""


def test_version():
    import refinery as package

    done = refinery("--version")
    assert (done.exit_code, done.stdout) == (0, f"refinery {package.__version__}\n")


USAGE = {
    "no such command": (("polish",), "No such command 'polish'"),
    "no such option": (("refine", "in", "--oot", "x"), "No such option: --oot"),
    "no input": (("refine",), "no input: refinery refine SYNTH --out REFINED"),
    "no output": (("refine", "synth"), "--out is missing: give a folder for the refined dataset"),
    "two inputs": (("refine", "synth", "refined"), "unexpected extra argument"),
    "nothing to inspect": (("inspect",), "nothing to look at: refinery inspect PATH"),
    "nothing to export": (("export",), "no run: refinery export RUN"),
    "a value that is none of them": (
        ("refine", "synth", "--out", "x", "--on-drift", "warn"),
        "error: --on-drift: got 'warn', expected one of soften, quarantine, keep, fail",
    ),
    "a provider nobody knows": (
        ("refine", "synth", "--out", "x", "--provider", "gpu"),
        "error: --provider: got 'gpu', expected one of auto, tensorrt, cuda, openvino, cpu",
    ),
    "a precision nobody knows": (("refine", "synth", "--out", "x", "--precision", "fp8"), "--precision: got 'fp8'"),
    "not a number": (("refine", "synth", "--out", "x", "--workers", "many"), "--workers"),
    "a number below the least": (("refine", "synth", "--out", "x", "--workers", "0"), "--workers"),
    "an option without its value": (("refine", "synth", "--out"), "--out"),
    "no TOML": (("refine", "synth", "--out", "x", "--config", "none.toml"), "none.toml: cannot be read"),
}


@pytest.mark.parametrize(("arguments", "message"), USAGE.values(), ids=USAGE)
@pytest.mark.usefixtures("job")
def test_usage_errors(arguments, message):
    done = refinery(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""
    assert not Path("x").exists()


# TOML


def with_toml(text: str, *arguments: object):
    Path("c.toml").write_text(text)
    return refinery(*arguments, "--config", "c.toml")


def test_every_setting_of_refine_may_come_from_the_toml(job):
    source, out, model = job
    text = f'[refine]\nsource = "{source}"\nout = "{out}"\nmodel = "{model}"\nprovider = "cpu"\ncheck = false\n'
    done = with_toml(text + "[train]\nsteps = 3\n[simgan]\nlambda_reg = 0.1\n", "refine", "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert (result["out"], result["model"], result["provider"]) == (str(out), str(model), "cpu")
    assert manifest(out)["0000.png"]["labels"] == []


def test_an_option_wins_over_the_toml(job):
    source, out, model = job
    text = f'[refine]\nmodel = "nowhere"\nprovider = "cuda"\nout = "{out}"\ncheck = true\n'
    options = ("--model", model, "--provider", "cpu", "--no-check", "--out", "other")
    done = with_toml(text, "refine", source, *options)
    assert done.exit_code == 0
    assert Path("other", "0000.png").exists()
    assert not out.exists()


TOMLS = {
    "unknown table": ("[refin]\n", "c.toml: unknown table [refin]; did you mean 'refine'?"),
    "unknown key": ("[refine]\nworker = 3\n", "c.toml: unknown key 'worker'; did you mean 'workers'?"),
    "key of no table": ("workers = 3\n", "unknown table [workers]"),
    "a table that is none": ("refine = 3\n", "stands outside a table"),
    "wrong type": ('[refine]\nworkers = "3"\n', "c.toml: workers: got '3' (str), expected int"),
    "yes for a number": ("[refine]\nworkers = true\n", "c.toml: workers: got True (bool), expected int"),
    "a value that is none of them": ('[refine]\non_drift = "warn"\n', "expected one of soften, quarantine, keep, fail"),
    "no TOML": ("[refine\n", "c.toml: not valid TOML"),
    "a dash": ("[refine]\non-drift = 'keep'\n", "c.toml: unknown key 'on-drift'; did you mean 'on_drift'?"),
}


@pytest.mark.parametrize(("text", "message"), TOMLS.values(), ids=TOMLS)
def test_tomls_that_cannot_be_meant(job, text, message):
    source, out, _ = job
    done = with_toml(text, "refine", source, "--out", out)
    assert done.exit_code == 2
    assert message in error_of(done)
    assert not out.exists()


# Which model


def write_run(name: str, model: Path, seconds: int, finished: bool = True) -> Path:
    run = Path("runs", name)
    (run / "artifact").mkdir(parents=True)
    shutil.copy(model, run / "artifact" / "refiner.onnx")
    if finished:
        (run / "summary.json").write_text("{}")
        os.utime(run / "summary.json", (seconds, seconds))
    return run


def test_without_a_finished_run_it_says_what_to_do(job):
    source, out, model = job
    write_run("unfinished", model, 5, finished=False)
    done = refinery("refine", source, "--out", out)
    assert done.exit_code == 1
    assert error_of(done) == (
        "error: no finished run under ./runs; train one with `refinery train`, or name one with --model"
    )


def test_the_newest_finished_run_is_taken_and_named(job):
    source, out, model = job
    write_run("z-older", model, 1_000_000)
    newest = write_run("a-newest", model, 3_000_000)
    write_run("m-older", model, 2_000_000)
    write_run("unfinished", model, 0, finished=False)
    done = refinery("refine", source, "--out", out, "--provider", "cpu")
    assert done.exit_code == 0
    assert f"{newest}/artifact/refiner.onnx" in done.stderr


@pytest.mark.parametrize("name", ["runs/a", "runs/a/artifact", "runs/a/artifact/refiner.onnx"])
def test_a_model_may_be_named_by_its_run_its_artifact_or_itself(job, name):
    source, out, model = job
    write_run("a", model, 1)
    assert refine(source, out, Path(name)).exit_code == 0


def test_a_provider_that_does_not_start_is_an_error_and_no_fallback(job):
    source, out, model = job
    if Path("/dev/nvidia0").exists():
        pytest.skip("cuda starts here")
    done = refinery("refine", source, "--out", out, "--model", model, "--provider", "cuda")
    assert done.exit_code == 1
    assert "cuda" in error_of(done)
    assert "--provider" in error_of(done)
    assert not out.exists()


def test_a_precision_that_the_provider_lacks_is_an_error(job):
    done = refine(*job, "--precision", "bf16")
    assert done.exit_code == 1
    assert "the cpu provider has no bf16" in error_of(done)


# What goes where


@pytest.mark.slow
def test_stdout_is_one_json_object_and_the_rest_goes_to_stderr_without_colour(job):
    process = start("refine", job[0], "--out", job[1], "--model", job[2], "--provider", "cpu", "--json")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(stdout)["samples"] == 3
    assert stdout.count("\n") == 1
    assert "provider" in stderr
    assert "3/3" in stderr
    assert "\x1b" not in stdout + stderr
    assert "\r" not in stderr


def test_text_for_people(job):
    done = refine(*job)
    assert done.stdout.splitlines()[0] == f"output     {job[1]}"
    assert "3: 3 refined, 0 rejected" in done.stdout
    assert "3 pass, 0 fail, 0 abstain, 0 not checkable" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_an_error_is_one_line_and_with_debug_a_traceback_too(job):
    source, out, model = job
    plain = refine(source / "nothing", out, model)
    debug = refine(source / "nothing", out, model, "--debug")
    assert plain.stderr.count("\n") == 1
    assert plain.exit_code == debug.exit_code == 1
    assert "Traceback" in debug.stderr
    assert debug.stderr.splitlines()[-1] == plain.stderr.rstrip("\n")


@pytest.mark.parametrize("name", ["[bold]x[/y]", ":smile:", "a b", "é", "caf\udce9", "new\nline", "-x", "~"])
def test_any_folder_name(job, name):
    source, _, model = job
    shutil.copytree(source, Path("in", name))
    for text_or_json in ((), ("--json",)):
        done = refine(Path("in", name), Path("out", name), model, *text_or_json)
        assert done.exit_code == 0
    assert Path("out", name, "0000.png").exists()


# What is imported

SCRIPT = """
import sys
{}
heavy = [name for name in {!r} if name in sys.modules]
assert not heavy, heavy
"""
CALL = """
from refinery.cli import app
from typer.testing import CliRunner
done = CliRunner().invoke(app, {!r})
assert done.exit_code == 0, done.output
"""


def run_script(body: str, unwanted: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(body, unwanted)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy():
    run_script(CALL.format(["refine", "--help"]), ("torch", "onnxruntime", "openvino", "onnx", "h5py"))


@pytest.mark.slow
def test_a_whole_refine_job_never_imports_torch(job):
    source, out, model = map(str, job)
    Path("c.toml").write_text("[refine]\nprovider = 'cpu'\n")
    call = ["refine", source, "--out", out, "--model", model, "--config", "c.toml"]
    run_script("import refinery.jobs.refine\n" + CALL.format(call), ("torch",))


def test_inspecting_a_dataset_never_imports_torch(job):
    source, _, model = map(str, job)
    run_script(CALL.format(["inspect", source]) + CALL.format(["inspect", model]), ("torch",))


@pytest.mark.slow
def test_nobody_is_told_that_refinery_runs(job):
    """OpenVINO would start a process that sends a message to Google Analytics whenever it is imported."""
    source, out, model = map(str, job)
    call = ["refine", source, "--out", out, "--model", model]
    check = "\nfrom unittest.mock import patch\nwith patch('os.fork', side_effect=AssertionError('a process')):\n"
    body = check + "    " + CALL.format(call).strip().replace("\n", "\n    ")
    run_script(body, ("openvino_telemetry.main", "multiprocessing.popen_fork"))


@pytest.fixture
def stops() -> Iterator[TerminalObserver]:
    """The command line's way with signals, as long as a test lasts."""
    observer = TerminalObserver()
    with signals(observer):
        yield observer


def test_a_signal_during_an_import_waits_for_its_end(stops, tmp_path, monkeypatch):
    """An exception there would leave the import lock held, or look like a package that is not there."""
    (tmp_path / "interrupted.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("interrupted")
    assert module.whole
    assert not stops.asked_to_stop
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)
    assert stops.asked_to_stop


def test_a_signal_whose_exception_was_swallowed_stops_the_job_all_the_same(stops):
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        stops.progress({"done": 1, "images_per_s": 1.0}, 2)


class Signalled(io.RawIOBase):
    """A stream that gets a signal in the midst of the first write, and keeps what is written."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data).decode())
        if len(self.parts) == 1:
            signal.raise_signal(signal.SIGINT)
        return len(data)


def test_a_job_that_stops_politely_gets_one_signal_in_words_and_the_second_as_an_exception(monkeypatch):
    """Also where the signal comes while a line is written: a stream must not be written to from within itself."""
    raw = Signalled()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True))
    observer = TerminalObserver()
    with signals(observer):
        assert not observer.interrupted()
        observer.say("1/9  3 images/s")
        assert observer.interrupted()
        give_up = time.monotonic() + 20
        while len(raw.parts) < 2 and time.monotonic() < give_up:
            time.sleep(0.01)
        assert raw.parts == ["1/9  3 images/s\n", "stopping after this step; press Ctrl-C again to stop at once\n"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_interrupted_at_any_moment_it_ends_soon_and_in_words(job):
    """From where its own handler stands (imports, loading the model) to the end; the job itself is in tests/faults."""
    source = write_scenes(job[0], 200)
    for turn in range(25):
        process = start("refine", source, "--out", f"out{turn}", "--model", job[2])
        time.sleep(0.25 + 0.02 * turn)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode in (0, 130, -signal.SIGINT)
        told = "error: interrupted; run the same command again to go on"
        assert stderr.count(told) == (process.returncode == 130)
        assert process.returncode != 130 or stderr.splitlines()[-1].startswith(told)
        assert "needs the package" not in stderr


def test_an_interrupt_before_a_commands_own_handler_is_told_too(monkeypatch, capsys):
    early = typer.Typer()

    @early.command()
    def command() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("refinery.cli.app", early)
    monkeypatch.setattr(sys, "argv", ["refinery"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("error: interrupted; run the same command again to go on")


def test_it_runs_as_a_module_too():
    done = start("--version").communicate(timeout=60)[0]
    assert done.startswith("refinery ")
