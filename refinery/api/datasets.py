"""A dataset on disk as Python objects: each image with its labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from refinery import dataset
from refinery.config import parse_label_overrides
from refinery.errors import SampleError
from refinery.labels import open_labels
from refinery.pictures.choice import Choice
from refinery.sample import Label, Sample


@dataclass(frozen=True)
class LabelledImage:
    """One image of a dataset, as it is displayed.

    key: its name in the dataset, unique in it. path: of its file, relative to the dataset. image: (H, W, 1 or 3) uint8
    or uint16. alpha: (H, W) uint8 or None. labels: in px with pixel centres at integers. sidecars: relative paths of
    the files that belong to it. problems: a line for each annotation that could not be read.
    """

    key: str
    path: str
    image: NDArray[Any] = field(repr=False)
    labels: tuple[Label, ...] = ()
    sidecars: tuple[str, ...] = ()
    alpha: NDArray[np.uint8] | None = field(default=None, repr=False)
    problems: tuple[str, ...] = ()


class Dataset(Sequence[LabelledImage]):
    """The pictures of a dataset in its own order; read when they are asked for, from any number of threads.

    Iterating leaves out images that cannot be read, and `problems` names them; an index raises SampleError.
    """

    def __init__(self, source: Any, overrides: Mapping[str, Any]) -> None:
        self._source = source
        self._overrides = dict(overrides)
        self._unreadable: dict[str, str] = {}

    def __reduce__(self) -> tuple[type[Dataset], tuple[Any, ...]]:
        """Another process reads the dataset's list anew."""
        return Dataset, (self._source, self._overrides)

    def __repr__(self) -> str:
        return f"Dataset({str(self._source.root)!r}, {self._source.layout}, {len(self):,} images)"

    @property
    def layout(self) -> str:
        """How the dataset lies on disk: folder, tar or hdf5."""
        return str(self._source.layout)

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each thing about the dataset as a whole that is in doubt or cannot be read: which images were
        taken for pictures though it is not sure, annotation files that nobody understands, images that iterating left
        out.
        """
        lines = *dataset.doubts(self._source), *self._labels.problems, *self._source.problems()
        return tuple(dict.fromkeys((*lines, *self._unreadable.values())))

    @cached_property
    def loose(self) -> tuple[str, ...]:
        """Relative paths of the files that belong to no image."""
        return tuple(entry.path for entry in self._source.entries() if not isinstance(entry, Sample))

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Name, path and sidecars of each image."""
        return tuple(entry for entry in self._source.entries() if isinstance(entry, Sample))

    @cached_property
    def _labels(self) -> Any:
        return open_labels(self._source, self._overrides)

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledImage]: ...
    def __getitem__(self, index: int | slice) -> LabelledImage | list[LabelledImage]:
        """Image, labels and key. Raises IndexError, SampleError for an image that cannot be read."""
        if isinstance(index, slice):
            return [self._read(sample) for sample in self.samples[index]]
        return self._read(self.samples[index])

    def __iter__(self) -> Iterator[LabelledImage]:
        """One reading of the dataset in its order, which streams archives."""
        for entry in self._source.entries():
            if isinstance(entry, Sample):
                try:
                    yield self._read(entry)
                except SampleError as error:
                    self._unreadable[entry.key] = str(error)

    def _read(self, sample: Sample) -> LabelledImage:
        decoded = self._source.decode(self._source.read(sample), sample)
        labels, problems = self._labels.read(sample, decoded.size_hw)
        return LabelledImage(sample.key, sample.image, decoded.pixels, labels, sample.sidecars, decoded.alpha, problems)


def open_dataset(
    path: str | Path,
    images: Sequence[str] = (),
    maps: Sequence[str] = (),
    labels: Mapping[str, Mapping[str, Any]] | None = None,
) -> Dataset:
    """A dataset of any layout that `refinery inspect` knows.

    images, maps: globs of what are pictures and what are maps, as --images and --maps; in doubt the likeliest answer is
    taken, and `problems` says so.
    labels: what labels are, by name, as the [labels] table of the TOML: {"tip": {"type": "keypoint"}}.
    Raises DatasetError where there is none, UsageError for a glob that matches nothing, ConfigError for `labels` that
    say nothing.
    """
    source = dataset.open_dataset(Path(path), choice=Choice(tuple(images), tuple(maps)))
    return Dataset(source, parse_label_overrides(labels or {}, "labels"))
