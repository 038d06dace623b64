"""Tar streams: what `tar` and Python write is read, and what a stranger writes does no harm."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import tarfile

import pytest

from refinery.errors import DatasetError
from refinery.formats._tar import MAX_FILE_BYTES, is_safe, read_members
from refinery.training.tar_stream import read_samples

LONG = "folder/" * 8 + "x" * 150 + ".png"


def tar(files: dict[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def read(data: bytes, left_out: list[str] | None = None) -> dict[str, bytes]:
    members = read_members(io.BytesIO(data).read, (left_out if left_out is not None else []).append)
    return {member.path: member.data for member in members}


def keys(files: list[str]) -> list[tuple[str, int]]:
    samples = read_samples(io.BytesIO(tar(dict.fromkeys(files, b"x"))).read, [].append)
    return [(sample.key, len(sample.files)) for sample in samples]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_comes_back(kind):
    files = {"a.png": b"", "b/a.json": b"1" * 512, "c.png": b"2" * 100_001, "ümlaut.png": b"3", LONG: b"4" * 513}
    if kind == tarfile.USTAR_FORMAT:
        del files[LONG]
    assert read(tar(files, kind)) == files


@pytest.mark.skipif(not shutil.which("tar"), reason="needs tar")
def test_what_the_tar_command_writes_comes_back(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b" / ("y" * 120 + ".json")).write_bytes(b"{}")
    data = subprocess.run(["tar", "-c", "."], cwd=tmp_path, capture_output=True, check=True).stdout
    assert read(data) == {"a.png": b"picture", "b/" + "y" * 120 + ".json": b"{}"}


def test_archives_behind_each_other_are_one_stream():
    assert list(read(tar({"a.png": b"1"}) + tar({"b.png": b"2"}))) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["0.png", "0.json", "1.png", "1.json"], [("0", 2), ("1", 2)]),
        (["0.rgb.png", "0.mask.png", "0.json", "1.rgb.png"], [("0", 3), ("1", 1)]),
        (["0.png", "0_mask.png", "0.json", "1.png"], [("0", 3), ("1", 1)]),
        (["a/0.png", "b/0.png"], [("a/0", 1), ("b/0", 1)]),
        (["walk_1.png", "walk_2.png"], [("walk_1", 1), ("walk_2", 1)]),
        (["0.png", "1.png", "0.json"], [("0", 1), ("1", 1), ("0", 1)]),
    ],
)
def test_files_of_a_sample_follow_each_other(files, expected):
    assert keys(files) == expected


@pytest.mark.parametrize(
    "path",
    [
        "../x.png", "/etc/passwd", "a/../../x.png", "a//x.png", "", ".", "..", ".bashrc", "a/.ssh/x", "c:\\x.png",
        "c:x", "a\nb.png", "\x1b[2J.png", ".refinery/x", "a/" * 20 + "x", "x" * 300, "nul\0.png", "a?.png",
    ],
)  # fmt: skip
def test_paths_that_are_not_used(path):
    assert not is_safe(path)


def test_paths_that_are_used():
    assert all(map(is_safe, ("a.png", "a/b/c.json", "Bild 7 (ü).png", "img_0.5_left.png")))


def test_links_devices_and_paths_that_lead_out_are_left_out():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(f"{name}.png")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in ("../out.png", "good.png"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"data"))
    left_out: list[str] = []
    assert read(out.getvalue(), left_out) == {"good.png": b"data"}
    assert [line.split(": ")[0] for line in left_out] == ["'link.png'", "'hard.png'", "'pipe.png'", "'../out.png'"]
    assert left_out[-1].endswith("not a path inside a dataset")


def with_size(size: bytes) -> bytes:
    """The header of a file that claims this size."""
    block = bytearray(tar({"a.png": b"1"})[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Rendering frame 1\n" * 100, r"^no tar stream at byte 0: found b'Rendering frame ', expected a"),
        (tar({"a.png": b"1"})[:1024] + b"warning: slow\n" * 50, r"^no tar stream at byte 1,024: found b'warning: slow"),
        (tar({"a.png": b"1" * 2000})[:1500], r"^the stream ends in the middle of 'a\.png': 988 of 2,000 bytes"),
        (with_size(b"\x80" + b"\x7f" * 11), r"^the stream's file 'a\.png' says it has [\d,]+ bytes; at most 268,"),
        (with_size(b"%011o\0" % (MAX_FILE_BYTES + 1)), r"says it has 268,435,457 bytes"),
        (with_size(b"99999999999\0"), r"'99999999999' is no size of a file"),
        (with_size(b"-0000000001\0"), r"'-0000000001' is no size of a file"),
        (tar({"a.png": b""})[:300], r"^no tar stream at byte 0"),
    ],
)
def test_what_is_broken_is_one_line(data, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_a_path_that_comes_again_begins_another_sample():
    data = tar({"image.png": b"1", "image.json": b"{}"}) + tar({"image.png": b"2"})
    samples = read_samples(io.BytesIO(data).read, [].append)
    assert [sample.files for sample in samples] == [{"image.png": b"1", "image.json": b"{}"}, {"image.png": b"2"}]


def test_a_pax_header_may_not_lie_about_its_length():
    data = bytearray(tar({LONG: b"1"}, tarfile.PAX_FORMAT))
    data[512:515] = b"999"
    with pytest.raises(DatasetError, match="a broken pax header"):
        read(bytes(data))


def test_a_sample_without_end_is_refused():
    names = (f"0.{i}x.png" for i in itertools.count())
    with pytest.raises(DatasetError, match=r"has 257 files .*; at most 256 "):
        keys(list(itertools.islice(names, 300)))
