"""Refine a dataset: open both ends, stream, sum up."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from refinery import artifact as artifacts
from refinery.artifact import Artifact
from refinery.checks import CheckContext, flips_found
from refinery.chunk_worker import WorkerSetup
from refinery.config import LabelOverride, OnDrift, RefineConfig, RefinePrecision, parse_require
from refinery.contents.stamp_log import CALIBRATION, StampLog
from refinery.dataset import doubts, kinds
from refinery.errors import DatasetError
from refinery.formats._counting import count_samples
from refinery.formats._parts import Part, divide
from refinery.formats._source import Sink, Source
from refinery.formats._store import is_address, shown
from refinery.formats._variants import with_variants
from refinery.jobs._checking import calibrated, calibration_sentence, open_context, recalled, unknown_tolerances
from refinery.jobs._ends import PIPE, open_input, open_output, open_sink, require_ends, require_place, working_folder
from refinery.jobs._label_sheet import save_label_sheet
from refinery.jobs._labels import LabelTable, look_at_labels, require_known
from refinery.jobs._observer import Observer, Progress, Silent
from refinery.jobs._page import draw_refined, write_job_page
from refinery.jobs._pairs import pairs_of, read_decoys, refined_pairs
from refinery.jobs._proof import prove_output
from refinery.jobs._range import require_range
from refinery.jobs._record import Report
from refinery.jobs._summary import delivered_pairs, summarise, worst_rows, write_worst
from refinery.jobs._up_to_date import LookBack, calibrated_on, software
from refinery.jobs._variants import about_indices, mark_of
from refinery.journal import FOLDER, Journal
from refinery.labels import open_labels
from refinery.pictures.choice import Choice
from refinery.pipeline import Way, chunk_size, past_finished_files, refine_dataset, streams_for
from refinery.processor import cores
from refinery.report.gallery import Gallery
from refinery.report.label_sheet import SHEET
from refinery.report.page import REPORT
from refinery.report.picture import save_png
from refinery.report.text import breakdown_sentences
from refinery.report.worst import ROWS, WORST, WORST_TITLE, draw_worst
from refinery.runtime.room import Room
from refinery.runtime.session import Session, open_session
from refinery.sample import FloatArray, Pair, Sample
from refinery.shard import Shard, parse_shard
from refinery.work import RefineOptions


def refine(
    config: RefineConfig, observer: Observer | None = None, overrides: Mapping[str, LabelOverride] | None = None
) -> dict[str, Any]:
    """Stream a dataset through a refiner; a second run of the same job goes on where the first one stopped.

    overrides: what labels are, by name, where their files do not say so; from `config.parse_label_overrides`.
    Returns what `refinery refine --json` prints. Raises RefineryError.
    """
    observer = observer or Silent()
    require_ends(config)
    store = open_output(config)
    shard = parse_shard(config.shard, os.environ)
    source = open_input(config.source, config.out, Choice(config.images, config.maps), not config.yes)
    part = divide(source, shard) if shard else None
    model = artifacts.load(config.model or artifacts.newest_run(Path("runs")))
    mark = mark_of(config.variants, source, model)
    own = with_variants(part.source if part else source, config.variants, mark)
    chunk = chunk_size(source)
    opened = open_session(model, config.provider, config.precision, streams=streams_for(chunk))
    session = replace(opened, room=Room(observer.say))
    reader = open_labels(source, overrides) if config.check else None
    decoys = _of_channels(read_decoys(source), source, model)
    context = open_context(config, decoys, model) if config.check else None
    deque(decoys, 0)  # looked at, also where nothing is checked
    on_drift = _on_drift(config, model, observer)
    require_place(config, on_drift)
    options = RefineOptions(
        model.manifest.channels,
        config.batch_size,
        config.workers,
        chunk,
        on_drift,
        context,
        reader,
        config.seed,
    )
    whole = config.variants * (part.total if part else 0 if source.endless else count_samples(source))
    total = config.variants * part.samples if part else whole
    labels = _say_what_was_found(observer, config, source, whole, model, session, options)
    if not os.path.exists(f"{config.out}/{FOLDER}"):  # noqa: PTH110  # a job that has begun was looked at
        require_range(source, session, options, model, observer.say)
    if part:
        observer.say(f"part {shard}: {part.share}")
    identity = _identity(config, source, model, session, overrides or {}, mark, shard, part)
    is_local = config.out != PIPE and not is_address(config.out)
    with working_folder(config) as out, Journal(out, identity, shard) as journal, StampLog(journal.folder) as log:
        started, look = time.monotonic(), LookBack(own, source, journal, log, reader, config, is_local, observer)
        begun = look.compare()
        before = begun.samples if begun.compared else _count_lines(journal)
        if begun.finished is None or source.endless or begun.finished["samples"] != total:
            if reader is not None and labels is not None and _keeps(config) and not source.endless:
                save_label_sheet(source, reader, labels, journal.folder / SHEET, observer)
            options = _calibrate(options, config, source, model, session, journal, log, observer)
            sink_of = partial(open_sink, config=config, journal=journal, store=store)
            whole_source = with_variants(source, config.variants, mark)
            left = 0 if source.endless else total - before
            way = Way(_setup(whole_source, journal, model, session, options), left, observer.say)
            compared, strict = begun.compared, config.strict
            stream = Stream(own, sink_of, session, options, journal, log, look, compared, strict, is_local, way)
            summary = stream.run(Progress(observer, total, before))
        else:
            how = "all read and hashed" if config.verify else "by size and time, or content where these are others"
            observer.say(
                f"this job is finished already: input and output are as they were ({how}); nothing was done again"
            )
            summary = begun.finished
        done = summary["samples"] - before
        rate = round(done / max(time.monotonic() - started, 1e-9), 1) if done > 0 else None
    for line in _notes(summary, options.context if total else None):
        observer.say(line)
    if shard:
        ended = Report.of(out).state()["finished"]
        observer.say(f"{ended} of {shard.count} parts are finished; refinery inspect {out} puts them together")
    about = {"images_per_s": rate, "provider": session.provider, "precision": session.precision, "model": model.path}
    return _result(config, summary, journal, about, shard)


def _result(
    config: RefineConfig, summary: dict[str, Any], journal: Journal, about: dict[str, Any], shard: Shard | None
) -> dict[str, Any]:
    """What `refinery refine --json` prints; of a pipe without a report there are no files to name."""
    kept, folder = _keeps(config), journal.folder
    picture, sheet, page = folder / WORST, folder / SHEET, folder / REPORT
    return {
        **summary,
        "variants": config.variants,
        **about,
        "model": str(about["model"]),
        "out": shown(config.out),
        "shard": str(shard) if shard else None,
        "manifest": str(journal.manifest) if kept else None,
        "worst_picture": str(picture) if kept and picture.exists() else None,
        "label_picture": str(sheet) if kept and sheet.exists() else None,
        "page": str(page) if kept and page.exists() else None,
    }


def _keeps(config: RefineConfig) -> bool:
    """True if the job's report stays; of a pipe it does where it has a folder."""
    return config.out != PIPE or bool(config.report)


