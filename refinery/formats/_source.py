"""What a dataset layout offers: a `Source` to read samples from, and a `Sink` that writes the same layout back.

A member of the family (one file, one layout) defines

    def sniff(path: Path) -> bool                does the path hold this layout?
    def open_source(path: Path) -> Source        raises DatasetError

A source whose files hold many samples each offers `_parts.Packed`, too: parts of a batch job take whole files of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from refinery.errors import DatasetError
from refinery.formats._files import Files
from refinery.formats._stamp import Stamp
from refinery.image import Decoded
from refinery.pictures.choice import Choice
from refinery.pictures.rules import Verdict
from refinery.sample import Sample


@dataclass(frozen=True, slots=True)
class Loose:
    """A file that belongs to no single image: carried as it is. inside: with the archive that holds it."""

    path: str
    inside: bool = False


class Source(Protocol):
    """A dataset to read. Its order is the same at every reading; its memory does not grow with the dataset."""

    layout: str
    root: Path
    """The folder that relative paths start from."""
    endless: bool
    """Whether it is a stream: `entries` gives its beginning, as often as asked, and `stream` all of it, once."""

    def entries(self) -> Iterator[Sample | Loose]:
        """Every sample, and every file that belongs to no sample, each file once; of a stream, its beginning."""

    def stream(self) -> Iterator[Sample | Loose]:
        """The same of a dataset that is read only once, to its end."""

    def read(self, sample: Sample) -> bytes:
        """The image as stored. Raises SampleError."""

    def read_file(self, path: str) -> bytes:
        """A sidecar or loose file, whole. Raises SampleError."""

    def stamp(self, path: str) -> Stamp | None:
        """The state of the file that a path is or leads into; None where nobody can tell, as in a stream."""

    def decode(self, data: bytes, sample: Sample) -> Decoded:
        """Decode what `read` gave. Raises SampleError."""

    def encode(self, pixels: NDArray, like: Decoded) -> bytes:  # type: ignore[type-arg]
        """Encode pixels (H, W, C) uint8 or uint16 so that `decode` of it is like `like`."""

    def problems(self) -> list[str]:
        """What the reading so far found wrong with the dataset as a whole, one line each."""

    def lost(self) -> list[str]:
        """What the reading found that cannot be carried, such as an unreadable folder; among the problems too."""

    def sink(self, out: Path, scratch: Path | None = None) -> Sink:
        """A writer of this layout into the folder `out`. scratch: see `_files.Files`."""

    def delivered(self, out: Path) -> Source:
        """A reader of what `sink` wrote into the folder `out`, by the same names."""


@runtime_checkable
class Skipping(Protocol):
    """What a layout offers beside `Source` that comes to some of its samples without a look at all others."""

    def samples_at(self, indices: Sequence[int]) -> Iterator[Sample]:
        """The samples at these places among all samples, counted from 0; increasing."""


@runtime_checkable
class Judged(Protocol):
    """What a layout offers beside `Source` that decides which of its images are pictures: all but a stream's rest."""

    def verdicts(self) -> Sequence[Verdict]:
        """What each family of images was taken for, and why."""

    def chosen(self, choice: Choice) -> Source:
        """The same dataset, where the user says which images are pictures."""


@runtime_checkable
class Carrying(Protocol):
    """What a layout offers beside `Source` whose files hold maps and values that are no files of their own."""

    def differing(self, delivered: Any) -> Iterator[str]:
        """Files in which anything but the pictures is not in the output as it is here."""


class IntoFiles(Protocol):
    """What a layout offers beside `Source` whose output may lie elsewhere than in a folder on this machine."""

    def sink_into(self, files: Files) -> Sink:
        """A writer of this layout to wherever `files` puts them."""


class Sink(Protocol):
    """A dataset being written. Each file appears whole under its name (temporary name, rename) or not at all."""

    is_local: bool
    """Whether what was written can be opened as a dataset in the output folder, when all is done."""

    def write_image(self, sample: Sample, data: bytes) -> None:
        """Store an image that `encode` made (or that `read` gave, to carry it). Raises OutputError."""

    def carry(self, path: str, to: str = "") -> None:
        """Copy a sidecar or loose file byte for byte; to: its name in the output, if it is another one.

        Raises OutputError, SampleError.
        """

    def commit(self, entry: Sample | Loose) -> None:
        """All files of this entry have been given; called in the order of the source. Raises OutputError."""

    def finish(self) -> None:
        """Called once, after the last sample of the last run; what must be assembled is assembled here."""


@runtime_checkable
class Copying(Protocol):
    """What a `Sink` offers beside that writes whole files of many samples: each variant of a sample lies in a copy."""

    def in_copies(self, marks: Sequence[str]) -> Sink:
        """The same sink, which writes a copy of each file for each mark, too."""


def require_input(source: Source) -> None:
    """Raises DatasetError where not only a file but the whole input is gone, as a disk that is not mounted any more."""
    if source.endless:
        return
    try:
        with os.scandir(source.root) as files:
            gone = next(files, None) is None
    except OSError:
        gone = True
    if gone:
        raise DatasetError(f"{source.root}: the input went away; bring it back and run the same command again")
