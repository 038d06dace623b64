"""What refine wrote about an output folder: of one job, or of all parts of a batch job together."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

from refinery.checks import CheckContext
from refinery.claim import FOLDER, parts_in
from refinery.config import parse_max_drift
from refinery.errors import DatasetError, UsageError
from refinery.jobs._summary import Tally
from refinery.journal import Line, parse_line
from refinery.report.worst import WORST
from refinery.shard import Shard

BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Record:
    """The job that made a dataset, and what it came to. parts: of a batch job, None of a job without any.

    summary: as in `summary.json`; None where the job is not finished. picture: of the worst samples, if there is one.
    lines: of its manifest, read anew at every call.
    """

    job: dict[str, Any]
    summary: dict[str, Any] | None
    picture: Path | None
    lines: Callable[[], Iterator[Line]]
    parts: dict[str, Any] | None = None

    def context(self) -> CheckContext | None:
        """What the job's checks were told; None where it checked nothing. Raises DatasetError."""
        return _context_of(Path("job.json"), self.job)


def read_record(out: Path, wants_summary: bool = True) -> Record | None:
    """What refine wrote about this folder; None where it did not make it. Raises DatasetError, OutputError."""
    try:
        job = read_object(out / FOLDER / "job.json")
    except DatasetError:
        return _record_of_parts(Report.of(out), wants_summary)
    summary = out / FOLDER / "summary.json"
    kept = read_object(summary) if wants_summary and summary.exists() else None
    return Record(job, kept, _existing(out / FOLDER / WORST), partial(_lines_of, out / FOLDER / "manifest.jsonl"))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object that refinery wrote. Raises DatasetError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error}); run the job again") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: not a JSON object; run the job again")
    return content


@dataclass(frozen=True, order=True)
class PartFiles:
    """The records of one part."""

    shard: Shard
    folder: Path

    def read(self, name: str) -> dict[str, Any]:
        """One of its JSON objects; empty where it is not there yet. Raises DatasetError."""
        return read_object(self.folder / name) if (self.folder / name).exists() else {}

    @property
    def is_finished(self) -> bool:
        """True if the part is done."""
        return (self.folder / "summary.json").exists()

    def placed_lines(self) -> Iterator[tuple[int, Line]]:
        """Its samples so far, each with its place in the whole dataset, in order. Raises DatasetError, OutputError."""
        manifest = self.folder / "manifest.jsonl"
        try:
            job = self.read("job.json")
            each = int(job.get("variants", 1))
            places = (place for ends in job["places"] for place in range(*ends) for _ in range(each))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{self.folder / 'job.json'}: not the job of a part; run the part again") from error
        yield from zip(places, _lines_of(manifest), strict=False)


@dataclass(frozen=True)
class Report:
    """What some parts of a batch job found; `|` puts reports together, in any grouping and order.

    It is the set of parts, and everything is counted from their lines in the order of the whole dataset. So the report
    of all parts is to the last digit what one job without parts would have found.
    """

    parts: frozenset[PartFiles]

    @classmethod
    def of(cls, out: Path) -> Report:
        """The report of all parts that have begun in an output folder."""
        each = (cls(frozenset({PartFiles(shard, folder)})) for shard, folder in parts_in(out).items())
        return reduce(or_, each, cls(frozenset()))

    def __or__(self, other: Report) -> Report:
        return Report(self.parts | other.parts)

    def lines(self) -> Iterator[Line]:
        """All samples so far, in the order of the dataset."""
        placed = (part.placed_lines() for part in sorted(self.parts))
        return (line for _, line in heapq.merge(*placed, key=lambda pair: pair[0]))

    def job(self) -> dict[str, Any]:
        """What the parts have in common: the job of the first one."""
        return min(self.parts).read("job.json")

    def summary(self) -> dict[str, Any]:
        """As `summary.json` has it; of unfinished parts what they have done so far."""
        finished = [part.read("summary.json") for part in sorted(self.parts) if part.is_finished]
        calibrations = [part.read("calibration.json") for part in sorted(self.parts)]
        tally = Tally(_context_of(min(self.parts).folder / "job.json", self.job()))
        for line in self.lines():
            tally.add(line)
        flips: dict[str, float] = next((found["flips_found"] for found in calibrations if "flips_found" in found), {})
        lost = [line for summary in finished for line in summary.get("not_carried", [])]
        summary = tally.summary(weakest([found.get("power", {}) for found in finished]), flips)
        return summary | {"not_carried": list(dict.fromkeys(lost))}

    def state(self) -> dict[str, Any]:
        """How many parts there are and are finished, and which are not, such as `4/16`."""
        by_shard = {part.shard: part for part in self.parts}
        count = min(by_shard).count
        known = [(Shard(count, index), by_shard.get(Shard(count, index))) for index in range(1, count + 1)]
        return {
            "count": count,
            "finished": sum(part is not None and part.is_finished for _, part in known),
            "unfinished": [str(shard) for shard, part in known if part is not None and not part.is_finished],
            "missing": [str(shard) for shard, part in known if part is None],
        }

    def picture(self, worst: Sequence[Mapping[str, Any]]) -> Path | None:
        """The picture of the part that has the worst sample of all; every part has one of its own."""
        for part in sorted(self.parts) if worst else ():
            entries = part.read("summary.json").get("worst", ())
            if any(entry["key"] == worst[0]["key"] for entry in entries):
                return _existing(part.folder / WORST)
        return None


def weakest(powers: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By label the power of the part that sees least: what it finds, all find. Coverage is left to the whole."""
    found: dict[str, dict[str, Any]] = {}
    for name, one in (item for power in powers for item in power.items()):
        if name not in found or _blindness(one) > _blindness(found[name]):
            found[name] = {**one, "coverage": None}
    return dict(sorted(found.items()))


def _blindness(power: Mapping[str, Any]) -> tuple[bool, float, float]:
    return power["detects"] is None, power["detects"] or 0.0, -power["power"]


def _record_of_parts(report: Report, wants_summary: bool) -> Record | None:
    if not report.parts:
        return None
    summary = report.summary() if wants_summary else None
    picture = report.picture(summary["worst"]) if summary else None
    return Record(report.job(), summary, picture, report.lines, report.state())


def _context_of(path: Path, job: Mapping[str, Any]) -> CheckContext | None:
    """What the job's checks were told; None where it checked nothing. Raises DatasetError."""
    try:
        tolerances = parse_max_drift(job["max_drift"])
        required = frozenset(job.get("require", ()))
        context = CheckContext(max_drift=tolerances, require=required, false_alarms=float(job["false_alarms"]))
        return context if job["check"] else None
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise DatasetError(f"{path}: not the job of a part; run the part again") from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Lines that end, read in blocks and the file closed between them: there may be more parts than open files."""
    start = 0
    while path.exists():
        with path.open("rb") as file:
            file.seek(start)
            lines = [line for line in file.readlines(BLOCK_BYTES) if line.endswith(b"\n")]
        if not lines:
            return
        start += sum(map(len, lines))
        yield from lines


def _lines_of(manifest: Path) -> Iterator[Line]:
    """Raises OutputError."""
    return (parse_line(manifest, number, line) for number, line in enumerate(_whole_lines(manifest), 1))


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
