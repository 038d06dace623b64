"""Refine a dataset: open both ends, stream, sum up."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refinery import artifact as artifacts
from refinery.artifact import Artifact
from refinery.checks import CheckContext, DriftSummary, measure_power, overall
from refinery.config import RefineConfig, parse_max_drift
from refinery.dataset import iter_decoded, open_dataset
from refinery.errors import DatasetError, SampleError, UsageError
from refinery.formats._source import Source
from refinery.image import Decoded, to_float
from refinery.jobs._observer import Observer, Silent
from refinery.journal import Journal, Line
from refinery.labels import LabelReader, open_labels
from refinery.refine import RefineOptions, chunk_size, refine_dataset
from refinery.runtime.session import Session, cores, open_session
from refinery.sample import VERDICTS, Finding, FloatArray, Pair, Sample

DECOYS = 32
PROBLEMS_NAMED = 10


def refine(config: RefineConfig, observer: Observer | None = None) -> dict[str, Any]:
    """Stream a dataset through a refiner; a second run of the same job goes on where the first one stopped.

    Returns what `refinery refine --json` prints. Raises RefineryError.
    """
    observer = observer or Silent()
    out = require_apart(Path(config.source), config.out)
    source = open_dataset(Path(config.source))
    model = artifacts.load(config.model or artifacts.newest_run(Path("runs")))
    chunk = chunk_size(source)
    session = open_session(model, config.provider, config.precision, streams=min(cores(), chunk))
    _require_channels(source, model)
    context = _context(config, source) if config.check else None
    labels = open_labels(source) if config.check else None
    options = RefineOptions(
        model.manifest.channels, config.batch_size, config.workers, chunk, config.on_drift, context, labels
    )
    total = sum(isinstance(entry, Sample) for entry in source.entries())
    observer.table(f"refine into {out}", _describe(config, source, total, model, session))
    if session.note:
        observer.say(session.note)
    for problem in source.problems():
        observer.say(problem)
    with Journal(out, _identity(config, source, model, session)) as journal:
        finished = journal.read_summary()
        started, before = time.monotonic(), _count_lines(journal)
        if finished is None or finished["samples"] != total:
            progress = _Progress(observer, total, before)
            not_carried = refine_dataset(source, source.sink(out), session, options, journal, progress)
            summary = summarise(journal.lines(), source, out, context) | {"not_carried": not_carried}
            journal.write_summary(summary)
        else:
            observer.say("this job is finished already; nothing was done again")
            summary = finished
        done = total - before
        rate = round(done / max(time.monotonic() - started, 1e-9), 1) if done > 0 else None
    for line in _notes(summary, context):
        observer.say(line)
    return {
        **summary,
        "images_per_s": rate,
        "provider": session.provider,
        "precision": session.precision,
        "model": str(model.path),
        "out": str(out),
    }


def require_apart(source: Path, out: str) -> Path:
    """The output folder. Raises UsageError if it is missing, the input, inside it, or around it."""
    if not out:
        raise UsageError("--out is missing: give a folder for the refined dataset")
    inner, outer = Path(out).resolve(), source.resolve()
    if inner == outer:
        raise UsageError(f"--out {out} is the input itself; the input is never changed: give another folder")
    if outer in inner.parents:
        raise UsageError(
            f"--out {out} lies inside the input {source}; it would be read as input: give a folder outside"
        )
    if inner in outer.parents:
        raise UsageError(f"--out {out} holds the input {source}; give a folder of its own")
    return Path(out)


def summarise(lines: Iterator[Line], source: Source, out: Path, context: CheckContext | None) -> dict[str, Any]:
    """Counts, verdicts and drift from the manifest alone, so that an interrupted job sums up like any other."""
    status: Counter[str] = Counter()
    verdicts: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
    drift = DriftSummary()
    measured: list[Sample] = []
    problems: list[str] = []
    unread = 0
    for line in lines:
        unread += len(line["problems"])
        problems += line["problems"][: PROBLEMS_NAMED - len(problems)]
        status[line["status"]] += 1
        if line["status"] == "rejected" or context is None:
            continue
        findings = [_finding(label) for label in line["labels"]]
        verdicts[overall(findings)] += 1
        drift.add(findings)
        if line["status"] in ("refined", "kept") and len(measured) < DECOYS:
            measured.append(Sample(line["key"], line["image"]))
    power = _power(measured, source, out, context) if context is not None else {}
    return {
        "samples": status.total(),
        "refined": status.total() - status["rejected"] - status["quarantined"],
        "rejected": status["rejected"],
        "quarantined": status["quarantined"],
        "verdicts": dict(verdicts),
        "drift": drift.as_dict(power),
        "problems": problems + ([f"{unread - len(problems):,} more sidecars"] if unread > len(problems) else []),
    }


def _power(samples: list[Sample], source: Source, out: Path, context: CheckContext) -> dict[str, float | None]:
    """Which moves this run would have seen, measured on its first samples."""
    wanted = {sample.key for sample in samples}
    if not samples:
        return {}
    single = Path(samples[0].image).parts[0] if source.layout == "hdf5" else ""
    refined_source = open_dataset(out / single, source.layout) if (out / single).is_file() else open_dataset(out)
    pairs: list[Pair] = []
    labels = open_labels(source)
    for entry in source.entries():
        if len(pairs) == len(wanted):
            break
        if isinstance(entry, Sample) and entry.key in wanted:
            pairs.append(read_pair(entry, source, refined_source, labels))
    return measure_power(pairs, context) if pairs else {}


def read_pair(sample: Sample, source: Source, refined_source: Source, labels: LabelReader) -> Pair:
    """One sample as the synthetic and the refined dataset hold it. Raises SampleError."""
    synthetic = source.decode(source.read(sample), sample)
    refined = refined_source.decode(refined_source.read(sample), sample)
    if refined.pixels.shape != synthetic.pixels.shape:
        raise SampleError(
            f"{sample.image}: {refined.pixels.shape} in the refined dataset, {synthetic.pixels.shape} in its source"
        )
    found, _ = labels.read(sample, synthetic.size_hw)
    return Pair(sample, to_float(synthetic.pixels), to_float(refined.pixels), found)


def _finding(label: dict[str, Any]) -> Finding:
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
    )


def read_decoys(source: Source) -> Iterator[tuple[str, FloatArray]]:
    """Synthetic images spread over the dataset, by key, that no refined image should match better than its own."""
    for sample, decoded in iter_decoded(source, DECOYS):
        if not isinstance(decoded, SampleError):
            yield sample.key, to_float(decoded.pixels)


def _context(config: RefineConfig, source: Source) -> CheckContext:
    return CheckContext(max_drift=parse_max_drift(config.max_drift)).with_decoys(read_decoys(source))


def _require_channels(source: Source, model: Artifact) -> None:
    """Raises DatasetError where none of the images looked at is of the model's kind: nothing would be refined."""
    kinds = {1: "gray", 3: "colour"}
    found = {each.pixels.shape[2] for _, each in iter_decoded(source, DECOYS) if isinstance(each, Decoded)}
    if found and model.manifest.channels not in found:
        raise DatasetError(
            f"{source.root}: its images are {kinds[found.pop()]}, but {model.path} was trained on "
            f"{kinds[model.manifest.channels]} images; convert them, or train on such images"
        )


