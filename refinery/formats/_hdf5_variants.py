"""Variants of samples in HDF5 files: a file has a copy beside it for each variant, `gaze.h5` -> `gaze_v1.h5`."""

from __future__ import annotations

from dataclasses import dataclass, field

from refinery.formats._names import with_mark
from refinery.sample import Sample


@dataclass(frozen=True, slots=True)
class Hdf5Sample(Sample):
    """A sample that lies in an HDF5 file. file: its path in the dataset."""

    file: str = field(default="", compare=False)


def in_copy(sample: Hdf5Sample, number: int, mark: str) -> Hdf5Sample:
    """The same sample in the copy of its file for a variant; `number` counts from 1."""
    copy, begin = with_mark(sample.file, f"{mark}{number}"), len(sample.file)
    key, image, *sidecars = (copy + path[begin:] for path in (sample.key, sample.image, *sample.sidecars))
    return Hdf5Sample(key, image, tuple(sidecars), number, sample, copy)