def _on_drift(config: RefineConfig, model: Artifact, observer: Observer) -> OnDrift:
    """What happens to a sample that fails; gray and colour cannot be blended, so there it goes into quarantine."""
    if config.on_drift != "soften" or model.manifest.out_channels == model.manifest.channels:
        return config.on_drift
    observer.say("gray images made colour cannot be blended back: a sample that fails is put into quarantine")
    return "quarantine"


def _say_what_was_found(
    observer: Observer,
    config: RefineConfig,
    source: Source,
    total: int,
    model: Artifact,
    session: Session,
    options: RefineOptions,
) -> LabelTable | None:
    """The tables printed before work starts; the labels, where there are any to be checked."""
    table: LabelTable | None = None
    observer.table(f"refine into {shown(config.out)}", _describe(config, source, total, model, session))
    if found := kinds(source):
        observer.table("images", found)
    if options.labels is not None:
        table = look_at_labels(source, options.labels, context=options.context)
        if options.context is not None:
            require_known(options.context, table)
        without = f"{table.without()}; only the image as a whole is checked"
        observer.table("labels", table.rows() or {"none": without})
        for line in (*options.labels.problems, *table.lines(), *options.labels.unknown_overrides()):
            observer.say(line)
    if config.variants > 1 and (note := about_indices(source, options.labels)):
        observer.say(note)
    if session.note:
        observer.say(session.note)
    for problem in (*doubts(source), *source.problems()):
        observer.say(problem)
    return table if table is not None and table.labels else None


