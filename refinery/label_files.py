"""Which files of a dataset are about many images, which of their entries is about one, and when folders are classes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from refinery.annotations import (
    SETTINGS_SUFFIXES,
    DatasetSettings,
    Shared,
    may_be_shared,
    one_line,
    open_settings,
    open_shared,
)
from refinery.errors import LabelError, SampleError
from refinery.formats._counting import counted
from refinery.formats._names import PICTURE_FOLDERS, is_apple_double, is_label_folder
from refinery.formats._source import Source
from refinery.formats._tar_files import TarFiles
from refinery.image import SUFFIXES
from refinery.sample import Label, Sample

MAX_BYTES = 512 << 20
MAX_FILES = 256
CLASS_FOLDERS = 1000
IMAGES_EACH = 8
NAMED = 5
BY_PATH = 2
"""How sure an entry is that has an image's path: more than one that has its name (1), or its stem (0)."""

_UNITY = re.compile(r"Dataset[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}")
"""The folder in which Unity Perception writes its captures, beside those of its images."""

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class ImageIndex:
    """Finds a sample's image in a file about many images: by its path, then by its file name, then by its stem.

    Images outside the folder that the file lies in (or that its `annotations` folder lies in) are none of it, nor are
    images of `val` where the file is called `..._train`. Names are compared in one form of Unicode. An entry that would
    be about two images, told apart by nothing but folders that it does not name, is about none: see `settle`.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._folder = PurePosixPath(shared.path).parent.as_posix().removeprefix(".")
        self._scope = _scope(PurePosixPath(shared.path).parent)
        self._splits = _splits(shared.path)
        self._by_path: dict[str, str] = {}
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._by_path_only: frozenset[str] = frozenset()
        self._met: dict[str, str] = {}
        self._second: dict[str, str] = {}
        self._exact: set[str] = set()
        self._without, self._first_without = 0, ""
        for name in shared.names:
            path = PurePosixPath(composed(name.replace("\\", "/")))
            self._by_path.setdefault(path.as_posix(), name)
            self._by_name.setdefault(path.name, []).append(name)
            self._by_stem.setdefault(path.stem, []).append(name)

    def find(self, image: str) -> tuple[str, int] | None:
        """The file's own name for an image of the dataset and how sure that is (2 to 0); None when it has none."""
        image = composed(image)
        splits = _splits(image)
        if not image.startswith(self._scope) or (splits and self._splits and not splits & self._splits):
            return None
        path = PurePosixPath(image)
        for exact in (image.removeprefix(f"{self._folder}/"), image):
            if exact in self._by_path:
                return self._by_path[exact], BY_PATH
        for certainty, found in ((1, self._by_name.get(path.name, ())), (0, self._by_stem.get(path.stem, ()))):
            name = _alike(found, path)
            if name is not None:
                return None if name in self._by_path_only else (name, certainty)
        return None

    def meet(self, image: str) -> None:
        """Take note of an image of the dataset, before `settle`."""
        answer = self.find(image)
        if answer is None:
            if image.startswith(self._scope):
                self._without += 1
                self._first_without = self._first_without or image
            return
        name, certainty = answer
        first = self._met.setdefault(name, image)
        if first != image:
            self._second.setdefault(name, image)
        if certainty == BY_PATH:
            self._exact.add(name)

    def settle(self) -> list[str]:
        """After all images were met: a line about each entry of images that are not there, or of several images."""
        self._by_path_only = frozenset(self._second)
        path, entries = self.shared.path, len(list(self.shared.names))
        doubted = [name for name in self._second if name not in self._exact]
        lines = [
            f"{path}: its entry {name[:80]!r} may be about {self._met[name]} or {self._second[name]}; it is read for "
            "none; name the folder"
            for name in doubted[:NAMED]
        ]
        lines += [f"{path}: {len(doubted) - NAMED:,} more such entries"] if len(doubted) > NAMED else []
        if not self._met:
            lines.append(f"{path}: none of its {entries:,} entries names an image of this dataset")
        elif absent := entries - len(self._met):
            missing = next(name for name in self.shared.names if name not in self._met)
            also = f"; {self._without:,} images are not in it, such as {self._first_without}" if self._without else ""
            lines.append(f"{path}: {absent:,} of its {entries:,} images are not there, such as {missing[:80]}{also}")
        self._met, self._second, self._exact = {}, {}, set()
        return lines


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC), as names are compared: macOS writes them decomposed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_repeats(files: Sequence[tuple[Label, ...]]) -> list[tuple[Label, ...]]:
    """The labels of several files about one image; an object that a file before has too, of one class and box, is one.

    What only the later file says of it, its keypoints for example, joins the object of the earlier one.
    """
    first = next((file for file in files if _objects_of(file)), ())
    item_of = {which: item for item, which in _objects_of(first).items()}
    names = {(label.name, label.item) for label in first}
    joined, others = list(first), list[tuple[Label, ...]]()
    for file in files:
        if file is first:
            continue
        twice = {item: item_of[which] for item, which in _objects_of(file).items() if which in item_of}
        for label in file:
            if label.item in twice and (label.name, twice[label.item]) not in names:
                names.add((label.name, twice[label.item]))
                joined.append(replace(label, item=twice[label.item]))
        others.append(tuple(label for label in file if label.item not in twice))
    return [tuple(joined), *others] if joined else others


