"""The stream: read -> decode -> batch -> refine -> check -> encode -> write, in order, bounded, nothing dropped.

Threads prepare the next chunk and finish the last one while the model runs, and the model has the batches of the next
chunk before it is done with one, so that it never waits. Where the Python around the model is the limit, worker
processes take whole chunks instead (`pace`). A chunk is a few dozen samples; what a sample's result is does not depend
on the chunk it was in, nor on who made it.
"""

from __future__ import annotations

import pickle
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Generic, TypeVar

from threadpoolctl import threadpool_limits

from refinery.checks import deciding
from refinery.chunk import CHUNK_BYTES, CHUNK_PIXELS, ChunkItem, Done, prepare_part, refine_chunk, whole_chunks
from refinery.chunk_worker import ChunkDone, ChunkWorker, WorkerSetup
from refinery.contents.content import has_content, sha256_of_disk, sha256_of_file
from refinery.contents.line_index import LineIndex
from refinery.contents.stamp_log import StampLog
from refinery.deliver import Delivery
from refinery.errors import OutputError, RefineryError, SampleError
from refinery.formats._files import Files
from refinery.formats._parts import Listed, Packed
from refinery.formats._source import Sink, Source
from refinery.formats._stamp import Stamp
from refinery.formats._tar_samples import held_bytes
from refinery.formats.folder import FolderSink
from refinery.journal import Journal, Line, finding_from_json
from refinery.pace import Pace
from refinery.processor import cores, memory_bytes
from refinery.runtime.processes import WorkerProcesses
from refinery.runtime.session import Session
from refinery.sample import Sample
from refinery.work import RefineOptions

CHUNK_SAMPLES, FEW_SAMPLES = 64, 8
"""A chunk has so many samples at most; of images so large that a quarter of CHUNK_PIXELS holds fewer than FEW_SAMPLES,
as many as CHUNK_PIXELS holds, but not more than those: a few large chunks would leave cores idle at both ends."""

BYTES_A_PIXEL = 768
"""Of a batch in the model: three layers of 64 features in fp32."""

BYTES_A_PROCESS = 400 << 20
"""Of a worker process beside its batch: libraries, the model, a chunk of images."""

SETUP_BYTES = 64 << 20
"""Of what a worker process is given, beyond which a copy for each is too much: files about very many images."""
IN_FLIGHT = 6
"""Chunks that the threads' stages hold when the first is done."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Way:
    """How chunks may be worked on. setup: for worker processes, None where there can be none. left: see `Pace`."""

    setup: WorkerSetup | None = None
    left: int = 0
    say: Callable[[str], None] = lambda _: None


def refine_dataset(
    source: Source,
    sink: Sink,
    session: Session,
    options: RefineOptions,
    journal: Journal,
    progress: Callable[[int], None],
    log: StampLog,
    behind: int = 0,
    compared: bool = True,
    strict: bool = False,
    way: Way = Way(),  # it is frozen
) -> list[str]:
    """Refine all that the journal does not hold yet, or not any more, and carry everything else.

    progress: told how many samples are done, after every chunk. behind: how many lines of the journal are about samples
    that `source` does not have any more (`past_finished_files`). compared: lines that do not hold any more are marked;
    where nobody could look, contents are compared here as they come, and strict refuses the first that is another.
    way: whether worker processes may share the work.
    Returns one line for each loose file that could not be read and so is missing in the output. Raises OutputError when
    the output cannot be written, RefineryError when a label fails and on_drift is `fail`.
    """
    not_carried: list[str] = []
    with (
        threadpool_limits(1, user_api="blas"),  # the checks' own threads would fight the model's for the cores
        ThreadPoolExecutor(1, thread_name_prefix="hash") as hashing,
    ):
        carried = _carry_loose(source, sink, not_carried, log)
        holding = _Holding(source, log, hashing)
        holds = _holds if compared else partial(has_content, source)
        samples = _with_done(holding.notes(carried), journal, progress, options, behind, holds, strict)
        chunks = chunked(samples, options.chunk_samples, _held_bytes)
        delivery = Delivery(source, sink, Files(journal.out, journal.folder), options, log)
        for new, lines in _finished(chunks, delivery, session, way):
            for sample in new:
                sink.commit(sample)
            if source.endless and (lost := source.lost()):
                journal.lose(lost)
            log.flush()
            journal.append(lines)
            _stop_if_told(lines, options)
            progress(len(lines))
    progress(0)  # the last place to stop: what comes now is the end of the output
    sink.finish()
    return list(dict.fromkeys([*journal.lost(), *not_carried, *source.lost()]))


Finished = tuple[list[Sample], list[Line]]
"""A chunk's new samples, and the lines of all of it."""