def _calibrate(
    options: RefineOptions,
    config: RefineConfig,
    source: Source,
    model: Artifact,
    session: Session,
    journal: Journal,
    log: StampLog,
    observer: Observer,
) -> RefineOptions:
    """The options with calibrated checks: the thresholds that this job has used so far, or new ones, written down."""
    if options.context is None:
        return options
    known = journal.read_calibration()
    if known is not None:
        return replace(options, context=recalled(options.context, known))
    context, record = calibrated(options.context, model, lambda: refined_pairs(source, session, options), config.seed)
    log.add(CALIBRATION, calibrated_on(source))
    log.flush()
    journal.write_calibration({**record, "flips_found": flips_found(context)})
    observer.say(calibration_sentence(record))
    return replace(options, context=context)


@dataclass(frozen=True)
class Stream:
    """What is left of a job, refined, proved and summed up. source: with its variants. compared: see
    `refine_dataset`."""

    source: Source
    sink_of: Callable[[Source], Sink]
    session: Session
    options: RefineOptions
    journal: Journal
    log: StampLog
    look: LookBack
    compared: bool
    strict: bool
    is_local: bool
    way: Way

    def run(self, progress: Progress) -> dict[str, Any]:
        """Refine, prove what was delivered, draw the worst samples; the job's summary. Raises RefineryError."""
        source, options, journal = self.source, self.options, self.journal
        behind, left = past_finished_files(source, journal)
        sink = self.sink_of(left)
        not_carried = refine_dataset(
            left,
            sink,
            self.session,
            options,
            journal,
            progress,
            self.log,
            behind,
            self.compared,
            self.strict,
            self.way,
        )
        self.look.remove_outdated()
        if self.is_local:
            prove_output(source, journal, self.log, options.workers)
        pairs = partial(self._delivered_pairs, is_local=sink.is_local) if options.labels is not None else None
        gallery = Gallery(options.context)
        summary = summarise(journal.lines(), options.context, pairs, gallery)
        summary["not_carried"] = not_carried
        _draw_worst(summary["worst"], source, self.session, options, journal)
        write_worst(journal.folder, summary["worst"])
        if options.labels is not None:
            remake = partial(pairs_of, source=source, session=self.session, options=options)
            deliver = partial(delivered_pairs, source=source, out=journal.out, labels=options.labels)
            draw_refined(gallery, source, sink.is_local, deliver, remake)
        write_job_page(journal.folder, journal.job["source"], summary, gallery, options.context)
        self.look.note_labels()
        self.log.flush()
        journal.write_summary(summary)
        return summary

    def _delivered_pairs(self, samples: Sequence[Sample], is_local: bool) -> list[Pair]:
        """Pairs as they were delivered; of what went elsewhere, what can be had: the beginning, refined once more."""
        assert self.options.labels is not None
        if is_local:
            return list(delivered_pairs(samples, self.source, self.journal.out, self.options.labels))
        first = (entry for entry in self.source.entries() if isinstance(entry, Sample))
        return pairs_of(islice(first, len(samples)), self.source, self.session, self.options)


