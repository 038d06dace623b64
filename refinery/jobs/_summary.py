"""What a refine job came to: counts, verdicts, drift, the worst samples, from the manifest alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refinery.annotations import LEFT_OUT
from refinery.checks import CheckContext, DriftSummary, deciding, flips_found, is_gone, overall
from refinery.checks._worst import Worst
from refinery.errors import OutputError
from refinery.formats._source import Source
from refinery.jobs._checking import power_of, with_coverage
from refinery.jobs._pairs import make_pair
from refinery.journal import Line, finding_from_json
from refinery.labels import LabelReader
from refinery.report.gallery import Gallery
from refinery.report.worst import Row
from refinery.sample import VERDICTS, Finding, Pair, Sample, Verdict
from refinery.work import NOT_FINITE

POWER_PAIRS = 32
PROBLEMS_NAMED = 10


class Tally:
    """Adds the lines of a manifest up, so that an interrupted job sums up like any other.

    gallery: told of every sample that was judged.
    """

    def __init__(self, context: CheckContext | None, gallery: Gallery | None = None) -> None:
        self.context = context
        self.gallery = gallery
        self.status: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
        self.strengths: Counter[float] = Counter()
        self.failures: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.drift = DriftSummary()
        self.worst = Worst(context or CheckContext())
        self.measured: list[Sample] = []
        self.problems: list[str] = []
        self.left_out = self.unread = self.flat = self.not_finite = self.unchanged = 0

    def add(self, line: Line) -> None:
        """Take one sample."""
        of, first = str(line.get("variant_of", line["key"])), not line.get("variant")
        if first:  # the others were read from the same files
            self.unread += len(line["problems"])
            self.left_out += sum(problem.startswith(LEFT_OUT) for problem in line["problems"])
            self.problems += line["problems"][: PROBLEMS_NAMED - len(self.problems)]
        self.status[line["status"]] += 1
        refined = line["status"] in ("refined", "kept")
        self.unchanged += refined and line.get("source_sha256", 0) == line.get("refined_sha256", 1)
        self.not_finite += NOT_FINITE in (line.get("error") or "")
        if line["status"] == "rejected" or self.context is None:
            return
        findings = [finding_from_json(label) for label in line["labels"]]
        was = [finding_from_json(label) for label in line.get("was", ())]
        verdict = overall(findings, self.context)
        self.verdicts[verdict] += 1
        self.open.update(open_labels_of(findings, verdict, self.context))
        self.flat += is_gone(findings) or is_gone(was)
        self.failures.update({finding.label for finding in (*findings, *was) if finding.verdict == "fail"})
        self.drift.add(findings, of, was)
        self.worst.add(line["key"], line["image"], was or findings, status=line["status"], strength=line["strength"])
        if self.gallery is not None:
            self.gallery.add(line["key"], line["image"], was or findings, verdict, line["status"], line.get("strength"))
        if line["status"] == "softened":
            self.strengths[line["strength"]] += 1
        if first and line["status"] in ("refined", "kept") and len(self.measured) < POWER_PAIRS:
            self.measured.append(Sample(line["key"], line["image"]))

    def summary(
        self, power: Mapping[str, Mapping[str, Any]], flips: Mapping[str, float] | None = None
    ) -> dict[str, Any]:
        """What `summary.json` holds. flips: share of exchanged classes that are found; None: as the context has it."""
        total, named = self.status.total(), len(self.problems)
        false_alarms = self.context.false_alarms if self.context is not None else 0.01
        detects = {name: found["detects"] for name, found in power.items()}
        known = flips_found(self.context) if self.context is not None and flips is None else flips
        drift = self.drift.as_dict(detects, false_alarms, known)
        return {
            "samples": total,
            "refined": total - self.status["rejected"] - self.status["quarantined"],
            "rejected": self.status["rejected"],
            "quarantined": self.status["quarantined"],
            "unchanged": self.unchanged,
            "softened": self.status["softened"],
            "strengths": {
                f"{strength:g}": self.strengths[strength] for strength in sorted(self.strengths, reverse=True)
            },
            "flat": self.flat,
            "not_finite": self.not_finite,
            "left_out": self.left_out,
            "verdicts": dict(self.verdicts),
            "open": commonest_first(self.open),
            "failures": commonest_first(self.failures),
            "drift": drift,
            "power": with_coverage(power, drift),
            "worst": self.worst.entries(),
            "problems": self.problems + ([f"{self.unread - named:,} more sidecars"] if self.unread > named else []),
        }


def open_labels_of(findings: Sequence[Finding], verdict: Verdict, context: CheckContext) -> set[str]:
    """Names of what keeps the verdict of a sample open: what the checks were not sure of, in one that abstains."""
    if verdict != "abstain":
        return set()
    return {finding.label for finding in deciding(findings, context) if finding.verdict == "abstain"}


def commonest_first(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by name, the largest first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def summarise(
    lines: Iterator[Line],
    context: CheckContext | None,
    pairs: Callable[[Sequence[Sample]], list[Pair]] | None,
    gallery: Gallery | None = None,
) -> dict[str, Any]:
    """The summary of a job whose output is complete. pairs: those of some of its samples as they were delivered.

    gallery: told of every sample that was judged.
    """
    tally = Tally(context, gallery)
    for line in lines:
        tally.add(line)
    power: Mapping[str, Mapping[str, Any]] = {}
    if context is not None and pairs is not None and tally.measured:
        power = power_of(pairs(tally.measured), context)
    return tally.summary(power)


def worst_rows(entries: Sequence[Mapping[str, Any]], pairs: Mapping[str, Pair]) -> list[Row]:
    """Rows of the picture of worst samples, from their entries and pairs by key."""
    rows = []
    for entry in entries:
        if (pair := pairs.get(entry["key"])) is None:
            continue
        own = (label for label in pair.labels if (label.name, label.item) == (entry["label"], entry["item"]))
        rows.append(Row(entry, pair, next(own, None)))
    return rows


def write_worst(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write `worst.json`. Raises OutputError."""
    try:
        (folder / "worst.json").write_text(json.dumps(list(entries), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder / 'worst.json'}: cannot be written ({error.strerror})") from error


def delivered_pairs(samples: Sequence[Sample], source: Source, out: Path, labels: LabelReader) -> Iterator[Pair]:
    """Pairs of samples as they stand in the output folder."""
    wanted = {sample.key for sample in samples}
    refined = source.delivered(out)
    for entry in source.entries():
        if not wanted:
            return
        if isinstance(entry, Sample) and entry.key in wanted:
            wanted.remove(entry.key)
            synthetic, delivered = (each.decode(each.read(entry), entry) for each in (source, refined))
            yield make_pair(entry, synthetic, delivered, labels)
