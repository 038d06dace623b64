"""What a refine job has done so far: `.refinery/job.json`, `calibration.json`, `manifest.jsonl`, and a lock.

The manifest grows by whole samples in the order of the stream, each line after its image stands in the output. So what
a killed job has done is a beginning of the stream, and a second run goes on behind it with the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from refinery.errors import OutputError
from refinery.formats._tree import OWN_FOLDER
from refinery.sample import Finding

FOLDER = OWN_FOLDER
Line = dict[str, Any]
ABSENT: dict[str, Any] = {"variants": 1, "variant_mark": ""}
"""What a job of before these were known did."""


class Journal:
    """The journal of one output folder; use as a context manager, which holds the lock."""

    def __init__(self, out: Path, job: dict[str, Any]) -> None:
        self.out = out
        self.folder = out / FOLDER
        self.job = job
        self.manifest = self.folder / "manifest.jsonl"
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        try:
            self._claim()
            self._drop_half_line()
            self._file = self.manifest.open("ab")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                with contextlib.suppress(OSError):  # a full disk has been reported by the write itself
                    file.close()

    def lines(self) -> Iterator[Line]:
        """What is done, oldest first."""
        with self.manifest.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    record: Line = json.loads(line)
                    record["key"], record["image"], record["status"], record["labels"]
                except (ValueError, KeyError, TypeError) as error:
                    raise OutputError(
                        f"{self.manifest}, line {number}: not a sample's line; the journal was changed; give an empty "
                        "--out"
                    ) from error
                yield record

    def append(self, lines: Iterable[Line]) -> None:
        """Write whole lines. Raises OutputError when the disk is full."""
        assert self._file is not None
        try:
            self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.manifest}: {error.strerror}; make room and run the same command again") from error

    def write_summary(self, summary: Line) -> None:
        """The job's result; a job with a summary is finished."""
        _write_json(self.folder / "summary.json", summary)

    def read_summary(self) -> Line | None:
        """The result of a finished job."""
        return self._read("summary.json", "samples")

    def write_calibration(self, calibration: Line) -> None:
        """The thresholds of the job's checks, so that a second run of it judges as the first one did."""
        _write_json(self.folder / "calibration.json", calibration)

    def read_calibration(self) -> Line | None:
        """The thresholds that this job has used so far; None when it has not begun, or they cannot be read."""
        found = self._read("calibration.json", "thresholds")
        return found if found is not None and isinstance(found["thresholds"], dict) else None

    def _read(self, name: str, key: str) -> Line | None:
        """One of the job's own JSON objects; None for what is not there or does not hold `key`."""
        try:
            content: Line = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and key in content else None

    def _claim(self) -> None:
        """Make the folder ours, or find that it is. Raises OutputError."""
        try:
            strangers = self.out.exists() and not self.folder.exists() and any(self.out.iterdir())
            if strangers:
                raise OutputError(f"{self.out}: is not empty and not an output of refinery; give another --out")
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_folder()
            known = self.folder / "job.json"
            if known.exists() and not self._is_untouched():
                self._require_same(json.loads(known.read_text(encoding="utf-8")))
            else:
                (self.folder / "calibration.json").unlink(missing_ok=True)  # of a job that never began
                _write_json(known, self.job)
        except (NotADirectoryError, FileExistsError) as error:
            raise OutputError(f"{self.out}: is a file; --out takes a folder") from error
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written ({error.strerror}); give another --out") from error
        except ValueError as error:
            raise OutputError(f"{self.folder}/job.json: not the job of a refine run; give an empty --out") from error

    def _is_untouched(self) -> bool:
        """Whether nothing stands here yet but the name of a job that never began: another one may take its place."""
        begun = self.manifest.exists() and self.manifest.stat().st_size
        return not begun and not (self.folder / "spool").exists() and {p.name for p in self.out.iterdir()} == {FOLDER}

    def _require_same(self, known: Any) -> None:
        if not isinstance(known, dict):
            raise OutputError(f"{self.folder}/job.json: not the job of a refine run; give an empty --out")
        known = ABSENT | known
        different = [key for key in self.job if known.get(key) != self.job[key]]
        if different:
            key = different[0]
            raise OutputError(
                f"{self.out}: holds the output of another job ({key} was {known.get(key)!r}, now {self.job[key]!r}); "
                "give another --out, or remove it first"
            )

    def _lock_folder(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows has no fcntl; there two runs into one folder are the user's to avoid
            return
        self._lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{self.out}: another refinery is writing there; wait, or give another --out") from error

    def _drop_half_line(self) -> None:
        """A kill can cut the last line short; its sample is done again."""
        if not self.manifest.exists():
            self.manifest.touch()
            return
        with self.manifest.open("r+b") as file:
            end = _end_of_last_line(file)
            if end < file.seek(0, os.SEEK_END):
                file.truncate(end)


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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
