"""Why images are pictures to refine or maps to carry: the rules, in order, each with the reason that is printed.

Names speak first, pixels second, what stands beside third; where they disagree, the images are in doubt, and a person
is asked. A map that is taken for a picture is overwritten; a picture that is taken for a map is not refined, and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refinery.pictures.appearance import DEEP, FLAT, UNREFINED, show_the_same
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.family import Family, Place
from refinery.pictures.sensor_words import STRONG_PICTURES, is_view, sense_of, sensor_words, without_sensor

Kind = Literal["picture", "map", "doubt"]


@dataclass(frozen=True)
class Looked:
    """A family of images and what its files look like.

    looks: of each file that was looked at, what makes it look like a map, or "" for a render or photo.
    named: the layout's own names say already that these are maps (`0001_mask.png` beside `0001.png`).
    lossy: stored as JPEG, as maps never are. outlines: of families that may be pictures, by frame.
    sizes_hw: of its files, where known.
    """

    family: Family
    looks: tuple[str, ...] = ()
    named: bool = False
    lossy: bool = False
    outlines: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    sizes_hw: frozenset[tuple[int, int]] = frozenset()

    @property
    def map_look(self) -> str:
        """What makes most of its files look like maps; empty where they look like renders or photos.

        A JPEG has few flat colours where it is a drawing, and where it is a map that was spoilt.
        """
        maps = [look for look in self.looks if look and not (self.lossy and look == FLAT)]
        return max(set(maps), key=maps.count) if maps and 2 * len(maps) >= len(self.looks) else ""


@dataclass(frozen=True)
class Verdict:
    """What a family was taken for, and why. likely: what it is where it is in doubt and nobody is asked."""

    family: Family
    kind: Kind
    reason: str
    likely: Literal["picture", "map"]

    def line(self) -> str:
        """For a person: `rgb/*.png: 1,000 pictures, because ...`."""
        what = {"picture": "picture", "map": "map", "doubt": "image"}[self.kind]
        count = f"{self.family.count:,} {what}{'s' * (self.family.count != 1)}"
        return f"{self.family.glob()}: {count}{' in doubt' * (self.kind == 'doubt')}, because {self.reason}"


def judge(families: Sequence[Looked], choice: Choice = EVERYTHING) -> list[Verdict]:
    """What each family of a dataset is, in the order given; what the user says counts, also for those beside."""
    said = {id(one): _said(one.family, choice) for one in families}
    told = [one for one in families if said[id(one)] != "map"]
    judging = _Judging(told, [one for one in told if said[id(one)] == "picture"])
    return [_as_said(one.family, said[id(one)]) or judging.verdict(one) for one in families]


@dataclass
class _Judging:
    families: Sequence[Looked]
    known: list[Looked]
    """Pictures for sure: the user says so, or they are called so, and their files look so."""

    def __post_init__(self) -> None:
        called = [one for one in self.families if one.family.sense == "picture" and not one.named]
        self.known = self.known or [one for one in called if not one.map_look] or called

    def verdict(self, one: Looked) -> Verdict:
        """What one family is."""
        family, look, words = one.family, one.map_look, one.family.words
        called = f"called {_listed(words)}"
        if one.named:
            return _map(family, "their names go on after those of pictures beside them, with what they are")
        if family.sense == "picture":
            return self._called_picture(one, called)
        if family.sense == "":
            return self._unnamed(one)
        beside = self._beside(one, self.known)
        unnamed = self._beside(one, [each for each in self.families if each.family.sense == "" and not each.map_look])
        if look:
            if self.known or unnamed or family.sense == "map" or self._has_renders():
                return _map(family, f"they are {called} and look like maps ({look})")
            return _doubt(family, f"they are {called}, but look like maps ({look})", "picture")
        if family.sense == "both" and self._ends_strongly(family):
            if not self.known or self._lies_apart(one):
                return _picture(family, f"they are {called} and look like renders or photos")
            return _doubt(family, f"they are {called} and look like renders, in a folder for maps", "map")
        if self.known or unnamed:
            anchor = (beside or unnamed or self.known)[0].family.glob()
            if not family.may_be_classes:
                return _map(family, f"they are {called}, and the pictures are {anchor}")
            if self._goes_on(one, [*beside, *unnamed]):
                return _map(family, f"they are {called} beside {anchor}, under the same names")
            if unnamed and not self.known and not one.lossy:
                return _doubt(family, f"they are {called} beside {anchor}, but look like renders or photos", "picture")
            if not self.known or one.lossy:
                return _picture(family, f"they look like renders or photos ({_listed(words)} may be a class)")
            return _doubt(family, f"they are {called} beside {anchor}, but look like renders or photos", "map")
        if family.may_be_classes or one.lossy:
            return _picture(family, f"they look like renders or photos ({_listed(words)} may be a class)")
        return _map(family, f"they are {called}")

    def _called_picture(self, one: Looked, called: str) -> Verdict:
        beside = [other for other in self._beside(one, self.known) if not other.map_look]
        beside = [other for other in beside if not _are_of_other_sizes(one, other)]
        better = [other for other in beside if _is_better_called(other.family, one.family)]
        plain = [other for other in beside if sense_of(sensor_words(_differing(one.family, other.family)[0])) == ""]
        if plain and one.map_look:
            return _map(one.family, f"they look like maps ({one.map_look}) of {plain[0].family.glob()}")
        if better:
            return _doubt(
                one.family, f"they look like renders, but {better[0].family.glob()} is called pictures", "map"
            )
        if not one.map_look and (odd := self._odd_ones(one)):
            return _doubt(one.family, _ONE_OF_THEM.format(odd[0].family.glob()), "picture")
        if not one.map_look:
            return _picture(one.family, f"they are {called} and look like renders or photos")
        doubt = f"they are {called}, but look like maps ({one.map_look})"
        if self._has_renders() or one.map_look not in _TOYS:
            return _doubt(one.family, doubt, "map" if self._has_renders() else "picture")
        return _picture(one.family, f"they are {called}, though they look plain ({one.map_look})")

    def _unnamed(self, one: Looked) -> Verdict:
        family = one.family
        beside = [each for each in self._beside(one, self.families) if not each.map_look and not each.named]
        if one.map_look:
            if beside:
                return _map(family, f"they look like maps ({one.map_look}) of {beside[0].family.glob()}")
            if one.map_look in UNREFINED or (one.map_look == DEEP and len(self.families) == 1):
                return _picture(family, f"nothing else stands there ({one.map_look})")
            return _doubt(family, f"they look like maps ({one.map_look})", "map" if self._has_renders() else "picture")
        known = [other for other in self._beside(one, self.known) if not _are_of_other_sizes(one, other)]
        if not known and (odd := self._odd_ones(one)):
            return _doubt(family, _ONE_OF_THEM.format(odd[0].family.glob()), "picture")
        if known:
            return _doubt(
                family, f"they look like renders, but {known[0].family.glob()} has pictures of these names", "map"
            )
        return _picture(family, "they look like renders or photos")

    def _odd_ones(self, one: Looked) -> list[Looked]:
        """Other images that look like renders, where nothing but a name without meaning tells them from these."""
        found = []
        for other in self._beside(one, self.families):
            senses = {sense_of(sensor_words(part)) for part in _differing(one.family, other.family)}
            if other.map_look or other.named or senses != {""} or _is_view_of(one.family, other.family):
                continue
            if (self._has_maps_beside(one) or _are_two_sensors(one, other)) and not (one.lossy and other.lossy):
                found.append(other)
        return found

    def _has_maps_beside(self, one: Looked) -> bool:
        """True if any other images of the same names look like maps: then the folders are sensors, no classes."""
        return any(each.map_look for each in self._beside(one, self.families))

    def _has_renders(self) -> bool:
        """True if any family that may be pictures looks so."""
        return any(one.looks and not one.map_look and one.family.sense in ("", "picture") for one in self.families)

    def _beside(self, one: Looked, others: Sequence[Looked]) -> list[Looked]:
        """The others that have images of the same names, in the same place or in one folder's distance."""
        return [other for other in others if other is not one and _share_frames(one.family, other.family)]

    def _goes_on(self, one: Looked, others: Sequence[Looked]) -> bool:
        """True if the names are those of another family with a word for a map added: `depth_front` beside `front`."""
        own = canonical(one.family.place.folder)
        return any(canonical(other.family.place.folder) == own for other in others)

    def _ends_strongly(self, family: Family) -> bool:
        last = family.place.folder.rpartition("/")[2].lower()
        return last in STRONG_PICTURES and not any(word not in STRONG_PICTURES for word in family.place.words)

    def _lies_apart(self, one: Looked) -> bool:
        """True if no known picture has images of the same names."""
        return not self._beside(one, self.known)


