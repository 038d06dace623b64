"""Bad input of every kind: one clear line, the right exit code, nothing lost, and the other images go on."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import photo, png
from PIL import Image
from stream import brighter, error_of, manifest, refine, refine_json, scene, tree_of, write_refiner, write_scenes

GOOD = 4
as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read and write everything")


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format=file_format, **options)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than any machine holds."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\1\0IDAT"


GRAY = Image.fromarray(scene(7)[0])
COLOUR = Image.fromarray(photo(1, 48, 64))
BAD_IMAGES = {
    "empty": ("x.png", b"", "the file is empty"),
    "cut off": ("x.png", saved(GRAY, "PNG")[:400], "not a readable image"),
    "only a header": ("x.png", saved(GRAY, "PNG")[:33], "not a readable image"),
    "JPEG cut off": ("x.jpg", saved(GRAY, "JPEG")[:500], "not a readable image"),
    "text": ("x.png", b"hello", "no known image format"),
    "JSON": ("x.png", b'{"a": 1}', "the file is JSON text"),
    "HTML, as a failed download is": ("x.jpg", b"<!doctype html><html>", "the file is HTML or XML text"),
    "GIF": ("x.png", saved(GRAY, "GIF"), "the file is a GIF"),
    "random bytes": ("x.tif", photo(3).tobytes(), "not a readable image"),
    "zeros": ("x.bmp", bytes(1000), "not a readable image"),
    "1x1": ("x.png", png(np.zeros((1, 1), np.uint8)), "1x1 is too small; the shorter side must be 8 px or more"),
    "7 px": ("x.png", png(photo(0, 7, 40, 1)), "40x7 is too small"),
    "palette": ("x.png", saved(COLOUR.quantize(), "PNG"), "convert it to RGB first"),
    "black and white": ("x.png", saved(GRAY.convert("1"), "PNG"), "has nothing to refine"),
    "CMYK": ("x.jpg", saved(COLOUR.convert("CMYK"), "JPEG"), "convert it to RGB first"),
    "animated": (
        "x.png",
        saved(GRAY, "PNG", save_all=True, append_images=[Image.fromarray(scene(8)[0])]),
        "has 2 frames",
    ),
    "pages": ("x.tif", saved(GRAY, "TIFF", save_all=True, append_images=[GRAY]), "has 2 frames"),
    "bomb": ("x.png", bomb(100_000, 100_000), "more than 64,000,000 pixels"),
    "bomb in both directions": ("x.png", bomb(2**31 - 1, 2**31 - 1), "x.png"),
    "colour": ("x.png", saved(COLOUR, "PNG"), "is colour, but the refiner was trained on gray images"),
    "float TIFF": ("x.tif", saved(GRAY.convert("F"), "TIFF"), "mode F is not refined"),
}


@pytest.mark.parametrize(("name", "data", "reason"), BAD_IMAGES.values(), ids=BAD_IMAGES)
@pytest.mark.parametrize("check", ["--check", "--no-check"])
def test_one_bad_image_is_listed_and_carried_and_stops_nobody(tmp_path, name, data, reason, check):
    source = write_scenes(tmp_path / "in", GOOD)
    (source / name).write_bytes(data)
    (source / "x.json").write_text('{"disc": {"center": [30, 20]}}')
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path), check)
    line = manifest(tmp_path / "out")[name]
    before, after = tree_of(source), tree_of(tmp_path / "out")
    assert code == 3
    assert (result["samples"], result["refined"], result["rejected"]) == (GOOD + 1, GOOD, 1)
    assert line["status"] == "rejected"
    assert line["labels"] == []
    assert reason in line["error"]
    assert name in line["error"]
    assert "\n" not in line["error"]
    assert before.keys() == after.keys()
    assert (after[name], after["x.json"]) == (before[name], before["x.json"])
    for i in range(GOOD):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{i:04d}.png")), brighter(scene(i)[0]))


def test_all_bad_images_at_once(tmp_path):
    source = write_scenes(tmp_path / "in", GOOD)
    for number, (name, data, _) in enumerate(BAD_IMAGES.values()):
        (source / f"bad {number}").mkdir()
        (source / f"bad {number}" / f"{number} {name}").write_bytes(data)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"], result["rejected"]) == (3, GOOD, len(BAD_IMAGES))
    assert tree_of(source).keys() == tree_of(tmp_path / "out").keys()


def test_a_dataset_of_bad_images_alone_is_carried(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        (tmp_path / "in" / f"{i}.png").write_bytes(b"no image")
    code, result = refine_json(tmp_path / "in", tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"], result["rejected"]) == (3, 0, 3)
    assert tree_of(tmp_path / "in") == tree_of(tmp_path / "out")


# Sidecars

BAD_SIDECARS = {
    "an image called JSON": (".json", saved(GRAY, "PNG")),
    "broken JSON": (".json", b'{"disc": {"center": [30,'),
    "empty JSON": (".json", b""),
    "JSON in Latin-1": (".json", b'{"name": "\xe9"}'),
    "JSON nested without end": (".json", b"[" * 100_000),
    "JSON with NaN": (".json", b'{"disc": {"center": [NaN, Infinity], "radius": NaN}}'),
    "JSON with huge numbers": (".json", b'{"disc": {"center": [1e308, -1e308], "radius": 1e308}}'),
    "JSON with an endless integer": (".json", b'{"x": ' + b"9" * 10_000 + b"}"),
    "JSON with half a character": (".json", b'{"\\ud800": {"center": [30, 20]}}'),
    "JSON with control characters": (".json", b'{"\\u001b[31mred\\u0007": {"center": [30, 20]}}'),
    "JSON that is a list": (".json", b"[1, 2, 3]"),
    "mask that is text": ("_mask.png", b"hello"),
    "mask of another size": ("_mask.png", png(np.zeros((9, 9), np.uint8))),
    "mask that is empty": ("_mask.png", b""),
    "mask that is a bomb": ("_mask.png", bomb(90_000, 90_000)),
    "text that is binary": (".txt", photo(2).tobytes()),
    "something nobody knows": (".xyz", b"\0\1\2"),
    "no suffix": ("", b"\0"),
}


@pytest.mark.parametrize(("ending", "data"), BAD_SIDECARS.values(), ids=BAD_SIDECARS)
def test_a_sidecar_that_is_not_what_it_says_is_carried_and_its_image_refined(tmp_path, ending, data):
    source = write_scenes(tmp_path / "in", GOOD)
    (source / f"0001{ending}").write_bytes(data)
    done = refine(source, tmp_path / "out", write_refiner(tmp_path))
    assert done.exit_code == 0
    assert tree_of(tmp_path / "out")[f"0001{ending}"] == data
    line = manifest(tmp_path / "out")["0001.png"]
    assert (line["status"], line["error"]) == ("refined", "")
    assert "\x1b" not in done.stdout + done.stderr
    assert all(label["verdict"] != "fail" for label in line["labels"])


@pytest.mark.parametrize("name", ["an image called JSON", "broken JSON", "empty JSON", "JSON in Latin-1"])
def test_a_sidecar_that_cannot_be_read_is_reported(tmp_path, name):
    source = write_scenes(tmp_path / "in", GOOD)
    for i in (0, 2):
        (source / f"000{i}.json").write_bytes(BAD_SIDECARS[name][1])
    _, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert len(manifest(tmp_path / "out")["0000.png"]["problems"]) == 1
    assert [problem.split(":")[0] for problem in result["problems"]] == ["0000.json", "0002.json"]


def unreadable(path: Path) -> None:
    """A file that cannot be read, not even by root: a link to a process's memory."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs /proc")
    path.unlink(missing_ok=True)
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize("check", ["--check", "--no-check"])
def test_files_that_cannot_be_read_are_listed_and_stop_nobody(tmp_path, check):
    source = write_scenes(tmp_path / "in", GOOD)
    (source / "read me.txt").write_text("loose")
    for name in ("0001.json", "0002.png", "read me.txt"):
        unreadable(source / name)
    done = refine(source, tmp_path / "out", write_refiner(tmp_path), check)
    lines = manifest(tmp_path / "out")
    assert done.exit_code == 3
    assert "not carried: read me.txt: cannot be read" in done.stderr
    assert "0001.json: cannot be read" in lines["0001.png"]["error"]
    assert "0002.png: cannot be read" in lines["0002.png"]["error"]
    assert {name for name, line in lines.items() if line["status"] == "refined"} == {"0000.png", "0003.png"}
    assert tree_of(tmp_path / "out").keys() == {
        "0000.png", "0000.json", "0001.png", "0002.json", "0003.png", "0003.json",
    }  # fmt: skip
    assert (tmp_path / "out" / "0001.png").read_bytes() == (source / "0001.png").read_bytes()


