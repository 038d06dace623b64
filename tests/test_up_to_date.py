"""A job knows contents, not names: after the input changed, the same command ends with the output of a new job."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from models import write_artifact
from PIL import Image
from remote import contents, put, undisturbed
from stream import error_of, manifest, refine, refine_json, refinery, scene, tree_of, write_refiner, write_scenes
from test_noise import noisy
from test_pipe import pipe

from refinery import __version__

COUNT = 8
Content = dict[str, tuple[int, float]]
"""By sample: the seed of its image, and what its label says."""

FIRST: Content = {f"{i:04d}": (i, float(i)) for i in range(COUNT)}
CHANGES: dict[str, Callable[[Content], Content]] = {
    "nothing": lambda c: c,
    "an image is rendered again": lambda c: {**c, "0003": (103, 3.0)},
    "a label is corrected": lambda c: {**c, "0003": (3, 33.0)},
    "image and label are others": lambda c: {**c, "0003": (103, 33.0)},
    "the first is another": lambda c: {**c, "0000": (100, 0.0)},
    "the last is another": lambda c: {**c, "0007": (107, 7.0)},
    "all are rendered again": lambda c: {name: (seed + 100, label + 100) for name, (seed, label) in c.items()},
    "one is removed": lambda c: {name: value for name, value in c.items() if name != "0002"},
    "the last is removed": lambda c: {name: value for name, value in c.items() if name != "0007"},
    "one is added in the middle": lambda c: {**c, "0003b": (50, 50.0)},
    "one is added at the end": lambda c: {**c, "0099": (50, 50.0)},
    "one is added before all": lambda c: {"000": (50, 50.0), **c},
    "one is renamed": lambda c: {("0099" if name == "0002" else name): value for name, value in c.items()},
    "two change names": lambda c: {**c, "0001": c["0005"], "0005": c["0001"]},
    "several at once": lambda c: {**{n: v for n, v in c.items() if n != "0001"}, "0004": (104, 4.0), "0099": (9, 9.0)},
}


def image_of(seed: int) -> np.ndarray:
    return scene(seed)[0]


def write_folder(root: Path, content: Content) -> Path:
    """Images with a JSON each and a file about none."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "labels").mkdir(parents=True)
    (root / "readme.txt").write_text("about")
    for name, (seed, label) in content.items():
        Image.fromarray(image_of(seed)).save(root / f"{name}.png", compress_level=1)
        (root / f"{name}.json").write_text(json.dumps({"value": label}))
    return root


def write_tar(root: Path, content: Content) -> Path:
    """Two archives; a change in one of them leaves the other one alone."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    names = sorted(content)
    for archive, inside in (("a.tar", names[:4]), ("b.tar.gz", names[4:])):
        with (
            (root / archive).open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if archive.endswith("gz") else raw as packed,
            tarfile.open(fileobj=packed, mode="w") as file,
        ):
            for name in inside:
                seed, label = content[name]
                png = io.BytesIO()
                Image.fromarray(image_of(seed)).save(png, "PNG", compress_level=1)
                for member, data in ((f"{name}.png", png.getvalue()), (f"{name}.json", json.dumps(label).encode())):
                    info = tarfile.TarInfo(member)
                    info.size, info.mtime = len(data), 1_700_000_000
                    file.addfile(info, io.BytesIO(data))
    return root


def write_hdf5(root: Path, content: Content) -> Path:
    """Two files of images beside a number each."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    names = sorted(content)
    for name, inside in (("a.h5", names[:4]), ("b.h5", names[4:])):
        with h5py.File(root / name, "w") as file:
            for each in inside:
                file[f"image/{each}"] = image_of(content[each][0])
                file[f"angle/{each}"] = np.array([content[each][1]])
    return root


