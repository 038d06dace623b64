"""Which files of a folder belong to which image, by name alone; pure functions of the names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set

from refinery.formats._names import (
    FRAME_PICTURE_WORDS,
    PICTURE_WORDS,
    heads,
    is_frame,
    is_image_name,
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

    def __init__(self, pictures: Sequence[str]) -> None:
        self._by_head = _unique((picture_core(stem_of(name)), name) for name in pictures)
        self._by_tail = _unique((picture_tail(stem_of(name)), name) for name in pictures)
        by_stem = {stem_of(name): name for name in reversed(pictures)}
        self._by_tail |= by_stem
        self._by_head |= by_stem | {name: name for name in pictures}

    def of(self, name: str) -> str | None:
        """The image that `name` belongs to, or None."""
        if name in self._by_head:
            return self._by_head[name]
        for head, _ in heads(name):
            if head in self._by_head:
                return self._by_head[head]
        return self._by_equal_tail(stem_of(name))

    def _by_equal_tail(self, stem: str) -> str | None:
        if stem in self._by_tail:
            return self._by_tail[stem]
        for prefix, tail in tails(stem):
            if tail in self._by_tail and (is_frame(tail) or says_role(prefix)):
                return self._by_tail[tail]
        return None


def pictures_in(names: Iterable[str], roles: Roles) -> list[str]:
    """The images of one folder that are samples, in the order of `names`; masks, depth and normals are left out."""
    images = [name for name in names if is_image_name(name)]
    stems = {stem_of(name) for name in images}
    cores = {core for stem in stems if (core := picture_core(stem))}
    frames = {tail for stem in stems if (tail := picture_tail(stem))}
    buffered = {tail for stem in stems if (tail := picture_tail(stem, FRAME_PICTURE_WORDS))}
    known = stems | cores

    def is_sample(stem: str) -> bool:
        return not (
            _continues_a_picture(stem, known, roles)
            or _precedes_a_picture(stem, stems, frames)
            or _is_buffer(stem, buffered)
            or (roles.bare and stem in cores)
        )

    return [name for name in images if is_sample(stem_of(name))]


def keys_of(pictures: Sequence[str]) -> list[str]:
    """A name for each image, unique in the folder: its stem, or the whole file name where the stem is not unique."""
    counts = Counter(stem_of(name) for name in pictures)
    taken = set(pictures)
    stems = (stem_of(name) for name in pictures)
    return [
        stem if counts[stem] == 1 and stem not in taken else name for stem, name in zip(stems, pictures, strict=True)
    ]


def _unique(pairs: Iterable[tuple[str | None, str]]) -> dict[str, str]:
    """key -> name for the keys that occur once."""
    kept = [(key, name) for key, name in pairs if key]
    counts = Counter(key for key, _ in kept)
    return {key: name for key, name in kept if counts[key] == 1}


def _continues_a_picture(stem: str, known: Set[str], roles: Roles) -> bool:
    return any((head in known and says_role(rest)) or rest in roles.endings for head, rest in heads(stem))


def _precedes_a_picture(stem: str, stems: Set[str], frames: Set[str]) -> bool:
    return any((tail in stems or tail in frames) and says_role(prefix) for prefix, tail in tails(stem))


def _is_buffer(stem: str, buffered: Set[str]) -> bool:
    if not buffered:
        return False
    return any(tail in buffered and not PICTURE_WORDS & set(words_of(prefix)) for prefix, tail in tails(stem))
