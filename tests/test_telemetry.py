"""Nobody is told that refinery runs: no socket is opened, and nothing is left in the user's home."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from models import blur, write_artifact
from stream import write_scenes
from tiny import SIMGAN, datasets
from watched import CAN_WATCH, KILLED, files_of, run_watched

from refinery import telemetry

pytestmark = pytest.mark.skipif(not CAN_WATCH, reason="sockets are watched by seccomp, on Linux")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset and a model."""
    root = tmp_path_factory.mktemp("job")
    return write_scenes(root / "synth", 8), write_artifact(root / "model", blur())


def refinery_watched(tmp_path: Path, *arguments: object) -> None:
    done = run_watched(tmp_path / "home", "-m", "refinery", *map(str, arguments))
    assert done.returncode != KILLED, "a socket was opened"
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "home") == []


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket()",
        "import ctypes; ctypes.CDLL(None).socket(2, 1, 0)",
        "import socket; socket.getaddrinfo('example.invalid', 80)",
        "import subprocess, sys; c = [sys.executable, '-c', 'import socket; socket.socket()']; "
        "sys.exit(subprocess.run(c).returncode)",
        "import socket, threading; t = threading.Thread(target=socket.socket); t.start(); t.join()",
    ],
    ids=["Python", "C", "a name looked up", "a child", "a thread"],
)
def test_the_watch_sees_a_socket(tmp_path, code):
    assert run_watched(tmp_path / "home", "-c", code).returncode in (KILLED, KILLED % 256)


def test_the_watch_lets_the_rest_pass(tmp_path):
    assert run_watched(tmp_path / "home", "-c", "open('/dev/null').read(); print(1)").stdout == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_refining_and_inspecting_tell_nobody(job, tmp_path, provider):
    if provider == "openvino":
        pytest.importorskip("openvino")
    synth, model = job
    out = tmp_path / "out"
    refinery_watched(tmp_path, "refine", synth, "--out", out, "--model", model, "--provider", provider)
    refinery_watched(tmp_path, "inspect", out)
    refinery_watched(tmp_path, "inspect", model)


@pytest.mark.slow
def test_training_and_exporting_tell_nobody(tmp_path):
    paths = datasets(tmp_path)
    settings = {"batch_size": 4, "eval_every": 4, "guide_steps": 4, "probe_steps": 4}
    (tmp_path / "c.toml").write_text(tomli_w.dumps({"train": settings, "simgan": SIMGAN}))
    given = ("--real", paths["real"], "--synthetic", paths["synthetic"], "--steps", 4, "--config", tmp_path / "c.toml")
    refinery_watched(tmp_path, "train", *given, "--out", tmp_path / "run")
    refinery_watched(tmp_path, "export", tmp_path / "run", "--out", tmp_path / "model")
    refinery_watched(tmp_path, "inspect", tmp_path / "run")


def test_the_switches_are_set_before_any_other_package_is_imported_and_for_child_processes():
    code = (
        "import refinery, os, subprocess, sys\n"
        "heavy = {'onnxruntime', 'openvino', 'torch', 'numpy', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "child = 'import os; print(os.environ[\"ORT_DISABLE_TELEMETRY\"])'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
        "import openvino_telemetry\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    assert "ModuleNotFoundError" in done.stderr
    assert set(telemetry.SWITCHES) >= {"ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
