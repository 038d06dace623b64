"""Decoded images beyond the memory: on disk while they are needed, mapped and not read, gone afterwards."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SIMGAN, Recorder, train_config, write_images

from refinery.dataset import open_dataset
from refinery.errors import DatasetError, OutputError
from refinery.jobs.train import train
from refinery.training import checkpoint
from refinery.training.cache import DiskCache, MappedImages, PixelStore
from refinery.training.loading import Cover, load


def pictures(count: int, dtype=np.uint8) -> list[np.ndarray]:
    """Noise of ever other sizes."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    return [rng.integers(0, top, (20 + i % 7, 31 + i % 5, 1 + 2 * (i % 2)), dtype) for i in range(count)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_come_back_as_they_were(tmp_path, dtype):
    images = pictures(2000, dtype)
    with DiskCache(tmp_path / "cache", 100) as cache:
        store = PixelStore(1, cache)
        for image in images:
            store.add(image)
        kept = store.images()
        assert isinstance(kept, MappedImages)
        assert len(kept) == len(images)
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(kept, images, strict=True))
        chosen = kept.select([5, 3, 5])
        assert [np.array_equal(a, images[i]) for a, i in zip(chosen, (5, 3, 5), strict=True)] == [True] * 3
        assert np.array_equal(kept[-1], images[-1])
        assert [image.shape for image in kept[2:4]] == [image.shape for image in images[2:4]]
        assert not kept[0].flags.owndata
        assert (tmp_path / "cache").is_dir()
    assert not (tmp_path / "cache").exists()


def test_what_fits_stays_in_memory(tmp_path):
    with DiskCache(tmp_path / "cache", 100) as cache:
        store = PixelStore(1, cache)
        for image in pictures(10):
            store.add(image)
        assert isinstance(store.images(), list)
        assert not (tmp_path / "cache").exists()


def test_it_is_gone_after_an_error_and_a_killed_run_leaves_no_trace(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "1.pixels").write_bytes(b"of a run that was killed")
    cache = DiskCache(tmp_path / "cache", 100)

    def die() -> None:
        with cache:
            assert not (tmp_path / "cache").exists()
            cache.new_file().write_bytes(b"begun")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with DiskCache(tmp_path / "cache", 100) as cache:
        store = PixelStore(1, cache)
        monkeypatch.setattr(Path, "open", lambda *_, **__: Full())
        message = r"1\.pixels: 0 MB of decoded images were written, then: No space left on device; free some space, "
        with pytest.raises(OutputError, match=message):
            store.add(np.zeros((2000, 2000, 1), np.uint8))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_at_the_last_byte_is_noticed(tmp_path):
    (tmp_path / "cache").mkdir()
    with DiskCache(tmp_path / "cache", 100) as cache:
        store = PixelStore(1, cache)
        (tmp_path / "cache").mkdir()
        cache.new_file = lambda: Path("/dev/full")
        store._open = lambda path: setattr(store, "_file", path.open("wb", buffering=1 << 24))
        store.add(np.zeros((2000, 2000, 1), np.uint8))
        with pytest.raises(OutputError, match="No space left"):
            store.images()


def test_a_dataset_larger_than_the_memory_is_used_whole_and_one_larger_than_the_cache_in_part(tmp_path):
    source = open_dataset(write_images(tmp_path / "images", 64, (256, 256)))
    with DiskCache(tmp_path / "cache", 100) as cache:
        whole = load(source, 1, "synthetic dataset", cache)
        assert len(whole.images) == 64
        assert whole.notes == ("synthetic dataset: 4 MB of decoded images lie on disk while training runs",)
        memory = load(source, 100, "synthetic dataset", cache)
        assert not memory.notes
        assert all(np.array_equal(a, b) for a, b in zip(whole.images, memory.images, strict=True))
        assert whole.size_hw == memory.size_hw == (256, 256)
        assert np.array_equal(whole.select([3, 1]).images[1], memory.images[1])
    with DiskCache(tmp_path / "cache", 2) as cache:
        part = load(source, 1, "synthetic dataset", cache)
    numbers = [int(sample.key) for sample in part.samples]
    assert len(numbers) == 32
    assert max(np.diff(numbers)) == 2
    assert part.notes[1] == "synthetic dataset: 32 of 64 images are used, as many as cache_mb has room for"


