"""`--variants` of HDF5: a whole copy of each file for each variant, beside it."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import png
from models import write_artifact
from PIL import Image
from stream import error_of, manifest, refine, refine_json, refinery, scene, tree_of, write_gaze
from test_noise import noisy
from tiny import Recorder

from refinery import pipeline as stream
from refinery.config import RefineConfig
from refinery.dataset import open_dataset
from refinery.formats import hdf5
from refinery.formats._variants import free_mark
from refinery.jobs import refine as job
from refinery.jobs._record import Report
from refinery.sample import Sample

THREE = ("--variants", 3)
MARKS = ("", "_v1", "_v2")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("model") / "model", noisy(), latent=1, deterministic=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model) -> tuple[Path, Path]:
    """Files of several kinds, some in a folder, and what an undisturbed job makes of them."""
    root = tmp_path_factory.mktemp("hdf5")
    source = root / "in"
    write_gaze(source / "gaze.h5", 7)
    write_gaze(source / "deep/other.1.hdf5", 4)
    with h5py.File(source / "stack.h5", "w") as file:
        file.create_dataset("images", data=np.stack([scene(i)[0] for i in range(5)]), chunks=(2, 48, 64))
        file["images"].attrs["camera"] = "left"
        file["labels"] = np.arange(5)
    with h5py.File(source / "empty.h5", "w") as file:
        file["notes"] = [1, 2, 3]
    (source / "about.txt").write_text("loose")
    assert refine(source, root / "out", model, *THREE).exit_code == 0
    return source, root / "out"


def test_each_variant_is_a_whole_copy_with_images_of_its_own(whole, model, tmp_path):
    source, out = whole
    assert refine(source, tmp_path / "one", model).exit_code == 0
    one, three = tree_of(tmp_path / "one"), tree_of(out)
    assert one.items() <= three.items()
    files = ("gaze{}.h5", "deep/other.1{}.hdf5", "stack{}.h5")
    assert set(three) == {*one, *(name.format(mark) for name in files for mark in MARKS)}
    images = []
    for mark in MARKS:
        with h5py.File(source / "gaze.h5") as before, h5py.File(out / f"gaze{mark}.h5") as after:
            assert sorted(after) == sorted(before)
            assert after["notes/author"][()] == b"nobody"
            assert all(np.array_equal(after[f"look_vec/{i}"], before[f"look_vec/{i}"]) for i in range(7))
            images += [after[f"image/{i}"][()].tobytes() for i in range(7)]
        with h5py.File(out / f"stack{mark}.h5") as after:
            assert (after["images"].attrs["camera"], after["labels"][()].tolist()) == ("left", [0, 1, 2, 3, 4])
            images += [row.tobytes() for row in after["images"]]
    assert len(set(images)) == 3 * (7 + 5)
    assert sum(isinstance(entry, Sample) for entry in open_dataset(out).entries()) == 3 * 16
    lines = manifest(out)
    line = lines["gaze_v2.h5/image/3"]
    assert (line["key"], line["variant"], line["variant_of"]) == ("gaze_v2.h5/image/3", 2, "gaze.h5/image/3")
    own = [line for line in lines.values() if not line.get("variant")]
    assert own == list(manifest(tmp_path / "one").values())


def test_the_images_are_those_of_a_folder_with_the_same_keys(whole, model, tmp_path):
    for i in range(7):
        path = tmp_path / f"in/gaze.h5/image/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(scene(i)[0]))
    assert refine(tmp_path / "in", tmp_path / "out", model, *THREE, "--no-check").exit_code == 0
    lines, expected = manifest(whole[1]), manifest(tmp_path / "out")
    for mark in MARKS:
        with h5py.File(whole[1] / f"gaze{mark}.h5") as file:
            for i in range(7):
                with Image.open(tmp_path / f"out/gaze.h5/image/{i}{mark}.png") as image:
                    np.testing.assert_array_equal(file[f"image/{i}"][()], np.asarray(image))
                line = lines[f"gaze{mark}.h5/image/{i}"]
                assert line.get("variant_of") == expected[f"gaze.h5/image/{i}{mark}.png"].get("variant_of")


@pytest.mark.slow
def test_parts_put_the_whole_together(whole, model, tmp_path):
    source, out = whole
    results = [refine_json(source, tmp_path / "out", model, *THREE, "--shard", f"{i}/2") for i in (2, 1)]
    assert sum(result["samples"] for _, result in results) == 3 * 16
    assert tree_of(tmp_path / "out") == tree_of(out)
    report = Report.of(tmp_path / "out")
    assert [line["key"] for line in report.lines()] == [line["key"] for line in manifest(out).values()]


@pytest.mark.slow
@pytest.mark.parametrize(("done", "there"), [(4, ()), (24, ()), (48, ()), (48, ("gaze.h5", "gaze_v1.h5"))])
def test_killed_and_gone_on_with_gives_the_same_bytes(whole, model, done, there, tmp_path, monkeypatch):
    """there: files that were whole when it was killed."""
    source, undisturbed = whole
    monkeypatch.setattr(stream, "CHUNK_PIXELS", 4 * 48 * 64)
    config = RefineConfig(str(source), str(tmp_path / "out"), model=str(model), provider="cpu", variants=3)
    with pytest.raises(KeyboardInterrupt):
        job.refine(config, Recorder(die_at=done))
    assert not (tmp_path / "out/gaze.h5").exists()
    for name in there:
        shutil.copy(undisturbed / name, tmp_path / "out" / name)
    code, result = refine_json(source, tmp_path / "out", model, *THREE)
    assert (code, result["samples"]) == (0, 48)
    assert tree_of(tmp_path / "out") == tree_of(undisturbed)
    assert manifest(tmp_path / "out") == manifest(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("noted", [0, 1, 5, 47])
def test_what_is_whole_but_not_noted_is_done_again_on_top_of_it(whole, model, noted, tmp_path):
    source, undisturbed = whole
    shutil.copytree(undisturbed, tmp_path / "out")
    own = tmp_path / "out/.refinery"
    lines = (own / "manifest.jsonl").read_text().splitlines(keepends=True)
    (own / "manifest.jsonl").write_text("".join(lines[:noted]))
    (own / "summary.json").unlink()
    assert refine(source, tmp_path / "out", model, *THREE).exit_code == 0
    assert tree_of(tmp_path / "out") == tree_of(undisturbed)
    assert (own / "manifest.jsonl").read_text() == "".join(lines)


def test_images_that_an_older_refinery_spooled_are_not_left_out_in_silence(whole, model, tmp_path):
    """Its spool was one of all files: records in `spool/00000000.spool`."""
    source, undisturbed = whole
    shutil.copytree(undisturbed, tmp_path / "out")
    own = tmp_path / "out/.refinery"
    (own / "summary.json").unlink()
    (tmp_path / "out/gaze.h5").unlink()
    (own / "spool").mkdir()
    (own / "spool/00000000.spool").touch()
    done = refine(source, tmp_path / "out", model, *THREE)
    assert done.exit_code == 1
    assert "was begun by an older refinery; give another --out" in error_of(done)
    assert not (tmp_path / "out/gaze.h5").exists()


def test_a_finished_job_does_nothing(whole, model, tmp_path):
    source, undisturbed = whole
    shutil.copytree(undisturbed, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.h5")}
    done = refine(source, tmp_path / "out", model, *THREE)
    assert "this job is finished already" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.h5")} == before


def test_what_cannot_be_refined_keeps_its_pixels_in_every_file(model, tmp_path):
    pixels = np.stack([scene(i)[0] for i in range(4)]) / np.float32(255)
    with h5py.File(tmp_path / "gaze.h5", "w") as file:
        for i, image in enumerate(pixels):
            file[f"image/{i}"] = np.where((i == 2) & (image > 0.7), np.nan, image).astype(np.float32)
            file[f"look_vec/{i}"] = np.array([0.1, -0.2, 0.97])
        file["image/bad"] = np.zeros((48, 64, 5), np.uint8)
    code, result = refine_json(tmp_path / "gaze.h5", tmp_path / "out", model, *THREE)
    assert (code, result["samples"], result["rejected"]) == (3, 15, 6)
    with h5py.File(tmp_path / "gaze.h5") as before:
        for mark in MARKS:
            with h5py.File(tmp_path / f"out/gaze{mark}.h5") as after:
                assert after["image/2"][()].tobytes() == before["image/2"][()].tobytes()
                assert after["image/bad"][()].tobytes() == before["image/bad"][()].tobytes()
                assert not np.array_equal(after["image/1"], before["image/1"])


def test_a_file_of_which_nothing_can_be_refined_is_there_as_often(model, tmp_path):
    write_gaze(tmp_path / "in/a.h5", 3)
    with h5py.File(tmp_path / "in/b.h5", "w") as file:
        file["images"] = np.full((3, 48, 64), np.nan, np.float32)
    code, result = refine_json(tmp_path / "in", tmp_path / "out", model, *THREE)
    assert (code, result["rejected"]) == (3, 9)
    out = tree_of(tmp_path / "out")
    assert {out[f"b{mark}.h5"] for mark in MARKS} == {(tmp_path / "in/b.h5").read_bytes()}


@pytest.mark.slow
def test_an_audit_finds_each_variants_sample(whole, tmp_path):
    source, undisturbed = whole
    shutil.copytree(undisturbed, tmp_path / "out")
    with h5py.File(tmp_path / "out/gaze_v1.h5", "r+") as file:
        file["look_vec/2"][0] += 1
        file["image/3"][...] = file["image/3"][()][:, ::-1]
    (tmp_path / "out/deep/other.1_v2.hdf5").unlink()
    gc.collect()
    done = refinery("inspect", tmp_path / "out", "--synthetic", source, "--json")
    found = json.loads(done.stdout)
    failed = {key for key, verdict in found["verdicts"].items() if verdict == "fail"}
    assert (done.exit_code, len(found["verdicts"])) == (3, 48)
    gone = {f"deep/other.1_v2.hdf5/image/{i}" for i in range(4)}
    assert failed == {"gaze_v1.h5/image/2", "gaze_v1.h5/image/3", *gone}
    problems = " ".join(found["problems"])
    assert "gaze_v1.h5/look_vec/2: differs from its source" in problems
    assert "no such sample" not in problems


def test_the_mark_is_free_among_the_names_of_files(tmp_path):
    with h5py.File(write_gaze(tmp_path / "in/gaze.h5", 2), "a") as file:
        file["images_v1/0"] = scene(0)[0]
    source = hdf5.open_source(tmp_path / "in")
    assert free_mark(source, 3) == "_v"
    (tmp_path / "in/gaze_v1.txt").write_text("taken")
    assert free_mark(source, 3) == "_look"
    write_gaze(tmp_path / "in/gaze_LOOK2.h5", 2)
    assert free_mark(source, 3) == "_variant"


def test_only_the_name_of_the_file_needs_room(model, tmp_path):
    with h5py.File(tmp_path / "long.h5", "w") as file:
        file[f"image/{'x' * 300}"] = scene(0)[0]
    assert refine(tmp_path / "long.h5", tmp_path / "out", model, *THREE, "--no-check").exit_code == 0
    name = "g" * 250 + ".h5"
    done = refine(write_gaze(tmp_path / name, 2), tmp_path / "none", model, *THREE)
    assert done.exit_code == 2
    assert "no room for _v1 in the name ggg" in error_of(done)


@pytest.mark.parametrize("name", ["gaze.h5", "gaze"])
def test_a_single_file_is_named_as_it_is(model, name, tmp_path):
    gaze = write_gaze(tmp_path / name, 3)
    assert refine(gaze, tmp_path / "out", model, *THREE).exit_code == 0
    stem, dot, suffix = name.partition(".")
    assert set(tree_of(tmp_path / "out")) == {f"{stem}{mark}{dot}{suffix}" for mark in MARKS}
