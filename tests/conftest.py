"""What all tests share: small images and datasets, made on the spot, and the folder of third-party data."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from refinery.formats import _store

settings.register_profile("repeatable", derandomize=True)  # the same examples in every run, on every machine
settings.load_profile("repeatable")


def png(pixels: np.ndarray, **options) -> bytes:
    """(H, W[, C]) as PNG bytes."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", **options)
    return out.getvalue()


def photo(seed: int = 0, height: int = 16, width: int = 20, channels: int = 3) -> np.ndarray:
    """(H, W[, C]) uint8 with many colours; two dimensions for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mask(height: int = 16, width: int = 20) -> np.ndarray:
    """(H, W) uint8 with two values."""
    values = np.zeros((height, width), np.uint8)
    values[4:10, 5:12] = 7
    return values


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Writes files by relative path into a fresh folder and returns it."""

    def write(files: dict[str, bytes]) -> Path:
        root = tmp_path / "dataset"
        root.mkdir(exist_ok=True)
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return root

    return write


@pytest.fixture
def memory(monkeypatch):
    """fsspec's file system in memory, empty, and no pauses between attempts."""
    import fsspec

    monkeypatch.setattr(_store, "PAUSE_S", 0.001)
    system = fsspec.filesystem("memory")
    system.rm("/", recursive=True) if system.find("/") else None
    yield system
    system.store.clear()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of third-party data (REFINERY_DATA, or ../shared/data beside the project)."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("REFINERY_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no third-party data at {folder}; set REFINERY_DATA to its folder")
    return folder