def _notes(summary: dict[str, Any], context: CheckContext | None) -> Iterator[str]:
    """What a person should know beside the result: files that are missing, labels nobody could read, misspelt names."""
    for line in summary.get("not_carried", []):
        yield f"not carried: {line}"
    for line in summary.get("problems", []):
        yield f"not read as labels: {line}"
    if context is not None:
        yield from unknown_tolerances(context, summary["drift"])


def unknown_tolerances(context: CheckContext, drift: Mapping[str, Any]) -> Iterator[str]:
    """One line for each name of --max-drift that no label has."""
    for name in context.max_drift:
        if name and name not in drift:
            yield f"--max-drift: no label named {name!r} was found; labels: {', '.join(drift) or 'none'}"


def _identity(config: RefineConfig, source: Source, model: Artifact, session: Session) -> dict[str, Any]:
    """What makes two jobs the same: the same bytes come out."""
    return {
        "version": 1,
        "source": str(Path(config.source).resolve()),
        "layout": source.layout,
        "model_sha256": hashlib.sha256(model.model).hexdigest(),
        "provider": session.provider,
        "precision": session.precision,
        "batch_size": config.batch_size,
        "check": config.check,
        "on_drift": config.on_drift,
        "max_drift": config.max_drift,
    }


def _describe(config: RefineConfig, source: Source, total: int, model: Artifact, session: Session) -> dict[str, str]:
    on_drift = {"keep": "delivered all the same", "quarantine": "put into quarantine", "fail": "an error"}
    checks = f"more than {config.max_drift} fails: {on_drift[config.on_drift]}" if config.check else "not checked"
    return {
        "input": f"{config.source}: {total:,} samples ({source.layout})",
        "model": f"{model.path} ({model.manifest.method}, {model.manifest.channels} channel(s))",
        "provider": f"{session.provider}, {session.precision}",
        "labels": checks,
    }


def _count_lines(journal: Journal) -> int:
    return sum(1 for _ in journal.lines())


class _Progress:
    """Counts samples; what an earlier run did counts as done but not into the rate."""

    def __init__(self, observer: Observer, total: int, before: int) -> None:
        self.observer, self.total, self.before = observer, total, before
        self.done, self.started = 0, time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        if self.done > self.before:
            rate = (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)
            self.observer.progress({"done": self.done, "images_per_s": round(rate, 1)}, self.total)
