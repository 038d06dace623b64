"""How many samples a dataset has: counted once, by whoever goes through all of it first."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from refinery.formats._source import Loose, Source
from refinery.sample import Sample

_counts: WeakKeyDictionary[Source, int] = WeakKeyDictionary()


def count_samples(source: Source) -> int:
    """How many samples a dataset has (of a stream: its beginning); counted once."""
    if source not in _counts:
        for _ in counted(source):
            pass
    return _counts[source]


def counted(source: Source) -> Iterator[Sample | Loose]:
    """All entries; when they have gone by, `count_samples` knows how many samples they were."""
    count = 0
    for entry in source.entries():
        count += isinstance(entry, Sample)
        yield entry
    _counts[source] = count
