"""What tests of addresses share: archives, fsspec's file system in memory, and ways there that break."""

from __future__ import annotations

from pathlib import Path

import fsspec
from stream import refine, tree_of
from test_pipe import archive, scenes

from refinery.formats import _store

COUNT = 6


def shards(count: int = 3, each: int = COUNT) -> dict[str, bytes]:
    """Archives by name; samples of different archives differ."""
    files = scenes(count * each)
    return {f"shard-{i:04d}.tar": archive(files[3 * each * i : 3 * each * (i + 1)]) for i in range(count)}


def put(system, files: dict[str, bytes], folder: str = "/in") -> None:
    """Files into a file system."""
    for name, data in files.items():
        system.pipe_file(f"{folder}/{name}", data)


def contents(system, folder: str = "/out") -> dict[str, bytes]:
    """Files of a file system, by the path below a folder of it."""
    return {path.removeprefix(f"{folder}/"): system.cat_file(path) for path in system.find(folder)}


def undisturbed(tmp_path: Path, files: dict[str, bytes], model: Path, *options: object) -> dict[str, bytes]:
    """What a folder of the same archives becomes, unchecked unless other options are given."""
    source = tmp_path / "same"
    source.mkdir()
    for name, data in files.items():
        (source / name).write_bytes(data)
    assert refine(source, tmp_path / "same-out", model, *(options or ("--no-check",))).exit_code == 0
    return tree_of(tmp_path / "same-out")


class _Breaking:
    """A file system whose n-th calls of one method fail."""

    def __init__(self, system, method: str, failing) -> None:
        self._system, self._method, self._failing = system, method, failing
        self.calls: list[tuple] = []

    def __getattr__(self, name):
        value = getattr(self._system, name)
        if name != self._method:
            return value

        def call(*arguments):
            self.calls.append(arguments)
            if len(self.calls) in self._failing:
                raise ConnectionResetError(104, "connection reset by peer")
            return value(*arguments)

        return call


def breaking(monkeypatch, method: str, failing) -> list[tuple]:
    """Let calls of a method fail, counted from 1; all its calls."""
    system = _Breaking(fsspec.filesystem("memory"), method, failing)
    opened = _store._opened
    monkeypatch.setattr(_store, "_opened", lambda address: (system, opened(address)[1]))
    return system.calls
