"""The stream: read -> decode -> batch -> refine -> check -> encode -> write, in order, bounded, nothing dropped.

Threads prepare the next chunk and finish the last one while the model runs. A chunk is a few dozen samples; what a
sample's result is does not depend on the chunk it was in.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from refinery.annotations import read_labels
from refinery.checks import CheckContext, overall, run_checks
from refinery.config import OnDrift
from refinery.errors import OutputError, RefineryError, SampleError
from refinery.formats._source import Loose, Sink, Source
from refinery.image import Decoded, from_float, to_float
from refinery.journal import FOLDER, Journal, Line
from refinery.runtime.batching import refine_images
from refinery.runtime.session import Session, cores
from refinery.sample import Finding, FloatArray, Label, Pair, Sample, Status

CHUNK_SAMPLES = 64
CHUNK_PIXELS = 4_000_000
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RefineOptions:
    """How to stream. context: None leaves the label checks out. channels: what the refiner takes."""

    channels: int
    batch_size: int = 0
    workers: int = 0
    on_drift: OnDrift = "keep"
    context: CheckContext | None = None


@dataclass
class Work:
    """One sample on its way through the stream; `error` set means it is carried as it is and listed as rejected."""

    sample: Sample
    data: bytes = b""
    decoded: Decoded | None = None
    synthetic: FloatArray | None = None
    refined: FloatArray | None = None
    labels: tuple[Label, ...] = ()
    problems: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    error: str = ""


def refine_dataset(
    source: Source,
    sink: Sink,
    session: Session,
    options: RefineOptions,
    journal: Journal,
    progress: Callable[[int], None],
) -> None:
    """Refine all that the journal does not hold yet, and carry everything else.

    progress: told how many samples are done, after every chunk.
    Raises OutputError when the output cannot be written, RefineryError when a label fails and on_drift is `fail`.
    """
    samples = _without_done(_carry_loose(source, sink), journal, progress)
    workers = options.workers or min(8, cores())
    with ThreadPoolExecutor(workers, thread_name_prefix="refine") as pool:
        first = next(samples, None)
        if first is not None:
            chunks = chunked(itertools.chain([first], samples), _chunk_size(source, first))
            prepared = ahead(pool, lambda chunk: [prepare(source, sample, options) for sample in chunk], chunks)
            refined = (refine_chunk(session, chunk, options) for chunk in prepared)
            for lines in ahead(pool, lambda chunk: finish_chunk(source, sink, chunk, options), refined):
                journal.append(lines)
                _stop_if_told(lines, options)
                progress(len(lines))
    sink.finish()


def prepare(source: Source, sample: Sample, options: RefineOptions) -> Work:
    """Read and decode one sample, and parse its labels if they are to be checked."""
    work = Work(sample)
    try:
        work.data = source.read(sample)
        work.decoded = source.decode(work.data, sample)
        if work.decoded.pixels.shape[2] != options.channels:
            kinds = {1: "gray", 3: "colour"}
            raise SampleError(
                f"{sample.image}: is {kinds[work.decoded.pixels.shape[2]]}, but the refiner was trained on "
                f"{kinds[options.channels]} images; convert it, or train on such images"
            )
        work.synthetic = to_float(work.decoded.pixels)
        if options.context is not None:
            sidecars = {path: source.read_file(path) for path in sample.sidecars}
            work.labels, work.problems = read_labels(sidecars, work.decoded.size_hw)
    except SampleError as error:
        work.error = str(error)
    return work


def refine_chunk(session: Session, chunk: list[Work], options: RefineOptions) -> list[Work]:
    """Run the model on all images of a chunk that could be read."""
    usable = [work for work in chunk if not work.error]
    images = [work.synthetic for work in usable if work.synthetic is not None]
    for work, refined in zip(usable, refine_images(session.run, images, options.batch_size), strict=True):
        work.refined = refined
    return chunk


def finish_chunk(source: Source, sink: Sink, chunk: list[Work], options: RefineOptions) -> list[Line]:
    """Quantise, check, encode and write a chunk; its manifest lines."""
    stored = {work.sample.key: _quantise(work) for work in chunk if work.refined is not None}
    usable = [work for work in chunk if not work.error]
    if options.context is not None:
        pairs = [_pair(work, stored[work.sample.key]) for work in usable]
        for work, findings in zip(usable, run_checks(pairs, options.context), strict=True):
            work.findings = findings
    return [_deliver(source, sink, work, stored.get(work.sample.key), options) for work in chunk]


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], depth: int = 2
) -> Iterator[Result]:
    """function of each item, in order, computed up to `depth` items ahead of the consumer."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _carry_loose(source: Source, sink: Sink) -> Iterator[Sample]:
    """The samples of a stream of entries; files that belong to none are carried on the way."""
    for entry in source.entries():
        if isinstance(entry, Loose):
            sink.carry(entry.path)
        else:
            yield entry


