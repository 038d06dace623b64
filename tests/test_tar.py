"""Tar datasets: what comes out is what went in, with other images; what a stranger's archive holds does no harm."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from conftest import png
from PIL import Image
from stream import brighter, error_of, manifest, refine, refine_json, scene, start, tree_of, write_refiner, write_scenes

from refinery.dataset import open_dataset
from refinery.errors import DatasetError
from refinery.formats import _tar, _tar_files
from refinery.formats._counting import count_samples
from refinery.formats._source import Loose
from refinery.sample import Sample

Files = Iterable[tuple[str, bytes]]


def shard(files: Files, kind: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(data), 1_700_000_000, "render"
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def scenes(first: int, count: int) -> list[tuple[str, bytes]]:
    """Images, labels and a file that nobody knows."""
    files: list[tuple[str, bytes]] = []
    for i in range(first, first + count):
        pixels, label = scene(i)
        files += [(f"{i:04d}.png", png(pixels)), (f"{i:04d}.json", json.dumps({"disc": label}).encode())]
        files += [(f"{i:04d}.depth.npy", bytes(i % 7))]
    return files


def members(data: bytes) -> dict[str, tuple[bytes, tarfile.TarInfo]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: (archive.extractfile(info).read(), info) for info in archive if info.isfile()}


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def keys(path: Path) -> list[str]:
    return [entry.key for entry in open_dataset(path).entries() if isinstance(entry, Sample)]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"])
def test_every_member_comes_out_in_its_place_with_its_headers(name, tmp_path):
    files = scenes(0, 5)
    data = shard(files)
    packed = {"a.tar": data, "a.tar.zst": zstandard.compress(data)}.get(name) or gzip.compress(data)
    source = write(tmp_path / "in" / name, packed)
    assert refine(source, tmp_path / "out", write_refiner(tmp_path)).exit_code == 0
    written = (tmp_path / "out" / name).read_bytes()
    assert written[:2] == packed[:2]
    refined = members(written if name == "a.tar" else unpacked(written, name))
    assert list(refined) == [path for path, _ in files]
    for path, content in files:
        found, info = refined[path]
        assert (info.mtime, info.uname) == (1_700_000_000, "render")
        if path.endswith(".png"):
            np.testing.assert_array_equal(
                np.asarray(Image.open(io.BytesIO(found))), brighter(np.asarray(Image.open(io.BytesIO(content))))
            )
        else:
            assert found == content


def unpacked(data: bytes, name: str) -> bytes:
    if name.endswith(".zst"):
        return zstandard.ZstdDecompressor().stream_reader(data).read()
    return gzip.decompress(data)


def test_a_folder_of_archives_comes_out_as_one(tmp_path):
    write(tmp_path / "in" / "b" / "1.tar", shard(scenes(3, 3)))
    write(tmp_path / "in" / "0.tar.gz", gzip.compress(shard(scenes(0, 3))))
    write(tmp_path / "in" / "none.tar", shard([("readme.txt", b"no image")]))
    write(tmp_path / "in" / "index.json", b"{}")
    code, result = refine_json(tmp_path / "in", tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["samples"], result["refined"]) == (0, 6, 6)
    assert set(tree_of(tmp_path / "out")) == {"0.tar.gz", "b/1.tar", "none.tar", "index.json"}
    assert (tmp_path / "out" / "none.tar").read_bytes() == (tmp_path / "in" / "none.tar").read_bytes()
    assert (
        keys(tmp_path / "out")
        == keys(tmp_path / "in")
        == [f"0.tar.gz/000{i}" for i in range(3)] + [f"b/1.tar/000{i}" for i in range(3, 6)]
    )


def test_labels_are_read_and_the_audit_finds_them(tmp_path):
    source = write(tmp_path / "in" / "a.tar", shard(scenes(0, 12)))
    assert refine(source, tmp_path / "out", write_refiner(tmp_path)).exit_code == 0
    assert all(line["labels"][0]["verdict"] == "pass" for line in manifest(tmp_path / "out").values())
    moved = refine(source, tmp_path / "moved", write_refiner(tmp_path, "moved"), "--on-drift", "keep")
    assert moved.exit_code == 3


def test_what_is_no_plain_file_or_leads_out_is_refused_named_and_the_rest_goes_on(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.LNKTYPE, "hard.png"), (tarfile.CHRTYPE, "null.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, data in [("../out.png", b"1"), ("/abs.png", b"1"), *scenes(0, 2)]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    source = write(tmp_path / "in" / "a.tar", out.getvalue())
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"]) == (3, 2)
    named = " ".join(result["not_carried"])
    assert all(name in named for name in ("link.png", "hard.png", "null.png", "../out.png", "/abs.png"))
    assert [name for name in members((tmp_path / "out" / "a.tar").read_bytes()) if name.endswith("png")] == [
        "0000.png",
        "0001.png",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "brighter-1.onnx"}


def test_a_sample_that_comes_twice_is_left_out_the_second_time(tmp_path):
    source = write(tmp_path / "in" / "a.tar", shard([*scenes(0, 2), *scenes(0, 1)]))
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["samples"]) == (3, 2)
    assert "0000.png: a file of this name came before" in result["not_carried"][0]


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_breaks_off_is_refined_up_to_there_and_named(packed, tmp_path):
    data = shard(scenes(0, 6))
    cut = gzip.compress(data)[: len(gzip.compress(data)) * 2 // 3] if packed else data[: len(data) * 2 // 3 + 700]
    source = write(tmp_path / "in" / ("a.tar.gz" if packed else "a.tar"), cut)
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert code == 3
    assert 1 <= result["refined"] < 6
    assert "what follows is missing" in result["not_carried"][0]
    again = open_dataset(tmp_path / "out")
    assert sum(isinstance(entry, Sample) for entry in again.entries()) == result["refined"]
    assert again.lost() == []


@pytest.mark.parametrize("tail", [b"not a header" * 60, b"\x00" * 512 + b"x" * 512])
def test_rubbish_behind_the_members_is_named(tail, tmp_path):
    data = shard(scenes(0, 2))
    source = open_dataset(write(tmp_path / "a.tar", data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512) + tail))
    assert sum(isinstance(entry, Sample) for entry in source.entries()) == 2
    assert "no tar stream at byte" in source.lost()[0]


def test_an_archive_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_tar_files, "SPARED_BYTES", 1 << 20)
    bomb = write(tmp_path / "in" / "bomb.tar.gz", gzip.compress(bytes(64 << 20)))
    with pytest.raises(DatasetError, match=r"bomb\.tar\.gz: expands to more than 100 times its size"):
        open_dataset(bomb)
    write(tmp_path / "in" / "good.tar", shard(scenes(0, 2)))
    code, result = refine_json(tmp_path / "in", tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["refined"]) == (3, 2)
    assert "its samples are not refined" in result["not_carried"][0]
    assert (tmp_path / "out" / "bomb.tar.gz").read_bytes() == bomb.read_bytes()


def test_a_sparse_file_is_refused(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("huge.png")
        info.size, info.pax_headers = 512, {"GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999999"}
        archive.addfile(info, io.BytesIO(bytes(512)))
        for name, data in scenes(0, 1):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    source = open_dataset(write(tmp_path / "a.tar", out.getvalue()))
    assert sum(isinstance(entry, Sample) for entry in source.entries()) == 1
    assert "'huge.png': not a plain file" in source.lost()[0]


def test_a_size_in_a_pax_header_is_replaced(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in scenes(0, 2):
            info = tarfile.TarInfo("long" * 40 + "/" + name)
            info.size, info.pax_headers = len(data), {"size": str(len(data))}
            archive.addfile(info, io.BytesIO(data))
    source = write(tmp_path / "a.tar", out.getvalue())
    assert refine(source, tmp_path / "out", write_refiner(tmp_path)).exit_code == 0
    refined = members((tmp_path / "out" / "a.tar").read_bytes())
    assert list(refined) == list(members(out.getvalue()))
    assert all(Image.open(io.BytesIO(data)).size for name, (data, _) in refined.items() if name.endswith("png"))


@pytest.mark.parametrize("name", ["empty.tar", "text.tar", "none.tar", "packed.tar.gz"])
def test_what_is_no_dataset_is_one_line(name, tmp_path):
    content = {
        "empty.tar": b"",
        "text.tar": b"hello" * 300,
        "none.tar": shard([("a.txt", b"")]),
        "packed.tar.gz": b"\x1f\x8b1",
    }
    source = write(tmp_path / name, content[name])
    line = error_of(refine(source, tmp_path / "out", write_refiner(tmp_path)))
    assert name in line
    assert "expected" in line
    assert not (tmp_path / "out").exists()


def test_members_that_belong_to_no_image_are_carried_with_the_sample_before_them(tmp_path):
    files = [("first.txt", b"1"), *scenes(0, 2), ("middle.json", b"{}"), *scenes(2, 1), ("last.txt", b"3")]
    source = open_dataset(write(tmp_path / "a.tar", shard(files)))
    entries = list(source.entries())
    assert [entry.path for entry in entries if isinstance(entry, Loose)] == [
        "a.tar/first.txt",
        "a.tar/middle.json",
        "a.tar/last.txt",
    ]
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    assert [[member.path for member in sample.span][-1] for sample in samples] == [
        "0000.depth.npy",
        "middle.json",
        "last.txt",
    ]
    assert [member.path for sample in samples for member in sample.span] == [name for name, _ in files]
    assert [sample.first for sample in samples] == [0, 4, 8]


def test_files_are_found_in_any_order(tmp_path):
    source = open_dataset(write(tmp_path / "a.tar", shard(scenes(0, 8))))
    paths = [path for entry in source.entries() if isinstance(entry, Sample) for path in (entry.image, *entry.sidecars)]
    expected = dict(scenes(0, 8))
    random.Random(0).shuffle(paths)
    for path in paths:
        assert source.read_file(path) == expected[path.removeprefix("a.tar/")]


MASKED = {
    "a mask sorts before its picture": ["0-mask.png", "0.json", "0.png", "1-mask.png", "1.json", "1.png"],
    "a mask behind a dot": ["0.json", "0.png", "0.seg.png", "1.json", "1.png", "1.seg.png"],
    "a folder of masks": ["images/0.png", "images/1.png", "masks/0.png", "masks/1.png"],
}


@pytest.mark.parametrize("names", MASKED.values(), ids=MASKED)
def test_masks_are_carried_and_no_samples(names, tmp_path):
    files = [(name, png(scene(i)[0])) for i, name in enumerate(names)]
    source = write(tmp_path / "in" / "a.tar", shard(files))
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["samples"]) == (0, 2)
    refined = members((tmp_path / "out" / "a.tar").read_bytes())
    changed = [name for name, data in files if refined[name][0] != data]
    assert sorted(Path(name).stem for name in changed) == ["0", "1"]
    assert not any("mask" in name or "seg" in name for name in changed)


def test_a_file_that_comes_twice_keeps_its_first_content(tmp_path):
    picture, mask = png(scene(0)[0]), png(scene(1)[0])
    files = [("x.png", picture), ("x_mask.png", mask), ("y.png", picture), ("x_mask.png", picture)]
    source = write(tmp_path / "in" / "a.tar", shard(files))
    code, result = refine_json(source, tmp_path / "out", write_refiner(tmp_path))
    assert (code, result["samples"]) == (3, 2)
    assert "a file of this name came before" in result["not_carried"][0]
    assert members((tmp_path / "out" / "a.tar").read_bytes())["x_mask.png"][0] == mask


def test_many_files_of_one_key_and_large_ones_are_carried(tmp_path, monkeypatch):
    monkeypatch.setattr(_tar, "MAX_SAMPLE_BYTES", 5000)
    files = [("clip.mp4", bytes(20_000)), *((f"clip.{i}x", b"1") for i in range(300)), *scenes(0, 2)]
    source = write(tmp_path / "in" / "a.tar", shard(files))
    assert refine(source, tmp_path / "out", write_refiner(tmp_path)).exit_code == 0
    assert list(members((tmp_path / "out" / "a.tar").read_bytes())) == [name for name, _ in files]


def test_headers_of_folders_and_links_have_no_content_whatever_they_say(tmp_path):
    data = bytearray(shard([("folder", b"x" * 600), *scenes(0, 1)]))
    data[156:157] = b"5"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    del data[512 : 512 + 1024]  # a folder has none
    assert keys(write(tmp_path / "a.tar", bytes(data))) == ["a.tar/0000"]


def test_headers_without_end_are_refused(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for i in range(2200):
            info = tarfile.TarInfo(f"folder{i}")
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    line = error_of(refine(write(tmp_path / "a.tar", out.getvalue()), tmp_path / "out", write_refiner(tmp_path)))
    assert "bytes of headers before a file's content" in line


def test_a_folder_of_images_with_an_archive_beside_them_stays_a_folder(tmp_path):
    write(tmp_path / "in" / "backup.tar", shard(scenes(0, 1)))
    write(tmp_path / "in" / "images" / "1.png", png(scene(1)[0]))
    assert open_dataset(tmp_path / "in").layout == "folder"


def test_killed_while_a_whole_archive_is_copied_back_it_goes_on(tmp_path):
    source, model = write(tmp_path / "in" / "a.tar.gz", gzip.compress(shard(scenes(0, 4)))), write_refiner(tmp_path)
    assert refine(source, tmp_path / "out", model, "--no-check").exit_code == 0
    undisturbed = tree_of(tmp_path / "out", own=True)
    own = tmp_path / "out" / ".refinery"
    lines = (own / "manifest.jsonl").read_text().splitlines(keepends=True)
    (own / "manifest.jsonl").write_text("".join(lines[:2]))  # the archive was whole, its last samples not noted
    (own / "summary.json").unlink()
    (own / "spool").mkdir()
    (own / "spool" / "half.tmp").write_bytes(b"cut")
    assert refine(source, tmp_path / "out", model, "--no-check").exit_code == 0
    assert tree_of(tmp_path / "out", own=True) == undisturbed


def test_no_room_to_unpack_stops_the_job(tmp_path, monkeypatch):
    source = write(tmp_path / "in" / "a.tar.gz", gzip.compress(shard(scenes(0, 4))))

    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_tar_files.tempfile, "TemporaryFile", lambda **_: Full())
    line = error_of(refine(source, tmp_path / "out", write_refiner(tmp_path)))
    assert "No space left on device" in line
    assert "set TMPDIR" in line


@pytest.mark.slow
def test_an_input_that_went_away_stops_the_job_and_it_goes_on_when_it_is_back(tmp_path):
    source, model = write_scenes(tmp_path / "in", 300), write_refiner(tmp_path, "slow")
    assert refine(source, tmp_path / "undisturbed", model).exit_code == 0
    process = start("refine", source, "--out", tmp_path / "out", "--model", model, "--provider", "cpu", "--workers", 1)
    manifest_file = tmp_path / "out" / ".refinery" / "manifest.jsonl"
    while process.poll() is None and not (manifest_file.exists() and manifest_file.stat().st_size):
        time.sleep(0.002)
    source.rename(tmp_path / "elsewhere")
    _, stderr = process.communicate(timeout=60)
    (tmp_path / "elsewhere").rename(source)
    assert process.returncode == 1, stderr
    assert "the input went away; bring it back and run the same command again" in stderr
    assert refine(source, tmp_path / "out", model).exit_code == 0
    assert tree_of(tmp_path / "out", own=True) == tree_of(tmp_path / "undisturbed", own=True)


def test_samples_at_places_are_those_of_a_walk_and_archives_without_one_are_passed_over(tmp_path, monkeypatch):
    image = png(scene(0)[0])
    for name, count in (("0", 3), ("1", 0), ("2", 40), ("3", 1), ("4", 20)):
        write(tmp_path / f"{name}.tar", shard([("a.txt", b"1"), *((f"{i:03d}.png", image) for i in range(count))]))
    write(tmp_path / "broken.tar", b"no archive" * 100)
    write(tmp_path / "about.txt", b"loose")
    source, whole = open_dataset(tmp_path), keys(tmp_path)
    assert len(whole) == count_samples(source) == 64
    for places in ([], [0], [63], [2, 3], [42, 43, 44], [0, 1, 63], list(range(64))):
        for each in (open_dataset(tmp_path), source):  # sizes unknown, and known
            assert [sample.key for sample in each.samples_at(places)] == [whole[place] for place in places]
    opened: list[str] = []
    archive = source._files.archive
    monkeypatch.setattr(source._files, "archive", lambda path: opened.append(path) or archive(path))
    assert [sample.key for sample in source.samples_at([1, 44])] == ["0.tar/001", "4.tar/000"]
    assert set(opened) == {"0.tar", "4.tar"}