def _finished(chunks: Iterator[list[ChunkItem]], delivery: Delivery, session: Session, way: Way) -> Iterator[Finished]:
    """The chunks, in threads; where that pays, in worker processes from some chunk on."""
    pace = Pace(chunks, way.left if _may_share(delivery, session, way) else 0, IN_FLIGHT, cores())
    for finished in _in_threads(pace.until(pace.pays), delivery, session):
        pace.count(len(finished[0]))
        yield finished
    processes = _started(pace, delivery, session, way) if pace.stopped else None
    if processes is not None:
        for finished in _in_processes(pace.until(pace.is_slower), delivery, processes, way.say):
            pace.count(len(finished[0]))
            yield finished
        if pace.stopped:
            way.say(f"one process again: {pace.now():.0f} images/s with {processes.count}")
    yield from _in_threads(chunks, delivery, session)  # what is left


def _started(pace: Pace[ChunkItem], delivery: Delivery, session: Session, way: Way) -> WorkerProcesses | None:
    """Worker processes, whose pace is measured from now on; None where there can be none, which is said."""
    setup, count = pickle.dumps(way.setup), _processes_for(session, delivery.options)
    if len(setup) > SETUP_BYTES:
        way.say(f"no worker processes: what each would hold of the labels is {len(setup) >> 20} MB")
        return None
    try:
        processes = WorkerProcesses(count, ChunkWorker, setup)
    except OSError as error:
        way.say(f"no worker processes could be started ({error.strerror}); going on with one")
        return None
    pace.start(skipped=2 * count)
    way.say(f"{count} worker processes from here on: {pace.rate:.0f} images/s so far, {pace.left:,} images left")
    return processes


def _may_share(delivery: Delivery, session: Session, way: Way) -> bool:
    """True if worker processes can share this job.

    They can where every file is one of its own in a folder, the model runs on the CPU, and there is memory for them.
    """
    on_cpu = session.provider in ("cpu", "openvino") and _processes_for(session, delivery.options) > 1
    return bool(sys.executable) and way.setup is not None and on_cpu and isinstance(delivery.sink, FolderSink)


def _processes_for(session: Session, options: RefineOptions) -> int:
    """Worker processes: one a stream, no more than --workers, and than half of the memory holds."""
    return min(session.streams, options.workers or session.streams, memory_bytes() // 2 // BYTES_A_PROCESS)


def _in_threads(chunks: Iterable[list[ChunkItem]], delivery: Delivery, session: Session) -> Iterator[Finished]:
    """Chunks done by threads of this process, each stage in its own."""
    source, options = delivery.source, delivery.options
    workers = options.workers or min(8, cores())
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="refine") as pool,
        ThreadPoolExecutor(session.streams, thread_name_prefix="model") as streams,
        ThreadPoolExecutor(2, thread_name_prefix="drive") as drivers,
    ):
        prepared = ahead(pool, lambda chunk: prepare_part(source, chunk, options), chunks)
        parts = whole_chunks(source, prepared, options)
        several = options.chunk_samples > 1  # of large images one at a time: each takes a GB
        refined = ahead(drivers, lambda part: refine_chunk(session, part, options, streams), parts, int(several))
        for works, lines in ahead(pool, lambda works: (works, delivery.finish(works)), refined):
            yield [work.sample for work in works if work.line is None], lines