def _setup(source: Source, journal: Journal, model: Artifact, session: Session, options: RefineOptions) -> WorkerSetup:
    """What worker processes need to refine as this one does. source: undivided, as they are told what to read."""
    threads = max(1, cores() // session.streams)
    precision = cast(RefinePrecision, session.precision)
    return WorkerSetup(source, journal.out, journal.folder, model, session.provider, precision, threads, options)


def _draw_worst(
    entries: list[dict[str, Any]], source: Source, session: Session, options: RefineOptions, journal: Journal
) -> None:
    """The picture of what the refiner itself made of the worst samples, whatever was delivered."""
    wanted = {entry["key"] for entry in entries[:ROWS]}
    if not wanted:
        return
    of_them = (entry for entry in source.entries() if isinstance(entry, Sample) and entry.key in wanted)
    samples = list(islice(of_them, len(wanted)))
    pairs = {pair.sample.key: pair for pair in pairs_of(samples, source, session, options)}
    save_png(draw_worst(worst_rows(entries, pairs), WORST_TITLE), journal.folder / WORST)


def _of_channels(
    images: Iterable[tuple[str, FloatArray]], source: Source, model: Artifact
) -> Iterator[tuple[str, FloatArray]]:
    """Images on their way. Raises DatasetError where none of them is of the model's kind: nothing would be refined."""
    kinds = {1: "gray", 3: "colour"}
    found = set[int]()
    for key, image in images:
        found.add(image.shape[2])
        yield key, image
    if found and model.manifest.channels not in found:
        raise DatasetError(
            f"{source.root}: its images are {kinds[found.pop()]}, but {model.path} was trained on "
            f"{kinds[model.manifest.channels]} images; convert them, or train on such images"
        )


def _notes(summary: dict[str, Any], context: CheckContext | None) -> Iterator[str]:
    """What a person should know beside the result: breakdowns, missing files, unreadable labels, misspelt names."""
    yield from breakdown_sentences(summary)
    if summary.get("unchanged") and summary["unchanged"] == summary["refined"]:
        yield "the refiner changes nothing: every image it made equals its source byte for byte; was it trained?"
    for line in summary.get("not_carried", []):
        yield f"not carried: {line}"
    for line in summary.get("problems", []):
        yield f"not read as labels: {line}"
    if context is not None:
        yield from unknown_tolerances(context, summary["drift"])


def _identity(
    config: RefineConfig,
    source: Source,
    model: Artifact,
    session: Session,
    overrides: Mapping[str, LabelOverride],
    mark: str,
    shard: Shard | None,
    part: Part | None,
) -> dict[str, Any]:
    """What makes two jobs the same: the same bytes come out."""
    return {
        "version": 1,
        "versions": software(),
        "source": shown(config.source).rstrip("/") if source.endless else str(Path(config.source).resolve()),
        "layout": source.layout,
        "model_sha256": model.sha256,
        "probe_sha256": _probe_sha256(model),
        "provider": session.provider,
        "precision": session.precision,
        "batch_size": config.batch_size,
        "check": config.check,
        "on_drift": config.on_drift,
        "max_drift": config.max_drift,
        "false_alarms": config.false_alarms,
        "require": sorted(parse_require(config.require)),
        "seed": config.seed,
        "variants": config.variants,
        "variant_mark": mark,
        "labels": {name: asdict(override) for name, override in sorted(overrides.items())},
        **({"images": list(config.images)} if config.images else {}),
        **({"maps": list(config.maps)} if config.maps else {}),
        **({"out": shown(config.out).rstrip("/")} if config.out == PIPE or is_address(config.out) else {}),
        **({"shard": str(shard), **part.identity()} if part else {}),
    }


def _probe_sha256(model: Artifact) -> str | None:
    """Of all the probe's networks together; None without a probe."""
    if model.probe is None:
        return None
    digest = hashlib.sha256()
    for _, network in sorted(model.probe.models.items()):
        digest.update(hashlib.sha256(network).digest())
    return digest.hexdigest()


def _describe(config: RefineConfig, source: Source, total: int, model: Artifact, session: Session) -> dict[str, str]:
    samples = f"{total // config.variants:,} samples" if total else "a stream of samples"
    each = f", {config.variants} variants of each"
    on_drift = {
        "soften": "blended back toward the synthetic image until it holds",
        "keep": "delivered all the same",
        "quarantine": "put into quarantine",
        "fail": "an error",
    }
    may_move = f"{config.max_drift} (--max-drift); a sample that fails is {on_drift[config.on_drift]}"
    return {
        "input": f"{shown(config.source)}: {samples} ({source.layout}){each if config.variants > 1 else ''}",
        "model": f"{model.path} ({', '.join(filter(None, [*_known(model), model.fixes()]))})",
        "provider": f"{session.provider}, {session.precision}",
        "labels may move": may_move if config.check else "not checked",
    }


def _known(model: Artifact) -> tuple[str, str]:
    return model.manifest.method, f"{model.manifest.channels} channel(s)"


def _count_lines(journal: Journal) -> int:
    return sum(1 for _ in journal.lines())
