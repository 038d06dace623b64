"""The report of a job: the samples it shows, read or refined again, and the page itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refinery.checks import CheckContext
from refinery.errors import SampleError
from refinery.formats._source import Source
from refinery.jobs._pairs import RefinedImages, read_pair
from refinery.labels import LabelReader
from refinery.report.gallery import Gallery
from refinery.report.page import REPORT, write_page
from refinery.sample import Pair, Sample

REMADE = 12
"""Samples at most that are refined once more for a report, since what was delivered is not what the refiner made."""


def write_job_page(
    folder: Path, source: str, summary: Mapping[str, Any], gallery: Gallery, context: CheckContext | None
) -> None:
    """Write `report.html` of a refine job into its journal's folder. Raises OutputError."""
    found = {"kind": "report", "source": source, "out": "", "finished": True, **summary}
    write_page(found, folder / REPORT, None, gallery, tolerances_of(summary["drift"], context))


def write_run_page(folder: Path, summary: Mapping[str, Any], records: Sequence[dict[str, Any]]) -> Path:
    """Write `report.html` of a training into its run folder; its path. Raises OutputError."""
    grids = sorted((folder / "samples").glob("*.png"))[-1:]
    found = {"kind": "run", "run": str(folder), "steps": summary["steps"], "curves": None, "grid": None}
    pictures = {"grid": grids[0].read_bytes()} if grids else {}
    write_page(found | {"summary": summary}, folder / REPORT, pictures, records=records)
    return folder / REPORT


def tolerances_of(drift: Mapping[str, Mapping[str, Any]], context: CheckContext | None) -> dict[str, float]:
    """How far each label may move, in its unit; nothing of labels whose tolerance depends on their values."""
    if context is None:
        return {}
    return {name: context.tolerance(name, numbers["unit"]) for name, numbers in drift.items()}


def draw_refined(
    gallery: Gallery,
    source: Source,
    is_local: bool,
    delivered: Callable[[Sequence[Sample]], Iterable[Pair]],
    remake: Callable[[Sequence[Sample]], Iterable[Pair]],
) -> None:
    """Draw the chosen samples as the refiner made them: read from the output where that is what was delivered.

    Of the others, and of an output that is not on this machine, the first 12 are refined once more.
    """
    chosen = {entry.key: entry for entry in gallery.chosen()}
    stored = {key for key, entry in chosen.items() if is_local and entry.status in ("refined", "kept")}
    again = set([key for key in chosen if key not in stored][:REMADE])
    samples = [*_samples_of(source, stored | again)] if chosen else []
    for pairs in (
        delivered([sample for sample in samples if sample.key in stored]),
        remake([sample for sample in samples if sample.key in again]),
    ):
        for pair in pairs:
            gallery.draw(chosen[pair.sample.key], pair)


def draw_read(gallery: Gallery, expected: Source, images: RefinedImages, labels: LabelReader) -> None:
    """Draw the chosen samples as both datasets hold them; those that cannot be compared are left out."""
    chosen = {entry.key: entry for entry in gallery.chosen()}
    for sample in _samples_of(expected, set(chosen)):
        with contextlib.suppress(SampleError):
            gallery.draw(chosen[sample.key], read_pair(sample, expected, images, labels))


def _samples_of(source: Source, keys: set[str]) -> Iterator[Sample]:
    left = len(keys)
    for entry in source.entries():
        if not left:
            return
        if isinstance(entry, Sample) and entry.key in keys:
            left -= 1
            yield entry
