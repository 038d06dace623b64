"""Several refined images of each sample, under names that group as the sample's own files do.

The first keeps the sample's names. Of the others every name gets a mark behind the stem that its files share:
`00012.png`, `00012_mask.png`, `labels/00012.txt` -> `00012_v1.png`, `00012_v1_mask.png`, `labels/00012_v1.txt`. In HDF5
the file that holds the sample gets it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from refinery.errors import SampleError, UsageError
from refinery.formats._files import Files
from refinery.formats._hdf5_variants import Hdf5Sample, in_copy
from refinery.formats._names import DELIMITERS, VARIANT_MARKS, picture_core, picture_tail, stem_of, tails, with_mark
from refinery.formats._parts import Listed, Packed
from refinery.formats._source import Copying, IntoFiles, Loose, Sink, Source
from refinery.formats._stamp import Stamp
from refinery.formats._tar import MAX_PART_BYTES
from refinery.formats._tar_samples import TarSample
from refinery.formats._tar_variants import Appended, why_parted
from refinery.image import Decoded
from refinery.sample import Sample

LONGEST_NAME = 255
"""Bytes of a file name, on all usual disks."""


def with_variants(source: Source, count: int, mark: str) -> Source:
    """The source with `count` variants of each sample, one after the other. mark: of `free_mark`."""
    if count == 1:
        return source
    if isinstance(source, Listed):
        return ListedVariants(source, count, mark)
    return PackedVariants(source, count, mark) if isinstance(source, Packed) else VariantSource(source, count, mark)


def free_mark(source: Source, count: int) -> str:
    """The first mark that no path of the dataset has, so that no new name is an old one; empty for one variant.

    Of a stream the beginning alone is known: `VariantSource` looks at the rest as it comes.
    Raises UsageError where there is none, and where no variants can stand beside a sample.
    """
    if count == 1:
        return ""
    taken, longest = set[str](), ""
    for entry in source.entries():
        for path in _paths(entry):
            taken.update(found.lower() for found in _MARKED.findall(path))
        if isinstance(entry, Sample):
            if why := why_parted(entry):
                raise UsageError(f"--variants {count}: {why}")
            longest = max(longest, _longest_name(entry), key=_length)
    free = [mark for mark in VARIANT_MARKS if mark not in taken]
    if not free:
        names = ", ".join(f"..{mark}1" for mark in VARIANT_MARKS)
        raise UsageError(
            f"--variants {count}: {source.root} has files of all names that variants get ({names}); rename those of one"
        )
    if why := _why_no_room(longest, free[0], count, source):
        raise UsageError(f"--variants {count}: {why}")
    return free[0]


class VariantSource:
    """A source whose samples come `count` times each, read once more or as often from the same files.

    A sample of a stream that no variants can stand beside comes once and cannot be read: it is carried as it is.
    """

    def __init__(self, source: Source, count: int, mark: str) -> None:
        self.layout, self.root, self.endless = source.layout, source.root, source.endless
        self._source, self._count, self._mark = source, count, mark

    def stream(self) -> Iterator[Sample | Loose]:
        """All of it. Raises UsageError where a stream has a name such as variants get: it may be there already."""
        return self._varied(self._looked_at() if self.endless else self._source.stream())

    def entries(self) -> Iterator[Sample | Loose]:
        """Every sample followed by its variants, and every file that belongs to no sample."""
        return self._varied(self._source.entries())

    def read(self, sample: Sample) -> bytes:
        """The image of the sample that it is a variant of. Raises SampleError."""
        if why := self._why_alone(sample.origin):
            raise SampleError(why)
        return self._source.read(sample.origin)

    def read_file(self, path: str) -> bytes:
        """A file of the dataset, by its own name. Raises SampleError."""
        return self._source.read_file(path)

    def stamp(self, path: str) -> Stamp | None:
        """Of a file of the dataset, by its own name."""
        return self._source.stamp(path)

    def decode(self, data: bytes, sample: Sample) -> Decoded:
        """Decode what `read` gave. Raises SampleError."""
        return self._source.decode(data, sample.origin)

    def encode(self, pixels: NDArray[Any], like: Decoded) -> bytes:
        """Encode as the dataset's own layout does."""
        return self._source.encode(pixels, like)

    def problems(self) -> list[str]:
        """Of the dataset as a whole."""
        return self._source.problems()

    def lost(self) -> list[str]:
        """What cannot be carried."""
        return self._source.lost()

    def sink(self, out: Path, scratch: Path | None = None) -> Sink:
        """A writer of the same layout."""
        sink = self._source.sink(out, scratch)
        if isinstance(sink, Copying):
            return sink.in_copies([f"{self._mark}{number}" for number in range(1, self._count)])
        return sink

    def delivered(self, out: Path) -> Source:
        """A reader of the output, where every variant has a name of its own."""
        return self._source.delivered(out)

    def sink_into(self, files: Files) -> Sink:
        """A writer to wherever `files` puts them, of a layout that has such."""
        return cast(IntoFiles, self._source).sink_into(files)

    def _varied(self, entries: Iterator[Sample | Loose]) -> Iterator[Sample | Loose]:
        appended = Appended()
        for entry in entries:
            if isinstance(entry, Loose):
                yield entry
                continue
            count = 1 if self._why_alone(entry) else self._count
            more = [variant_of(entry, number, self._mark) for number in range(1, count)]
            yield from appended.place(entry, more) if isinstance(entry, TarSample) else (entry, *more)

    def _looked_at(self) -> Iterator[Sample | Loose]:
        """The stream, whose names behind the beginning `free_mark` does not know."""
        own = {f"{self._mark}{number}" for number in range(1, self._count)}
        for entry in self._source.stream():
            for path in _paths(entry):
                if own & {found[0].lower() for found in _NUMBERED.finditer(path)}:
                    raise UsageError(
                        f"--variants {self._count}: {path}: a name such as variants get; rename it, or refine several "
                        "times, with --seed 1, --seed 2 and an --out of their own"
                    )
            yield entry

    def _why_alone(self, sample: Sample) -> str:
        """Why no variants can stand beside a sample; empty if they can."""
        return why_parted(sample) or _why_no_room(_longest_name(sample), self._mark, self._count, self._source)


