"""Labels of a dataset's samples, from the files that belong to each, read only so that they can be checked."""

from __future__ import annotations

from refinery.annotations import read_labels
from refinery.errors import SampleError
from refinery.formats._source import Source
from refinery.sample import Label, Sample


class LabelReader:
    """Reads the labels of one dataset; `read` may be called from several threads."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def read(self, sample: Sample, size_hw: tuple[int, int]) -> tuple[tuple[Label, ...], tuple[str, ...]]:
        """Labels of one image of this size in px, and one line for each file that could not be read."""
        sidecars, unreadable = read_sidecars(self.source, sample)
        labels, problems = read_labels(sidecars, size_hw)
        return labels, (*unreadable, *problems)


def open_labels(source: Source) -> LabelReader:
    """A reader of this dataset's labels. Raises LabelError for a shared annotation file that cannot be read."""
    return LabelReader(source)


def read_sidecars(source: Source, sample: Sample) -> tuple[dict[str, bytes], list[str]]:
    """A sample's sidecars by path, and one line for each that cannot be read."""
    sidecars: dict[str, bytes] = {}
    unreadable: list[str] = []
    for path in sample.sidecars:
        try:
            sidecars[path] = source.read_file(path)
        except SampleError as error:
            unreadable.append(str(error))
    return sidecars, unreadable