_ONE_OF_THEM = "they look like renders, as {} does, and one of them may be a map"
_TOYS = (FLAT, DEEP, *UNREFINED)
"""Looks that real pictures have too: drawn shapes, thermal and medical images."""


def answers(verdicts: Sequence[Verdict]) -> list[Choice]:
    """What a person may mean where something is in doubt, likeliest first."""
    doubted = [one for one in verdicts if one.kind == "doubt"]
    likely = choice_of([replace(one, kind=one.likely) for one in verdicts if one.kind != "map"], verdicts)
    turned = {"picture": "map", "map": "picture"}
    other: list[Verdict] = [
        replace(one, kind=turned[one.likely]) if one in doubted else one  # type: ignore[arg-type]
        for one in verdicts
    ]
    second = choice_of([one for one in other if one.kind != "map"], verdicts)
    return [choice for choice in (likely, second) if choice.images]


def choice_of(pictures: Sequence[Verdict], verdicts: Sequence[Verdict]) -> Choice:
    """The globs that refine these pictures and nothing else."""
    wanted = [one.family for one in pictures if one.kind == "picture"]
    images = tuple(family.glob() for family in wanted)
    chosen, places = Choice(images), [family.place for family in wanted]
    others = [one.family for one in verdicts if one.family.place not in places]
    maps = tuple(each.glob() for each in others if any(chosen.says(path) == "picture" for path in each.paths))
    return Choice(images, maps)


