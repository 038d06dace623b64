"""A simulator as the synthetic side: a real command through a real pipe, while training."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import SIMGAN, Recorder, train_config, write_images

from refinery.errors import DatasetError, UsageError
from refinery.jobs.train import train
from refinery.sample import Sample
from refinery.training import checkpoint
from refinery.training.data import ImageSet
from refinery.training.sampling import Chance
from refinery.training.simulator import Simulator, is_stream
from refinery.training.stream import Stream, Wanted
from refinery.training.stream_batches import StreamBatches

ROOT = Path(__file__).parents[1]
COINS = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'examples' / 'coins' / 'simulate.py'))}"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and process groups of POSIX")

STILL = """
import io, itertools, json, os, sys, tarfile, time
from PIL import Image

def emit(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))

with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", bufsize=512) as archive:
    for i in itertools.count():
        out = io.BytesIO()
        picture = Image.effect_noise((16, 8), 60)
        picture.putpixel((0, 0), i % 256)
        picture.save(out, "PNG")
        emit(archive, f"{i:05d}.png", out.getvalue())
        emit(archive, f"{i:05d}.json", json.dumps({"box": [2, 2, 12, 6]}).encode())
        ACTION
"""
"""Images of 16x8 px whose first pixel counts; ACTION is what goes on after image number i."""


@pytest.fixture
def simulator(tmp_path):
    """Writes a simulator that does something after each image, and returns its command."""

    def write(action: str = "pass", name: str = "simulate.py") -> str:
        (tmp_path / name).write_text(STILL.replace("ACTION", action))
        return f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / name))} |"

    return write


def config(root: Path, synthetic: str, **changes):
    if not (root / "real").exists():
        write_images(root / "real", 16, seed=1)
    settings = {"first_samples": 24, "guide_steps": 0, "probe": False, "patience": 0, **changes}
    return train_config(root, **{**settings, "synthetic": synthetic, "real": str(root / "real")})


def running(part: str) -> list[str]:
    """Processes whose command has this in it; zombies have no command."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if part in line and str(os.getpid()) not in line.split()[:1]]


def gone(part: str) -> bool:
    """True if no such process is left, or soon not: what was killed is cleared away by the system."""
    patience = time.monotonic() + 10
    while running(part) and time.monotonic() < patience:
        time.sleep(0.05)
    return not running(part)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("refinery-")}


def test_what_is_a_stream():
    assert is_stream("-")
    assert is_stream("python simulate.py | ")
    assert not is_stream("data/synthetic")
    assert not is_stream("a|b")


@pytest.mark.slow
def test_the_example_simulator_feeds_a_training(tmp_path):
    observer = Recorder()
    command = f"{COINS} - --size 32 |"
    result = train(config(tmp_path, command, steps=30), SIMGAN, observer=observer)
    assert result["stopped_by"] == "steps"
    first = sorted(path.name for path in (tmp_path / "run" / "simulated").iterdir())
    assert len(first) == 72
    assert first[:3] == ["00000.json", "00000.png", "00000_mask.png"]
    assert {"coins.center", "coins.box", "mask"} <= set(result["drift"])
    used = re.search(r"simulator: ([\d,]+) images were used", observer.said[-1])
    kept = state(tmp_path)["processes"][0]["feed"]["synthetic"]
    assert used
    assert int(used[1]) == kept["new"] > 12
    assert gone("simulate.py -")
    assert not threads()


def state(root: Path) -> dict:
    return checkpoint.load(root / "run" / "checkpoints" / "last.safetensors")


@pytest.mark.slow
def test_a_simulator_that_dies_while_training_is_said_and_training_goes_on(tmp_path, simulator):
    observer = Recorder()
    command = simulator("if i == 60: raise ValueError('no more scenes')")
    result = train(config(tmp_path, command, steps=60), SIMGAN, observer=observer)
    assert (result["steps"], result["stopped_by"]) == (62, "steps")
    said = [line for line in observer.said if "exit code" in line]
    assert said == [
        "simulator: it ended with exit code 1: ValueError: no more scenes; training goes on with the images that came"
    ]
    assert not threads()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "echo rendering... |",
            r"^echo rendering\.\.\.: 0 sample\(s\) came, training needs 8; no tar stream at byte 0",
        ),
        (
            "no-such-program-x |",
            r"0 sample\(s\) came, training needs 8; it ended with exit code 127: .*no-such-program-x",
        ),
        ("true |", r"^true: 0 sample\(s\) came, training needs 8; its stream ended"),
        (
            "if i == 3: sys.exit('licence expired')",
            r"4 sample\(s\) came, .*; it ended with exit code 1: licence expired",
        ),
    ],
)
def test_a_simulator_that_gives_too_little_is_one_line(tmp_path, simulator, command, message):
    command = command if command.endswith("|") else simulator(command)
    with pytest.raises(DatasetError, match=message) as caught:
        train(config(tmp_path, command), SIMGAN)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert not threads()


