"""`refinery refine --variants K`: names that group, the first as without it, the others with noise of their own."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import mask, png
from models import model, write_artifact
from onnx import TensorProto, helper, numpy_helper
from stream import error_of, manifest, refine, refine_json, refinery, scene, tree_of, write_refiner
from test_noise import noisy

from refinery.dataset import open_dataset
from refinery.formats import folder
from refinery.formats._source import Loose, Source
from refinery.formats._variants import free_mark, variant_of, with_variants
from refinery.jobs._record import Report
from refinery.runtime.latent import latents_of
from refinery.sample import Sample

PICTURE, MASK = png(scene(0)[0]), png(mask(48, 64))
GROUPS = {
    "beside": ["a.png", "a.json", "a.png.txt", "a_mask.png", "b.png", "b-1.json", "notes.md"],
    "partner folders": ["images/a.png", "labels/a.txt", "masks/a.png", "masks/a_2.png", "labels/orphan.txt"],
    "train and trainannot": ["train/a.png", "trainannot/a.png"],
    "below the pictures": ["a.png", "b.png", "masks/a.png", "masks/b_mask.png"],
    "cityscapes": ["leftImg8bit/x/x_0_leftImg8bit.png", "gtFine/x/x_0_gtFine_polygons.json"],
    "solo": ["s/step0.camera.png", "s/step0.camera.semantic segmentation.png", "s/step0.frame_data.json"],
    "replicator": [*(f"{kind}_000{i}.{end}" for i in range(2) for kind, end in (
        ("rgb", "png"), ("semantic_segmentation", "png"), ("bounding_box_2d_tight", "npy"), ("camera_params", "json")
    ))],
    "mask before the stem": ["1.png", "mask_1.png", "2.png", "mask_2.png"],
    "picture named, mask bare": ["1.png", "1_rgb.png", "2.png", "2_rgb.png"],
    "mask by content": ["0.png", "0_b.png", "1.png", "1_b.png"],
    "two images of one stem": ["a.jpg", "a.png", "a.json"],
    "dots and spaces": ["my img_0.5 left.png", "my img_0.5 left.json", "IMG.PNG", "IMG.txt", "a_night.png", "a.png"],
    "one folder a sample": ["0/rgb.png", "0/pose.json", "1/rgb.png", "1/pose.json"],
}  # fmt: skip
"""Datasets whose grouping the names of variants must keep. Images of these names are masks:"""
MASKS = ("mask", "seg", "_b.", "annot", "gtFine")


def write(root: Path, names: list[str]) -> Path:
    bare = "1_rgb.png" in names
    for name in names:
        flat = any(word in name for word in MASKS) or (bare and "_rgb" not in name)
        data = (MASK if flat else PICTURE) if name.lower().endswith((".png", ".jpg")) else name.encode()
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_all(source: Source, out: Path) -> None:
    sink = source.sink(out)
    for entry in source.entries():
        if isinstance(entry, Loose):
            sink.carry(entry.path)
            continue
        sink.write_image(entry, source.read(entry))
        for path, to in entry.carried():
            sink.carry(path, to)
    sink.finish()


def groups(source: Source) -> dict[str, tuple[str, set[str]]]:
    """Key -> image and sidecars."""
    return {e.key: (e.image, set(e.sidecars)) for e in source.entries() if isinstance(e, Sample)}


@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
def test_an_output_with_variants_opens_with_each_files_own_variant(tmp_path, names):
    source = folder.open_source(write(tmp_path / "in", names))
    stream = with_variants(source, 3, free_mark(source, 3))
    write_all(stream, tmp_path / "out")
    again = folder.open_source(tmp_path / "out")
    assert groups(again) == groups(stream)
    assert len(groups(again)) == 3 * len(groups(source)) > 0
    loose = {entry.path for entry in source.entries() if isinstance(entry, Loose)}
    assert {entry.path for entry in again.entries() if isinstance(entry, Loose)} == loose
    before, after = tree_of(tmp_path / "in"), tree_of(tmp_path / "out")
    assert before.items() <= after.items()


@pytest.fixture
def job(tmp_path) -> tuple[Path, Path]:
    """Scenes in `images` with their labels in `labels`, a mask, a loose file; and a refiner with noise."""
    source = tmp_path / "in"
    for i in range(9):
        pixels, label = scene(i)
        for path, data in {
            f"images/{i:04d}.png": png(pixels),
            f"labels/{i:04d}.json": json.dumps({"disc": label}).encode(),
            f"masks/{i:04d}.png": png((pixels > 180).astype(np.uint8)),
        }.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
    (source / "about.txt").write_text("loose")
    return source, write_artifact(tmp_path / "model", noisy(), latent=1, deterministic=False)


def own_lines(out: Path) -> list[dict]:
    """Manifest lines of the first variants."""
    return [line for line in manifest(out).values() if not line.get("variant")]


@pytest.mark.slow
def test_the_first_is_as_without_and_the_others_differ_whatever_their_number(job, tmp_path):
    source, model = job
    outs = [tmp_path / name for name in ("one", "two", "three")]
    results = [refine_json(source, out, model, *more) for out, more in zip(outs, ((), ("--variants", 2),
        ("--variants", 3, "--workers", 1)), strict=True)]  # fmt: skip
    assert [(code, result["samples"], result["variants"]) for code, result in results] == [
        (0, 9 * k, k) for k in (1, 2, 3)
    ]
    one, two, three = (tree_of(out) for out in outs)
    assert one.items() <= two.items() <= three.items()
    assert (len(one), len(two), len(three)) == (28, 28 + 27, 28 + 54)
    assert three["labels/0004_v2.json"] == (source / "labels/0004.json").read_bytes()
    assert three["masks/0004_v2.png"] == (source / "masks/0004.png").read_bytes()
    images = [three[f"images/000{i}{end}.png"] for i in range(9) for end in ("", "_v1", "_v2")]
    assert len(set(images)) == 27
    assert own_lines(outs[0]) == own_lines(outs[2])
    line = manifest(outs[2])["images/0004_v2.png"]
    assert (line["key"], line["variant"], line["variant_of"]) == ("images/0004_v2", 2, "images/0004")
    assert [label["verdict"] for label in line["labels"] if label["name"] == "disc.center"] == ["pass"]


def test_a_part_of_the_dataset_gets_the_same_variants(job, tmp_path):
    source, model = job
    part = tmp_path / "part"
    shutil.copytree(source, part)
    for path in part.rglob("000[0-4].*"):
        path.unlink()
    both = [tmp_path / "all", tmp_path / "some"]
    for one, out in zip((source, part), both, strict=True):
        assert refine(one, out, model, "--variants", 2, "--no-check").exit_code == 0
    every, some = (tree_of(out) for out in both)
    assert some.items() <= every.items()
    assert "images/0007_v1.png" in some
    assert refine(source, tmp_path / "other", model, "--variants", 2, "--seed", 1, "--no-check").exit_code == 0
    other = tree_of(tmp_path / "other")
    assert not any(other[name] == every[name] for name in other if name.startswith("images/"))


def sometimes_moving() -> bytes:
    """Three pixels to the right where the latent number is positive, else as it was."""
    nodes = [
        helper.make_node("Pad", ["synthetic", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Slice", ["padded", "starts", "ends", "sides"], ["moved"]),
        helper.make_node("Greater", ["latent", "zero"], ["positive"]),
        helper.make_node("Unsqueeze", ["positive", "axes"], ["which"]),
        helper.make_node("Where", ["which", "moved", "synthetic"], ["refined"]),
    ]
    values = {"pads": np.array([0, 0, 0, 3, 0, 0, 0, 0]), "starts": np.array([0]), "ends": np.array([-3]),
              "sides": np.array([3]), "axes": np.array([2, 3]), "zero": np.array(0, np.float32)}  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("synthetic", TensorProto.FLOAT, ["b", 1, "h", "w"]),
        helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["b", 1]),
    ]
    initialisers = [numpy_helper.from_array(value, name) for name, value in values.items()]
    return model(nodes, inputs=inputs, initialisers=initialisers)


def test_each_variant_is_judged_on_its_own(job, tmp_path):
    source, _ = job
    moving = write_artifact(tmp_path / "moving", sometimes_moving(), latent=1, deterministic=False)
    code, _ = refine_json(source, tmp_path / "out", moving, "--variants", 3, "--on-drift", "quarantine")
    status = {image: line["status"] for image, line in manifest(tmp_path / "out").items()}
    assert code == 3
    moved = {f"images/{i:04d}{f'_v{v}' if v else ''}.png" for i in range(9) for v in range(3)
             if latents_of([f"images/{i:04d}"], 1, 0, [v])[0] > 0}  # fmt: skip
    assert 5 < len(moved) < 22
    assert {image for image, found in status.items() if found == "quarantined"} == moved
    apart = tmp_path / "out" / ".refinery" / "quarantine"
    assert {path.relative_to(apart).as_posix() for path in apart.rglob("*.png")} == moved


def test_what_cannot_be_refined_is_listed_for_every_variant_and_carried(job, tmp_path):
    source, model = job
    (source / "images" / "0003.png").write_bytes(b"no image")
    code, result = refine_json(source, tmp_path / "out", model, "--variants", 2)
    assert (code, result["rejected"], result["samples"]) == (3, 2, 18)
    assert (tmp_path / "out" / "images" / "0003_v1.png").read_bytes() == b"no image"


@pytest.mark.slow
def test_an_audit_finds_each_variants_sample(job, tmp_path):
    source, model = job
    out = tmp_path / "out"
    assert refine(source, out, model, "--variants", 3).exit_code == 0
    (out / "images" / "0002_v1.png").unlink()
    (out / "labels" / "0005_v2.json").write_text("{}")
    (out / "images" / "0007_v2.png").write_bytes((source / "images" / "0001.png").read_bytes())
    done = refinery("inspect", out, "--synthetic", source, "--json")
    found = json.loads(done.stdout)
    failed = {key for key, verdict in found["verdicts"].items() if verdict == "fail"}
    assert (done.exit_code, len(found["verdicts"])) == (3, 27)
    assert failed == {"images/0002_v1", "images/0005_v2", "images/0007_v2"}
    problems = " ".join(found["problems"])
    assert "images/0002_v1.png: missing in the refined dataset" in problems
    assert "labels/0005_v2.json: differs from its source" in problems
    assert "no such sample" not in problems


COCO = {
    "images": [{"id": i, "file_name": f"{i:04d}.png", "width": 64, "height": 48} for i in range(9)],
    "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [20, 15, 20, 20]} for i in range(9)],
    "categories": [{"id": 1, "name": "disc"}],
}
INDICES = {
    "points.csv": "image,x,y\n" + "".join(f"{i:04d}.png,30,{20 + i}\n" for i in range(9)),
    "instances.json": json.dumps(COCO),
}


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("check", ["--check", "--no-check"])
def test_an_index_is_carried_and_a_note_says_what_it_names(job, tmp_path, name, check):
    source, model = job
    shutil.rmtree(source / "labels")
    (source / name).write_text(INDICES[name])
    done = refine(source, tmp_path / "out", model, "--variants", 2, check)
    assert done.exit_code == 0
    assert " ".join(done.stderr.split()).count(f"{name}: carried as it is, so it names the first variant") == 1
    assert (tmp_path / "out" / name).read_text() == INDICES[name]
    first, second = (manifest(tmp_path / "out")[f"images/0001{end}.png"]["labels"] for end in ("", "_v1"))
    assert [label["name"] for label in first] == [label["name"] for label in second]
    assert (len(first) > 1) == (check == "--check")


def test_names_that_are_taken_get_another_mark(tmp_path):
    source = folder.open_source(write(tmp_path / "in", ["a.png", "a_v1.png", "a_V2.json"]))
    assert free_mark(source, 2) == "_look"
    assert variant_of(Sample("a_v1", "a_v1.png", ("a_v1.json",)), 2, "_look").sidecars == ("a_v1_look2.json",)


def test_mistakes_are_one_line_that_says_what_to_do(job, tmp_path):
    source, model = job
    out = tmp_path / "out"

    def refused(code, dataset, refiner, count):
        done = refine(dataset, out, refiner, "--variants", count)
        assert done.exit_code == code
        assert not out.exists()
        return done

    refused(2, source, model, 0)
    assert "variants: got 0, expected 1 or more" in error_of(toml(tmp_path, source, out, model))
    silent = write_refiner(tmp_path)
    assert "has no noise, so every variant would be the same; leave --variants" in error_of(
        refused(2, source, silent, 2)
    )
    long = write(tmp_path / "long", ["a" * 251 + ".png"])
    assert "no room for _v1 in the name aaa" in error_of(refused(2, long, model, 2))
    taken = write(tmp_path / "taken", ["a.png", "b_v1.png", "c_look1.png", "d_variant7.png"])
    assert "has files of all names that variants get" in error_of(refused(2, taken, model, 2))


def toml(folder: Path, source: Path, out: Path, model: Path):
    (folder / "c.toml").write_text("[refine]\nvariants = 0\n")
    return refine(source, out, model, "--config", folder / "c.toml")


def test_variants_are_part_of_the_job_and_older_jobs_had_one(job, tmp_path):
    source, model = job
    out = tmp_path / "out"
    assert refine(source, out, model).exit_code == 0
    assert "another job (variants was 1, now 2)" in error_of(refine(source, out, model, "--variants", 2))
    known = out / ".refinery" / "job.json"
    older = {key: value for key, value in json.loads(known.read_text()).items() if "variant" not in key}
    known.write_text(json.dumps(older))
    assert refine(source, out, model).exit_code == 0
    assert "another job (variants was 1, now 2)" in error_of(refine(source, out, model, "--variants", 2))


@pytest.mark.slow
def test_parts_and_pipes_give_the_same_variants(job, tmp_path):
    source, model = job
    assert refine(source, tmp_path / "one", model, "--variants", 3).exit_code == 0
    for index in (2, 1):
        part = ("--variants", 3, "--shard", f"{index}/2")
        assert refine(source, tmp_path / "parts", model, *part).exit_code == 0
    assert tree_of(tmp_path / "parts") == tree_of(tmp_path / "one")
    report = Report.of(tmp_path / "parts")
    assert [line["key"] for line in report.lines()] == [line["key"] for line in manifest(tmp_path / "one").values()]
    command = ["refine", source, "--out", "-", "--model", model, "--provider", "cpu", "--variants", 3]
    done = subprocess.run([sys.executable, "-m", "refinery", *map(str, command)], capture_output=True, timeout=120)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert {info.name: archive.extractfile(info).read() for info in archive} == tree_of(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_in_archives_the_members_of_each_variant_follow_its_sample(job, packed, tmp_path):
    source, model = job
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, keys in (("0", range(5)), ("1", range(5, 9))):
        with tarfile.open(shards / f"{number}.tar{packed}", f"w:{packed[1:]}") as archive:
            add(archive, "about.txt", b"loose")
            for i in keys:
                for path, name in (("images", "png"), ("labels", "json"), ("masks", "seg.png")):
                    suffix = name.rpartition(".")[2]
                    add(archive, f"{i:04d}.{name}", (source / path / f"{i:04d}.{suffix}").read_bytes())
            add(archive, "last.txt", b"loose")
    out, one = tmp_path / "out", tmp_path / "one"
    code, result = refine_json(shards, out, model, "--variants", 3)
    assert (code, result["samples"], result["variants"]) == (0, 27, 3)
    assert refine(shards, one, model).exit_code == 0
    first, whole = members(one / f"0.tar{packed}"), members(out / f"0.tar{packed}")
    assert [name for name in whole if "_v" not in name] == list(first)
    assert {name: data for name, data in whole.items() if name in first} == first
    three = [f"0003{mark}.{end}" for mark in ("", "_v1", "_v2") for end in ("png", "json", "seg.png")]
    assert [name for name in whole if name.startswith("0003")] == three
    assert whole["0003_v2.json"] == whole["0003.json"]
    assert len({whole[f"0003{mark}.png"] for mark in ("", "_v1", "_v2")}) > 1
    folder_line = manifest_of(source, tmp_path, model)["images/0003_v2.png"]
    assert manifest(out)[f"0.tar{packed}/0003_v2.png"]["labels"][0]["verdict"] == folder_line["labels"][0]["verdict"]
    again = open_dataset(out)
    assert len(groups(again)) == 27
    assert groups(again)[f"1.tar{packed}/0007_v1"][1] == {f"1.tar{packed}/0007_v1.{end}" for end in ("json", "seg.png")}
    told = refinery("inspect", out, "--json")
    assert told.exit_code == 0, told.stderr
    for index in (2, 1):
        part = ("--variants", 3, "--shard", f"{index}/2")
        assert refine(shards, tmp_path / "parts", model, *part).exit_code == 0
    assert tree_of(tmp_path / "parts") == tree_of(out)
    for noted in (1, 4, 14, 15, 20):
        broken_off(shards, out, tmp_path / f"broken{noted}", model, noted)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), 1_700_000_000
    archive.addfile(info, io.BytesIO(data))


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def manifest_of(source: Path, folder: Path, model: Path) -> dict[str, dict]:
    assert refine(source, folder / "as-folder", model, "--variants", 3).exit_code == 0
    return manifest(folder / "as-folder")


def broken_off(shards: Path, whole: Path, out: Path, model: Path, noted: int) -> None:
    """A job that was killed when so many lines were noted, and all was written ahead of them, ends the same."""
    shutil.copytree(whole, out)
    own = out / ".refinery"
    lines = (own / "manifest.jsonl").read_text().splitlines(keepends=True)
    (own / "manifest.jsonl").write_text("".join(lines[:noted]))
    (own / "summary.json").unlink()
    assert refine(shards, out, model, "--variants", 3).exit_code == 0
    assert tree_of(out) == tree_of(whole)
    assert (own / "manifest.jsonl").read_text() == "".join(lines)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg", "a.png"], "a.jpg: one of several images of a sample"),
        (["a.rgb.png", "a.json"], "a.rgb.png: a name with several dots"),
    ],
)
def test_archives_whose_samples_variants_would_part_are_refused(names, message, job, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in names:
            add(archive, name, b"{}" if name.endswith(".json") else PICTURE)
    done = refine(tmp_path / "a.tar", tmp_path / "out", job[1], "--variants", 2)
    assert done.exit_code == 2
    assert message in error_of(done)


def test_names_in_archives_have_less_room_and_odd_headers_are_written_anew(job, tmp_path):
    with tarfile.open(tmp_path / "long.tar", "w") as archive:
        add(archive, "a" * 194 + ".png", PICTURE)
    done = refine(tmp_path / "long.tar", tmp_path / "out", job[1], "--variants", 3)
    assert "no room for _v1 in the name aaa" in error_of(done)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        add(archive, "a.png", PICTURE)
    data = bytearray(out.getvalue())
    data[136:148], data[148:156] = b"not-a-time\0\0", b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "odd.tar").write_bytes(data)
    assert refine(tmp_path / "odd.tar", tmp_path / "out", job[1], "--variants", 3, "--no-check").exit_code == 0
    assert len(groups(open_dataset(tmp_path / "out" / "odd.tar"))) == 3
