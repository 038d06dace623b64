"""Shell pipelines: a tar archive in, a tar archive out, and what goes wrong on the way."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import png
from PIL import Image
from stream import brighter, refine, scene, tree_of, write_gaze, write_refiner, write_scenes
from tiny import Recorder

from refinery.config import RefineConfig
from refinery.formats import _pipe
from refinery.jobs.refine import refine as refine_job

COUNT = 12


def archive(files: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def scenes(count: int = COUNT) -> list[tuple[str, bytes]]:
    files: list[tuple[str, bytes]] = []
    for i in range(count):
        pixels, label = scene(i)
        files += [(f"{i:04d}.png", png(pixels)), (f"{i:04d}.json", json.dumps({"disc": label}).encode())]
        files += [(f"{i:04d}.bin", bytes(i))]
    return files


def members(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar if info.isfile()]


def pipe(data: bytes, model: Path, *options: object, source: object = "-", out: object = "-"):
    """`refinery refine - --out -` as a process, fed with these bytes."""
    command = [sys.executable, "-m", "refinery", "refine", source, "--out", out, "--model", model, "--provider", "cpu"]
    return subprocess.run([*map(str, command), *map(str, options)], input=data, capture_output=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_what_goes_in_comes_out_in_order_with_other_images(packed, tmp_path):
    files = scenes()
    data = archive(files)
    done = pipe(gzip.compress(data) if packed else data, write_refiner(tmp_path))
    assert done.returncode == 0, done.stderr.decode()
    refined = members(done.stdout)
    assert [name for name, _ in refined] == [name for name, _ in files]
    for (name, before), (_, after) in zip(files, refined, strict=True):
        if name.endswith(".png"):
            pixels = np.asarray(Image.open(io.BytesIO(before)))
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(after))), brighter(pixels))
        else:
            assert before == after
    assert f"samples    {COUNT}: {COUNT} refined".encode() in done.stderr
    assert b"disc.center: moved" in done.stderr


def test_a_stream_longer_than_its_head_is_refined_to_its_end(monkeypatch):
    monkeypatch.setattr(_pipe, "HEAD_SAMPLES", 4)
    source = _pipe.PipeSource(io.BufferedReader(io.BytesIO(archive(scenes()))))
    assert len(list(source.entries())) == len(list(source.entries())) == 4
    assert [entry.key for entry in source.stream()] == [f"{i:04d}" for i in range(COUNT)]


@pytest.mark.slow
def test_a_folder_goes_out_as_a_stream_and_a_stream_into_a_folder(tmp_path):
    source, model = write_scenes(tmp_path / "in", COUNT), write_refiner(tmp_path)
    (source / "notes.txt").write_text("loose")
    assert refine(source, tmp_path / "files", model).exit_code == 0
    expected = tree_of(tmp_path / "files")
    done = pipe(b"", model, source=source)
    assert dict(members(done.stdout)) == expected
    assert pipe(done.stdout, write_refiner(tmp_path, "same"), out=tmp_path / "unpacked").returncode == 0
    assert tree_of(tmp_path / "unpacked") == expected


@pytest.mark.slow
def test_the_report_of_a_pipeline_is_kept_where_it_is_asked_for(tmp_path):
    model = write_refiner(tmp_path)
    done = pipe(archive(scenes()), model, "--report", tmp_path / "report", "--json")
    assert json.loads(done.stderr.splitlines()[-1])["refined"] == COUNT
    lines = (tmp_path / "report" / ".refinery" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [f"{i:04d}" for i in range(COUNT)]
    again = pipe(archive(scenes()), model, "--report", tmp_path / "report")
    assert again.returncode == 2
    assert again.stdout == b""
    assert b"is there already" in again.stderr


@pytest.mark.slow
def test_a_stream_that_breaks_off_is_refined_up_to_there_and_named(tmp_path):
    data = archive(scenes())
    done = pipe(data[: len(data) // 2 // 512 * 512 + 100], write_refiner(tmp_path))
    assert done.returncode == 3
    assert 0 < len(members(done.stdout)) < 3 * COUNT
    assert b"not carried: standard input: " in done.stderr
    assert b"what follows is missing" in done.stderr


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_carried_and_named(tmp_path):
    files = scenes()
    files[3] = ("0001.png", b"no image")
    done = pipe(archive(files), write_refiner(tmp_path))
    assert done.returncode == 3
    assert members(done.stdout)[3] == files[3]
    assert b"1 rejected" in done.stderr


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", b"standard input: no images in it"),
        (b"hello " * 300, b"no images in it (standard input: no tar stream at byte 0"),
        (archive([("a.txt", b"1")]), b"no images in it; expected a tar archive"),
    ],
)
def test_what_is_no_stream_of_images_is_one_line(data, message, tmp_path):
    done = pipe(data, write_refiner(tmp_path))
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"error: ")
    assert message in done.stderr


def test_a_layout_that_is_no_stream_says_what_to_do(tmp_path):
    source = write_gaze(tmp_path / "gaze.h5", 3)
    done = pipe(b"", write_refiner(tmp_path), source=source)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"a tar stream is made of a folder of images" in done.stderr


def test_quarantine_needs_a_place(tmp_path):
    done = pipe(archive(scenes()), write_refiner(tmp_path), "--on-drift", "quarantine")
    assert done.returncode == 2
    assert b"give --report FOLDER too" in done.stderr


class _Late(Recorder):
    """Asks to stop when all is done but the end of the output."""

    def interrupted(self):
        return bool(self.records) and self.records[-1]["done"] == COUNT


def test_an_interrupt_behind_the_last_sample_leaves_no_archive_that_looks_whole(tmp_path, monkeypatch):
    source, model = write_scenes(tmp_path / "synth", COUNT), write_refiner(tmp_path)
    with (tmp_path / "out.tar").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file))
        with pytest.raises(KeyboardInterrupt):
            refine_job(RefineConfig(str(source), "-", str(model), provider="cpu", check=False), _Late())
        sys.stdout.flush()
    assert not (tmp_path / "out.tar").read_bytes().endswith(bytes(1024))


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "refinery", "refine", "-", "--out", "-", "--provider", "cpu"]
    command += ["--model", str(write_refiner(tmp_path))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(archive(scenes(60)))
    process.stdin.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert b"Traceback" not in stderr
    assert b"Broken pipe" in stderr
