"""What a refine job has done so far: `.refinery/job.json`, `calibration.json`, `manifest.jsonl`, and a lock.

A part of a batch job has a journal of its own, in `.refinery/parts/03-of-16`.

The manifest grows by whole samples in the order of the stream, each line after its image stands in the output. So what
a killed job has done is a beginning of the stream, and a second run goes on behind it with the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from refinery.claim import FOLDER, claim, journal_folder, write_json
from refinery.errors import OutputError
from refinery.formats._files import output_errors
from refinery.sample import Finding
from refinery.shard import Shard

__all__ = ["FOLDER", "Journal", "Line", "finding_from_json", "finding_to_json", "parse_line"]
Line = dict[str, Any]
LOST = "lost.json"
ASIDE = "aside.jsonl"
"""Lines of samples behind a changed one, each to be taken over when the stream comes to its sample."""


class Journal:
    """The journal of one output folder, or of one part of it; use as a context manager, which holds the lock."""

    def __init__(self, out: Path, job: dict[str, Any], shard: Shard | None = None) -> None:
        self.out = out
        self.shard = shard
        self.folder = journal_folder(out, shard)
        self.job = job
        self.manifest = self.folder / "manifest.jsonl"
        self.aside = self.folder / ASIDE
        self.begun_as: dict[str, Any] = job
        """The job as it was when it began, which may have had its input elsewhere."""
        self._file: IO[bytes] | None = None
        self._locks: list[IO[bytes]] = []

    def __enter__(self) -> Journal:
        try:
            self.begun_as = claim(self.out, self.job, self.shard, self._locks)
            self._drop_half_line()
            self._file = self.manifest.open("ab")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, *self._locks):
            if file is not None:
                with contextlib.suppress(OSError):  # a full disk has been reported by the write itself
                    file.close()

    def lines(self) -> Iterator[Line]:
        """What is done, oldest first."""
        with self.manifest.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield parse_line(self.manifest, number, line)

    def append(self, lines: Iterable[Line]) -> None:
        """Write whole lines. Raises OutputError when the disk is full."""
        assert self._file is not None
        try:
            self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.manifest}: {error.strerror}; make room and run the same command again") from error

    def set_aside(self, count: int, is_stale: Callable[[str], bool] = lambda _: False) -> None:
        """Move all lines but the first `count` out of the manifest, before those that lie aside already.

        is_stale: whether the line of a key does not hold any more, which is noted in the line. Killed at any moment,
        the next start finds every line in one of both files.
        """
        assert self._file is not None
        self._file.flush()
        with output_errors(self.aside):
            temporary, end = self.aside.with_suffix(".tmp"), 0
            with temporary.open("wb") as moved:
                with self.manifest.open("rb") as file:
                    for _ in range(count):
                        end += len(file.readline())
                    moved.writelines(map(_marker(is_stale), file))
                if self.aside.exists():
                    with self.aside.open("rb") as before:
                        moved.writelines(map(_marker(is_stale), before))
            temporary.replace(self.aside)
            self._file.close()
            os.truncate(self.manifest, end)
            self._file = self.manifest.open("ab")

    def take_up(self) -> None:
        """Make a finished job one that goes on."""
        (self.folder / "summary.json").unlink(missing_ok=True)

    def begin_anew(self) -> None:
        """Forget what the job's checks were calibrated to."""
        self.take_up()
        (self.folder / "calibration.json").unlink(missing_ok=True)
        (self.folder / LOST).unlink(missing_ok=True)

    def rename_job(self) -> None:
        """Write down where the job's input lies now, and with what software it goes on."""
        if self.begun_as == self.job:
            return
        write_json(self.folder / "job.json", self.job)
        self.begun_as = self.job

    def lose(self, lines: Iterable[str]) -> None:
        """Note what cannot be carried, each line once: a second run may not meet it again."""
        known = self.lost()
        new = [line for line in lines if line not in known]
        if new:
            self._write(LOST, {"lost": [*known, *new]})

    def lost(self) -> list[str]:
        """What was noted so far."""
        found = self._read(LOST, "lost")
        return list(found["lost"]) if found is not None else []

    def write_summary(self, summary: Line) -> None:
        """The job's result; a job with a summary is finished."""
        self._write("summary.json", summary)

    def read_summary(self) -> Line | None:
        """The result of a finished job."""
        return self._read("summary.json", "samples")

    def write_calibration(self, calibration: Line) -> None:
        """The thresholds of the job's checks, so that a second run of it judges as the first one did."""
        self._write("calibration.json", calibration)

    def read_calibration(self) -> Line | None:
        """The thresholds that this job has used so far; None when it has not begun, or they cannot be read."""
        found = self._read("calibration.json", "thresholds")
        return found if found is not None and isinstance(found["thresholds"], dict) else None

    def _write(self, name: str, content: Line) -> None:
        """One of the job's own JSON objects, whole or not at all. Raises OutputError."""
        with output_errors(self.folder / name):
            write_json(self.folder / name, content)

    def _read(self, name: str, key: str) -> Line | None:
        """One of the job's own JSON objects; None for what is not there or does not hold `key`."""
        try:
            content: Line = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and key in content else None

    def _drop_half_line(self) -> None:
        """A kill can cut the last line short; its sample is done again."""
        if not self.manifest.exists():
            self.manifest.touch()
            return
        with self.manifest.open("r+b") as file:
            end = _end_of_last_line(file)
            if end < file.seek(0, os.SEEK_END):
                file.truncate(end)


def _marker(is_stale: Callable[[str], bool]) -> Callable[[bytes], bytes]:
    """Marks a line where its key is stale."""

    def marked(text: bytes) -> bytes:
        line = json.loads(text)
        return json.dumps({**line, "stale": True}).encode() + b"\n" if is_stale(line["key"]) else text

    return marked


def parse_line(manifest: Path, number: int, line: str | bytes) -> Line:
    """One line of a manifest, counted from 1. Raises OutputError."""
    try:
        record: Line = json.loads(line)
        record["key"], record["image"], record["status"], record["labels"]
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{manifest}, line {number}: not a sample's line; the journal was changed; give an empty --out"
        ) from error
    return record


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """A finding as an entry of a manifest line's `labels`."""
    return {
        "name": finding.label,
        "item": finding.item,
        "type": finding.type,
        "verdict": finding.verdict,
        "drift": finding.drift,
        "unit": finding.unit,
        "lower": finding.lower,
        "upper": finding.upper,
        "shift_px": finding.shift_px,
        "iou": finding.iou,
        "check": finding.check,
        "reason": finding.reason,
    }


def finding_from_json(label: Line) -> Finding:
    """The finding that `finding_to_json` wrote."""
    shift = label["shift_px"]
    return Finding(
        label["name"],
        label["type"],
        label["verdict"],
        label["drift"],
        label["unit"],
        label["reason"],
        label["check"],
        label["item"],
        tuple(shift) if shift else None,
        label.get("lower"),
        label.get("upper"),
        label.get("iou"),
    )


def _end_of_last_line(file: IO[bytes]) -> int:
    """Offset behind the last newline, found from the end."""
    position = file.seek(0, os.SEEK_END)
    while position:
        start = max(0, position - 65536)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