@as_root
def test_files_without_permission_are_listed_and_stop_nobody(tmp_path):
    source = write_scenes(tmp_path / "in", GOOD)
    for name in ("0001.json", "0002.png"):
        (source / name).chmod(0)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"], result["rejected"]) == (3, GOOD - 2, 2)


def test_links(tmp_path):
    source = write_scenes(tmp_path / "in", 2)
    elsewhere = write_scenes(tmp_path / "elsewhere", 1)
    (source / "loop").symlink_to(source)
    (source / "more").symlink_to(elsewhere)
    (source / "broken.json").symlink_to(tmp_path / "nothing")
    (source / "linked.png").symlink_to(elsewhere / "0000.png")
    done = refine(source, tmp_path / "out", write_refiner(tmp_path))
    assert done.exit_code == 0
    assert "loop: a link to a folder that is read anyway" in done.stderr
    assert "broken.json: a broken link; it is left out" in done.stderr
    assert tree_of(tmp_path / "out").keys() == {
        "0000.png", "0000.json", "0001.png", "0001.json", "linked.png", "more/0000.png", "more/0000.json",
    }  # fmt: skip
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_names_that_differ_only_in_case_are_said(tmp_path):
    source = write_scenes(tmp_path / "in", 1)
    (source / "A.png").write_bytes(png(scene(1)[0]))
    (source / "a.png").write_bytes(png(scene(2)[0]))
    if len(list(source.glob("*.png"))) < 3:
        pytest.skip("this disk ignores case")
    done = refine(source, tmp_path / "out", write_refiner(tmp_path))
    assert done.exit_code == 0
    assert "2 names differ only in case (A.png, a.png)" in done.stderr
    assert len(tree_of(tmp_path / "out")) == 4