def _objects_of(file: Sequence[Label]) -> dict[int, tuple[object, ...]]:
    """Items that have a box: their class and where the box is."""
    classes = {label.item: label.text for label in file if label.name == "objects.class"}
    boxes = {label.item: label.value for label in file if label.name == "objects.box"}
    return {
        item: (classes.get(item, ""), *np.asarray(box, np.float64).round(2).tolist()) for item, box in boxes.items()
    }


def entries_about(image: str, indices: Sequence[ImageIndex]) -> list[tuple[Shared, str]]:
    """(file, its name for the image) for each file about many images; of files of one kind only the surest."""
    found = [(index.shared, answer) for index in indices if (answer := index.find(image)) is not None]
    best: dict[str, int] = {}
    for shared, (_, certainty) in found:
        best[_kind(shared)] = max(best.get(_kind(shared), 0), certainty)
    return [(shared, name) for shared, (name, certainty) in found if certainty == best[_kind(shared)]]


@dataclass(frozen=True)
class LabelFiles:
    """A dataset's files about many images, its settings, the folders that are classes, and what cannot be read."""

    indices: tuple[ImageIndex, ...] = ()
    settings: tuple[DatasetSettings, ...] = ()
    folders: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def look_over(source: Source) -> LabelFiles:
    """One reading of a dataset. Raises LabelError where the files about many images are more than 512 MB together."""
    paths: list[str] = []
    settings_paths: list[str] = []
    folders = ClassFolders()
    for entry in counted(source):
        if isinstance(entry, Sample):
            folders.add(entry.image)
        elif is_apple_double(PurePosixPath(entry.path).name):
            continue
        elif may_be_shared(entry.path) and len(paths) < MAX_FILES:
            paths.append(entry.path)
        elif entry.path.lower().endswith(SETTINGS_SUFFIXES) and len(settings_paths) < MAX_FILES:
            settings_paths.append(entry.path)
    indices, problems = _open_all(source, paths)
    settings, unclear = _open_settings(source, settings_paths)
    images = (entry.image for entry in source.entries() if isinstance(entry, Sample)) if indices else ()
    for image in images:
        for index in indices:
            index.meet(image)
    problems += unclear + [line for index in indices for line in index.settle()]
    return LabelFiles(tuple(indices), tuple(settings), folders.names(), tuple(problems))


