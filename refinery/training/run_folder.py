"""Where a run keeps its things: config, stats, grids, checkpoints, artifact, summary."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from refinery.errors import OutputError, UsageError
from refinery.locks import hold
from refinery.training import distributed

LOCK = ".lock"
RUNS = "runs"


class RunFolder:
    """Paths of one run, and the small files written whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.summary = path / "summary.json"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.artifact = path / "artifact"
        self.simulated = path / "simulated"
        self.contents = path / "contents.jsonl"
        self.rehearsal = path / "rehearsal"
        self.last = self.checkpoints / "last.safetensors"
        self.best = self.checkpoints / "best.safetensors"

    def create(self, resume: bool) -> None:
        """Make the folders, as `require` allows."""
        self.require(resume)
        try:
            for folder in (self.samples, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be made ({error.strerror}); give another --out") from error

    def require(self, resume: bool) -> None:
        """Raise UsageError for a run that is there and not to be resumed, or the other way round.

        A run that was killed before its first checkpoint has nothing to resume and is begun again.
        """
        if resume and not self.last.exists():
            raise UsageError(
                f"{self.path}: nothing to resume: no checkpoints/last.safetensors; start it without --resume"
            )
        begun = self.last.exists() or (self.config.exists() and not self.checkpoints.is_dir())
        if not resume and begun:
            raise UsageError(f"{self.path}: holds a run already; add --resume to go on, or give another --out")

    def write_config(self, text: str) -> None:
        """The resolved settings as TOML; a run is resumed with them."""
        _write_whole(self.config, text)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The run's result; a run with a summary is finished."""
        _write_whole(self.summary, json.dumps(summary, indent=2) + "\n")


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); make room and try again") from error


@contextmanager
def claimed(out: str, method: str, resume: bool) -> Iterator[RunFolder]:
    """The run's folder, made and held: `out`, or where that is empty a new one of this name and second.

    The first process of a distributed run holds it for all. Where the run fails before anything stands in it, nothing
    is left of it. Raises OutputError where another process trains there, UsageError as `RunFolder.require` does.
    """
    locks: list[IO[bytes]] = []
    missing = _first_missing(Path(out or RUNS))
    folder = RunFolder(distributed.decided(lambda: _take(out, method, resume, locks)))
    missing = missing if out else missing or folder.path
    failed = True
    try:
        yield folder
        failed = False
    finally:
        if distributed.is_first():
            _give_back(folder.path, missing if failed else None, locks)


def _take(out: str, method: str, resume: bool, locks: list[IO[bytes]]) -> Path:
    """Make and lock the folder; its path."""
    path = Path(out) if out else Path(RUNS)
    if resume:
        RunFolder(path).require(resume)
    try:
        path.mkdir(parents=True, exist_ok=True)
        path = path if out else _new_folder(path, method)
        hold(path / LOCK, f"{path}: another refinery is training there", locks)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{path}: is a file; --out takes a folder") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror}); give another --out") from error
    try:
        RunFolder(path).require(resume)
    except UsageError:
        _give_back(path, None, locks)
        raise
    return path


def _new_folder(runs: Path, method: str) -> Path:
    """METHOD-DATE-TIME, made now; with a number where another run began in this second."""
    name = f"{method}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        path = runs / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError


def _give_back(folder: Path, missing: Path | None, locks: list[IO[bytes]]) -> None:
    """Remove the lock and, where nothing else came of the run, the folders that were made for it; then let go."""
    (folder / LOCK).unlink(missing_ok=True)
    if missing is not None:
        _remove_empty(folder, missing)
    while locks:
        locks.pop().close()


def _first_missing(folder: Path) -> Path | None:
    """The highest folder that would have to be made for this one; None where it is there."""
    if folder.exists():
        return None
    while not folder.parent.exists():
        folder = folder.parent
    return folder


def _remove_empty(lowest: Path, highest: Path) -> None:
    """Remove folders from the lowest up to the highest, as long as they are empty."""
    for folder in (lowest, *lowest.parents):
        if not folder.is_relative_to(highest) or (folder.is_dir() and any(folder.iterdir())):
            return
        if folder.is_dir():
            folder.rmdir()
