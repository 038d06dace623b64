"""Reading tar archives, wherever they are: their samples in order, and any file of them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from numpy.typing import NDArray

from refinery import image
from refinery.errors import DatasetError, SampleError
from refinery.formats._files import Files
from refinery.formats._noted import Noted
from refinery.formats._problems import Problems, reason
from refinery.formats._source import Loose
from refinery.formats._stamp import Stamp, settled_stamp_of
from refinery.formats._tar import MAX_FILE_BYTES, Member
from refinery.formats._tar_files import OPEN_ARCHIVES, TarFiles
from refinery.formats._tar_kinds import TarKinds
from refinery.formats._tar_samples import Names, TarSample, samples_of
from refinery.formats._tar_sink import TarSink
from refinery.image import Decoded
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.rules import Verdict
from refinery.sample import Sample


class TarSource:
    """Reads one archive after the other, in code point order; memory is bounded by the names in one archive."""

    endless = False
    layout = "tar"
    archives_judged = 64
    """The first ones tell what images are; those of later ones are what their names have in common with these."""

    def __init__(
        self,
        files: TarFiles,
        near: WeakValueDictionary[str, Member] | None = None,
        kinds: TarKinds | None = None,
        choice: Choice = EVERYTHING,
    ) -> None:
        self.root = files.root
        self._choice, self._decided = choice, kinds
        self._files, self._looks = files, Noted()
        self._near: WeakValueDictionary[str, Member] = WeakValueDictionary() if near is None else near
        """Members of the samples that somebody holds, by path: their files are found without a search."""
        self._sizes: dict[str, int] = {}
        """Samples of the archives that were read to their end."""
        self._index = lru_cache(OPEN_ARCHIVES)(self._all_of)

    @cached_property
    def kinds(self) -> TarKinds:
        """Which images are pictures: decided at first use, by the first archives."""
        if self._decided is not None:
            return self._decided
        kinds = TarKinds(self._choice)
        for path in islice(filter(self._files.holds, self._files.paths()), self.archives_judged):
            with contextlib.suppress(DatasetError, OSError):  # it is named and carried where its samples are read
                archive = self._files.archive(path)
                for member in archive.members(Problems()):
                    if member.size <= MAX_FILE_BYTES:
                        kinds.add(f"{path}/{member.path}", partial(archive.read, member.offset, member.size))
        return kinds

    def verdicts(self) -> list[Verdict]:
        """What each family of images was taken for, and why."""
        return self.kinds.verdicts

    def chosen(self, choice: Choice) -> TarSource:
        """The same archives, where the user says which images are pictures."""
        return type(self)(self._files, choice=choice)

    def entries(self) -> Iterator[Sample | Loose]:
        """Every sample, and every file that belongs to no sample, each file exactly once."""
        for path in self._files.paths():
            yield from self._entries_of(path)

    def stream(self) -> Iterator[Sample | Loose]:
        """The same as `entries`."""
        return self.entries()

    def samples_at(self, indices: Sequence[int]) -> Iterator[Sample]:
        """The samples at these places; archives that have none of them are passed over, once their size is known."""
        waiting, start = deque(indices), 0
        for path in self._files.paths():
            if not waiting:
                return
            size = self._sizes.get(path)
            if size is None or waiting[0] < start + size:
                for place, sample in enumerate(_samples(self._entries_of(path)), start):
                    if waiting and place == waiting[0]:
                        waiting.popleft()
                        yield sample
                    if size is not None and (not waiting or waiting[0] >= start + size):
                        break
            start += self._sizes.get(path, 0)

    def read(self, sample: Sample) -> bytes:
        """The image file's bytes. Raises SampleError."""
        if isinstance(sample, TarSample) and sample.member is not None and sample.home is self._files:
            return self._content(sample.archive, sample.member)
        return self.read_file(sample.image)

    def read_file(self, path: str) -> bytes:
        """A member or a file beside the archives, whole. Raises SampleError."""
        archive, inside = self._files.locate(path)
        if not inside:
            return self._files.whole(path)
        member = self._near.get(path) or self._index(archive).get(inside)
        if member is None:
            raise SampleError(f"{path}: not in the archive; check the name")
        return self._content(archive, member)

    def stamp(self, path: str) -> Stamp | None:
        """Of the archive that a path leads into, or of the file beside the archives that it is."""
        return settled_stamp_of(self.root / self._files.locate(path)[0])

    def decode(self, data: bytes, sample: Sample) -> Decoded:
        """Decode what `read` gave; the content decides the format, not the suffix. Raises SampleError."""
        return self._looks.decode(data, sample.image)

    def encode(self, pixels: NDArray[Any], like: Decoded) -> bytes:
        """Encode pixels (H, W, C) uint8 or uint16 as a file of the same format, mode and metadata as `like`."""
        return image.encode(pixels, like)

    def problems(self) -> list[str]:
        """What the reading so far found wrong, one line each."""
        return [*self._files.problems.lines(), *self._looks.lines()]

    def lost(self) -> list[str]:
        """What cannot be carried, one line each."""
        return self._files.problems.lost()

    def sink(self, out: Path, scratch: Path | None = None) -> TarSink:
        """A writer of the same archives into the folder `out`."""
        return self.sink_into(Files(out, scratch))

    def delivered(self, out: Path) -> TarSource:
        """The same archives in the folder `out`."""
        return TarSource(self._files.within(out), kinds=self.kinds)

    def alone(self, file: str) -> TarSource:
        """One archive as a dataset of its own, by the same names."""
        return TarSource(TarFiles(self.root, file), kinds=self.kinds)

    def sink_into(self, files: Files) -> TarSink:
        """A writer of the same archives to wherever `files` puts them."""
        return TarSink(self._files, files)

    def file_of(self, sample: Sample) -> str:
        """The archive that holds a sample."""
        return self._files.locate(sample.image)[0]

    def without(self, files: frozenset[str]) -> TarSource:
        """The same dataset without these archives: they are neither read nor written."""
        return type(self)(self._files.without(files), self._near, self.kinds, self._choice)

    def _entries_of(self, path: str) -> Iterator[Sample | Loose]:
        """Of one file of the dataset."""
        problems = self._files.problems
        if not self._files.holds(path):
            yield Loose(path)
            return
        try:
            archive = self._files.archive(path)
        except DatasetError as error:
            problems.lose(f"{error}; it is carried as it is, its samples are not refined")
            self._sizes[path] = 0
            yield Loose(path)
            return
        members, samples = self._once(archive.members(problems), path), 0
        is_new, is_picture = Names().is_new, self.kinds.is_picture
        for entry in samples_of(members, path, self._files, is_new, problems.lose, archive, is_picture):
            if isinstance(entry, TarSample):
                self._near.update({f"{path}/{member.path}": member for member in entry.files})
                samples += 1
            yield entry
        self._sizes[path] = samples

    def _once(self, members: Iterator[Member], archive: str) -> Iterator[Member]:
        """Members without those whose path came before."""
        names = Names()
        for member in members:
            if names.is_new(member.path):
                yield member
            else:
                self._files.problems.lose(f"{archive}/{member.path}: a file of this name came before; it is left out")

    def _all_of(self, archive: str) -> dict[str, Member]:
        """Every member of an archive by its path: for whoever asks for a file without its sample."""
        return {member.path: member for member in self._files.archive(archive).members(Problems())}

    def _content(self, archive: str, member: Member) -> bytes:
        shown = f"{archive}/{member.path}"
        if member.size > MAX_FILE_BYTES:
            raise SampleError(
                f"{shown}: {member.size:,} bytes; files beyond {MAX_FILE_BYTES:,} are not read into memory"
            )
        try:
            data = self._files.archive(archive).read(member.offset, member.size)
        except OSError as error:
            raise SampleError(f"{shown}: cannot be read ({reason(error)}); check the archive") from error
        if len(data) < member.size:
            raise SampleError(f"{shown}: cut off, {len(data):,} of {member.size:,} bytes; write the archive again")
        return data


def _samples(entries: Iterable[Sample | Loose]) -> Iterator[Sample]:
    return (entry for entry in entries if isinstance(entry, Sample))
