"""The audit: verdicts on the labels of a dataset that any tool refined, by comparing it with its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from refinery.artifact import Artifact
from refinery.checks import CheckContext, DriftSummary, flips_found, is_gone, overall, run_checks
from refinery.checks._worst import Worst
from refinery.config import InspectConfig
from refinery.dataset import spread
from refinery.errors import DatasetError, SampleError
from refinery.formats._counting import count_samples
from refinery.formats._source import Loose, Source
from refinery.jobs._audit_probe import audit_probe
from refinery.jobs._checking import (
    calibrated,
    calibration_sentence,
    open_context,
    power_of,
    unknown_tolerances,
    with_coverage,
)
from refinery.jobs._labels import look_at_labels, require_known
from refinery.jobs._observer import Observer, Progress
from refinery.jobs._pairs import RefinedImages, read_decoys, read_pair, spread_pairs
from refinery.jobs._summary import POWER_PAIRS, commonest_first, open_labels_of, worst_rows
from refinery.jobs._variants import in_variants
from refinery.labels import LabelReader, read_sidecars
from refinery.report.gallery import Gallery
from refinery.report.worst import ROWS, Row
from refinery.sample import Pair, Sample

BATCH = 64
BATCH_PIXELS = 4_000_000
EXTRA_NAMED = 10


class Audit:
    """One audit of a refined dataset against its source.

    `run` returns {"labels", "verdicts": {KEY: verdict}, "flat", "open", "failures", "drift", "power", "worst",
    "audit_problems"}. A sample fails that is missing, changed its size, or lost or changed a sidecar, and
    audit_problems says so; one whose source cannot be read is not checkable. job: that made the refined dataset, and
    knows whether it has variants.
    """

    def __init__(
        self,
        synthetic: Source,
        refined: Source,
        labels: LabelReader,
        config: InspectConfig,
        job: Mapping[str, Any] | None = None,
    ) -> None:
        self.synthetic, self.refined, self.labels, self.config = synthetic, refined, labels, config
        self.expected = in_variants(synthetic, refined, job or {})
        self.images = RefinedImages(refined)
        self.drift = DriftSummary()
        self.verdicts: dict[str, str] = {}
        self.failures: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.problems: list[str] = []
        self.flat = 0
        self.carried = _has_sidecars(synthetic, refined)
        self.context = CheckContext()
        self.gallery: Gallery | None = None

    def run(self, model: Artifact | None, observer: Observer, shows: bool = False) -> dict[str, Any]:
        """Train a probe where labels need one and no model brings it, calibrate on the pairs, judge every sample.

        shows: whether to fill a gallery on the way.
        """
        context = open_context(self.config, read_decoys(self.synthetic), model)
        table = look_at_labels(self.synthetic, self.labels, context=context)
        if model is None:
            probe = audit_probe(self.synthetic, self.labels, table.labels, context, self.config, observer)
            if probe is not None:
                context = replace(context, probe=probe)
                table = look_at_labels(self.synthetic, self.labels, context=context)
        require_known(context, table)
        without = f"{table.without()}; only the image as a whole is checked"
        observer.table("labels", table.rows() or {"none": without})
        pairs = spread_pairs(self.synthetic, self.images, self.labels)
        context, record = calibrated(context, model, lambda: pairs, self.config.seed)
        observer.say(calibration_sentence(record))
        self.context, self.gallery = context, Gallery(context) if shows else None
        worst = self._judge_all(context, observer)
        power = power_of(pairs[:: max(1, len(pairs) // POWER_PAIRS)][:POWER_PAIRS], context)
        detects = {name: found["detects"] for name, found in power.items()}
        drift = self.drift.as_dict(detects, context.false_alarms, flips_found(context))
        return {
            "labels": table.labels,
            "verdicts": self.verdicts,
            "flat": self.flat,
            "open": commonest_first(self.open),
            "failures": commonest_first(self.failures),
            "drift": drift,
            "power": with_coverage(power, drift),
            "worst": worst.entries(),
            "audit_problems": [
                *self.problems,
                *self._about_files(),
                *table.lines(),
                *self._about_labels(table.unread),
                *unknown_tolerances(context, drift),
            ],
        }

    def rows(self, entries: list[dict[str, Any]]) -> list[Row]:
        """The worst samples, read again, for their picture."""
        wanted = {entry["key"] for entry in entries[:ROWS]}
        samples = (entry for entry in self.expected.entries() if isinstance(entry, Sample) and entry.key in wanted)
        pairs = (read_pair(sample, self.expected, self.images, self.labels) for sample in samples)
        return worst_rows(entries, {pair.sample.key: pair for pair in pairs})

    def _judge_all(self, context: CheckContext, observer: Observer) -> Worst:
        worst, batch = Worst(context), list[Pair]()
        progress = Progress(observer, count_samples(self.expected))
        for sample in self.expected.entries():
            if not isinstance(sample, Sample):
                continue
            pair = self._pair(sample)
            batch += [] if pair is None else [pair]
            if len(batch) == BATCH or sum(p.synthetic.size for p in batch) > BATCH_PIXELS:
                self._judge(batch, context, worst)
            progress(1)
        self._judge(batch, context, worst)
        if not self.verdicts:
            raise DatasetError(f"{self.synthetic.root}: no samples to compare with")
        return worst

    def _judge(self, batch: list[Pair], context: CheckContext, worst: Worst) -> None:
        for pair, findings in zip(batch, run_checks(batch, context), strict=True):
            verdict = overall(findings, context)
            self.verdicts.setdefault(pair.sample.key, verdict)
            self.open.update(open_labels_of(findings, verdict, context))
            self.flat += is_gone(findings)
            self.failures.update({finding.label for finding in findings if finding.verdict == "fail"})
            self.drift.add(findings, pair.sample.origin.key)
            worst.add(pair.sample.key, pair.sample.image, findings)
            if self.gallery is not None:
                self.gallery.add(pair.sample.key, pair.sample.image, findings, verdict)
        batch.clear()

    def _pair(self, sample: Sample) -> Pair | None:
        """The pair of a sample; None where there is none, which is a verdict already."""
        changed = _changed_sidecars(sample, self.synthetic, self.refined) if self.carried else []
        self.problems += changed
        if changed:
            self.verdicts[sample.key] = "fail"
        try:
            return read_pair(sample, self.expected, self.images, self.labels)
        except SampleError as error:
            self.verdicts[sample.key] = "fail" if _is_readable(sample, self.expected) else "not_checkable"
            self.problems.append(str(error))
            return None

    def _about_labels(self, unread: list[str]) -> list[str]:
        return [*self.labels.problems, *unread, *self.labels.unknown_overrides()]

    def _about_files(self) -> list[str]:
        """What is to be said about the refined dataset as a whole."""
        extra = self.images.extra()
        lines = [f"{image}: no such sample in {self.synthetic.root}; not judged" for image in extra[:EXTRA_NAMED]]
        lines += [f"{len(extra) - EXTRA_NAMED:,} more such images"] if len(extra) > EXTRA_NAMED else []
        if self.images.converted:
            lines.append(
                f"{self.images.converted:,} refined images have other channels than their source: compared as its"
            )
        if self.carried:
            loose = (entry.path for entry in self.synthetic.entries() if isinstance(entry, Loose))
            lines += [f"{path}: differs from its source" for path in loose if self._differs(path)]
        else:
            lines.append(f"{self.refined.root}: has no annotation files; its labels are those of {self.synthetic.root}")
        return lines

    def _differs(self, path: str) -> bool:
        """True if both datasets hold a file that belongs to no single sample, and not the same one."""
        try:
            return self.refined.read_file(path) != self.synthetic.read_file(path)
        except SampleError:
            return False


def _has_sidecars(synthetic: Source, refined: Source) -> bool:
    """True if the refined dataset carries annotations at all; many tools write images alone."""
    paths = [path for sample in spread(synthetic, BATCH) for path in sample.sidecars]
    return not paths or any(_reads(refined, path) for path in paths)


def _reads(source: Source, path: str) -> bool:
    try:
        source.read_file(path)
    except SampleError:
        return False
    return True


def _changed_sidecars(sample: Sample, synthetic: Source, refined: Source) -> list[str]:
    """One line for each sidecar that the refined dataset does not hold as its source does."""
    changed: list[str] = []
    known = read_sidecars(synthetic, sample.origin)[0]
    for path, delivered in sample.carried():
        try:
            if path in known and refined.read_file(delivered) != known[path]:
                changed.append(f"{delivered}: differs from its source")
        except SampleError as error:
            changed.append(f"{error} (in the refined dataset)")
    return changed


def _is_readable(sample: Sample, source: Source) -> bool:
    try:
        source.decode(source.read(sample), sample)
    except SampleError:
        return False
    return True
