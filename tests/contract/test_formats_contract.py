"""What every dataset layout promises. A new layout needs one example here: `EXAMPLES[name]` writes a small dataset.

One whose files hold many samples has two such files or more: parts of a batch job take whole files.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import mask, photo, png

from refinery import registry
from refinery.formats._parts import divide
from refinery.formats._source import Loose, Source
from refinery.sample import Sample
from refinery.shard import Shard

NAMES = ["a 1", "b.2.left", "b.3.left", "é-ü", "日本"]


def folder_example(root: Path) -> Path:
    """Nested folders with awkward names, labels beside and in a partner folder, and a mask."""
    for name in NAMES:
        for path, data in {
            f"images/{name}.png": png(photo(len(name))),
            f"images/{name}.json": b'{"x": 1}',
            f"labels/{name}.txt": b"0 0.5 0.5 1 1",
            f"images/{name}_mask.png": png(mask()),
            f"read me {name}": b"about",
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
    return root


def hdf5_example(root: Path) -> Path:
    """A folder of two HDF5 files with awkward names, and a loose file."""
    root.mkdir()
    for file_name in ("a 1.h5", "é.2.hdf5"):
        with h5py.File(root / file_name, "w") as file:
            for i, name in enumerate([*NAMES, "10", "9"]):
                file[f"image/{name}"] = photo(i, 35, 55, 1)
                file[f"look_vec/{name}"] = np.array([0.5, i, 1])
    (root / "read me").write_bytes(b"about")
    return root


def tar_example(root: Path) -> Path:
    """A folder of two archives with awkward names, masks and loose members, one of them compressed, and a file."""
    root.mkdir()
    for file_name, mode in (("a 1.tar", "w"), ("é.2.tar.gz", "w:gz")):
        with tarfile.open(root / file_name, mode) as archive:
            add(archive, "about.txt", b"first")
            for name in NAMES:
                add(archive, f"images/{name}.png", png(photo(len(name))))
                add(archive, f"images/{name}.json", b'{"x": 1}')
                add(archive, f"images/{name}_mask.png", png(mask()))
            add(archive, "last.txt", b"last")
    (root / "read me").write_bytes(b"about")
    return root


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """One plain file."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), 1_700_000_000
    archive.addfile(info, io.BytesIO(data))


EXAMPLES = {"folder": folder_example, "hdf5": hdf5_example, "tar": tar_example}


@pytest.fixture(params=registry.names("format"))
def source(request, tmp_path) -> Source:
    """One example dataset of each layout, opened."""
    assert request.param in EXAMPLES, f"layout {request.param!r} needs an example in this file"
    path = EXAMPLES[request.param](tmp_path / "input")
    module = registry.find("format", request.param)
    assert module.sniff(path)
    return module.open_source(path)


def samples_of(source: Source) -> list[Sample]:
    """The samples of a source."""
    return [entry for entry in source.entries() if isinstance(entry, Sample)]


def inverted(source: Source, sample: Sample) -> bytes:
    """A stand-in for the refined image."""
    decoded = source.decode(source.read(sample), sample)
    return source.encode(np.iinfo(decoded.pixels.dtype).max - decoded.pixels, decoded)


def write_all(source: Source, out: Path, finish: bool = True, scratch: Path | None = None) -> None:
    """Refine everything into `out`."""
    sink = source.sink(out, scratch)
    for entry in source.entries():
        if isinstance(entry, Loose):
            sink.carry(entry.path)
        else:
            sink.write_image(entry, inverted(source, entry))
            for path in entry.sidecars:
                sink.carry(path)
        sink.commit(entry)
    if finish:
        sink.finish()