def _without_done(samples: Iterator[Sample], journal: Journal, progress: Callable[[int], None]) -> Iterator[Sample]:
    """The samples behind those the journal holds. Raises OutputError if the input is no longer what it was."""
    for line in journal.lines():
        sample = next(samples, None)
        if sample is None or sample.key != line["key"]:
            raise OutputError(
                f"{journal.out}: the input has changed since this job began (sample {line['key']!r} was there, now "
                f"{sample.key if sample else 'none'!r}); give another --out"
            )
        progress(1)
    yield from samples


def _chunk_size(source: Source, first: Sample) -> int:
    """Samples a chunk, so that a chunk of images like the first holds a bounded number of pixels."""
    try:
        height, width = source.decode(source.read(first), first).size_hw
    except SampleError:
        return 8
    return max(1, min(CHUNK_SAMPLES, CHUNK_PIXELS // (height * width)))


def _quantise(work: Work) -> Any:
    assert work.decoded is not None
    assert work.refined is not None
    return from_float(work.refined, work.decoded.bits)


def _pair(work: Work, pixels: Any) -> Pair:
    assert work.synthetic is not None
    return Pair(work.sample, work.synthetic, to_float(pixels), work.labels)


def _deliver(source: Source, sink: Sink, work: Work, pixels: Any, options: RefineOptions) -> Line:
    """Write the sample's files as its verdict demands, and its manifest line."""
    sample = work.sample
    for path in sample.sidecars:
        _carry_checked(source, sink, path)
    if work.error or work.decoded is None:
        data = work.data or _raw(source, sample)
        if data:
            sink.write_image(sample, data)
        return _line(work, "rejected", 0.0, data, data)
    refined = source.encode(pixels, work.decoded)
    if overall(work.findings) != "fail":
        sink.write_image(sample, refined)
        return _line(work, "refined", 1.0, work.data, refined)
    if options.on_drift == "keep":
        sink.write_image(sample, refined)
        return _line(work, "kept", 1.0, work.data, refined)
    sink.write_image(sample, work.data)
    quarantine = Sample(sample.key, f"{FOLDER}/quarantine/{sample.image}")
    sink.write_image(quarantine, refined)
    return _line(work, "quarantined", 0.0, work.data, work.data)


def _raw(source: Source, sample: Sample) -> bytes:
    try:
        return source.read(sample)
    except SampleError:
        return b""


def _carry_checked(source: Source, sink: Sink, path: str) -> None:
    """Carry a sidecar and compare what stands in the output with what stands in the input."""
    sink.carry(path)
    if sink.read_back(path) != source.read_file(path):
        raise OutputError(
            f"{path}: differs from its source after copying; check the disk, then run the same command again"
        )


def _line(work: Work, status: Status, strength: float, source: bytes, refined: bytes) -> Line:
    labels = [
        {
            "name": finding.label,
            "item": finding.item,
            "type": finding.type,
            "verdict": finding.verdict,
            "drift": finding.drift,
            "unit": finding.unit,
            "shift_px": finding.shift_px,
            "check": finding.check,
            "reason": finding.reason,
        }
        for finding in work.findings
    ]
    return {
        "key": work.sample.key,
        "image": work.sample.image,
        "status": status,
        "strength": strength,
        "labels": labels,
        "problems": list(work.problems),
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "refined_sha256": hashlib.sha256(refined).hexdigest(),
        "error": work.error,
    }


def _stop_if_told(lines: list[Line], options: RefineOptions) -> None:
    if options.on_drift != "fail":
        return
    for line in lines:
        for label in line["labels"]:
            if label["verdict"] == "fail":
                raise RefineryError(
                    f"{line['image']}: label {label['name']!r} does not hold ({label['reason']}); stopped, as --on-drift fail "
                    "says; retrain with a larger lambda_reg, allow more with --max-drift, or use quarantine"
                )
