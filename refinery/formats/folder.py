"""Layout `folder`: images in nested folders, with files of the same stem beside them or in a partner folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refinery import image
from refinery.errors import DatasetError
from refinery.formats._files import Files, chunks, read_whole
from refinery.formats._grouping import Owners
from refinery.formats._kinds import FolderKinds
from refinery.formats._name_list import NameList, repeated
from refinery.formats._names import is_image_name, stem_of
from refinery.formats._noted import Noted
from refinery.formats._owned import Owned
from refinery.formats._partners import Partners
from refinery.formats._problems import Problems
from refinery.formats._source import Loose
from refinery.formats._stamp import Stamp, settled_stamp_of
from refinery.formats._tree import Folder, Tree, join
from refinery.image import Decoded
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.rules import Verdict
from refinery.sample import Sample


def sniff(path: Path) -> bool:
    """True if the path is a folder with an image file somewhere in it."""
    if not path.is_dir():
        return False
    return any(is_image_name(name) for folder in Tree(path, Problems()).walk() for name in folder.files)


def open_source(path: Path) -> FolderSource:
    """Open a folder of images. Raises DatasetError where it is no folder."""
    if not path.is_dir():
        raise DatasetError(f"{path}: not a folder; give the folder that holds the images")
    return FolderSource(path)


class FolderSource:
    """Reads one directory at a time, in code point order of the names; memory is bounded by one directory.

    An image owns the files whose name is its stem, alone or followed by one of `. _-`; the longest stem wins. Files in
    a partner folder (`labels`, `masks`, `Annotations`, ...) belong to the image of the same stem. What belongs to no
    single image is loose. Mask, depth and normal images are never samples.
    """

    endless = False
    layout = "folder"

    def __init__(self, root: Path, choice: Choice = EVERYTHING, decided: FolderKinds | None = None) -> None:
        self.root = root
        self._problems, self._looks = Problems(), Noted()
        self._choice, self._decided = choice, decided

    @cached_property
    def kinds(self) -> FolderKinds:
        """Which images are pictures; decided at first use, the same for the whole dataset."""
        return self._decided or FolderKinds(self.root, self._choice)

    def chosen(self, choice: Choice) -> FolderSource:
        """The same folder, where the user says which images are pictures."""
        return FolderSource(self.root, choice)

    def verdicts(self) -> list[Verdict]:
        """What each family of images was taken for, and why."""
        return self.kinds.verdicts

    def entries(self) -> Iterator[Sample | Loose]:
        """Every sample, and every file that belongs to no sample, each file exactly once."""
        tree = Tree(self.root, self._problems)
        partners = Partners(tree, self.kinds)
        for folder in tree.walk():
            if partners.owner(folder.path) is None:
                beside = [tree.read(path) for path in partners.of(folder.path)]
                yield from self._group(folder, beside, partners.holds_labels_only(folder.path))

    def stream(self) -> Iterator[Sample | Loose]:
        """The same as `entries`."""
        return self.entries()

    def read(self, sample: Sample) -> bytes:
        """The image file's bytes. Raises SampleError."""
        return self.read_file(sample.image)

    def read_file(self, path: str) -> bytes:
        """A sidecar or loose file, whole. Raises SampleError."""
        return read_whole(self.root / path, path)

    def stamp(self, path: str) -> Stamp | None:
        """Of the file itself."""
        return settled_stamp_of(self.root / path)

    def decode(self, data: bytes, sample: Sample) -> Decoded:
        """Decode what `read` gave; the content decides the format, not the suffix. Raises SampleError."""
        return self._looks.decode(data, sample.image)

    def encode(self, pixels: NDArray[Any], like: Decoded) -> bytes:
        """Encode pixels (H, W, C) uint8 or uint16 as a file of the same format, mode and metadata as `like`."""
        return image.encode(pixels, like)

    def problems(self) -> list[str]:
        """What the reading so far found wrong with the dataset as a whole, one line each."""
        return [*self._problems.lines(), *self._looks.lines()]

    def lost(self) -> list[str]:
        """What cannot be carried, one line each."""
        return self._problems.lost()

    def sink(self, out: Path, scratch: Path | None = None) -> FolderSink:
        """A writer of the same files into the folder `out`."""
        return FolderSink(self.root, out, scratch)

    def delivered(self, out: Path) -> FolderSource:
        """The folder `out`."""
        return FolderSource(out, self._choice, self.kinds)

    def _group(self, folder: Folder, beside: Sequence[Folder], labels_only: bool) -> Iterator[Sample | Loose]:
        pictures = NameList() if labels_only else self.kinds.pictures_of(folder)
        owners = Owners(pictures)
        self._note_shared_stems(folder.path, owners)
        owned = Owned(owners, (folder, *beside))
        for picture, sidecars in zip(pictures, owned.sidecars(), strict=True):
            yield Sample(join(folder.path, owners.key_of(picture)), join(folder.path, picture), sidecars)
        yield from map(Loose, owned.loose())

    def _note_shared_stems(self, path: str, owners: Owners) -> None:
        if not repeated(map(stem_of, owners.pictures), len(owners.pictures)):
            return
        for name in owners.pictures:
            first = owners.first_of(stem_of(name))
            if first != name:
                shown = f"{join(path, first)}, {join(path, name)}"
                self._problems.add(f"{shown}: two images of one stem; files of that stem go with the first")


class FolderSink:
    """Writes the same relative paths into another folder, each file whole or not at all."""

    is_local = True

    def __init__(self, root: Path, out: Path, scratch: Path | None = None) -> None:
        self._root = root
        self._files = Files(out, scratch)

    def write_image(self, sample: Sample, data: bytes) -> None:
        """Store an encoded image under the sample's own path. Raises OutputError."""
        self._files.write(sample.image, data)

    def carry(self, path: str, to: str = "") -> None:
        """Copy a file byte for byte, to another name if one is given. Raises OutputError, SampleError."""
        self._files.copy(chunks(self._root / path, path), to or path)

    def commit(self, entry: Sample | Loose) -> None:
        """Nothing: every file is in its place already."""

    def finish(self) -> None:
        """Remove what killed runs left under temporary names; every file is in place already."""
        self._files.clean()
