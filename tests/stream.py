"""What the refine tests share: refiners that do one known thing, datasets to send through them, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from refinery.cli import app

HEIGHT, WIDTH = 48, 64
STEP = 0.1
"""How much `brighter` adds, in [-1, 1] units."""


# Refiners


@cache
def refiner(kind: str = "brighter", channels: int = 1) -> bytes:
    """A model file that does what its name says, of standard operators only."""
    nodes, constants = KINDS[kind](channels)
    shape = ["batch", channels, "height", "width"]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("synthetic", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("refined", TensorProto.FLOAT, ["b", "c", "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


Parts = tuple[list[Any], dict[str, np.ndarray]]


def _same(_: int) -> Parts:
    return [helper.make_node("Identity", ["synthetic"], ["refined"])], {}


def _brighter(_: int) -> Parts:
    nodes = [
        helper.make_node("Add", ["synthetic", "step"], ["sum"]),
        helper.make_node("Clip", ["sum", "low", "high"], ["refined"]),
    ]
    return nodes, {"step": np.float32(STEP), "low": np.float32(-1), "high": np.float32(1)}


def _moved(_: int) -> Parts:
    """Everything three pixels to the right."""
    nodes = [
        helper.make_node("Pad", ["synthetic", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Slice", ["padded", "starts", "ends", "axes"], ["refined"]),
    ]
    pads = np.array([0, 0, 0, 3, 0, 0, 0, 0], np.int64)
    return nodes, {"pads": pads, "starts": np.array([0]), "ends": np.array([-3]), "axes": np.array([3])}


def _nudged(_: int) -> Parts:
    """Everything two pixels to the right: half of it blended in looks like a move by one."""
    nodes = [
        helper.make_node("Pad", ["synthetic", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Slice", ["padded", "starts", "ends", "axes"], ["refined"]),
    ]
    pads = np.array([0, 0, 0, 2, 0, 0, 0, 0], np.int64)
    return nodes, {"pads": pads, "starts": np.array([0]), "ends": np.array([-2]), "axes": np.array([3])}


def _halves(_: int) -> Parts:
    """Half the size: no refiner."""
    return [helper.make_node("AveragePool", ["synthetic"], ["refined"], kernel_shape=[2, 2], strides=[2, 2])], {}


def _nan(_: int) -> Parts:
    """NaN where the image is black, as an overflow makes it: the square root of below zero."""
    nodes = [
        helper.make_node("Add", ["synthetic", "one"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["refined"]),
    ]
    return nodes, {"one": np.float32(0.99)}


def _fails(_: int) -> Parts:
    """Runs on no image: reshapes to a size that no batch has."""
    return [helper.make_node("Reshape", ["synthetic", "shape"], ["refined"])], {"shape": np.array([7, 11, 13, 17])}


def _slow(channels: int) -> Parts:
    """Brighter, with the work of a network: a few wide convolutions whose sum is weighted with almost nothing."""
    draw = np.random.default_rng(0)
    wide = 24
    weights = {
        "w0": draw.normal(0, 0.2, (wide, channels, 3, 3)).astype(np.float32),
        **{f"w{i}": draw.normal(0, 0.05, (wide, wide, 3, 3)).astype(np.float32) for i in (1, 2, 3)},
        "w4": draw.normal(0, 0.01, (channels, wide, 3, 3)).astype(np.float32),
    }
    names = ["synthetic", *(f"x{i}" for i in range(5))]
    convolutions = [helper.make_node("Conv", [names[i], f"w{i}"], [names[i + 1]], pads=[1, 1, 1, 1]) for i in range(5)]
    return [*convolutions, helper.make_node("Add", ["synthetic", "x4"], ["refined"])], weights


KINDS: dict[str, Callable[[int], Parts]] = {
    "same": _same,
    "brighter": _brighter,
    "moved": _moved,
    "nudged": _nudged,
    "halves": _halves,
    "nan": _nan,
    "fails": _fails,
    "slow": _slow,
}


def write_refiner(folder: Path, kind: str = "brighter", channels: int = 1) -> Path:
    """The model as a file in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{channels}.onnx"
    path.write_bytes(refiner(kind, channels))
    return path


