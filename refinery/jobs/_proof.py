"""The end of a job: every line of its manifest is held against what stands in the output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from refinery.contents.comparison import stamps_of
from refinery.contents.content import sha256_of_file
from refinery.contents.line_index import Line
from refinery.contents.proof import NAMED, Delivered, Prover
from refinery.contents.stamp_log import StampLog
from refinery.errors import OutputError
from refinery.formats._parts import Packed
from refinery.formats._source import Carrying, Source
from refinery.journal import Journal
from refinery.pipeline import ahead, chunked
from refinery.processor import cores
from refinery.sample import Sample

LINES_AT_ONCE = 64


def prove_output(source: Source, journal: Journal, log: StampLog, workers: int) -> None:
    """Compare all that a job delivered with its manifest, and note the states of files that hold many samples.

    Raises OutputError where something else stands there; that is noted, so that the next run refines it again.
    """
    delivered = source.delivered(journal.out)
    result, files = Delivered(), set[str]()
    for line, reason in reasons(journal.lines(), delivered, workers):
        result.add(reason)
        if reason and not isinstance(delivered, Packed):
            log.add(f"sample {line['key']}", {"again": True})
        if isinstance(delivered, Packed):
            file = delivered.file_of(Sample(line["key"], line["image"]))
            files.add(file)
            if reason:
                log.add(f"file {file}", {"in": ["wrong"]})
    carried = carried_wrong(source, delivered, log)
    for reason in carried:
        log.add(f"file {reason.partition(': ')[0]}", {"in": ["wrong"]})
    if result.wrong or carried:
        said = [result.sentence(), *carried[:NAMED], f"{len(carried):,} carried files in all" * (len(carried) > NAMED)]
        raise OutputError(
            f"{journal.out}: {'; '.join(filter(None, said))}; check the disk and what else writes there, and run the "
            "same command again: they are refined again"
        )
    for file in files:
        log.add(f"output {file}", {"out": stamps_of(journal.out, [file])[0]})


def carried_wrong(source: Source, delivered: Source, log: StampLog) -> list[str]:
    """Files that belong to no sample and are not in the output as they were carried, each with what is wrong.

    Of a layout whose files hold other things beside samples (`Carrying`), those too. Streams have gone by.
    """
    if source.endless:
        return []
    wrong = []
    log.read_again()
    for entry in source.entries():
        if isinstance(entry, Sample):
            continue
        was = log.file(entry.path).get("sha256") or sha256_of_file(source, entry.path)
        stands = sha256_of_file(delivered, entry.path)
        if was is not None and was != stands:
            wrong.append(f"{entry.path}: {'missing' if stands is None else 'differs from its source'}")
    if isinstance(source, Carrying) and isinstance(delivered, Carrying):
        wrong += [f"{file}: what is no picture in it differs from its source" for file in source.differing(delivered)]
    return wrong


def reasons(lines: Iterable[Line], delivered: Source, workers: int = 0) -> Iterator[tuple[Line, str]]:
    """Each line and why the output is not as it says, or nothing."""
    prover = Prover(delivered)
    if not prover.takes_threads:
        yield from ((line, prover.why_wrong(line)) for line in lines)
        return
    with ThreadPoolExecutor(workers or min(8, cores()), thread_name_prefix="prove") as pool:
        for found in ahead(pool, partial(_each, prover), chunked(lines, LINES_AT_ONCE)):
            yield from found


def count_delivered(lines: Iterable[Line], delivered: Source) -> Delivered:
    """Samples in the output that are and are not what their lines say."""
    result = Delivered()
    for _, reason in reasons(lines, delivered):
        result.add(reason)
    return result


def _each(prover: Prover, lines: list[Line]) -> list[tuple[Line, str]]:
    return [(line, prover.why_wrong(line)) for line in lines]
