"""`refinery refine`: what goes in comes out, refined or byte-identical, with its labels checked."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import photo, png
from PIL import Image
from stream import (
    brighter,
    manifest,
    refine,
    refine_json,
    scene,
    tree_of,
    write_gaze,
    write_refiner,
    write_scenes,
)

from refinery.config import RefineConfig
from refinery.image import decode, from_float, to_float
from refinery.jobs.refine import refine as refine_job
from refinery.pipeline import ahead, chunked
from refinery.sample import Finding
from refinery.soften import holds, unmoved

SUMMARY_KEYS = {
    *("samples", "refined", "rejected", "verdicts", "drift", "images_per_s", "provider", "precision", "model", "out"),
    *("quarantined", "softened", "strengths", "power", "worst", "worst_picture"),
}
LINE_KEYS = {"key", "image", "status", "strength", "labels", "source_sha256", "refined_sha256", "error"}
LABEL_KEYS = {"name", "type", "verdict", "drift", "unit", "reason", "lower", "upper", "iou", "shift_px", "check"}
DRIFT_KEYS = {"unit", "median", "p95", "mean", "ci95", "coverage", "power", "failed", "failed_ci95", "moved", "iou"}


def image_bytes(pixels: np.ndarray, file_format: str, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=file_format, **options)
    return out.getvalue()


def gray(seed: int = 0, size_hw: tuple[int, int] = (48, 64), bits: int = 8) -> np.ndarray:
    return scene(seed, bits=bits, size_hw=size_hw)[0]


# In = out

GRAY_NAMES = {
    "plain": "a.png",
    "dots": "img_0.5_left.v2.png",
    "spaces": "my image (1).png",
    "other letters": "Straße/日本/é.png",
    "upper case": "IMG.PNG",
    "newline": "two\nlines.png",
    "brackets and colons": "[red]:smile:[/x].png",
    "quotes": 'it\'s "here".png',
    "not unicode": b"caf\xe9.png".decode("utf-8", "surrogateescape"),
    "starts with a dash": "--out.png",
}


@pytest.mark.parametrize("name", GRAY_NAMES.values(), ids=GRAY_NAMES)
def test_any_name_is_kept_and_its_sidecar_goes_with_it(tmp_path, name):
    source = tmp_path / "in"
    stem = name.rpartition(".")[0]
    for path, data in {name: png(gray()), f"{stem}.json": b'{"disc": {"center": [30, 20]}}'}.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    before, after = tree_of(source), tree_of(tmp_path / "out")
    assert (code, result["refined"]) == (0, 1)
    assert before.keys() == after.keys()
    assert after[f"{stem}.json"] == before[f"{stem}.json"]
    assert np.array_equal(decode(after[name], name).pixels[:, :, 0], brighter(gray()))
    assert manifest(tmp_path / "out").keys() == {name}


KINDS = {
    "gray PNG": ("a.png", 1, image_bytes(gray(), "PNG")),
    "colour PNG": ("a.png", 3, image_bytes(scene(0, 3)[0], "PNG")),
    "colour and alpha": ("a.png", 3, image_bytes(np.dstack([scene(0, 3)[0], photo(1, 48, 64, 1)]), "PNG")),
    "gray and alpha": ("a.png", 1, image_bytes(np.dstack([gray(), photo(1, 48, 64, 1)]), "PNG")),
    "16-bit gray PNG": ("a.png", 1, image_bytes(gray(bits=16), "PNG")),
    "16-bit gray TIFF": ("a.tif", 1, image_bytes(gray(bits=16), "TIFF")),
    "gray JPEG": ("a.jpg", 1, image_bytes(gray(), "JPEG", quality=95)),
    "colour JPEG": ("a.jpeg", 3, image_bytes(scene(0, 3)[0], "JPEG", quality=95)),
    "colour TIFF, LZW": ("a.tiff", 3, image_bytes(scene(0, 3)[0], "TIFF", compression="tiff_lzw")),
    "colour WebP": ("a.webp", 3, image_bytes(scene(0, 3)[0], "WEBP", lossless=True)),
    "colour BMP": ("a.bmp", 3, image_bytes(scene(0, 3)[0], "BMP")),
    "16-bit PGM": ("a.pgm", 1, image_bytes(gray(bits=16), "PPM")),
    "PNG called JPEG": ("a.jpg", 1, image_bytes(gray(), "PNG")),
    "8 px": ("a.png", 1, image_bytes(gray(size_hw=(8, 8)), "PNG")),
    "odd sides": ("a.png", 1, image_bytes(gray(size_hw=(37, 101)), "PNG")),
}


@pytest.mark.parametrize(("name", "channels", "data"), KINDS.values(), ids=KINDS)
def test_format_mode_depth_and_size_are_kept_and_only_the_brightness_changes(tmp_path, name, channels, data):
    source = tmp_path / "in"
    source.mkdir()
    (source / name).write_bytes(data)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path, "brighter", channels))
    before, after = decode(data, name), decode((tmp_path / "out" / name).read_bytes(), name)
    assert (code, result["refined"]) == (0, 1)
    assert (after.format, after.mode, after.bits, after.size_hw) == (
        before.format,
        before.mode,
        before.bits,
        before.size_hw,
    )
    assert (after.alpha is None) == (before.alpha is None)
    assert before.alpha is None or np.array_equal(after.alpha, before.alpha)
    off = np.abs(after.pixels.astype(int) - brighter(before.pixels).astype(int)).max()
    assert off <= (6 if before.format == "JPEG" else 0)


def test_colours_keep_their_places(tmp_path):
    """Red stays red: no channel is swapped on the way to the network and back."""
    flat = np.zeros((16, 24, 3), np.uint8) + np.array([200, 100, 20], np.uint8)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(flat + photo(0, 16, 24) // 64))
    refine_json(tmp_path / "in", tmp_path / "out", write_refiner(tmp_path, "same", 3))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), flat + photo(0, 16, 24) // 64)


def test_mixed_sizes_nested_folders_masks_and_loose_files(tmp_path):
    source = tmp_path / "in"
    flat = np.zeros((48, 64), np.uint8)
    flat[10:30, 20:40] = 9
    files = {
        "a/1.png": png(gray(1)),
        "a/1_mask.png": png(flat, compress_level=9),
        "a/b/2.png": png(gray(2, (40, 100))),
        "a/b/2.json": b'{"disc": {"center": [50, 20], "radius": 8}}',
        "a/b/2.depth.png": png(gray(3, (40, 100), bits=16)),
        "a/b/c/3.jpg": image_bytes(gray(4, (100, 40)), "JPEG"),
        "README.md": b"# synthetic",
        "a/classes.txt": b"",
        ".hidden": b"\0",
    }
    for path, data in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    after = tree_of(tmp_path / "out")
    pictures = {"a/1.png", "a/b/2.png", "a/b/c/3.jpg"}
    assert (code, result["samples"], result["refined"], result["rejected"]) == (0, 3, 3, 0)
    assert after.keys() == files.keys()
    assert {path for path in files if after[path] != files[path]} == pictures
    assert manifest(tmp_path / "out").keys() == pictures


def test_an_empty_folder_inside_is_no_problem_and_a_huge_sidecar_is_carried(tmp_path, monkeypatch):
    source = write_scenes(tmp_path / "in", 2)
    (source / "empty").mkdir()
    (source / "0000.npz").write_bytes(b"x" * 5000)
    monkeypatch.setattr("refinery.formats._files.MAX_FILE_BYTES", 4000)  # nobody has a file of a gigabyte to spare
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"]) == (0, 2)
    assert (tmp_path / "out" / "0000.npz").read_bytes() == b"x" * 5000
    assert "not read into memory" in manifest(tmp_path / "out")["0000.png"]["problems"][0]


def test_an_image_too_large_to_read_is_rejected_and_carried(tmp_path, monkeypatch):
    source = write_scenes(tmp_path / "in", 2)
    (source / "big.bmp").write_bytes(b"BM" + b"x" * 50_000)
    monkeypatch.setattr("refinery.formats._files.MAX_FILE_BYTES", 40_000)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"], result["rejected"]) == (3, 2, 1)
    assert tree_of(tmp_path / "out")["big.bmp"] == tree_of(source)["big.bmp"]


def test_hdf5_keeps_everything_but_the_pixels(tmp_path):
    source = write_gaze(tmp_path / "in" / "gaze.h5", 12)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["samples"], result["refined"]) == (0, 12, 12)
    with h5py.File(source) as before, h5py.File(tmp_path / "out" / "gaze.h5") as after:
        assert list(after) == list(before)
        assert after["notes/author"][()] == before["notes/author"][()]
        for name in before["image"]:
            assert after["image"][name].dtype == np.uint8
            assert np.array_equal(after["image"][name], brighter(before["image"][name][()]))
            assert np.array_equal(after["look_vec"][name], before["look_vec"][name])


def test_hdf5_with_nan_keeps_what_it_cannot_refine(tmp_path):
    with h5py.File(tmp_path / "gaze.h5", "w") as file:
        for i in range(4):
            pixels = (gray(i) / 255).astype(np.float32)
            pixels[0, 0] = np.nan if i == 2 else 0.5
            file[f"image/{i}"] = pixels
            file[f"look_vec/{i}"] = np.array([0.1, np.nan if i == 1 else 0.2, 0.9])
    code, result = refine_json(tmp_path / "gaze.h5", tmp_path / "out", write_refiner(tmp_path))
    lines = manifest(tmp_path / "out")
    assert (code, result["refined"], result["rejected"]) == (3, 3, 1)
    assert "NaN" in lines["gaze.h5/image/2"]["error"]
    assert "NaN" in lines["gaze.h5/image/1"]["problems"][0]
    with h5py.File(tmp_path / "gaze.h5") as before, h5py.File(tmp_path / "out" / "gaze.h5") as after:
        assert np.array_equal(before["image/2"], after["image/2"], equal_nan=True)
        assert not np.array_equal(before["image/1"], after["image/1"])
        assert np.array_equal(before["look_vec/1"], after["look_vec/1"], equal_nan=True)


# What is reported


@pytest.mark.parametrize("check", ["--check", "--no-check"])
def test_json_and_manifest_have_the_promised_keys(tmp_path, check):
    source = write_scenes(tmp_path / "in", 5)
    (source / "broken.png").write_bytes(b"")
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path), check)
    assert code == 3
    assert result.keys() >= SUMMARY_KEYS
    assert result["samples"] == result["refined"] + result["rejected"] == 6
    assert result["verdicts"].keys() == {"pass", "fail", "abstain", "not_checkable"}
    assert result["provider"] == "cpu"
    assert result["precision"] == "fp32"
    assert json.loads((tmp_path / "out/.refinery/summary.json").read_text()).items() <= result.items()
    lines = manifest(tmp_path / "out")
    assert len(lines) == 6
    assert all(line.keys() >= LINE_KEYS for line in lines.values())
    assert {line["status"] for line in lines.values()} == {"refined", "rejected"}
    labels = [label for line in lines.values() for label in line["labels"]]
    if check == "--check":
        assert result["drift"]["disc.center"].keys() >= DRIFT_KEYS
        assert result["verdicts"] == {"pass": 5, "fail": 0, "abstain": 0, "not_checkable": 0}
        assert all(label.keys() >= LABEL_KEYS for label in labels)
    else:
        assert (labels, result["drift"], sum(result["verdicts"].values())) == ([], {}, 0)


def test_hashes_of_the_manifest_are_those_of_the_files(tmp_path):
    import hashlib

    source = write_scenes(tmp_path / "in", 3)
    (source / "text.png").write_bytes(b"hello")
    refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    for image, line in manifest(tmp_path / "out").items():
        assert line["source_sha256"] == hashlib.sha256((source / image).read_bytes()).hexdigest()
        assert line["refined_sha256"] == hashlib.sha256((tmp_path / "out" / image).read_bytes()).hexdigest()


def test_without_annotations_nothing_is_called_checked_that_was_not(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.png").write_bytes(png(gray()))
    (source / "a.json").write_text('{"class": "disc", "gaze": [0, 0, 1]}')
    _, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path, "same"))
    by_name = {label["name"]: label["verdict"] for label in manifest(tmp_path / "out")["a.png"]["labels"]}
    assert by_name["class"] == by_name["gaze"] == "not_checkable"
    assert result["drift"]["gaze"]["coverage"] == 0


# Labels that move


@pytest.fixture
def moved(tmp_path):
    """A dataset of six scenes and a refiner that moves everything by 3 px."""
    return write_scenes(tmp_path / "in", 6), tmp_path / "out", write_refiner(tmp_path, "moved")


TIGHT = ("--max-drift", "0.1px")
"""Nobody can measure so little: doubt remains at every strength, and only the synthetic image itself is beyond it."""


def test_moved_labels_are_softened_by_default_down_to_the_synthetic_image(moved):
    source, out, model = moved
    code, result = refine_json(source, out, model, *TIGHT)
    lines = manifest(out)
    assert code == 0
    assert (result["samples"], result["refined"], result["rejected"], result["softened"]) == (6, 6, 0, 6)
    assert result["strengths"] == {"0": 6}
    assert result["verdicts"] == {"pass": 6, "fail": 0, "abstain": 0, "not_checkable": 0}
    assert tree_of(out) == tree_of(source)
    assert {(line["status"], line["strength"]) for line in lines.values()} == {("softened", 0.0)}
    assert all(line["source_sha256"] == line["refined_sha256"] for line in lines.values())
    for line in lines.values():
        was = {old["name"]: old for old in line["was"]}
        assert was["disc.center"]["verdict"] == "fail"
        assert was["disc.center"]["reason"] == "moved by more than 0.1 px"
        now = {new["name"]: new for new in line["labels"]}["disc.center"]
        assert (now["verdict"], now["drift"], now["reason"]) == ("pass", 0.0, "the synthetic image itself")
    assert result["drift"]["disc.center"]["failed"] == 1.0
    assert result["drift"]["disc.center"]["as_refined"]["fail"] == 6


def test_a_small_move_is_softened_as_little_as_is_needed(tmp_path):
    """A blend of an image and itself moved by 2 px looks like a smaller move; what is stored is what was checked."""
    source, out = write_scenes(tmp_path / "in", 6), tmp_path / "out"
    code, result = refine_json(source, out, write_refiner(tmp_path, "nudged"), "--max-drift", "1.5px")
    lines = manifest(out)
    assert code == 0
    assert result["softened"] == sum(result["strengths"].values()) == 6
    assert any(0 < line["strength"] < 1 for line in lines.values())
    for name, line in lines.items():
        before, after = (np.asarray(Image.open(folder / name)) for folder in (source, out))
        refined = np.pad(before, ((0, 0), (2, 0)), mode="reflect")[:, :-2]
        blend = to_float(before) + line["strength"] * (to_float(refined) - to_float(before))
        assert np.array_equal(after, from_float(blend, 8))
        assert all(label["verdict"] != "fail" for label in line["labels"])
        center = next(label for label in line["labels"] if label["name"] == "disc.center")
        assert center["verdict"] == "pass"


def finding(verdict: str, label: str = "iris", drift: float | None = 0.5) -> Finding:
    return Finding(label, "keypoint", verdict, drift)


BLENDS = {
    "passes": ([finding("pass")], [finding("fail")], True),
    "still fails": ([finding("fail")], [finding("fail")], False),
    "doubt about what failed": ([finding("abstain")], [finding("fail")], False),
    "nobody can judge what failed": ([finding("not_checkable")], [finding("fail")], False),
    "nobody ever judged another": (
        [finding("pass"), finding("not_checkable", "lid")],
        [finding("fail"), finding("not_checkable", "lid")],
        True,
    ),
    "doubt about what was doubtful": (
        [finding("pass"), finding("abstain", "lid")],
        [finding("fail"), finding("abstain", "lid")],
        True,
    ),
    "another one fails": ([finding("pass"), finding("fail", "lid")], [finding("fail"), finding("pass", "lid")], False),
}


@pytest.mark.parametrize(("after", "before", "delivered"), BLENDS.values(), ids=BLENDS)
def test_a_blend_is_delivered_only_if_what_failed_is_cleared(after, before, delivered):
    """Lenient here, a dataset moved by 2 px went out at 0.75 of full strength, each label in doubt."""
    assert holds(after, before) is delivered


def test_the_synthetic_image_has_not_moved_and_what_nobody_judges_stays_so():
    shifted = Finding("iris", "box", "fail", 3.0, shift_px=(3.0, 0.0), lower=2.0, upper=4.0, iou=0.5, check="geometry")
    moved, radius, gaze, pairing = unmoved(
        [
            shifted,
            Finding("radius", "number", "fail", 3.0, unit="", check="probe"),
            Finding("gaze", "vector", "not_checkable", unit="deg"),
            Finding("pairing", "pairing", "fail", unit=""),
        ]
    )
    assert (moved.verdict, moved.drift, moved.lower, moved.upper, moved.iou) == ("pass", 0.0, 0.0, 0.0, 1.0)
    assert (moved.shift_px, moved.check) == ((0.0, 0.0), "geometry")
    assert (radius.verdict, radius.drift) == ("pass", 0.0)
    assert (gaze.verdict, gaze.drift) == ("not_checkable", None)
    assert (pairing.verdict, pairing.drift) == ("pass", None)


def test_softened_in_hdf5_and_in_colour_with_alpha(tmp_path):
    gaze = write_gaze(tmp_path / "gaze.h5", 4)
    code, result = refine_json(gaze, tmp_path / "a", write_refiner(tmp_path, "moved"), *TIGHT)
    assert (code, result["softened"]) == (0, 4)
    with h5py.File(gaze) as before, h5py.File(tmp_path / "a/gaze.h5") as after:
        assert all(np.array_equal(before["image"][name], after["image"][name]) for name in before["image"])
    (tmp_path / "in").mkdir()
    pixels = np.dstack([scene(0, 3)[0], photo(1, 48, 64, 1)])
    (tmp_path / "in" / "a.png").write_bytes(png(pixels))
    code, result = refine_json(tmp_path / "in", tmp_path / "b", write_refiner(tmp_path, "moved", 3), *TIGHT)
    assert (code, result["softened"]) == (0, 1)
    assert tree_of(tmp_path / "b") == tree_of(tmp_path / "in")


@pytest.mark.slow
def test_a_softened_job_that_was_cut_short_ends_with_the_same_bytes(tmp_path):
    source, model = write_scenes(tmp_path / "in", 40), write_refiner(tmp_path, "nudged")
    options = ("--max-drift", "1.5px")
    assert refine(source, tmp_path / "whole", model, *options).exit_code == 0
    whole = tree_of(tmp_path / "whole", own=True)
    assert json.loads(whole[".refinery/calibration.json"])["from"] == "measured"
    assert refine(source, tmp_path / "cut", model, *options).exit_code == 0
    own = tmp_path / "cut" / ".refinery"
    lines = (own / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    for kept in (0, 13, 39):
        (own / "manifest.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        for name in ("summary.json", "worst.json", "worst.png"):
            (own / name).unlink()
        assert refine(source, tmp_path / "cut", model, *options).exit_code == 0
        assert tree_of(tmp_path / "cut", own=True) == whole


def test_a_second_run_judges_by_the_thresholds_of_the_first_one(tmp_path):
    source, out, model = write_scenes(tmp_path / "in", 34), tmp_path / "out", write_refiner(tmp_path)
    assert refine(source, out, model).exit_code == 0
    written = (out / ".refinery/calibration.json").read_bytes()
    write_scenes(source, 36)
    code, result = refine_json(source, out, model)
    assert (code, result["samples"]) == (0, 36)
    assert (out / ".refinery/calibration.json").read_bytes() == written


@pytest.mark.parametrize("share", ["0", "-0.1", "0.6", "nan"])
def test_a_rate_of_false_alarms_that_cannot_be_meant(moved, share):
    done = refine(*moved, "--false-alarms", share)
    assert done.exit_code == 2
    assert "false_alarms: got" in done.stderr
    assert not moved[1].exists()


def test_the_worst_samples_are_listed_and_drawn(tmp_path):
    source = write_scenes(tmp_path / "in", 20)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path, "nudged"), "--on-drift", "keep")
    worst = json.loads((tmp_path / "out/.refinery/worst.json").read_text())
    assert code == 3
    assert worst == result["worst"]
    assert len(worst) == 16
    lows = [entry["lower"] for entry in worst if entry["verdict"] == "fail"]
    assert lows == sorted(lows, reverse=True)
    assert worst[0]["label"] == "disc.center"
    with Image.open(result["worst_picture"]) as picture:
        picture.load()
        assert picture.width > 1000
        assert picture.height > 8 * 200


def test_labels_are_listed_with_what_judges_them_before_work_starts(tmp_path):
    done = refine(write_scenes(tmp_path / "in", 3), tmp_path / "out", write_refiner(tmp_path))
    table = done.stderr.partition("labels\n")[2]
    assert table.startswith("disc.center")
    assert "keypoint in px, 1 a sample; judged by geometry" in " ".join(table.split())


def test_what_nobody_judges_is_listed_with_the_reason(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.png").write_bytes(png(gray()))
    (source / "a.json").write_text('{"class": "disc", "caption": "a disc"}')
    done = refine(source, tmp_path / "out", write_refiner(tmp_path))
    table = " ".join(done.stderr.partition("labels\n")[2].split())
    assert "class, 1 a sample; not judged: a label probe does it, which comes with a trained run" in table
    assert "text, 1 a sample; not judged: there is no check for a text yet" in table


def test_moved_labels_are_kept_where_that_is_asked_for(moved):
    source, out, model = moved
    code, result = refine_json(source, out, model, "--on-drift", "keep")
    lines = manifest(out)
    assert code == 3
    assert (result["refined"], result["rejected"], result["verdicts"]["fail"]) == (6, 0, 6)
    assert result["drift"]["disc.center"]["mean"] == pytest.approx(3, abs=0.2)
    assert {line["status"] for line in lines.values()} == {"kept"}
    assert all((out / name).read_bytes() != (source / name).read_bytes() for name in lines)


def test_quarantine_delivers_the_synthetic_image_and_keeps_the_refined_one_apart(moved):
    source, out, model = moved
    code, result = refine_json(source, out, model, "--on-drift", "quarantine")
    lines = manifest(out)
    assert code == 3
    assert (result["samples"], result["refined"], result["rejected"], result["quarantined"]) == (6, 0, 0, 6)
    assert {line["status"] for line in lines.values()} == {"quarantined"}
    assert tree_of(out) == tree_of(source)
    for name in lines:
        held = Image.open(out / ".refinery" / "quarantine" / name)
        assert np.array_equal(np.asarray(held)[:, 3:], np.asarray(Image.open(source / name))[:, :-3])


def test_quarantine_in_hdf5(tmp_path):
    source = write_gaze(tmp_path / "gaze.h5", 4)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path, "moved"), "--on-drift", "quarantine")
    assert (code, result["quarantined"]) == (3, 4)
    held = tmp_path / "out/.refinery/quarantine/gaze.h5/image/0.npy"
    with h5py.File(source) as before, h5py.File(tmp_path / "out/gaze.h5") as after:
        assert np.array_equal(before["image/0"], after["image/0"])
        assert np.array_equal(np.load(held, allow_pickle=False)[:, 3:], before["image/0"][:, :-3])


def test_fail_stops_with_one_line_and_does_so_again(moved):
    source, out, model = moved
    for _ in range(2):
        done = refine(source, out, model, "--on-drift", "fail")
        assert done.exit_code == 1
        assert "label 'disc.center' does not hold" in done.stderr
        assert "--on-drift" in done.stderr
    assert not (out / ".refinery" / "summary.json").exists()


TOLERANCES = {
    "by default 1 px": ((), "fail"),
    "more for all": (("--max-drift", "5px"), "pass"),
    "no unit": (("--max-drift", "5"), "pass"),
    "more for this label": (("--max-drift", "disc.center=5px"), "pass"),
    "more for another label": (("--max-drift", "1px,iris=5px"), "fail"),
    "less for this label": (("--max-drift", "5px,disc.center=0.5px"), "fail"),
    "spaces": (("--max-drift", " disc.center = 5 px "), "pass"),
}


@pytest.mark.parametrize(("options", "verdict"), TOLERANCES.values(), ids=TOLERANCES)
def test_max_drift(moved, options, verdict):
    source, out, model = moved
    code, result = refine_json(source, out, model, "--on-drift", "keep", *options)
    assert result["verdicts"][verdict] == 6
    assert code == (0 if verdict == "pass" else 3)


@pytest.mark.parametrize("text", ["", "px", "-1px", "1 px 2", "a=b", "=", "nan", "1e999", "1px,", "1px;2px"])
def test_max_drift_that_cannot_be_meant_is_a_usage_error(moved, text):
    source, out, model = moved
    done = refine(source, out, model, "--max-drift", text)
    assert done.exit_code == 2
    assert "error: --max-drift: got" in done.stderr
    assert not out.exists()


def test_a_name_in_max_drift_that_no_label_has_is_said(moved):
    source, out, model = moved
    done = refine(source, out, model, "--max-drift", "disc.centre=5px")
    assert "no label named 'disc.centre' was found; labels: disc.center" in done.stderr


def test_a_tolerance_in_another_unit_is_said_and_not_taken_for_px(moved):
    source, out, model = moved
    done = refine(source, out, model, "--max-drift", "disc.center=9deg", "--on-drift", "keep")
    assert done.exit_code == 3
    assert "--max-drift: 'disc.center' is measured in px, not in deg" in done.stderr


def test_no_check_judges_nothing(moved):
    source, out, model = moved
    code, result = refine_json(source, out, model, "--no-check")
    assert code == 0
    assert sum(result["verdicts"].values()) == 0


def test_a_refiner_that_changes_nothing_passes(tmp_path):
    source = write_scenes(tmp_path / "in", 6)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path, "same"))
    assert (code, result["verdicts"]["pass"]) == (0, 6)
    assert result["drift"]["disc.center"]["p95"] < 0.3


# The stream


@pytest.mark.slow
def test_the_result_depends_neither_on_batches_nor_on_threads(tmp_path):
    source = write_scenes(tmp_path / "in", 70)
    for i, size_hw in enumerate([(40, 80), (64, 48), (40, 80)]):
        (source / f"x{i}.png").write_bytes(png(gray(i, size_hw)))
    model = write_refiner(tmp_path, "slow")
    outs = []
    for name, options in {"one": ("--workers", 1), "three": ("--workers", 3), "five": ("--workers", 5)}.items():
        assert refine(source, tmp_path / name, model, *options).exit_code == 0
        outs.append(tree_of(tmp_path / name) | {"": (tmp_path / name / ".refinery/manifest.jsonl").read_bytes()})
    assert outs[0] == outs[1] == outs[2]


def test_chunks_are_taken_only_when_asked_for():
    taken = count()
    chunks = chunked((next(taken) for _ in range(10**9)), 4)
    assert next(chunks) == [0, 1, 2, 3]
    assert next(taken) == 4
    assert list(chunked(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunked([], 3)) == []


def test_ahead_keeps_order_and_stays_a_bounded_distance_before_its_consumer():
    consumed, furthest, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal furthest
        with lock:
            furthest = max(furthest, item - consumed)
        return item * item

    with ThreadPoolExecutor(4) as pool:
        for expected, result in enumerate(ahead(pool, work, range(200), depth=3)):
            assert result == expected**2
            with lock:
                consumed = expected + 1
    assert furthest <= 4


def test_ahead_takes_an_endless_stream_and_lets_go_of_it():
    taken = count()
    with ThreadPoolExecutor(2) as pool:
        stream = ahead(pool, lambda item: item, taken, depth=2)
        assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
        stream.close()
    assert next(taken) <= 8


def test_ahead_raises_what_the_work_raised_at_its_place():
    def work(item: int) -> int:
        return 1 // (3 - item)

    with ThreadPoolExecutor(2) as pool:
        stream = ahead(pool, work, range(9))
        assert [next(stream) for _ in range(3)] == [0, 0, 1]
        with pytest.raises(ZeroDivisionError):
            next(stream)


def test_huge_images_behind_a_small_one_do_not_come_into_memory_together(tmp_path, monkeypatch):
    """A chunk is as many samples as fit of the first one's size; what is decoded at once has a bound of its own."""
    from refinery import chunk
    from refinery import pipeline as stream

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").write_bytes(png(gray(size_hw=(8, 8))))
    for i in range(1, 12):
        (tmp_path / "in" / f"{i:02d}.png").write_bytes(png(gray(i, (60, 80))))
    monkeypatch.setattr(chunk, "CHUNK_PIXELS", 10_000)
    sizes = []
    original = stream.refine_chunk
    monkeypatch.setattr(stream, "refine_chunk", lambda *a: sizes.append(len(a[1])) or original(*a))
    code, result = refine_json(tmp_path / "in", tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"]) == (0, 12)
    assert sum(sizes) == 12
    assert max(sizes) <= 4
    assert list(manifest(tmp_path / "out")) == sorted(p.name for p in (tmp_path / "in").iterdir())


# The Python API


def test_the_job_is_a_plain_function(tmp_path, capsys):
    source = write_scenes(tmp_path / "in", 3)
    config = RefineConfig(str(source), str(tmp_path / "out"), str(write_refiner(tmp_path)), provider="cpu")
    result = refine_job(config)
    assert (result["samples"], result["refined"]) == (3, 3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_trained_kind_of_refiner_goes_the_same_way(tmp_path):
    """The network that training exports, with a last layer that only adds to the brightness."""
    import torch

    from refinery.networks.resnet_refiner import ResnetRefiner
    from refinery.onnx_export import to_onnx

    network = ResnetRefiner(1, width=8, blocks=1).eval()
    torch.nn.init.constant_(network.last.bias, 0.1)
    model = tmp_path / "refiner.onnx"
    model.write_bytes(to_onnx(network, 1, "simgan"))
    source = write_scenes(tmp_path / "in", 4)
    (source / "small.png").write_bytes(png(gray(9, (8, 9))))
    code, result = refine_json(source, tmp_path / "out", model)
    assert (code, result["refined"]) == (0, 5)
    pixels = np.asarray(Image.open(source / "0000.png"))[:, :, None]
    expected = from_float(np.clip(to_float(pixels) + np.float32(0.1), -1, 1), 8)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "0000.png")), expected[:, :, 0])
    assert Path(result["model"]) == model