def write_hdf5_root(root: Path, content: Content) -> Path:
    """Images at the root of a file."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with h5py.File(root / "renders.h5", "w") as file:
        for each in sorted(content):
            file[each] = image_of(content[each][0])
    return root


LAYOUTS = {"folder": write_folder, "tar": write_tar, "hdf5": write_hdf5, "hdf5 at the root": write_hdf5_root}


def lines_of(out: Path) -> list[str]:
    return (out / ".refinery" / "manifest.jsonl").read_text().splitlines()


def fresh(source: Path, out: Path, model: Path) -> Path:
    """What a new job makes of the input."""
    assert refine(source, out, model, "--no-check").exit_code == 0
    return out


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_refiner(tmp_path / "model")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_command_brings_the_output_up_to_date(layout, change, model, tmp_path):
    write, source, out = LAYOUTS[layout], tmp_path / "in", tmp_path / "out"
    fresh(write(source, FIRST), out, model)
    changed = CHANGES[change](FIRST)
    write(source, changed)
    done = refine(source, out, model, "--no-check")
    assert done.exit_code == 0, done.stderr
    expected = fresh(source, tmp_path / "fresh", model)
    assert tree_of(out) == tree_of(expected)
    assert lines_of(out) == lines_of(expected)
    labels_alone = layout == "hdf5 at the root" and change == "a label is corrected"
    assert ("finished already" in done.stderr) == (change == "nothing" or labels_alone), done.stderr


@pytest.mark.parametrize("noted", [0, 3, 6])
@pytest.mark.parametrize("change", ["image and label are others", "all are rendered again", "several at once"])
@pytest.mark.parametrize("layout", ["folder", "hdf5"])
def test_so_it_does_with_a_job_that_was_cut_off(layout, change, noted, model, tmp_path):
    write, source, out = LAYOUTS[layout], tmp_path / "in", tmp_path / "out"
    fresh(write(source, FIRST), out, model)
    kept = lines_of(out)[:noted]
    (out / ".refinery" / "manifest.jsonl").write_text("".join(f"{line}\n" for line in kept))
    (out / ".refinery" / "summary.json").unlink()
    write(source, CHANGES[change](FIRST))
    if layout == "hdf5":  # which is put together at the end
        for path in out.glob("*.h5"):
            path.unlink()
    assert refine(source, out, model, "--no-check").exit_code == 0
    expected = fresh(source, tmp_path / "fresh", model)
    assert lines_of(out) == lines_of(expected)
    for name, data in tree_of(expected).items():
        assert (out / name).read_bytes() == data


@pytest.mark.parametrize("change", ["an image is rendered again", "one is removed", "one is added at the end"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strict_refuses_a_changed_input_and_touches_nothing(layout, change, model, tmp_path):
    write, source, out = LAYOUTS[layout], tmp_path / "in", tmp_path / "out"
    fresh(write(source, FIRST), out, model)
    before = tree_of(out)
    write(source, CHANGES[change](FIRST))
    refused = refine(source, out, model, "--no-check", "--strict")
    assert refused.exit_code == 1
    assert "changed since this job began" in error_of(refused)
    assert tree_of(out) == before


def test_what_did_not_change_is_not_refined_again(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    time.sleep(0.01)
    Image.fromarray(image_of(103)).save(source / "0003.png")
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert {name for name, at in times.items() if (out / name).stat().st_mtime_ns != at} == {"0003.png"}


def test_files_that_were_only_touched_are_the_same(model, tmp_path):
    """Another disk, a backup that was brought back, another user: times change, contents do not."""
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    for path in source.glob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    done = refine(source, out, model, "--no-check")
    assert done.exit_code == 0
    assert "finished already" in done.stderr


def test_an_edit_that_keeps_size_and_time_is_seen(model, tmp_path):
    """`touch -r` after an edit: the time at which the file's entry changed cannot be put back."""
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    label = source / "0003.json"
    os.utime(label, (1_000_000_000, 1_000_000_000))
    fresh(source, out, model)
    label.write_text(label.read_text().replace("3.0", "4.0"))
    os.utime(label, (1_000_000_000, 1_000_000_000))
    assert "1 changed (0003.png)" in refine(source, out, model, "--no-check").stderr
    assert (out / "0003.json").read_bytes() == label.read_bytes()