class ClassFolders:
    """Counts images by folder and tells whether the folders' names are classes, as in ImageFolder collections."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._depths: set[int] = set()

    def add(self, image: str) -> None:
        """Count one image by its path."""
        parts = PurePosixPath(image).parts
        self._depths.add(len(parts))
        if len(self._counts) <= CLASS_FOLDERS:
            self._counts[parts[-2] if len(parts) > 1 else ""] += 1

    def names(self) -> frozenset[str]:
        """The folders, where all images lie equally deep in 2 to 1000 folders of 8 images and more; else nothing.

        Numbers, splits, `images`, archives and names that differ in a number only are parts of a dataset, no classes.
        """
        plain = {re.sub(r"[\d._ -]+", "", name.lower()) for name in self._counts}
        is_part = plain & {"", *_SPLITS, *PICTURE_FOLDERS} or any(
            is_label_folder(name) or TarFiles.promises(name) for name in self._counts
        )
        few = 2 <= len(self._counts) <= CLASS_FOLDERS and min(self._counts.values()) >= IMAGES_EACH
        if is_part or not few or len(self._depths) > 1 or len(plain) < len(self._counts):
            return frozenset()
        return frozenset(self._counts)


def _open_settings(source: Source, paths: Iterable[str]) -> tuple[list[DatasetSettings], list[str]]:
    """Settings by folder and kind; of two files in one folder that contradict each other none."""
    nearest: dict[tuple[str, PurePosixPath], DatasetSettings] = {}
    contradicted: set[tuple[str, PurePosixPath]] = set()
    problems: list[str] = []
    for path in paths:
        try:
            told = open_settings(source.read_file(path), path)
        except (LabelError, SampleError) as error:
            problems.append(one_line(error))
            continue
        if told is None:
            continue
        place = told.kind, PurePosixPath(path).parent
        first = nearest.setdefault(place, told)
        if first.settings != told.settings and place not in contradicted:
            contradicted.add(place)
            problems.append(f"{path}: says something else than {first.path}; neither is heeded; remove one")
    return [told for place, told in nearest.items() if place not in contradicted], problems


def _open_all(source: Source, paths: Iterable[str]) -> tuple[list[ImageIndex], list[str]]:
    indices: list[ImageIndex] = []
    problems: list[str] = []
    unread: list[str] = []
    total = 0
    for path in paths:
        total += _size(source, path)
        if total > MAX_BYTES:
            raise LabelError(
                f"{path}: the annotation files of this dataset are more than {MAX_BYTES >> 20} MB together; expected "
                "less; split the dataset, or move those files out of it and check without them"
            )
        try:
            shared = open_shared(source.read_file(path), path)
        except (LabelError, SampleError) as error:
            problems.append(one_line(error))
            continue
        if shared is not None:
            indices.append(ImageIndex(shared))
        elif _names_images(source, path):
            unread.append(path)
    if unread:
        more = f" and {len(unread) - NAMED:,} more" if len(unread) > NAMED else ""
        problems.append(
            f"{', '.join(unread[:NAMED])}{more}: no reader finds images of this dataset named there, so no labels come "
            "from there"
        )
    return indices, problems


def _names_images(source: Source, path: str) -> bool:
    """True if a file may hold labels of images: a table, or one that speaks of image files."""
    if not path.lower().endswith((".json", ".xml")):
        return True
    data = source.read_file(path).lower()
    return any(suffix.encode() + quote in data for suffix in SUFFIXES for quote in (b'"', b"<", b"'"))


def _size(source: Source, path: str) -> int:
    """Bytes of a file, 0 where only the layout knows; what is read is bounded by the layout."""
    try:
        return (source.root / path).stat().st_size
    except OSError:
        return 0


def _kind(shared: Shared) -> str:
    return PurePosixPath(shared.path).suffix.lower()


def _scope(folder: PurePosixPath) -> str:
    """The folder that a file speaks for, with a slash: what stands above its `annotations` or `labels` folder."""
    kept: list[str] = []
    for part in folder.parts:
        if is_label_folder(part) or _UNITY.fullmatch(part):
            break
        kept.append(part)
    return "/".join([*kept, ""]) if kept else ""


def _splits(path: str) -> frozenset[str]:
    """The splits that a path names as a word: instances_train2017.json -> train."""
    return frozenset(_SPLITS[word] for word in re.findall(r"[a-z]+", path.lower()) if word in _SPLITS)


def _alike(names: Sequence[str], image: PurePosixPath) -> str | None:
    """The name that shares most folders with the image, counted from the end; None where two share as many."""
    if len(names) < 2:
        return names[0] if names else None
    wanted = image.parts[-2::-1]

    def shared_folders(name: str) -> int:
        folders = PurePosixPath(name.replace("\\", "/")).parts[-2::-1]
        same = [one == other for one, other in zip(folders, wanted, strict=False)]
        return same.index(False) if False in same else len(same)

    ranked = sorted(names, key=shared_folders, reverse=True)
    return ranked[0] if shared_folders(ranked[0]) > shared_folders(ranked[1]) else None
