"""Which images in archives are pictures: their names sorted into families, a few of each looked at as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from refinery.errors import DatasetError
from refinery.formats._names import is_image_name
from refinery.formats._tar import Member
from refinery.pictures.appearance import appearance_of, outlines_of
from refinery.pictures.choice import Choice
from refinery.pictures.family import Families, Family, Place, frame_of
from refinery.pictures.rules import Looked, Verdict, judge
from refinery.pictures.sensor_words import sensor_words

LOOKED_AT = 5
AHEAD_IMAGES, AHEAD_BYTES = 256, 128 << 20
"""Of a stream so much is held until it is decided what its images are."""

_Kind = tuple[tuple[str, ...], tuple[str, ...], str, str]


class TarKinds:
    """Told of archives' members first, then asked. What is named like nothing that was told of is no picture."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._families = Families()
        self._looks: dict[Place, list[str]] = {}
        self._outlines: dict[Place, dict[str, NDArray[np.float32]]] = {}

    def add(self, path: str, read: Callable[[], bytes]) -> None:
        """One member by its path in the dataset; read: gives its content."""
        folder, _, name = path.rpartition("/")
        if not is_image_name(name):
            return
        self._families.add(folder, name)
        place = self._families.of(folder, name)
        looks, outlines = self._looks.setdefault(place, []), self._outlines.setdefault(place, {})
        if len(looks) < LOOKED_AT and (look := appearance_of(data := read())) is not None:
            looks.append(look)
            if (steep := outlines_of(data)) is not None:
                outlines[frame_of(path)] = steep

    def ahead(self, members: Iterable[Member], prefix: str) -> Iterator[Member]:
        """The members of a stream, after the first of them were held and told of."""
        rest, held, images, size = iter(members), list[Member](), 0, 0
        try:
            for member in rest:
                held.append(member)
                images, size = images + is_image_name(member.path.rpartition("/")[2]), size + member.size
                self.add(prefix + member.path, lambda member=member: member.data or b"")  # type: ignore[misc]
                if images >= AHEAD_IMAGES or size > AHEAD_BYTES:
                    break
        except DatasetError as error:  # what came before it goes on
            rest = _raising(error)
        return chain(_passed_on(held), rest)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What each family was taken for, and why."""
        return judge([self._look(one) for one in self._families.all()], self.choice)

    def is_picture(self, path: str) -> bool:
        """True if an image is a picture; of an archive that nobody told of, as those whose names say the same."""
        if says := self.choice.says(path):
            return says == "picture"
        folder, _, name = path.rpartition("/")
        place = self._families.of(folder, name)
        found = self._pictures.get(place)
        return self._alike.get(_kind(place), False) if found is None else found

    @cached_property
    def _pictures(self) -> dict[Place, bool]:
        return {one.family.place: one.likely == "picture" for one in self.verdicts}

    @cached_property
    def _alike(self) -> dict[_Kind, bool]:
        """The same by what the names say, whatever the folders are called otherwise; a map if any of them is one."""
        alike: dict[_Kind, bool] = {}
        for place, is_picture in self._pictures.items():
            alike[_kind(place)] = is_picture and alike.get(_kind(place), True)
        return alike

    def _look(self, family: Family) -> Looked:
        looks, outlines = list[str](), dict[str, NDArray[np.float32]]()
        for place, found in self._looks.items():
            if self._families.final(place) == family.place:
                looks += found
                outlines |= self._outlines[place]
        return Looked(family, tuple(looks), lossy=family.place.suffix in (".jpg", ".jpeg"), outlines=outlines)


def _kind(place: Place) -> _Kind:
    words = tuple(word for part in place.folder.split("/") for word in sensor_words(part))
    return words, place.words, place.ending, place.suffix


def _passed_on(held: list[Member]) -> Iterator[Member]:
    """The members, each of which is let go when the next one is asked for."""
    held.reverse()
    while held:
        yield held.pop()


def _raising(error: DatasetError) -> Iterator[Member]:
    """A stream that ends with an error at once, when it is read."""
    yield from _raised(error)


def _raised(error: DatasetError) -> list[Member]:
    raise error