def test_a_dataset_that_was_moved_is_the_same_dataset(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    source.rename(tmp_path / "elsewhere")
    done = refine(tmp_path / "elsewhere", out, model, "--no-check")
    assert done.exit_code == 0
    assert "lies at" in done.stderr
    assert "finished already" in done.stderr


def test_another_dataset_under_another_path_is_another_job(model, tmp_path):
    out = tmp_path / "out"
    fresh(write_folder(tmp_path / "in", FIRST), out, model)
    other = write_folder(tmp_path / "other", CHANGES["all are rendered again"](FIRST))
    assert "another job (source was" in error_of(refine(other, out, model, "--no-check"))


def test_an_input_most_of_which_is_gone_is_not_taken_for_one_that_shrank(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    before = tree_of(out)
    write_folder(source, {"0000": FIRST["0000"]})
    assert "7 of the 8 samples of this job are not in" in error_of(refine(source, out, model, "--no-check"))
    assert tree_of(out) == before


def test_files_that_others_put_into_the_output_stay(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    (out / "my notes.txt").write_text("mine")
    write_folder(source, CHANGES["one is removed"](FIRST))
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert (out / "my notes.txt").read_text() == "mine"
    assert not (out / "0002.png").exists()
    assert not (out / "0002.json").exists()


def test_a_manifest_from_a_stranger_takes_nothing_away_outside_the_output(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    (tmp_path / "precious.png").write_text("mine")
    line = json.loads(lines_of(out)[2]) | {"image": "../precious.png", "key": "../precious", "sidecars": {}}
    with (out / ".refinery" / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    done = refine(source, out, model, "--no-check")
    assert done.exit_code == 1
    assert "not a path inside the output folder" in error_of(done)
    assert (tmp_path / "precious.png").read_text() == "mine"


def test_a_loose_file_that_changed_is_carried_again_and_one_that_went_goes(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    (source / "licence.txt").write_text("yours")
    fresh(source, out, model)
    (source / "readme.txt").write_text("about something else")
    (source / "licence.txt").unlink()
    done = refine(source, out, model, "--no-check")
    assert "2 other files" in done.stderr
    assert tree_of(out) == tree_of(fresh(source, tmp_path / "fresh", model))


@pytest.mark.parametrize("layout", ["folder", "tar", "hdf5"])
def test_a_loose_file_that_was_added_is_carried(layout, model, tmp_path):
    source, out = LAYOUTS[layout](tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    (source / "terms.txt").write_text("ours")
    assert "1 other file (terms.txt)" in refine(source, out, model, "--no-check").stderr
    assert tree_of(out) == tree_of(fresh(source, tmp_path / "fresh", model))


def write_coco(source: Path, shift: dict[str, float]) -> None:
    images = [{"id": i, "file_name": f"{i:04d}.png", "width": 64, "height": 48} for i in range(COUNT)]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [20 + shift.get(f"{i:04d}", 0), 10, 24, 24]}
        for i in range(COUNT)
    ]
    categories = [{"id": 1, "name": "disc"}]
    (source / "coco.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


@pytest.mark.slow
def test_one_box_of_many_in_a_file_about_all_images_is_judged_again(model, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    write_folder(source, FIRST)
    for path in source.glob("*.json"):
        path.unlink()
    write_coco(source, {})
    assert refine(source, out, model).exit_code == 0
    write_coco(source, {"0003": 5})
    done = refine(source, out, model)
    assert "1 changed, 1 other file" in done.stderr
    expected = tmp_path / "fresh"
    assert refine(source, expected, model).exit_code == 0
    assert tree_of(out) == tree_of(expected)
    assert lines_of(out) == lines_of(expected)


# The output


DAMAGE: dict[str, Callable[[Path], object]] = {
    "an image is deleted": lambda out: (out / "0003.png").unlink(),
    "an image is edited": lambda out: (out / "0003.png").write_bytes(b"edited"),
    "a label is deleted": lambda out: (out / "0003.json").unlink(),
    "a label is edited": lambda out: (out / "0003.json").write_text('{"value": 9.0}'),
    "a loose file is deleted": lambda out: (out / "readme.txt").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_output_that_was_damaged_is_made_whole(damage, model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    whole = tree_of(out)
    DAMAGE[damage](out)
    done = refine(source, out, model, "--no-check")
    assert done.exit_code == 0
    assert "finished already" not in done.stderr
    assert tree_of(out) == whole


@pytest.mark.parametrize("damage", ["an image is deleted", "an image is edited", "a label is edited"])
def test_inspect_says_what_of_the_manifest_does_not_stand_in_the_output(damage, model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    assert json.loads(refinery("inspect", out, "--json").stdout)["delivered"] == {"checked": COUNT, "wrong": 0}
    DAMAGE[damage](out)
    done = refinery("inspect", out, "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["delivered"] == {"checked": COUNT, "wrong": 1}
    assert any("1 of 8 samples in the output are not what the manifest says" in line for line in found["problems"])


@pytest.mark.parametrize("layout", ["tar", "hdf5", "hdf5 at the root"])
def test_files_of_many_samples_that_were_damaged_are_made_whole(layout, model, tmp_path):
    source, out = LAYOUTS[layout](tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    whole = tree_of(out)
    victim = sorted(whole)[0]
    shutil.copyfile(source / victim, out / victim)  # the input in the place of the output
    assert refinery("inspect", out).exit_code == 3
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert tree_of(out) == whole
    (out / victim).unlink()
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert tree_of(out) == whole


def test_bits_that_flip_without_a_trace_are_found_by_verify(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    whole = tree_of(out)
    log = out / ".refinery" / "stamps.jsonl"
    data = bytearray((out / "0003.png").read_bytes())
    data[60] ^= 1
    (out / "0003.png").write_bytes(data)
    status = (out / "0003.png").stat()
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    record = next(json.loads(x) for x in reversed(log.read_text().splitlines()) if x.startswith('{"id": "sample 0003"'))
    record["out"][0] = stamp  # as if the disk had flipped it
    with log.open("a") as file:
        file.write(json.dumps(record) + "\n")
    assert "finished already" in refine(source, out, model, "--no-check").stderr
    assert (
        "1 damaged or missing in the output (0003.png)" in refine(source, out, model, "--no-check", "--verify").stderr
    )
    assert tree_of(out) == whole


def test_delivered_is_proved(model, tmp_path, monkeypatch):
    """A disk that loses what was written to it: the job ends with an error, and the next run repairs it."""
    from refinery.formats._files import Files

    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    write = Files.write
    monkeypatch.setattr(Files, "write", lambda self, path, data: write(self, path, data if "0005" not in path else b""))
    lost = refine(source, out, model, "--no-check")
    assert lost.exit_code == 1
    assert "1 of 8 samples in the output are not what the manifest says (0005.png: other bytes" in error_of(lost)
    monkeypatch.undo()
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert tree_of(out) == tree_of(fresh(source, tmp_path / "fresh", model))


def test_carried_maps_are_proved(model, tmp_path, monkeypatch):
    """A copy of a file that belongs to no sample goes wrong: an error that names it, and the next run repairs it."""
    from refinery.formats._files import Files

    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    (source / "notes").mkdir()
    (source / "notes" / "map.bin").write_bytes(b"as it was")
    copy = Files.copy

    def lose(self, pieces, path):
        copy(self, iter([b"lost"]) if path == "notes/map.bin" else pieces, path)

    monkeypatch.setattr(Files, "copy", lose)
    lost = refine(source, out, model, "--no-check")
    assert lost.exit_code == 1
    assert "notes/map.bin: differs from its source" in error_of(lost)
    monkeypatch.undo()
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert (out / "notes" / "map.bin").read_bytes() == b"as it was"


def test_maps_in_an_hdf5_file_are_proved(model, tmp_path, monkeypatch):
    """Something changes a map while a file is put together: an error that names the file."""
    from refinery.formats import _hdf5_sink

    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "0.h5", "w") as file:
        file["colors"] = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
        file["depth"] = np.ones((48, 64), np.float32)
    fill = _hdf5_sink._fill

    def spoil(file, one, places):
        fill(file, one, places)
        file["depth"][0, 0] = 7

    monkeypatch.setattr(_hdf5_sink, "_fill", spoil)
    lost = refine(tmp_path / "in", tmp_path / "out", model, "--no-check")
    assert lost.exit_code == 1
    assert "0.h5: what is no picture in it differs from its source" in error_of(lost)


@pytest.mark.parametrize(("line", "wrong"), [({"changed": True}, True), ({"changed": False}, False), ({}, False)])
def test_a_refined_sample_with_the_bytes_of_its_source_is_wrong_unless_nothing_changed(line, wrong, tmp_path):
    from refinery.contents.content import sha256_of
    from refinery.contents.proof import Prover
    from refinery.formats import folder

    write_folder(tmp_path / "in", FIRST)
    sha256 = sha256_of((tmp_path / "in" / "0005.png").read_bytes())
    told = {"key": "0005", "image": "0005.png", "source_sha256": sha256, "refined_sha256": sha256, **line}
    reason = Prover(folder.open_source(tmp_path / "in")).why_wrong(told)
    assert reason == ("0005.png: has the bytes of its source, though it was refined" if wrong else "")


# What cannot be read


@pytest.mark.parametrize("how", ["replaced", "removed", "still broken"])
def test_a_rejected_sample_that_was_repaired_is_refined(how, model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    whole = (source / "0005.png").read_bytes()
    (source / "0005.png").write_bytes(whole[:200])
    code, found = refine_json(source, out, model, "--no-check")
    assert (code, found["rejected"]) == (3, 1)
    if how == "replaced":
        (source / "0005.png").write_bytes(whole)
    elif how == "removed":
        (source / "0005.png").unlink()
        (source / "0005.json").unlink()
    code, found = refine_json(source, out, model, "--no-check")
    assert (code, found["rejected"]) == ((3, 1) if how == "still broken" else (0, 0))
    assert ("0005.png" in manifest(out)) == (how != "removed")
    if how == "replaced":
        assert tree_of(out) == tree_of(fresh(source, tmp_path / "fresh", model))


def test_a_job_begun_by_an_older_refinery_is_refined_again_where_nothing_is_known(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    lines = [{k: v for k, v in json.loads(line).items() if k != "sidecars"} for line in lines_of(out)]
    (out / ".refinery" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (out / ".refinery" / "stamps.jsonl").unlink()
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert lines_of(out) == lines_of(fresh(source, tmp_path / "fresh", model))


# Streams, archives at addresses, parts of a batch job, variants


def stream_of(content: Content) -> bytes:
    """A tar archive of images, each with its label behind it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, (seed, label) in sorted(content.items()):
            png = io.BytesIO()
            Image.fromarray(image_of(seed)).save(png, "PNG", compress_level=1)
            for member, data in ((f"{name}.png", png.getvalue()), (f"{name}.json", json.dumps([label]).encode())):
                info = tarfile.TarInfo(member)
                info.size, info.mtime = len(data), 1_700_000_000
                file.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("noted", [4, COUNT])
@pytest.mark.parametrize("change", ["nothing", "image and label are others", "several at once"])
def test_a_stream_that_comes_once_more_with_other_content(change, noted, model, tmp_path):
    out = tmp_path / "out"
    assert pipe(stream_of(FIRST), model, "--no-check", out=out).returncode == 0
    (out / ".refinery" / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines_of(out)[:noted]))
    changed = stream_of(CHANGES[change](FIRST))
    if change != "nothing":
        refused = pipe(changed, model, "--no-check", "--strict", out=out)
        assert refused.returncode == 1
        assert b"--strict refuses that" in refused.stderr
    assert pipe(changed, model, "--no-check", out=out).returncode == 0
    assert pipe(changed, model, "--no-check", out=tmp_path / "fresh").returncode == 0
    assert lines_of(out) == lines_of(tmp_path / "fresh")
    expected, found = tree_of(tmp_path / "fresh"), tree_of(out)
    assert {name: found[name] for name in expected} == expected
    if noted == COUNT:
        assert found.keys() == expected.keys()


@pytest.mark.parametrize("to", ["a folder", "an address"])
def test_an_archive_at_an_address_that_was_written_again(to, model, memory, tmp_path):
    files = {"a.tar": stream_of(FIRST), "b.tar": stream_of({f"1{k}": v for k, v in FIRST.items()})}
    put(memory, files)
    out, options = tmp_path / "out", ["--no-check"]
    if to == "an address":
        out, options = "memory://out", ["--no-check", "--report", str(tmp_path / "report")]
    assert refine("memory://in", out, model, *options).exit_code == 0
    files["a.tar"] = stream_of(CHANGES["image and label are others"](FIRST))
    put(memory, {"a.tar": files["a.tar"]})
    assert "changed since this job began" in error_of(refine("memory://in", out, model, *options, "--strict"))
    done = refine("memory://in", out, model, *options)
    assert done.exit_code == 0
    assert "8 changed" in done.stderr
    expected = undisturbed(tmp_path, files, model)
    assert (contents(memory, "/out") if to == "an address" else tree_of(out)) == expected


def test_parts_of_a_batch_job_bring_their_samples_up_to_date(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    for part in ("1/2", "2/2"):
        assert refine(source, out, model, "--no-check", "--shard", part).exit_code == 0
    write_folder(source, CHANGES["image and label are others"](FIRST))
    said = [refine(source, out, model, "--no-check", "--shard", part).stderr for part in ("1/2", "2/2")]
    assert ["1 changed" in text for text in said] == [False, True]
    assert tree_of(out) == tree_of(fresh(source, tmp_path / "fresh", model))


def test_parts_refuse_a_dataset_of_other_samples(model, tmp_path):
    """Which part a sample belongs to depends on all names."""
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    assert refine(source, out, model, "--no-check", "--shard", "1/2").exit_code == 0
    write_folder(source, CHANGES["one is removed"](FIRST))
    refused = error_of(refine(source, out, model, "--no-check", "--shard", "1/2"))
    assert "the parts of a batch job divide one and the same dataset, which has other samples now" in refused


@pytest.mark.parametrize("layout", ["folder", "tar", "hdf5"])
@pytest.mark.parametrize("change", ["image and label are others", "one is removed"])
def test_variants_are_brought_up_to_date_with_their_sample(change, layout, tmp_path):
    model = write_artifact(tmp_path / "model", noisy(), latent=1, channels=1)
    write, source, out = LAYOUTS[layout], tmp_path / "in", tmp_path / "out"
    options = ("--no-check", "--variants", 2)
    assert refine(write(source, FIRST), out, model, *options).exit_code == 0
    write(source, CHANGES[change](FIRST))
    assert refine(source, out, model, *options).exit_code == 0
    assert refine(source, tmp_path / "fresh", model, *options).exit_code == 0
    assert tree_of(out) == tree_of(tmp_path / "fresh")
    assert lines_of(out) == lines_of(tmp_path / "fresh")
    assert refinery("inspect", out).exit_code == 0


def test_what_lay_in_quarantine_goes_with_its_sample(tmp_path):
    model = write_refiner(tmp_path / "model", "moved")
    source, out = write_scenes(tmp_path / "in", 4), tmp_path / "out"
    assert refine(source, out, model, "--on-drift", "quarantine").exit_code == 3
    apart = out / ".refinery" / "quarantine"
    assert {path.name for path in apart.iterdir()} == {f"{i:04d}.png" for i in range(4)}
    (source / "0002.png").unlink()
    (source / "0002.json").unlink()
    assert refine(source, out, model, "--on-drift", "quarantine").exit_code == 3
    assert {path.name for path in apart.iterdir()} == {"0000.png", "0001.png", "0003.png"}


def test_other_software_is_named_when_a_job_goes_on(model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    job = out / ".refinery" / "job.json"
    job.write_text(job.read_text().replace(f'"refinery": "{__version__}"', '"refinery": "0.0.9"'))
    (out / ".refinery" / "summary.json").unlink()
    said = refine(source, out, model, "--no-check").stderr
    assert f"begun with other software (refinery 0.0.9, now {__version__})" in said


def test_a_refiner_that_changes_nothing_is_told(tmp_path):
    source = write_scenes(tmp_path / "in", 3)
    for kind, told in (("same", True), ("brighter", False)):
        done = refine(source, tmp_path / kind, write_refiner(tmp_path, kind), "--no-check")
        again = refine(tmp_path / kind, tmp_path / f"{kind}-again", write_refiner(tmp_path, kind), "--no-check")
        assert ("the refiner changes nothing" in again.stderr) == told, done.stderr


def write_labelled(root: Path, seeds: dict[str, int]) -> Path:
    """Scenes with the label of their disc."""
    root.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        pixels, label = scene(seed)
        Image.fromarray(pixels).save(root / f"{name}.png", compress_level=1)
        (root / f"{name}.json").write_text(json.dumps({"disc": label}))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("how", ["bit by bit", "by growing"])
def test_checks_are_calibrated_again_where_most_of_the_dataset_is_other_than_it_was(how, model, tmp_path):
    seeds = {f"{i:04d}": i for i in range(9)}
    source, out = write_labelled(tmp_path / "in", seeds), tmp_path / "out"
    assert refine(source, out, model).exit_code == 0
    if how == "bit by bit":
        steps = [{name: seed + 100 for name, seed in list(seeds.items())[a:b]} for a, b in ((0, 3), (3, 6))]
    else:
        steps = [{f"1{i:03d}": 50 + i for i in range(a, b)} for a, b in ((0, 6), (6, 12))]
    said = []
    for step in steps:
        write_labelled(source, step)
        said.append(refine(source, out, model).stderr)
    assert ["when the checks were calibrated" in text for text in said] == [False, True]
    assert refine(source, tmp_path / "fresh", model).exit_code == 0
    assert lines_of(out) == lines_of(tmp_path / "fresh")
    assert tree_of(out) == tree_of(tmp_path / "fresh")


@pytest.mark.parametrize("name", ["notes.txt", "0099.json", "0099.png"])
def test_a_file_that_somebody_put_into_the_output_is_not_overwritten(name, model, tmp_path):
    source, out = write_folder(tmp_path / "in", FIRST), tmp_path / "out"
    fresh(source, out, model)
    (out / name).write_text("mine")
    write_folder(source, {**FIRST, "0099": (9, 9.0)})
    (source / "notes.txt").write_text("theirs")
    assert f"has {name}, which this job did not write" in error_of(refine(source, out, model, "--no-check"))
    assert (out / name).read_text() == "mine"
    (out / name).unlink()
    assert refine(source, out, model, "--no-check").exit_code == 0
    assert tree_of(out) == tree_of(fresh(source, tmp_path / "fresh", model))


@pytest.mark.parametrize("noted", [1, 3, COUNT])
def test_a_job_that_was_killed_before_its_file_was_hashed_goes_on(noted, model, tmp_path):
    source, out = write_hdf5(tmp_path / "in", FIRST), tmp_path / "out"
    expected = fresh(source, tmp_path / "fresh", model)
    fresh(source, out, model)
    (out / ".refinery" / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines_of(out)[:noted]))
    for name in ("summary.json", "stamps.jsonl"):
        (out / ".refinery" / name).unlink()
    done = refine(source, out, model, "--no-check")
    assert done.exit_code == 0
    assert "changed since" not in done.stderr
    assert tree_of(out, own=True) == tree_of(expected, own=True)