def canonical(folder: str) -> str:
    """A folder without the words for sensors in its path, and without what they leave empty."""
    return "/".join(part for part in map(without_sensor, folder.split("/")) if part)


def _share_frames(one: Family, other: Family) -> bool:
    own, others = one.place, other.place
    if not (one.stems & other.stems - {""}) and not (one.stems == other.stems == {""}):
        return False
    if canonical(own.folder) == canonical(others.folder):
        return True
    first, second = PurePosixPath(own.folder).parts, PurePosixPath(others.folder).parts
    if len(first) == len(second):
        return sum(a != b for a, b in zip(first, second, strict=True)) <= 1
    return False


def _differing(one: Family, other: Family) -> tuple[str, str]:
    """The parts of the names in which two families differ: of the folders, or else of the files."""
    first, second = one.place.folder.split("/"), other.place.folder.split("/")
    if len(first) == len(second):
        for own, others in zip(first, second, strict=True):
            if own != others:
                return own, others
    files = [" ".join((*each.place.words, each.place.beginning, each.place.ending)) for each in (one, other)]
    return files[0], files[1]


def _is_better_called(other: Family, one: Family) -> bool:
    """True if only the other's name says picture where both names differ."""
    own, others = map(sensor_words, _differing(one, other))
    return sense_of(others) == "picture" and sense_of(own) == "" and not is_view(_differing(one, other)[0])


def _are_of_other_sizes(one: Looked, other: Looked) -> bool:
    """True if no image of one is as large as any of the other: then they are no sensors of one frame."""
    return bool(one.sizes_hw and other.sizes_hw) and not one.sizes_hw & other.sizes_hw


def _are_two_sensors(one: Looked, other: Looked) -> bool:
    """True if images of the same names show the same scenes, or are stored in two ways, of which one is JPEG."""
    return one.lossy != other.lossy or show_the_same(one.outlines, other.outlines)


def _is_view_of(one: Family, other: Family) -> bool:
    """True if two families differ in where the camera looks only."""
    return all(map(is_view, _differing(one, other)))


def _listed(words: Sequence[str]) -> str:
    return " ".join(dict.fromkeys(words))


def _picture(family: Family, reason: str) -> Verdict:
    return Verdict(family, "picture", reason, "picture")


def _map(family: Family, reason: str) -> Verdict:
    return Verdict(family, "map", reason, "map")


def _doubt(family: Family, reason: str, likely: Literal["picture", "map"]) -> Verdict:
    return Verdict(family, "doubt", reason, likely)


def _said(family: Family, choice: Choice) -> str:
    """`picture` or `map`, as the user says of a family, or of a part of it; empty where nothing is said."""
    says = {choice.says(path) for path in family.paths} if choice else set()
    return "picture" if "picture" in says else "map" if "map" in says else ""


def _as_said(family: Family, says: str) -> Verdict | None:
    if says == "picture":
        return _picture(family, "--images says so")
    return _map(family, "--images or --maps says so") if says else None


def likely_pictures(verdicts: Sequence[Verdict]) -> dict[Place, bool]:
    """Of each place whether its images are pictures, doubts taken as is likeliest."""
    return {one.family.place: one.likely == "picture" for one in verdicts}
