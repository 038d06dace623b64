"""Whose an output folder is: one job's, or one batch job's, whose parts agree in all but their number.

A job without parts holds `.refinery/lock` alone while it runs; parts share it, and each holds the lock in its folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from refinery.errors import OutputError
from refinery.formats._tree import OWN_FOLDER
from refinery.locks import hold
from refinery.shard import Shard, shard_of_folder

FOLDER = OWN_FOLDER
OWN_KEYS = frozenset({"shard", "places"})
"""What the parts of one job do not have in common."""
Job = dict[str, Any]
DIVIDED_KEYS = frozenset({"samples", "names_sha256"})
"""What all parts must agree on to have divided the same dataset."""
_DIVIDED = "the parts of a batch job divide one and the same dataset, which has other samples now: "
PASSING_KEYS = frozenset({"source", "versions"})
"""What may differ between two runs of one job: where its input lies, and what software was at work."""
ABSENT: Job = {"variants": 1, "variant_mark": "", "require": []}
"""What a job of before these were known did."""


def journal_folder(out: Path, shard: Shard | None) -> Path:
    """Where a job, or a part of one, keeps its records."""
    return out / FOLDER if shard is None else parts_folder(out) / shard.folder


def parts_folder(out: Path) -> Path:
    """The folder of the parts' own folders."""
    return out / FOLDER / "parts"


def parts_in(out: Path) -> dict[Shard, Path]:
    """The folders of the parts that have begun in an output, in the order of the parts."""
    try:
        found = {shard_of_folder(path.parent.name): path.parent for path in parts_folder(out).glob("*/job.json")}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(sorted((shard, path) for shard, path in found.items() if shard is not None))


def claim(out: Path, job: Job, shard: Shard | None, locks: list[IO[bytes]]) -> Job:
    """Make an output folder, or a part of it, this job's, or find that it is; the job as it was begun.

    locks: open files that hold it are added; it is held until they are closed. Raises OutputError.
    """
    taken = f"{out}: another refinery is writing there"
    try:
        names = {path.name for path in out.iterdir()} if out.exists() else set()
        if names and FOLDER not in names:
            raise OutputError(f"{out}: is not empty and not an output of refinery; give another --out")
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        _lock(out / FOLDER, taken, locks, shared=shard is not None)
        if shard is None:
            _remove_or_refuse_parts(out, job, None)
            return _settle(out, out / FOLDER, job)
        _remove_or_refuse_whole(out)
        with _one_at_a_time(parts_folder(out)):
            _remove_or_refuse_parts(out, job, shard)
            folder = journal_folder(out, shard)
            folder.mkdir(exist_ok=True)
            _lock(folder, f"{taken} (part {shard})", locks)
            return _settle(out, folder, job)
    except (NotADirectoryError, FileExistsError) as error:
        raise OutputError(f"{out}: is a file; --out takes a folder") from error
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); give another --out") from error


def write_json(path: Path, content: Job) -> None:
    """Write an object, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _settle(out: Path, folder: Path, job: Job) -> Job:
    """Write the job's name where none stands, or that of a job that never began; the job that stands there then."""
    path = folder / "job.json"
    if path.exists() and not _is_untouched(out, folder):
        begun = _read_job(path)
        _require_same(out, begun, job, frozenset() if "shard" in job else PASSING_KEYS)
        return begun
    for name in ("calibration.json", "stamps.jsonl"):  # of a job that never began
        (folder / name).unlink(missing_ok=True)
    write_json(path, job)
    return job


def _remove_or_refuse_whole(out: Path) -> None:
    """Refuse the output of a job without parts; take away what is left of one that never began."""
    if not (out / FOLDER / "job.json").exists():
        return
    if not _is_untouched(out, out / FOLDER):
        raise OutputError(f"{out}: holds the output of a job without --shard; give another --out, or remove it first")
    for name in ("job.json", "calibration.json", "manifest.jsonl", "stamps.jsonl"):
        (out / FOLDER / name).unlink(missing_ok=True)


def _remove_or_refuse_parts(out: Path, job: Job, shard: Shard | None) -> None:
    """The same of the other parts that do not belong to this job."""
    for other, path in parts_in(out).items():
        try:
            if other != shard:
                _require_one_job(out, other, path, job, shard)
        except OutputError:
            if not (_is_untouched(out, path) and _is_free(path)):
                raise
            shutil.rmtree(path)


def _require_one_job(out: Path, other: Shard, path: Path, job: Job, shard: Shard | None) -> None:
    if shard is None:
        raise OutputError(f"{out}: holds part {other} of a batch job; give --shard, or another --out")
    if other.count != shard.count:
        raise OutputError(
            f"{out}: holds part {other} of a batch job, now --shard {shard}; give the same number of parts, or another "
            "--out"
        )
    _require_same(out, _read_job(path / "job.json"), job, OWN_KEYS)


def _is_untouched(out: Path, folder: Path) -> bool:
    """True if nothing stands here yet but the name of a job that never began: another one may take its place."""
    manifest = folder / "manifest.jsonl"
    begun = (manifest.exists() and manifest.stat().st_size) or (folder / "summary.json").exists()
    return not begun and not (folder / "spool").exists() and {path.name for path in out.iterdir()} == {FOLDER}


def _read_job(path: Path) -> Job:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise OutputError(f"{path}: not the job of a refine run; give an empty --out")
    return known


def _require_same(out: Path, known: Job, job: Job, own: frozenset[str]) -> None:
    known = ABSENT | known
    for key in job:
        if key in own or key == "versions" or known.get(key) == job[key]:
            continue
        raise OutputError(
            f"{out}: holds the output of another job ({key} was {known.get(key)!r}, now {job[key]!r}); "
            f"{_DIVIDED if key in DIVIDED_KEYS else ''}give another --out, or remove it first"
        )


def _lock(folder: Path, taken: str, locks: list[IO[bytes]], shared: bool = False) -> None:
    """Hold the folder's lock. Raises OutputError where another process does."""
    hold(folder / "lock", taken, locks, shared)


def _is_free(folder: Path) -> bool:
    """True if no process holds the folder's lock."""
    locks: list[IO[bytes]] = []
    try:
        _lock(folder, "", locks)
    except OutputError:
        return False
    finally:
        for file in locks:
            file.close()
    return True


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Parts claim one after the other, which takes a moment."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a+b") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:  # Windows
            pass
        yield