@pytest.mark.slow
def test_names_that_come_twice_are_refused(tmp_path, simulator):
    command = simulator("pass").replace("simulate.py", "twice.py")
    (tmp_path / "twice.py").write_text(STILL.replace("{i:05d}", "image").replace("ACTION", "pass"))
    with pytest.raises(DatasetError, match=r"1 sample\(s\) came, .*image\.png: comes twice in the stream; give every"):
        train(config(tmp_path, command), SIMGAN)


def test_ctrl_c_and_errors_end_the_simulator_and_all_it_started(tmp_path, simulator):
    command = f"({simulator('pass', 'deep.py').removesuffix('|')}); true |"
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, command), SIMGAN, observer=Recorder(die_at=5))
    assert gone("deep.py")
    assert not threads()


def test_one_that_ignores_being_asked_is_killed(simulator):
    command = simulator("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "deaf.py")
    with Simulator(command) as source:
        assert len(source.read(4096)) == 4096
    assert gone("deaf.py")


@pytest.mark.slow
def test_resuming_goes_on_with_the_first_part_and_a_new_stream(tmp_path, simulator):
    train(config(tmp_path, simulator()), SIMGAN, observer=Recorder(stop_at=5))
    before = state(tmp_path)["processes"][0]["feed"]["synthetic"]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "simulated").iterdir()}
    train(config(tmp_path, simulator()), SIMGAN, resume=True)
    after = state(tmp_path)["processes"][0]["feed"]["synthetic"]
    assert after["number"] > before["number"]
    assert after["new"] + after["again"] > before["new"] + before["again"]
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "simulated").iterdir()}


def test_a_run_that_is_there_already_is_not_touched(tmp_path, simulator):
    train(config(tmp_path, simulator()), SIMGAN, observer=Recorder(stop_at=5))
    with pytest.raises(UsageError, match="holds a run already"):
        train(config(tmp_path, simulator(), first_samples=8), SIMGAN)
    assert len(list((tmp_path / "run" / "simulated").iterdir())) == 48


def one_set(count: int) -> ImageSet:
    """Images of 16x8 px whose first pixel is 255."""
    images = [np.full((8, 16, 1), 255, np.uint8)] * count
    return ImageSet(images, [Sample(str(i), f"{i}.png") for i in range(count)], 1, 8)


WANTED = Wanted({".png"}, (1, 8), (8, 16), 1000, {"00003.png"})


def first_pixels(batches: StreamBatches) -> list[int]:
    return np.rint((batches.draw()[:, 0, 0, 0].numpy() + 1) * 127.5).astype(int).tolist()


def streamed(stream: Stream, count: int, said: list[str], batch_size: int = 4) -> StreamBatches:
    chance, cpu = Chance(0, "synthetic"), torch.device("cpu")
    stream.begin(WANTED)
    return StreamBatches(one_set(count), stream, (8, 16), batch_size, chance, cpu, 1, said.append)


def test_no_image_is_drawn_twice_while_the_simulator_keeps_up(simulator):
    stream, said = Stream(Simulator(simulator())), []
    batches = streamed(stream, 8, said)
    assert [first_pixels(batches) for _ in range(2)] == [[255] * 4] * 2
    drawn = []
    for _ in range(15):
        wait_for(stream, 4, batches)
        drawn += first_pixels(batches)
    batches.close()
    assert len(drawn) == len(set(drawn)) == 60
    assert 3 not in drawn, "held out"
    assert sorted(drawn) != drawn, "shuffled"
    assert max(drawn) < 60 + 64 + 64 + 64
    assert batches.state() == {"number": 17, "new": 68, "again": 0}
    assert said == ["simulator: 68 images were used; 0% of 68 draws were repeats"]


