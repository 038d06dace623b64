"""The picture of labels as they were read: ink where a label lies, words where it has no place, a legend of all."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from stream import refine, refinery, write_refiner

from refinery.report.label_sheet import COLOURS, LabelledTile, draw_sheet
from refinery.sample import Label

TABLE = {"thing.box": {"type": "box", "unit": "px"}, "thing.class": {"type": "class", "unit": "flip"}}
BOX = Label("thing.box", "box", np.array([20.0, 20, 60, 50]))
CLASS = Label("thing.class", "class", np.zeros(0), "flip", text="gauge")


def inked(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """(row, column) of the pixels of a colour below the legend."""
    where = np.argwhere((np.asarray(picture) == colour).all(axis=2))
    return where[where[:, 0] > 90]


def test_a_box_is_drawn_where_it_lies_in_the_colour_of_its_name() -> None:
    tile = LabelledTile("a", np.zeros((73, 100, 1), np.uint8), (BOX, CLASS))
    picture = draw_sheet([tile], TABLE, "set")
    (top, left), (bottom, right) = (edge(inked(picture, COLOURS[0]), axis=0) for edge in (np.min, np.max))
    assert (right - left, bottom - top) == (pytest.approx(40 * 3, abs=3), pytest.approx(30 * 3, abs=3))
    other = draw_sheet([LabelledTile("a", tile.pixels, (CLASS,))], TABLE, "set")
    assert not len(inked(other, COLOURS[0]))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8, 1), np.uint8),
        np.full((700, 2000, 3), 40000, np.uint16),
        np.zeros((3000, 9, 1), np.uint8),
        np.zeros((9, 3000, 3), np.uint8),
    ],
    ids=lambda pixels: str(pixels.shape),
)
def test_images_of_any_size_and_depth_fit(pixels: np.ndarray) -> None:
    mask = np.zeros(pixels.shape[:2], bool)
    mask[2:5, 2:5] = True
    far = Label("far", "polygon", np.array([(-1e6, 3.0), (1e7, 5.0), (4.0, -1e7)]))
    labels = (Label("m", "instance_mask", mask), BOX, far, Label("n", "number", np.array([np.nan])))
    tiles = [LabelledTile("x" * 500, pixels, labels)] * 14
    picture = draw_sheet(tiles, {label.name: {"type": label.type, "unit": "px"} for label in labels}, "t" * 500)
    assert picture.width < 1400
    assert picture.height < 1400


def test_hostile_names_and_a_thousand_of_them_are_drawn() -> None:
    names = ["\x1b[31mred\n", "<script>", "é" * 300, *map(str, range(1000))]
    labels = tuple(Label(name, "class", np.zeros(0), "flip", text=name) for name in names)
    table = {name: {"type": "class", "unit": "flip"} for name in names}
    assert draw_sheet([LabelledTile("a", np.zeros((9, 9, 1), np.uint8), labels)], table, "").height < 1200
    assert draw_sheet([LabelledTile("a", np.zeros((9, 9, 1), np.uint8), (), ("a.json: no",))], {}, "").height < 600


def width_of(path) -> int:
    with Image.open(path) as picture:
        return picture.width


def write_set(root):
    root.mkdir()
    for at in range(3):
        Image.fromarray(np.full((32, 40), 90, np.uint8)).save(root / f"{at}.png")
        (root / f"{at}.json").write_text(json.dumps({"box": [5, 6, 20, 22]}))
    return root


def test_refine_and_inspect_draw_it_and_tell_where(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    synth = write_set(tmp_path / "synth")
    done = json.loads(refine(synth, tmp_path / "out", write_refiner(tmp_path), "--json").stdout)
    assert done["label_picture"] == str(tmp_path / "out" / ".refinery" / "labels.png")
    assert width_of(tmp_path / "out" / ".refinery" / "labels.png") > 300
    told = json.loads(refinery("inspect", synth, "--label-picture", "sheet.png", "--json").stdout)
    assert told["label_picture"] == "sheet.png"
    assert width_of(tmp_path / "sheet.png") > 300
    before = set(tmp_path.rglob("*"))
    assert "label_picture" not in json.loads(refinery("inspect", synth, "--json").stdout)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_inspect_of_a_dataset_ends_with_it_on_a_terminal(tmp_path) -> None:
    write_set(tmp_path / "synth")
    terminal, end = os.openpty()
    command = [sys.executable, "-m", "refinery", "inspect", "synth"]
    subprocess.run(command, cwd=tmp_path, stdout=end, stderr=subprocess.DEVNULL, check=True)
    os.close(end)
    os.close(terminal)
    assert width_of(tmp_path / "synth-labels.png") > 300


def test_a_picture_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = refinery("inspect", write_set(tmp_path / "synth"), "--label-picture", tmp_path / "file" / "labels.png")
    assert done.exit_code == 0
    assert "the picture cannot be written" in done.output
