"""A dataset divided among the parts of a batch job, the same way on every machine.

Single image files are dealt out in turn: the parts differ by one sample at most, and large images that stand together
are shared. A layout whose files hold many samples is `Packed`: a part takes whole files of it, and where its samples
are not known before a file is fetched (`Listed`), a run of files. Loose files go with the first part.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from refinery.errors import UsageError
from refinery.formats._source import Loose, Source
from refinery.sample import Sample
from refinery.shard import Shard

UNCOUNTED = 1 << 40
"""Places for the samples of a part that nobody counted."""


@runtime_checkable
class Packed(Protocol):
    """What a layout offers beside `Source` if one of its files holds many samples."""

    def file_of(self, sample: Sample) -> str:
        """The file that holds the sample; samples of one file come one after the other."""

    def without(self, files: frozenset[str]) -> Source:
        """The same dataset without these files: they are neither read nor written."""

    def alone(self, file: str) -> Source:
        """One of its files as a dataset of its own, by the same names."""


@runtime_checkable
class Listed(Packed, Protocol):
    """What a `Packed` layout offers whose files are all known, but not what is in them before they are fetched."""

    def files(self) -> dict[str, bool]:
        """All files by name, in order; whether each holds samples."""


@dataclass(frozen=True)
class Part:
    """One part of a dataset. source: its samples alone. total: samples of the whole dataset; both 0 if not counted.

    share: how much of the dataset it is, for a person. places: where in the whole dataset its samples stand, as `range`
    takes it; of samples that are not counted, with room behind them. sha256: of the names of all samples, or of all
    files if those are not known, in order.
    """

    source: Source
    samples: int
    total: int
    share: str
    places: tuple[tuple[int, int, int], ...]
    sha256: str

    def identity(self) -> dict[str, Any]:
        """What is to be remembered of it: all parts must have divided the same dataset."""
        return {"samples": self.total, "names_sha256": self.sha256, "places": [list(place) for place in self.places]}


def divide(source: Source, shard: Shard) -> Part:
    """The part of a dataset that this process does; empty where there are more parts than samples or files.

    Raises UsageError where the dataset is a single file that holds all samples, and more than one part is asked for.
    """
    if isinstance(source, Listed):
        return _divide_files(source, source.files(), shard)
    names, sizes, total = hashlib.sha256(), dict[str, int](), 0
    packed = source if isinstance(source, Packed) else None
    for entry in source.entries():
        if isinstance(entry, Sample):
            names.update(entry.image.encode("utf-8", "surrogateescape") + b"\0")
            total += 1
            if packed is not None:
                file = packed.file_of(entry)
                sizes[file] = sizes.get(file, 0) + 1
    if packed is None:
        places = [(shard.index - 1, total, shard.count)] if shard.index <= total else []
        own: Source = _some(source, shard.index == 1, lambda place: place % shard.count == shard.index - 1)
    else:
        _require_files(sizes, shard)
        given = deal(sizes, shard.count)
        others = frozenset(file for file, index in given.items() if index != shard.index)
        places = [place for file, place in _runs(sizes) if file not in others]
        own = _some(packed.without(others), shard.index == 1)
    samples = sum(len(range(*place)) for place in places)
    return Part(own, samples, total, f"{samples:,} of {total:,} samples", tuple(places), names.hexdigest())


def _divide_files(source: Listed, files: dict[str, bool], shard: Shard) -> Part:
    """Runs of as many files each: parts one after the other are the order of the whole."""
    holding = [name for name, holds in files.items() if holds]
    _require_files(holding, shard)
    begin, end = (len(holding) * index // shard.count for index in (shard.index - 1, shard.index))
    own = {*holding[begin:end], *(name for name, holds in files.items() if not holds and shard.index == 1)}
    names = hashlib.sha256("".join(f"{name}\0" for name in files).encode("utf-8", "surrogateescape"))
    return Part(
        source.without(frozenset(files.keys() - own)),
        samples=0,
        total=0,
        share=f"{end - begin:,} of {len(holding):,} archives",
        places=((shard.index * UNCOUNTED, (shard.index + 1) * UNCOUNTED, 1),),
        sha256=names.hexdigest(),
    )


def deal(sizes: dict[str, int], count: int) -> dict[str, int]:
    """Files to parts 1 to `count`, the largest first and each to the part that has least so far."""
    parts = [(0, index) for index in range(1, count + 1)]
    given: dict[str, int] = {}
    for file in sorted(sizes, key=lambda file: -sizes[file]):
        held, given[file] = parts[0]
        heapq.heapreplace(parts, (held + sizes[file], given[file]))
    return given


def _require_files(files: Collection[str], shard: Shard) -> None:
    if len(files) == 1 and shard.count > 1:
        raise UsageError(
            f"--shard {shard}: all samples are in one file, {next(iter(files))}, and a part takes whole files; write "
            "the dataset as several files, or leave --shard out"
        )


def _runs(sizes: dict[str, int]) -> Iterator[tuple[str, tuple[int, int, int]]]:
    start = 0
    for file, size in sizes.items():
        yield file, (start, start + size, 1)
        start += size


class _SomeEntries:
    """A source of which some entries alone are met; all else is the source's own."""

    def __init__(self, source: Source, loose: bool, takes: Callable[[int], bool]) -> None:
        self._source, self._loose, self._takes = source, loose, takes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def stream(self) -> Iterator[Sample | Loose]:
        """The same as `entries`."""
        return self.entries()

    def entries(self) -> Iterator[Sample | Loose]:
        """Every sample at a place that is taken; loose files where they are wanted."""
        place = -1
        for entry in self._source.entries():
            if not isinstance(entry, Sample):
                if self._loose or entry.inside:
                    yield entry
                continue
            place += 1
            if self._takes(place):
                yield entry


def _some(source: Source, loose: bool, takes: Callable[[int], bool] = lambda _: True) -> Source:
    return cast(Source, _SomeEntries(source, loose, takes))
