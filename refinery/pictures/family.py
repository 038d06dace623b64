"""Families of images that are named alike: one sensor's images, from however many folders of a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from refinery.pictures.sensor_words import (
    Sense,
    is_recorded,
    may_be_classes,
    pattern_of,
    sense_of,
    sensor_words,
    span_of_words,
    without_sensor,
)

MANY_FOLDERS, MANY_ENDINGS = 32, 8
"""More wordless names than these beside each other are classes or sequences, not sensors: they are one family."""
SHOWN_PATHS, STEMS = 16, 32
_HEAD = re.compile(r"^([^\W\d_]+)[._ -]?\d")
_VARIANT = re.compile(r"_(?:v|look|variant)\d+")
_TAIL = re.compile(r"\d[._ -]?([^\W\d_]+)$")


@dataclass(frozen=True, slots=True)
class Place:
    """What a family's names have in common. folder: pattern of the path; words: of sensors in the file names.

    ending, beginning: letters behind and before the number, where no word says what they mean. suffix: of the files,
    such as `.png`.
    """

    folder: str
    words: tuple[str, ...]
    ending: str
    suffix: str
    beginning: str = ""


@dataclass
class Family:
    """Images of one place. paths: a few of them, spread. stems: of the first of them, without words for sensors."""

    place: Place
    count: int = 0
    paths: list[str] = field(default_factory=list)
    stems: set[str] = field(default_factory=set)

    def add(self, path: str, stem: str) -> None:
        """One more image."""
        self.count += 1
        if self.count <= 4 or (self.count & (self.count - 1)) == 0:
            self.paths.append(path)
        if len(self.stems) < STEMS:
            self.stems |= set(_numbers(stem))

    @property
    def folder_words(self) -> tuple[str, ...]:
        """Words for sensors in the names of the folders."""
        return tuple(word for part in self.place.folder.split("/") for word in sensor_words(part))

    @property
    def words(self) -> tuple[str, ...]:
        """All words for sensors in the names."""
        return self.folder_words + self.place.words

    @property
    def sense(self) -> Sense:
        """What the names say."""
        return sense_of(self.words)

    @property
    def may_be_classes(self) -> bool:
        """True if all that speaks for maps may be the names of classes."""
        return may_be_classes(self.words)

    def glob(self) -> str:
        """A glob that is about these images."""
        place, name = self.place, "*"
        if place.words:
            last = self.paths[0].rpartition("/")[2]
            name = _about_words(_parted(last)[0] if place.suffix else last)
        elif place.ending or place.beginning:
            name = f"{place.beginning}*{place.ending}"
        dot, suffix = self.paths[0].rpartition(".")[1:] if place.suffix else ("", "")
        return f"{place.folder}/{name}{dot}{suffix}" if place.folder else f"/{name}{dot}{suffix}"


class Families:
    """Sorts the images of a dataset into families, in one pass; then tells of any image which family it is of."""

    def __init__(self) -> None:
        self._folders: dict[str, set[str]] = {}
        self._endings: dict[str, set[str]] = {}
        self._beginnings: dict[str, set[str]] = {}
        self._found: dict[Place, Family] = {}
        self._latest = ("", "")

    def add(self, folder: str, name: str) -> None:
        """One image."""
        stem, suffix = _parted(name)
        place = self._place(folder, stem, suffix, learns=True)
        family = self._found.get(place)
        if family is None:
            family = self._found[place] = Family(place)
        family.add(f"{folder}/{name}" if folder else name, stem)

    def folder_of(self, folder: str) -> str:
        """The pattern that stands for a folder in the places of its images."""
        if self._latest[0] != folder:
            self._latest = (folder, self._pattern(folder, learns=False))
        return self._latest[1]

    def of(self, folder: str, name: str) -> Place:
        """The place of an image."""
        return self._place(folder, *_parted(name), learns=False)

    def all(self) -> list[Family]:
        """The families, those that turned out to be one put together, in the order of their first images."""
        merged: dict[Place, Family] = {}
        for family in self._found.values():
            place = self.final(family.place)
            whole = merged.setdefault(place, Family(place))
            whole.count += family.count
            whole.paths += family.paths
            whole.stems |= family.stems
        return list(merged.values())

    def _place(self, folder: str, stem: str, suffix: str, learns: bool) -> Place:
        pattern = self._pattern(folder, learns=True) if learns else self.folder_of(folder)
        words = tuple(sorted(set(sensor_words(stem))))
        place = Place(pattern, words, "", suffix)
        if not words:
            ending, beginning = _TAIL.search(stem), _HEAD.search(stem)
            place = replace(place, ending=ending[1] if ending else "", beginning=beginning[1] if beginning else "")
        if learns:
            _learn(self._endings, pattern, place.ending)
            _learn(self._beginnings, pattern, place.beginning)
            return place
        return self._with_few(place)

    def _pattern(self, folder: str, learns: bool) -> str:
        parts: list[str] = []
        for part in folder.split("/") if folder else []:
            own = pattern_of(part)
            if not sensor_words(part):
                beside = self._folders.setdefault("/".join(parts), set())
                if learns and len(beside) <= MANY_FOLDERS:
                    beside.add(own)
                own = "*" if len(beside) > MANY_FOLDERS else own
            parts.append(own)
        return "/".join(parts)

    def final(self, place: Place) -> Place:
        """A place as `of` tells it now, after all was seen."""
        parts: list[str] = []
        for part in place.folder.split("/") if place.folder else []:
            crowded = len(self._folders.get("/".join(parts), ())) > MANY_FOLDERS
            parts.append("*" if crowded and not sensor_words(part) else part)
        folder = "/".join(parts)
        return self._with_few(replace(place, folder=folder))

    def _with_few(self, place: Place) -> Place:
        """Without letters that too many names have, or the same before all numbers: they tell no sensors apart."""
        ends, begins = (len(seen.get(place.folder, ())) for seen in (self._endings, self._beginnings))
        ending = place.ending if ends <= MANY_ENDINGS else ""
        return replace(place, ending=ending, beginning=place.beginning if 2 <= begins <= MANY_ENDINGS else "")


def _learn(seen: dict[str, set[str]], folder: str, text: str) -> None:
    own = seen.setdefault(folder, set())
    if text and len(own) <= MANY_ENDINGS:
        own.add(text)


def _parted(name: str) -> tuple[str, str]:
    stem, _, suffix = name.rpartition(".")
    return stem, f".{suffix.lower()}"


def frame_of(path: str) -> str:
    """What tells a frame from others in the name of a file: its numbers."""
    return " ".join(re.findall(r"[0-9]+", path.rpartition("/")[2]))


def _about_words(stem: str) -> str:
    """A glob of names with the words of this one: `aachen_0019_gtFine_color` -> `*gtFine_color*`."""
    if recorded := is_recorded(stem):
        return f"img_*_{recorded}_*"
    start, end = span_of_words(stem)
    return f"{'*' if start else ''}{re.sub(r'[0-9]+', '*', stem[start:end])}{'*' if end < len(stem) else ''}"


def _numbers(stem: str) -> Iterator[str]:
    """What two images of one frame share: its text without words for sensors, its first and its last number."""
    stem = _VARIANT.sub("", stem)
    yield without_sensor(stem)
    numbers = re.findall(r"[0-9]+", stem)
    yield from (*numbers[:1], *numbers[-1:])