def wait_for(stream: Stream, count: int, batches: StreamBatches) -> None:
    """Until so many images are there to be drawn."""
    patience = time.monotonic() + 20
    while len(batches.fresh) + stream._images.qsize() < count and time.monotonic() < patience:
        time.sleep(0.005)


def test_a_slow_simulator_repeats_images_and_that_is_said(simulator):
    stream, said = Stream(Simulator(simulator("time.sleep(5)"))), []
    batches = streamed(stream, 40, said)
    for _ in range(100):
        batches.draw()
    batches.close()
    assert re.match(r"simulator: slower than training: (89|90)% of the last 400 images had been drawn before;", said[0])
    assert re.match(r"simulator: 4[0-9] images were used; (89|90)% of 400 draws were repeats", said[1])


def test_what_does_not_fit_is_left_out_and_named():
    def png(size, mode="L") -> bytes:
        out = io.BytesIO()
        Image.new(mode, size).save(out, "PNG")
        return out.getvalue()

    files = {
        "0.png": png((16, 8)), "1.png": png((9, 9)), "2.png": png((16, 8), "RGB"), "3.png": b"no image",
        "4.json": b"{}", "5.mask.png": png((16, 8)), "6.png": png((20, 30)), "../7.png": png((16, 8)),
        "8.png": png((40, 40)),
    }  # fmt: skip
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"refinery-stream-{os.getpid()}.tar"
    path.write_bytes(out.getvalue())
    stream = Stream(Simulator(f"cat {path} |"))
    stream.begin(WANTED)
    while not stream.ended:
        time.sleep(0.01)
    news = stream.news()
    assert [image.shape for image in stream.fetch(10)] == [(8, 16, 1), (30, 20, 1)]
    assert len(news) == 6
    assert news[0] == "left out: 1.png: 9x9 px of 1 channel(s) and 8 bits does not fit the rest"
    assert news[-1] == "simulator: its stream ended; training goes on with the images that came"
    stream.close()
    path.unlink()


def test_commands_of_a_toml_are_not_run(tmp_path):
    (tmp_path / "c.toml").write_text(f'[train]\nreal = "x"\nsynthetic = "touch {tmp_path}/owned |"\n')
    run = subprocess.run(
        [sys.executable, "-m", "refinery", "train", "--config", str(tmp_path / "c.toml")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 2
    assert "commands are run from the command line only; read it, then give --synthetic 'touch" in run.stderr
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_standard_input_feeds_a_training_and_a_signal_ends_it_politely(tmp_path, simulator):
    write_images(tmp_path / "real", 16, seed=1)
    (tmp_path / "c.toml").write_text(
        "[train]\nfirst_samples = 24\nguide_steps = 0\nprobe = false\nlog_every = 1\neval_every = 100000\n"
        'device = "cpu"\nprecision = "fp32"\n[simgan]\n'
        + "".join(f"{k} = {json.dumps(v)}\n" for k, v in SIMGAN.items())
    )
    command = [sys.executable, "-m", "refinery", "train", "--synthetic", "-", "--real", "real", "--out", "run"]
    with (
        subprocess.Popen(
            simulator("pass", "piped.py").removesuffix("|"),
            shell=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as source,
        subprocess.Popen(
            [*command, "--config", "c.toml", "--steps", "100000"],
            stdin=source.stdout, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path,
        ) as run,
    ):  # fmt: skip
        source.stdout.close()
        said = "".join(itertools.takewhile(lambda line: not re.match(r"\d+/", line), run.stderr))
        run.send_signal(signal.SIGINT)
        said += run.stderr.read()
    assert run.returncode == 130, said
    assert "go on with: refinery train --resume run" in said


def test_nothing_piped_in_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(
        UsageError, match=r"^--synthetic -: nothing is piped in; write: python simulate\.py \| refinery"
    ):
        Simulator("-")


def test_pairs_cannot_come_from_a_simulator(tmp_path, simulator):
    with pytest.raises(UsageError, match=r"^paired training takes folders and draws partners together: no simulator"):
        train(config(tmp_path, simulator(), method="pix2pix"))
    with pytest.raises(UsageError, match="a simulator decides itself how often it draws what"):
        train(config(tmp_path, simulator(), balance="class"), SIMGAN)
    assert not (tmp_path / "run").exists()