def _in_processes(
    chunks: Iterable[list[ChunkItem]], delivery: Delivery, processes: WorkerProcesses, say: Callable[[str], None]
) -> Iterator[Finished]:
    """Chunks done by worker processes, each a whole one; the processes end with them."""
    with processes, ThreadPoolExecutor(processes.count, thread_name_prefix="process") as pool:

        def work(chunk: list[ChunkItem]) -> tuple[list[ChunkItem], ChunkDone]:
            new = [item for item in chunk if isinstance(item, Sample)]
            return chunk, processes.call(new) if new else ChunkDone([])

        for chunk, done in ahead(pool, work, chunks, 2 * processes.count):
            for note in done.notes:
                delivery.log.add(*note)
            for sentence in done.said:
                say(sentence)
            fresh = iter(done.lines)
            lines = [item.line if isinstance(item, Done) else next(fresh) for item in chunk]
            yield [item for item in chunk if isinstance(item, Sample)], lines


def past_finished_files(source: Source, journal: Journal) -> tuple[int, Source]:
    """How many lines of the journal are about files that are done, and the dataset without those.

    Only of files that are fetched, because passing over their samples means fetching them again.
    """
    if not source.endless or not isinstance(source, Packed):
        return 0, source
    listed = _files_of(source)
    lines = Counter[str]()
    for line in journal.lines():
        file = source.file_of(Sample(line["key"], line["image"]))
        if listed and file not in listed:  # it is gone: what comes now is compared
            break
        lines[file] += 1
    done = list(lines)[:-1]  # the last one may have more samples
    return sum(lines[file] for file in done), source.without(frozenset(done))


def _files_of(source: object) -> dict[str, bool]:
    return source.files() if isinstance(source, Listed) else {}


def chunk_size(source: Source) -> int:
    """Samples a chunk, so that images like the first are prepared side by side; `prepare_part` holds the bound."""
    first = next((entry for entry in source.entries() if isinstance(entry, Sample)), None)
    try:
        height, width = source.decode(source.read(first), first).size_hw if first else (1, 1)
    except SampleError:
        return 8
    return samples_a_chunk(height, width)