@pytest.mark.slow
def test_large_photos_are_fitted_before_they_take_room(tmp_path):
    source = open_dataset(write_images(tmp_path / "photos", 40, (256, 512), channels=3))
    photos = load(source, 1, "real dataset", fit=Cover((32, 48), 1))
    assert len(photos.images) == 40
    assert {image.shape for image in photos.images} == {(32, 64, 1)}
    assert (photos.channels, photos.changed, photos.notes) == (1, 40, ())


RESIDENT = """
import re, sys, tempfile
from pathlib import Path
import numpy as np, torch
from refinery.sample import Sample
from refinery.training.cache import DiskCache, PixelStore
from refinery.training.data import Batches, ImageSet
from refinery.training.sampling import Chance

def resident_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

with tempfile.TemporaryDirectory() as folder, DiskCache(Path(folder) / "cache", 1000) as cache:
    store, image = PixelStore(8, cache), np.zeros((512, 512, 3), np.uint8)
    before = resident_mb()
    for number in range(320):
        store.add(image + np.uint8(number % 256))
    images = ImageSet(store.images(), [Sample(str(i), str(i)) for i in range(320)], 3, 8)
    batches = Batches(images, (64, 64), 16, Chance(0, "synthetic"), torch.device("cpu"))
    for _ in range(50):
        batches.draw()
    print(resident_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_240_mb_of_images_take_little_memory():
    result = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 60


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Datasets of more than 1 MB a side, and a run that holds them in memory."""
    root = tmp_path_factory.mktemp("large")
    write_images(root / "synthetic", 20, (300, 200), labels=True)
    write_images(root / "real", 20, (300, 200), seed=1, contrast=0.3)
    train(run_config(root, "in-memory"), SIMGAN, observer=Recorder(stop_at=4))
    return root


def run_config(root: Path, out: str, **changes):
    settings = {"crop": 16, "validation": 4, "control": 4, "guide_steps": 0, "probe": False, "eval_every": 100}
    return train_config(root, out, **{**settings, **changes})


def test_a_run_from_the_disk_is_the_run_from_memory_and_leaves_no_cache(large):
    seen: list[list[str]] = []

    class Looking(Recorder):
        def progress(self, record, total):
            seen.append(sorted(path.name for path in (large / "on-disk" / "cache").iterdir()))
            super().progress(record, total)

    observer = Looking(stop_at=4)
    train(run_config(large, "on-disk", memory_mb=1), SIMGAN, observer=observer)
    assert seen[0] == ["1.pixels", "2.pixels"]
    assert "real dataset: 1 MB of decoded images lie on disk while training runs" in observer.said
    assert not (large / "on-disk" / "cache").exists()
    one, other = (checkpoint.load(large / run / "checkpoints" / "last.safetensors") for run in ("in-memory", "on-disk"))
    assert one["training"] == other["training"]
    for name, weights in one["method_state"]["refiner"].items():
        assert torch.equal(weights, other["method_state"]["refiner"][name])


def test_a_run_that_dies_leaves_no_cache_and_one_that_never_began_no_folder(large):
    with pytest.raises(KeyboardInterrupt):
        train(run_config(large, "dies", memory_mb=1), SIMGAN, observer=Recorder(die_at=3))
    assert sorted(path.name for path in (large / "dies").iterdir() if "cache" in path.name) == []
    write_images(large / "gray-photos", 4)
    with pytest.raises(DatasetError, match="4 usable"):
        train(run_config(large, "never", memory_mb=1, real=str(large / "gray-photos")), SIMGAN)
    assert not (large / "never").exists()