# Inputs and outputs as a whole


def not_a_dataset(root: Path) -> dict[str, Path]:
    (root / "empty").mkdir()
    (root / "texts").mkdir()
    (root / "texts" / "a.txt").write_text("a")
    (root / "masks" / "masks").mkdir(parents=True)
    (root / "masks" / "masks" / "a.png").write_bytes(png(np.zeros((16, 16), np.uint8)))
    (root / "image.png").write_bytes(png(scene(0)[0]))
    (root / "notes.txt").write_text("a")
    (root / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 100)
    (root / "empty.h5").write_bytes(b"")
    with h5py.File(root / "vectors.h5", "w") as file:
        file["look_vec/0"] = np.zeros(3)
    return {path.name: path for path in root.iterdir()} | {"nothing": root / "nothing"}


NOT_DATASETS = {
    "nothing": "no such file or folder; check the path",
    "empty": "the folder is empty; expected images",
    "texts": "no images in it (found 1 .txt)",
    "masks": "all of them look like masks",
    "image.png": "a single image; give the folder that holds it",
    "notes.txt": "not a dataset; expected a folder of images, tar archives or an HDF5 file",
    "broken.h5": "not HDF5, or cut off",
    "empty.h5": "the file is empty",
    "vectors.h5": "no images in it (found group look_vec)",
}


@pytest.mark.parametrize(("name", "message"), NOT_DATASETS.items(), ids=NOT_DATASETS)
def test_what_is_no_dataset_is_one_line(tmp_path, name, message):
    (tmp_path / "some").mkdir()
    done = refine(not_a_dataset(tmp_path / "some")[name], tmp_path / "out", write_refiner(tmp_path))
    assert done.exit_code == 1
    assert message in error_of(done)
    assert name in error_of(done)
    assert not (tmp_path / "out").exists()


OUTPUTS = {
    "the input": ("in", 2, "is the input itself; the input is never changed"),
    "the input, said otherwise": ("other/../in/.", 2, "is the input itself"),
    "a link to the input": ("link", 2, "is the input itself"),
    "inside the input": ("in/out", 2, "lies inside the input"),
    "deep inside the input": ("in/a/b/out", 2, "lies inside the input"),
    "inside the input by a link": ("link/out", 2, "lies inside the input"),
    "around the input": (".", 2, "holds the input"),
    "a file": ("file", 1, "is a file; --out takes a folder"),
    "below a file": ("file/out", 1, "is a file; --out takes a folder"),
    "a folder of something else": ("other", 1, "is not empty and not an output of refinery; give another --out"),
    "a name that is too long": ("x" * 300, 1, "cannot be written"),
}


