"""The example's pairs: they depend on kind, seed and index alone, show the same by the pixel, with true labels."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
KINDS = ["map", "photo", "depth"]


def load():
    """Import the example's script, which is not part of any package."""
    spec = importlib.util.spec_from_file_location("examples_pairs", ROOT / "examples" / "pairs" / "simulate.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pairs = load()


def run(out: Path, *arguments: object) -> dict[str, bytes]:
    """Run the script's command line and return the files it wrote, by relative path."""
    pairs.main([str(out), *map(str, arguments)])
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def read(out: Path, side: str, index: int) -> np.ndarray:
    return np.asarray(Image.open(out / side / f"{index:05d}.png"))


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_depend_on_kind_seed_and_index_alone(tmp_path, kind):
    options = "--kind", kind, "--size", 32
    few = run(tmp_path / "few", *options, "--count", 2, "--seed", 7)
    many = run(tmp_path / "many", *options, "--count", 3, "--seed", 7)
    other = run(tmp_path / "other", *options, "--count", 2, "--seed", 8)
    assert few == {name: many[name] for name in few}
    assert set(few) == {
        f"{side}/0000{i}.{end}" for i in (0, 1) for side, end in (("synthetic", "png"), ("real", "png"))
    } | {f"synthetic/0000{i}.json" for i in (0, 1)}
    assert not set(few.values()) & set(other.values())


GRAY, DEEP, COLOUR = ((64, 64), np.uint8), ((64, 64), np.uint16), ((64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "pixels"), [("map", [GRAY, COLOUR]), ("photo", [COLOUR, COLOUR]), ("depth", [DEEP, DEEP])]
)
def test_kinds_of_pixels(tmp_path, kind, pixels):
    run(tmp_path, "--kind", kind, "--count", 1)
    images = [read(tmp_path, side, 0) for side in ("synthetic", "real")]
    assert [(image.shape, image.dtype) for image in images] == pixels


def test_boxes_and_classes_are_those_of_the_map(tmp_path):
    run(tmp_path, "--count", 8)
    for index in range(8):
        classes = read(tmp_path, "synthetic", index)
        things = json.loads((tmp_path / "synthetic" / f"{index:05d}.json").read_text())["things"]
        for thing in things:
            x0, y0, x1, y1 = thing["box"]
            y, x = np.nonzero(classes == 80 * (1 + pairs.KINDS.index(thing["class"])))
            near = (x >= x0 - 1) & (x <= x1 + 1) & (y >= y0 - 1) & (y <= y1 + 1)
            found = [x[near].min(), y[near].min(), x[near].max(), y[near].max()]
            assert found == pytest.approx([x0, y0, x1, y1], abs=1.5)  # sharp corners end between pixels' centres
        assert set(np.unique(classes)) - {0} <= {80 * (1 + pairs.KINDS.index(thing["class"])) for thing in things}


def test_partners_show_the_same_by_the_pixel(tmp_path):
    """Of all shifts the edges of both images agree most at none."""
    run(tmp_path, "--kind", "photo", "--count", 4)
    for index in range(4):
        edges = []
        for side in ("synthetic", "real"):
            down, right = np.gradient(read(tmp_path, side, index).astype(float).mean(2))
            edges.append(np.hypot(down, right)[4:-4, 4:-4])
        shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        scores = [np.corrcoef(np.roll(edges[0], shift, (0, 1)).ravel(), edges[1].ravel())[0, 1] for shift in shifts]
        assert shifts[int(np.argmax(scores))] == (0, 0)


def test_the_sensor_reads_short_and_loses_what_lies_in_shadow(tmp_path):
    run(tmp_path, "--kind", "depth", "--count", 6)
    for index in range(6):
        clean, sensed = (read(tmp_path, side, index).astype(float) for side in ("synthetic", "real"))
        lost = sensed == 0
        assert 0 < lost.mean() < 0.15
        assert np.median((sensed / clean)[~lost]) == pytest.approx(pairs.SHORT, abs=0.01)


def test_unwritable_output_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^cannot write to [^\n]*$"):
        run(tmp_path / "file", "--count", 1)