def files_of(root: Path) -> dict[str, bytes]:
    """All files of a folder except refinery's own."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if ".refinery" not in path.parts}


def test_layout_is_named_after_its_file(source, request):
    assert source.layout == request.node.callspec.params["source"]


def test_order_and_keys_are_the_same_at_every_reading(source):
    entries = list(source.entries())
    assert entries == list(source.entries())
    keys = [sample.key for sample in samples_of(source)]
    assert len(set(keys)) == len(keys) > 0


def test_every_path_is_met_once_and_every_file_is_covered(source):
    met: list[str] = []
    for entry in source.entries():
        met += [entry.path] if isinstance(entry, Loose) else [entry.image, *entry.sidecars]
    assert len(set(met)) == len(met)
    for path in files_of(source.root):
        assert any(one == path or one.startswith(path + "/") for one in met), path


def test_sidecars_are_sorted_and_readable(source):
    for sample in samples_of(source):
        assert list(sample.sidecars) == sorted(sample.sidecars)
        assert all(isinstance(source.read_file(path), bytes) for path in sample.sidecars)


def test_encode_is_the_inverse_of_decode(source):
    for sample in samples_of(source):
        before = source.decode(source.read(sample), sample)
        after = source.decode(source.encode(before.pixels, before), sample)
        np.testing.assert_array_equal(after.pixels, before.pixels)
        assert (after.mode, after.format, after.bits) == (before.mode, before.format, before.bits)


def test_output_has_the_same_entries_with_new_images(source, tmp_path):
    write_all(source, tmp_path / "out")
    again = registry.find("format", source.layout).open_source(tmp_path / "out")
    assert list(again.entries()) == list(source.entries())
    for sample in samples_of(source):
        assert again.read(sample) == inverted(source, sample)
        assert all(again.read_file(path) == source.read_file(path) for path in sample.sidecars)


def test_carried_files_are_byte_identical(source, tmp_path):
    write_all(source, tmp_path / "out")
    again = source.delivered(tmp_path / "out")
    for entry in source.entries():
        for path in [entry.path] if isinstance(entry, Loose) else entry.sidecars:
            assert again.read_file(path) == source.read_file(path)


def test_images_that_are_carried_as_read_give_equal_images(source, tmp_path):
    sink = source.sink(tmp_path / "out")
    for sample in samples_of(source):
        sink.write_image(sample, source.read(sample))
        sink.commit(sample)
    sink.finish()
    again = registry.find("format", source.layout).open_source(tmp_path / "out")
    assert all(again.read(sample) == source.read(sample) for sample in samples_of(source))


@pytest.mark.parametrize("written", [0, 1, 3])
def test_stopped_and_gone_on_gives_the_same_bytes(source, written, tmp_path):
    write_all(source, tmp_path / "straight")
    stopped = source.sink(tmp_path / "stopped")
    for sample in samples_of(source)[:written]:
        stopped.write_image(sample, inverted(source, sample))
    write_all(source, tmp_path / "stopped", finish=False)
    write_all(source, tmp_path / "stopped")
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


def test_nothing_temporary_is_left(source, tmp_path):
    write_all(source, tmp_path / "out")
    assert set(files_of(tmp_path / "out")) == set(files_of(source.root))
    assert not [path for path in (tmp_path / "out" / ".refinery").rglob("*") if path.is_file()]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_parts_put_the_whole_together(source, count, tmp_path):
    """Each sample and file is in one part, and parts in any order write what one job writes."""
    entries = list(source.entries())
    parts = [divide(source, Shard(count, index)) for index in range(1, count + 1)]
    places = [place for part in parts for ends in part.places for place in range(*ends)]
    own = [list(part.source.entries()) for part in parts]
    assert sorted(places) == list(range(len(samples_of(source))))
    assert sorted(repr(entry) for each in own for entry in each) == sorted(map(repr, entries))
    assert all(each == [entry for entry in entries if entry in each] for each in own)
    for part, each in zip(parts, own, strict=True):
        samples = samples_of(source)
        assert [samples[place] for ends in part.places for place in range(*ends)] == [
            entry for entry in each if isinstance(entry, Sample)
        ]
        assert (part.samples, part.total) == (len(samples_of(part.source)), len(samples))
    write_all(source, tmp_path / "one")
    for index, part in reversed(list(enumerate(parts))):
        write_all(part.source, tmp_path / "parts", scratch=tmp_path / "parts/.refinery" / str(index))
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "one")