@pytest.mark.parametrize(("out", "code", "message"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_that_cannot_be(tmp_path, out, code, message):
    source = write_scenes(tmp_path / "in", 2)
    model = write_refiner(tmp_path / "model")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    before = tree_of(tmp_path, own=True)
    done = refine(source, f"{tmp_path}/{out}", model)
    assert done.exit_code == code
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert tree_of(tmp_path, own=True) == before


def test_an_output_around_an_hdf5_file_would_overwrite_it(tmp_path):
    from stream import write_gaze

    source = write_gaze(tmp_path / "data" / "gaze.h5", 3)
    before = source.read_bytes()
    done = refine(source, tmp_path / "data", write_refiner(tmp_path))
    assert done.exit_code == 2
    assert "holds the input" in error_of(done)
    assert source.read_bytes() == before


def test_a_link_in_the_output_is_no_way_out(tmp_path):
    source = tmp_path / "in"
    write_scenes(source / "sub", 2)
    model = write_refiner(tmp_path)
    (tmp_path / "out" / ".refinery").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    done = refine(source, tmp_path / "out", model)
    assert done.exit_code == 1
    assert "a link in the output leads outside it" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


@as_root
def test_an_output_without_permission(tmp_path):
    source, out = write_scenes(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir(mode=0o500)
    done = refine(source, out, write_refiner(tmp_path))
    assert done.exit_code == 1
    assert "cannot be written (Permission denied); give another --out" in error_of(done)


# Models


def models(root: Path) -> dict[str, Path]:
    root.mkdir()
    for name, data in {
        "garbage.onnx": b"\0\1\2 garbage",
        "empty.onnx": b"",
        "text.onnx": b"hello",
        "picture.onnx": saved(GRAY, "PNG"),
    }.items():
        (root / name).write_bytes(data)
    (root / "folder").mkdir()
    (root / "run" / "checkpoints").mkdir(parents=True)
    cut = write_refiner(root, "slow")
    (root / "cut.onnx").write_bytes(cut.read_bytes()[:2000])
    for name, manifest_text in {
        "foreign manifest": "{}",
        "broken manifest": "{",
        "later manifest": '{"version": 99}',
        "manifest of another model": '{"channels": 1, "model_sha256": "00"}',
        "manifest of other channels": '{"channels": 3}',
    }.items():
        (root / name).mkdir()
        write_refiner(root / name).rename(root / name / "refiner.onnx")
        (root / name / "manifest.json").write_text(manifest_text)
    return {path.name: path for path in root.iterdir()} | {"nothing": root / "nothing"}


BAD_MODELS = {
    "nothing": "no model there; expected a run folder, an artifact folder or an .onnx file",
    "folder": "no model there",
    "run": "a run without an artifact: it is not finished; resume it, or `refinery export",
    "garbage.onnx": "not an ONNX file",
    "empty.onnx": "empty.onnx",
    "text.onnx": "not an ONNX file",
    "picture.onnx": "not an ONNX file",
    "cut.onnx": "cut.onnx",
    "broken manifest": "not a refinery manifest",
    "later manifest": "manifest version 99, this refinery reads 1",
    "manifest of another model": "hash differs",
    "manifest of other channels": "they are not of one export; export the run again",
}


@pytest.mark.parametrize(("name", "message"), BAD_MODELS.items(), ids=BAD_MODELS)
def test_bad_models_are_one_line_and_leave_no_output(tmp_path, name, message):
    source = write_scenes(tmp_path / "in", 2)
    done = refine(source, tmp_path / "out", models(tmp_path / "models")[name])
    assert done.exit_code == 1
    assert message in error_of(done)
    assert not (tmp_path / "out").exists()


RUNTIME = {
    "halves": "into \\(2, 1, 24, 32\\); a refiner keeps height and width",
    "fails": "the model failed on 0000.png|into \\(7, 11, 13, 17\\); a refiner keeps",
}
"""OpenVINO on one core runs the model that reshapes to a size which no batch has."""


@pytest.mark.parametrize(("kind", "message"), RUNTIME.items(), ids=RUNTIME)
@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_models_that_are_no_refiners(tmp_path, kind, message, provider):
    source = write_scenes(tmp_path / "in", 2)
    done = refine(source, tmp_path / "out", write_refiner(tmp_path, kind), "--provider", provider, "--batch-size", 2)
    assert done.exit_code == 1
    assert re.search(message, error_of(done))
    assert tree_of(tmp_path / "out") == {}


def test_nan_from_the_model_is_the_fault_of_the_images_it_comes_from(tmp_path):
    source = write_scenes(tmp_path / "in", GOOD)
    black = scene(0)[0]
    black[:8, :8] = 0
    (source / "black.png").write_bytes(png(black))
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path, "nan"))
    line = manifest(tmp_path / "out")["black.png"]
    assert (code, result["refined"], result["rejected"]) == (3, GOOD, 1)
    assert "the refiner made NaN or infinite pixels of it" in line["error"]
    assert tree_of(tmp_path / "out")["black.png"] == tree_of(source)["black.png"]


@pytest.mark.parametrize(("channels", "images", "model"), [(1, "colour", "gray"), (3, "gray", "colour")])
def test_a_model_of_other_channels_is_told_at_once(tmp_path, channels, images, model):
    source = write_scenes(tmp_path / "in", 3, channels=4 - channels)
    done = refine(source, tmp_path / "out", write_refiner(tmp_path, "brighter", channels))
    assert done.exit_code == 1
    assert f"its images are {images}, but" in error_of(done)
    assert f"was trained on {model} images" in error_of(done)
    assert not (tmp_path / "out").exists()
