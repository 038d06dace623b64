"""Which files of a folder belong to which image, by name alone; pure functions of the names."""

from __future__ import annotations

from collections.abc import Iterable

from refinery.formats._name_list import Chosen, Keys, NameList
from refinery.formats._names import (
    FRAME_PICTURE_WORDS,
    PICTURE_WORDS,
    heads,
    is_apple_double,
    is_frame,
    is_image_name,
    normalised,
    picture_core,
    picture_tail,
    says_role,
    stem_of,
    tails,
    words_of,
)
from refinery.formats._roles import Roles


class Owners:
    """Finds the image that a file name belongs to: the longest stem at a delimiter, then an equal frame number.

    pictures: file names of one folder's images. A stem shared by two images belongs to the first.
    """

    def __init__(self, pictures: NameList) -> None:
        self.pictures = pictures
        self._stems = Keys(pictures, _stem_of)
        self._cores = Keys(pictures, _core_of)
        self._tails = Keys(pictures, _tail_of)

    def of(self, name: str) -> int | None:
        """Where the image that `name` belongs to stands among the pictures, or None."""
        if is_apple_double(name):
            return None
        name = normalised(name)
        found = self._by_head(name)
        for head, _ in heads(name):
            if found is not None:
                break
            found = self._by_head(head)
        return self._by_equal_tail(stem_of(name)) if found is None else found

    def key_of(self, picture: str) -> str:
        """Its stem, or its whole file name where the stem is another image's stem or name too."""
        stem = stem_of(picture)
        return picture if self._stems.only(normalised(stem)) is None or self._named(stem) is not None else stem

    def first_of(self, stem: str) -> str:
        """The picture that files of this stem go with, of a stem that a picture has."""
        return self.pictures[next(self._stems.places(normalised(stem)))]

    def _named(self, name: str) -> int | None:
        if not is_image_name(name):
            return None
        places = self._stems.places(_stem_of(name))
        return next((place for place in places if normalised(self.pictures[place]) == normalised(name)), None)

    def _by_head(self, head: str) -> int | None:
        found = self._named(head)
        if found is None:
            found = self._stems.first(head)
        return self._cores.only(head) if found is None else found

    def _by_equal_tail(self, stem: str) -> int | None:
        found = self._by_tail(stem)
        if found is not None:
            return found
        for prefix, tail in tails(stem):
            if (found := self._by_tail(tail)) is not None and (is_frame(tail) or says_role(prefix)):
                return found
        return None

    def _by_tail(self, tail: str) -> int | None:
        found = self._stems.first(tail)
        return self._tails.only(tail) if found is None else found


def pictures_in(names: NameList, roles: Roles) -> NameList:
    """The images of one folder that are samples, in the order of `names`; masks, depth and normals are left out."""
    images = Chosen(names, is_image_name)
    stems, cores, frames = Keys(images, _stem_of), Keys(images, _core_of), Keys(images, _tail_of)
    buffered = Keys(images, lambda name: picture_tail(_stem_of(name), FRAME_PICTURE_WORDS))

    def is_sample(name: str) -> bool:
        stem = _stem_of(name)
        return not (
            _continues_a_picture(stem, (stems, cores), roles)
            or _precedes_a_picture(stem, (stems, frames))
            or _is_buffer(stem, buffered)
            or (roles.bare and stem in cores)
        )

    return Chosen(images, is_sample)


def _stem_of(name: str) -> str:
    return stem_of(normalised(name))


def _core_of(name: str) -> str | None:
    return picture_core(_stem_of(name))


def _tail_of(name: str) -> str | None:
    return picture_tail(_stem_of(name))


def _continues_a_picture(stem: str, known: Iterable[Keys], roles: Roles) -> bool:
    return any(
        rest in roles.endings or (any(head in keys for keys in known) and says_role(rest)) for head, rest in heads(stem)
    )


def _precedes_a_picture(stem: str, known: Iterable[Keys]) -> bool:
    return any(any(tail in keys for keys in known) and says_role(prefix) for prefix, tail in tails(stem))


def _is_buffer(stem: str, buffered: Keys) -> bool:
    if not buffered:
        return False
    return any(tail in buffered and not PICTURE_WORDS & set(words_of(prefix)) for prefix, tail in tails(stem))
