"""The stream: read -> decode -> batch -> refine -> check -> encode -> write, in order, bounded, nothing dropped.

Threads prepare the next chunk and finish the last one while the model runs, and the model has the batches of the next
chunk before it is done with one, so that it never waits. A chunk is a few dozen samples; what a sample's result is does
not depend on the chunk it was in.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Generic, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from refinery.contents.content import has_content, sha256_of_disk, sha256_of_file
from refinery.contents.line_index import LineIndex
from refinery.contents.stamp_log import StampLog
from refinery.deliver import Delivery
from refinery.errors import ModelError, OutputError, RefineryError, SampleError
from refinery.formats._files import Files
from refinery.formats._parts import Listed, Packed
from refinery.formats._source import Sink, Source, require_input
from refinery.formats._stamp import Stamp
from refinery.formats._tar_samples import held_bytes
from refinery.image import to_float
from refinery.journal import Journal, Line
from refinery.processor import cores, memory_bytes
from refinery.runtime import tiling
from refinery.runtime.batching import refine_images
from refinery.runtime.fit import Fit
from refinery.runtime.latent import latents_of
from refinery.runtime.room import out_of_memory
from refinery.runtime.session import Session
from refinery.sample import FloatArray, Sample
from refinery.work import NOT_FINITE, RefineOptions, Work

CHUNK_SAMPLES = 64
CHUNK_PIXELS = 4_000_000
CHUNK_BYTES = 64 << 20
BYTES_A_PIXEL = 768
"""Of a batch in the model: three layers of 64 features in fp32."""
Item = TypeVar("Item")
Result = TypeVar("Result")


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
) -> list[str]:
    """Refine all that the journal does not hold yet, or not any more, and carry everything else.

    progress: told how many samples are done, after every chunk. behind: how many lines of the journal are about samples
    that `source` does not have any more (`past_finished_files`). compared: lines that do not hold any more are marked;
    where nobody could look, contents are compared here as they come, and strict refuses the first that is another.
    Returns one line for each loose file that could not be read and so is missing in the output. Raises OutputError when
    the output cannot be written, RefineryError when a label fails and on_drift is `fail`.
    """
    not_carried: list[str] = []
    delivery = Delivery(source, sink, Files(journal.out, journal.folder), options, log)
    workers = options.workers or min(8, cores())
    with (
        threadpool_limits(1, user_api="blas"),  # the checks' own threads would fight the model's for the cores
        ThreadPoolExecutor(workers, thread_name_prefix="refine") as pool,
        ThreadPoolExecutor(session.streams, thread_name_prefix="model") as streams,
        ThreadPoolExecutor(2, thread_name_prefix="drive") as drivers,
        ThreadPoolExecutor(1, thread_name_prefix="hash") as hashing,
    ):
        carried = _carry_loose(source, sink, not_carried, log)
        holding = _Holding(source, log, hashing)
        holds = _holds if compared else partial(has_content, source)
        samples = _with_done(holding.notes(carried), journal, progress, options, behind, holds, strict)
        chunks = chunked(samples, options.chunk_samples, _held_bytes)
        prepared = ahead(pool, lambda chunk: prepare_part(source, chunk, options), chunks)
        parts = whole_chunks(source, prepared, options)
        several = options.chunk_samples > 1  # of large images one at a time: each takes a GB
        refined = ahead(drivers, lambda part: refine_chunk(session, part, options, streams), parts, int(several))
        for works, lines in ahead(pool, lambda works: (works, delivery.finish(works)), refined):
            for work in works:
                if work.line is None:
                    sink.commit(work.sample)
            if source.endless and (lost := source.lost()):
                journal.lose(lost)
            log.flush()
            journal.append(lines)
            _stop_if_told(lines, options)
            progress(len(lines))
    progress(0)  # the last place to stop: what comes now is the end of the output
    sink.finish()
    return list(dict.fromkeys([*journal.lost(), *not_carried, *source.lost()]))


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
    return max(1, min(CHUNK_SAMPLES, CHUNK_PIXELS // (height * width)))


@dataclass(frozen=True, slots=True)
class Done:
    """A sample that an earlier run has done, with its line, which is to be taken over when the stream comes to it."""

    sample: Sample
    line: Line


ChunkItem = Sample | Done


def streams_for(chunk_samples: int) -> int:
    """Batches that run at the same time: no more than cores, images in a chunk, and what half of the memory holds."""
    batch_bytes = BYTES_A_PIXEL * (CHUNK_PIXELS // chunk_samples)
    return max(1, min(cores(), chunk_samples, memory_bytes() // 2 // batch_bytes))


def prepare_part(source: Source, chunk: list[ChunkItem], options: RefineOptions) -> tuple[list[Work], list[ChunkItem]]:
    """Prepare samples until they hold CHUNK_PIXELS or CHUNK_BYTES, and say which are left.

    After a small one may come huge ones.
    """
    works: list[Work] = []
    pixels = 0
    for item in chunk:
        if isinstance(item, Done):
            works.append(Work(item.sample, line=item.line))
            continue
        if pixels >= CHUNK_PIXELS or sum(len(work.data or b"") for work in works) >= CHUNK_BYTES:
            break
        works.append(prepare(source, item, options))
        pixels += 0 if (synthetic := works[-1].synthetic) is None else synthetic.shape[0] * synthetic.shape[1]
    return works, chunk[len(works) :]


def whole_chunks(
    source: Source, parts: Iterable[tuple[list[Work], list[ChunkItem]]], options: RefineOptions
) -> Iterator[list[Work]]:
    """Prepared parts, each followed by what was left of its chunk."""
    for works, left in parts:
        yield works
        while left:
            works, left = prepare_part(source, left, options)
            yield works


def prepare(source: Source, sample: Sample, options: RefineOptions) -> Work:
    """Read and decode one sample, and parse its labels if they are to be checked."""
    work = Work(sample, stamps=_stamps_of(source, sample))
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
    except SampleError as error:
        require_input(source)
        work.error = str(error)
    if options.labels is not None and work.decoded is not None and not work.error:
        work.labels, work.problems = options.labels.read(sample, work.decoded.size_hw)
        work.labels_digest = options.labels.shared_digest(sample, work.decoded.size_hw)
        if work.problems:
            require_input(source)
    return work


def refine_chunk(
    session: Session, chunk: list[Work], options: RefineOptions, streams: ThreadPoolExecutor | None = None
) -> list[Work]:
    """Run the model on all images of a chunk that could be read; what it makes no image of is an error.

    Raises ModelError when the model does not run, not even on one image alone.
    """
    _refuse_other_sizes(chunk, session.fit)
    _refuse_too_large(chunk, session.fit)
    usable = [work for work in chunk if not work.error and work.line is None]
    images = [work.synthetic for work in usable if work.synthetic is not None]
    keys, variants = [work.sample.origin.key for work in usable], [work.sample.variant for work in usable]
    latents = latents_of(keys, session.latent, options.seed, variants) if session.latent else None
    try:
        refined_images = refine_images(
            session.run, images, session.batch or options.batch_size, streams, latents, session.fit, session.room
        )
    except RefineryError:
        raise
    except Exception as error:  # each provider raises its own classes
        if out_of_memory(error):
            raise ModelError(
                f"the model ran out of memory on a single image ({usable[0].sample.image}, or one soon after it); "
                "close other programs, use --workers 1, or refine smaller images"
            ) from error
        failing = _first_failing(session, images, options, latents)
        height, width = images[failing].shape[:2]
        raise ModelError(
            f"the model failed on {usable[failing].sample.image}, {width}x{height} px "
            f"({' '.join(str(error).split())[:200]}); try --provider cpu, or export it again"
        ) from error
    for work, refined in zip(usable, refined_images, strict=True):
        if np.isfinite(refined).all():
            work.take(refined)
        else:
            work.error = f"{work.sample.image}: {NOT_FINITE}; train or export it again"
    return chunk


def _first_failing(
    session: Session, images: list[FloatArray], options: RefineOptions, latents: list[FloatArray] | None
) -> int:
    """Which of some images, refined each by itself, is the first that the model fails on; 0 where none is."""
    for index, image in enumerate(images):
        latent, size = latents and latents[index : index + 1], session.batch or options.batch_size
        try:
            refine_images(session.run, [image], size, latents=latent, fit=session.fit)
        except Exception:  # each provider raises its own classes
            return index
    return 0


def _refuse_other_sizes(chunk: list[Work], fit: Fit) -> None:
    for work in chunk:
        if work.synthetic is not None and not work.error and not fit.takes(work.synthetic.shape[:2]):
            height, width = work.synthetic.shape[:2]
            only = "x".join(str(side or "any") for side in reversed(fit.fixed_hw))
            work.error = (
                f"{work.sample.image}: {width}x{height} px; the model takes {only} px only, which its ONNX file fixes; "
                "export it with free height and width, or resize the image with its labels"
            )


def _refuse_too_large(chunk: list[Work], fit: Fit) -> None:
    for work in chunk:
        if work.synthetic is not None and not work.error and not tiling.takes(work.synthetic.shape[:2], fit):
            height, width = work.synthetic.shape[:2]
            work.error = (
                f"{work.sample.image}: {width}x{height} px; more than {tiling.WHOLE_PX:,} pixels are refined in tiles, "
                "which takes a manifest.json beside the model that says how far it sees (receptive_field_px); export "
                "it with `refinery export`, or cut the image into tiles first"
            )


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


def _stamps_of(source: Source, sample: Sample) -> tuple[Stamp | None, ...]:
    """States of a sample's own files; none where files hold many samples."""
    if isinstance(source, Packed) or source.endless:
        return ()
    return tuple(source.stamp(path) for path in (sample.origin.image, *sample.origin.sidecars))


def _stop_if_told(lines: list[Line], options: RefineOptions) -> None:
    if options.on_drift != "fail":
        return
    for line in lines:
        for label in line["labels"]:
            if label["verdict"] == "fail":
                raise RefineryError(
                    f"{line['image']}: label {label['name']!r} does not hold ({label['reason']}), and --on-drift is "
                    "fail: stopped; allow more with --max-drift, or use soften"
                )
