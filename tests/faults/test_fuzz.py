"""Damaged files of every kind through whole refine jobs: no crash, no hang, no write outside the output.

A job is given a dataset in which one file was damaged as disks, networks and strangers damage files: bytes turned, cut
off, repeated, exchanged for telling ones. It may refine, reject, refuse and complain in one line; nothing else.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from stream import refine, scene, write_refiner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses SIGALRM")
LIMIT_S = 30
TELLING = (
    *(
        b"\x00" * 8,
        b"\xff" * 8,
        b"\x7f\xff\xff\xff",
        b"-1",
        b"1e999",
        b"NaN",
        b"[" * 3000,
        b'{"a":' * 2000,
        b"<a>" * 2000,
    ),
    *(
        b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
        b"../../../../tmp/x",
        b"/etc/passwd",
        b"\x00",
        b"\n",
        b"%n",
    ),
    *(b"IHDR\x7f\xff\xff\xff\x7f\xff\xff\xff", b"99999999999", b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff"),
)
Damage = Callable[[bytes], bytes]
Files = dict[str, bytes]


def jpeg(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def folder_files() -> Files:
    """Images of several formats, labels in JSON, XML, a table and an index, and a mask."""
    files: Files = {}
    for i in range(4):
        pixels, label = scene(i)
        kind = (png, jpeg, png, png)[i]
        files[f"{i}.{'jpg' if i == 1 else 'png'}"] = kind(pixels)
        files[f"{i}.json"] = json.dumps({"disc": label, "class": "disc"}).encode()
    box = "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
    files["2.xml"] = f"<annotation><object><name>disc</name>{box}</object></annotation>".encode()
    files["0_mask.png"] = png((scene(0)[0] > 150).astype(np.uint8) * 255)
    files["labels.csv"] = b"image,x,y\n0.png,20,20\n3.png,21.5,19\n"
    coco = {
        "images": [{"id": 1, "file_name": "3.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 20, 20]}],
        "categories": [{"id": 1, "name": "disc"}],
    }
    files["annotations.json"] = json.dumps(coco).encode()
    return files


def tar_bytes() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in folder_files().items():
            info = tarfile.TarInfo("ü" * 60 + name if name == "3.png" else name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def hdf5_bytes() -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for i in range(4):
            file[f"image/{i}"] = scene(i)[0]
            file[f"look_vec/{i}"] = np.array([0.1 * i, -0.2, 0.97])
        file.create_dataset("stack", data=np.stack([scene(i)[0] for i in range(3)]), chunks=(1, 48, 64), compression=1)
    return out.getvalue()


DATASETS: dict[str, Files] = {
    "folder": folder_files(),
    "tar": {"a.tar": tar_bytes()},
    "gzip": {"a.tar.gz": gzip.compress(tar_bytes(), mtime=0)},
    "hdf5": {"a.h5": hdf5_bytes()},
}


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """One to four changes at any place."""
    changes = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "cut", "drop", "repeat", "put", "over"]),
                st.floats(0, 1, exclude_max=True),
                st.integers(1, 255),
                st.sampled_from(TELLING),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def apply(data: bytes) -> bytes:
        for kind, place, number, telling in changes:
            at = int(place * len(data))
            if kind == "flip" and data:
                data = data[:at] + bytes([data[at] ^ number]) + data[at + 1 :]
            elif kind == "cut":
                data = data[:at]
            elif kind == "drop":
                data = data[:at] + data[at + number :]
            elif kind == "repeat":
                data = data[: at + number * 8] + data[at:]
            elif kind == "put":
                data = data[:at] + telling + data[at:]
            else:
                data = data[:at] + telling + data[at + len(telling) :]
        return data

    return apply


_opened: list[str] | None = None


def _note_writes(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is None or event not in ("open", "os.rename", "os.mkdir", "os.link", "os.symlink"):
        return
    if event == "open" and not (
        isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    ):
        return
    _opened.append(os.fsdecode(arguments[1 if event != "open" and event != "os.mkdir" else 0]))  # type: ignore[arg-type]


sys.addaudithook(_note_writes)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Paths that are opened for writing, made or renamed to meanwhile; ends what takes too long."""
    global _opened

    def hang(*_: object) -> None:
        raise TimeoutError(f"no end within {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LIMIT_S)
    _opened = written = []
    try:
        yield written
    finally:
        _opened = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(files: Files, root: Path, model: Path) -> None:
    """Refine the files, and require that it ends well in one of the ways that it may end."""
    place = root / f"{len(list(root.iterdir()))}"
    for name, data in files.items():
        (place / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "in" / name).write_bytes(data)
    with watched() as written:
        done = refine(place / "in", place / "out", model, "--workers", 2, "--yes")
    assert done.exit_code in (0, 1, 3), done.stderr
    assert "bug of refinery" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    if done.exit_code == 1:
        assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
    allowed = str(place / "out")
    outside = [path for path in written if not path.startswith((allowed, "/dev/"))]
    assert [path for path in outside if path != tempfile.gettempdir()] == []  # a nameless file there
    assert {path.name for path in place.iterdir()} <= {"in", "out"}
    assert {name: (place / "in" / name).read_bytes() for name in files} == files


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("fuzz")
    return root, write_refiner(tmp_path_factory.mktemp("model"))


def fuzz(layout: str, place: tuple[Path, Path], examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(sorted(DATASETS[layout])), damages())
    def damaged(name: str, damage: Damage) -> None:
        files = dict(DATASETS[layout])
        files[name] = damage(files[name])
        run(files, *place)

    damaged()


@pytest.mark.slow
@pytest.mark.parametrize("layout", sorted(DATASETS))
def test_damaged_files_do_no_harm(layout, place):
    fuzz(layout, place, 8)


@pytest.mark.slow
@pytest.mark.parametrize("layout", sorted(DATASETS))
def test_many_damaged_files_do_no_harm(layout, place):
    fuzz(layout, place, 100)


def test_the_watch_sees_a_write(tmp_path):
    with watched() as written:
        (tmp_path / "outside").write_bytes(b"")
    assert written == [str(tmp_path / "outside")]


@pytest.mark.parametrize("layout", sorted(DATASETS))
def test_undamaged_files_are_refined(layout, place):
    root, model = place
    target = root / f"whole-{layout}"
    for name, data in DATASETS[layout].items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    assert refine(target, root / f"refined-{layout}", model, "--on-drift", "keep", "--yes").exit_code in (0, 3)