def samples_a_chunk(height: int, width: int) -> int:
    """Samples of this size in px that are worked on together."""
    most = CHUNK_PIXELS // (height * width)
    return max(1, min(CHUNK_SAMPLES, max(most // 4, min(most, FEW_SAMPLES))))


def streams_for(chunk_samples: int) -> int:
    """Batches that run at the same time: no more than cores, images in a chunk, and what half of the memory holds."""
    batch_bytes = BYTES_A_PIXEL * (CHUNK_PIXELS // chunk_samples)
    return max(1, min(cores(), chunk_samples, memory_bytes() // 2 // batch_bytes))


def chunked(items: Iterable[Item], size: int, held: Callable[[Item], int] = lambda _: 0) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter, and those that hold CHUNK_BYTES before.

    Where the items break off with an error, what came before it is given first.
    """
    chunk: list[Item] = []
    total = 0
    waiting = _Breaking(items)
    for item in waiting:
        chunk.append(item)
        total += held(item)
        if len(chunk) == size or total >= CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk
    waiting.pass_on()


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], depth: int = 2
) -> Iterator[Result]:
    """function of each item, in order, computed up to `depth` items ahead of the consumer.

    Where the items break off with an error, what came before it is finished first.
    """
    waiting: deque[Future[Result]] = deque()
    given = _Breaking(items)
    try:
        for item in given:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
    given.pass_on()


class _Breaking(Generic[Item]):
    """Items that end where making the next one raises RefineryError; `pass_on` raises it."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._error: RefineryError | None = None

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            return next(self._items)
        except RefineryError as error:
            self._error = error
            raise StopIteration from error

    def pass_on(self) -> None:
        """Raise what ended the items, if anything did."""
        if self._error is not None:
            raise self._error


def _carry_loose(source: Source, sink: Sink, not_carried: list[str], log: StampLog) -> Iterator[Sample]:
    """The samples of a stream of entries; files that belong to none are carried on the way, or noted."""
    for entry in source.stream():
        if isinstance(entry, Sample):
            yield entry
            continue
        stamp = None if entry.inside else source.stamp(entry.path)
        try:
            sink.carry(entry.path)
            sink.commit(entry)
        except SampleError as error:
            not_carried.append(str(error))
            continue
        if not entry.inside and not source.endless:
            log.add(f"file {entry.path}", {"in": stamp, "sha256": sha256_of_file(source, entry.path)})


class _Holding:
    """Notes files that hold many samples in the log as the stream comes to them; they are hashed beside the stream."""

    def __init__(self, source: Source, log: StampLog, hashing: ThreadPoolExecutor) -> None:
        self._source, self._log, self._hashing = source, log, hashing
        self._packed = source if isinstance(source, Packed) else None
        self._file = ""

    def notes(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples, whose files are noted when the first of theirs goes by."""
        for sample in samples:
            if self._packed is not None and (file := self._packed.file_of(sample)) != self._file:
                self._file, stamp = file, self._source.stamp(file)
                if stamp is None or self._log.file(file).get("in") != list(stamp):
                    self._hashing.submit(self._note, file, stamp)
            yield sample

    def _note(self, file: str, stamp: Stamp | None) -> None:
        if self._source.endless:  # at an address, where reading is a download
            self._log.add(f"file {file}", {"in": stamp})
        else:
            self._log.add(f"file {file}", {"in": stamp, "sha256": sha256_of_disk(self._source.root / file)})


def _with_done(
    samples: Iterator[Sample],
    journal: Journal,
    progress: Callable[[int], None],
    options: RefineOptions,
    behind: int,
    holds: Callable[[Sample, Line], bool],
    strict: bool,
) -> Iterator[ChunkItem]:
    """The samples behind those that the journal begins with; among them those that lie aside, with their lines.

    The journal's beginning is what it shares with the input: from the first sample that is not there any more, or is
    not what its line says, the lines are set aside, to be taken over where their samples come.
    """
    following: Sample | None = None
    for number, line in enumerate(journal.lines()):
        if number >= behind:
            following = next(samples, None)
            if following is None or following.key != line["key"] or not holds(following, line):
                _refuse_change(strict, journal, line)
                journal.set_aside(number)
                break
            following = None
        _stop_if_told([line], options)
        progress(1)
    aside = LineIndex(journal.aside)
    try:
        for sample in chain([following] if following else [], samples):
            line_aside = aside.get(sample.key)
            usable = line_aside is not None and holds(sample, line_aside)
            yield Done(sample, line_aside) if usable and line_aside is not None else sample
    finally:
        aside.close()


def _held_bytes(item: ChunkItem) -> int:
    return held_bytes(item) if isinstance(item, Sample) else 0


def _holds(sample: Sample, line: Line) -> bool:  # noqa: ARG001
    return not line.get("stale")


def _refuse_change(strict: bool, journal: Journal, line: Line) -> None:
    if strict:
        raise OutputError(
            f"{journal.out}: the input changed since this job began ({line['image']}), and --strict refuses that; give "
            "another --out"
        )


def _stop_if_told(lines: list[Line], options: RefineOptions) -> None:
    if options.on_drift != "fail" or options.context is None:
        return
    for line in lines:
        for finding in deciding(map(finding_from_json, line["labels"]), options.context):
            if finding.verdict == "fail":
                raise RefineryError(
                    f"{line['image']}: label {finding.label!r} does not hold ({finding.reason}), and --on-drift is "
                    "fail: stopped; allow more with --max-drift, or use soften"
                )