def brighter(pixels: np.ndarray) -> np.ndarray:
    """What `brighter` makes of uint8 or uint16 pixels."""
    half = np.float32(np.iinfo(pixels.dtype).max / 2)
    floats = np.clip(pixels.astype(np.float32) / half - np.float32(1) + np.float32(STEP), -1, 1)
    return np.rint((floats + np.float32(1)) * half).astype(pixels.dtype)


# Datasets


def scene(
    seed: int, channels: int = 1, bits: int = 8, size_hw: tuple[int, int] = (HEIGHT, WIDTH)
) -> tuple[np.ndarray, dict]:
    """(H, W[, C]) image of a disc on a mottled ground, none of it near white or black, and where the disc is."""
    height, width = size_hw
    draw = np.random.default_rng(seed)
    radius = draw.uniform(0.18, 0.26) * height
    x, y = draw.uniform(0.35, 0.65, 2) * (width, height)
    rows, columns = np.mgrid[:height, :width]
    coarse = Image.fromarray(draw.uniform(0.25, 0.5, (8, 8)).astype(np.float32))
    ground = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    disc = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)
    values = np.clip(ground * (1 - disc) + 0.8 * disc, 0.1, 0.85)
    kind = np.uint16 if bits == 16 else np.uint8
    pixels = np.rint(values * np.iinfo(kind).max).astype(kind)
    label = {"center": [round(float(x), 3), round(float(y), 3)], "radius": round(float(radius), 3)}
    return (pixels if channels == 1 else np.stack([pixels] * channels, axis=2)), label


def write_scenes(root: Path, count: int, channels: int = 1, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A folder of scenes with a JSON each."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels, label = scene(i, channels, size_hw=size_hw)
        Image.fromarray(pixels).save(root / f"{i:04d}.png", compress_level=1)
        (root / f"{i:04d}.json").write_text(json.dumps({"disc": label}))
    return root


def write_gaze(path: Path, count: int) -> Path:
    """An HDF5 file in the public gaze.h5 shape: a group of images, one of look_vec, and one that nobody knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for i in range(count):
            file[f"image/{i}"] = scene(i)[0]
            file[f"look_vec/{i}"] = np.array([0.1 * (i % 7), -0.2, 0.97, 0.0])
        file["notes/author"] = "nobody"
    return path


def tree_of(root: Path, own: bool = False) -> dict[str, bytes]:
    """Relative path -> bytes of every file; of refinery's own ones only the lasting ones, if `own`."""
    files = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    return {
        name: p.read_bytes()
        for name, p in sorted(files.items())
        if (own or not name.startswith(".refinery/"))
        and not (name.startswith(".refinery/") and name.endswith(("/lock", "/stamps.jsonl")))
    }


# The command line


def refinery(*arguments: object) -> Result:
    """The command line in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def refine(source: Path, out: Path, model: Path, *options: object) -> Result:
    """`refinery refine` on the CPU provider, which rounds nothing."""
    return refinery("refine", source, "--out", out, "--model", model, "--provider", "cpu", *options)


def refine_json(source: Path, out: Path, model: Path, *options: object) -> tuple[int, dict]:
    """Exit code and the JSON object that is all of stdout."""
    done = refine(source, out, model, "--json", *options)
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)


def manifest(out: Path) -> dict[str, dict]:
    """The manifest's lines by image."""
    lines = (out / ".refinery" / "manifest.jsonl").read_text().splitlines()
    return {line["image"]: line for line in map(json.loads, lines)}


def error_of(done: Result) -> str:
    """The one line of error, after checking that it is one and that there is no traceback."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return lines[0]


def start(*arguments: object, code: str = "", **options: Any) -> subprocess.Popen[str]:
    """The command line, or code that calls it, as a process group of its own, for signals."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        [sys.executable, *(("-c", code) if code else ("-m", "refinery")), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        **options,
    )