class PackedVariants(VariantSource):
    """The same of a source that is `Packed`."""

    def file_of(self, sample: Sample) -> str:
        """The file that holds a sample, or the one that it is a variant of."""
        return cast(Packed, self._source).file_of(sample.origin)

    def without(self, files: frozenset[str]) -> Source:
        """The same dataset without these files."""
        return with_variants(cast(Packed, self._source).without(files), self._count, self._mark)

    def alone(self, file: str) -> Source:
        """One file of it as a dataset of its own."""
        return with_variants(cast(Packed, self._source).alone(file), self._count, self._mark)


class ListedVariants(PackedVariants):
    """The same of a source that is `Listed`."""

    def files(self) -> dict[str, bool]:
        """All files of the dataset, by their own names; whether each holds samples."""
        return cast(Listed, self._source).files()


def variant_of(sample: Sample, number: int, mark: str) -> Sample:
    """The same sample under the names of its variant; `number` counts from 1."""
    if isinstance(sample, Hdf5Sample):
        return in_copy(sample, number, mark)
    stem = stem_of(_file(sample.image))
    at, mark = _place(stem), f"{mark}{number}"
    image, key, *sidecars = (_marked(path, stem, at, mark) for path in (sample.image, sample.key, *sample.sidecars))
    return Sample(key, image, tuple(sidecars), number, sample)


_MARKED = re.compile(rf"({'|'.join(VARIANT_MARKS)})(?=\d)", re.IGNORECASE)
_NUMBERED = re.compile(rf"(?:{'|'.join(VARIANT_MARKS)})\d+", re.IGNORECASE)


def _paths(entry: Sample | Loose) -> tuple[str, ...]:
    """The paths of files, or of members of an archive, that belong to an entry."""
    if isinstance(entry, Hdf5Sample):
        return (entry.file,)
    return (entry.image, *entry.sidecars) if isinstance(entry, Sample) else (entry.path,)


def _longest_name(sample: Sample) -> str:
    return max(map(_file, _paths(sample)), key=_length)


def _why_no_room(name: str, mark: str, count: int, source: Source) -> str:
    """Why a file name cannot have a mark and a number, too; empty if it can."""
    room = MAX_PART_BYTES if source.layout.startswith("tar") else LONGEST_NAME
    return (
        f"no room for {mark}1 in the name {name}; make it shorter" if _length(name + mark + str(count)) > room else ""
    )


def _length(name: str) -> int:
    return len(os.fsencode(name))


def _place(stem: str) -> int:
    """Where the mark goes: behind the stem, or before a closing word for the picture itself (`7_rgb` -> `7_v1_rgb`)."""
    core, tail = picture_core(stem) or "", picture_tail(stem) or stem
    return len(core) if len(core) > len(stem) - len(tail) else len(stem)


def _marked(path: str, stem: str, at: int, mark: str) -> str:
    """The path with the mark in its file name, where the picture's stem or a part of it stands in it."""
    folder, name = path[: -len(_file(path))], _file(path)
    if name.startswith(stem[:at]) and name[at : at + 1] in ("", *DELIMITERS):
        return f"{folder}{name[:at]}{mark}{name[at:]}"
    own, tail = stem_of(name), picture_tail(stem)
    for end in (own, *(end for _, end in tails(own))):
        if end in (stem, tail):
            at = len(own) - len(stem) + at
            return f"{folder}{name[:at]}{mark}{name[at:]}"
    return with_mark(path, mark)


def _file(path: str) -> str:
    return path.rpartition("/")[2]
