"""What the user says about which images are pictures: globs for `--images` and `--maps`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Choice:
    """images: globs of what is refined; everything else is carried then. maps: globs of what is never refined."""

    images: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()

    def says(self, path: str) -> str:
        """`picture` or `map`, as the user says of a path; empty where nothing is said of it."""
        if any(matches(path, glob) for glob in self.maps):
            return "map"
        if self.images:
            return "picture" if any(matches(path, glob) for glob in self.images) else "map"
        return ""

    def __bool__(self) -> bool:
        """True if anything is said."""
        return bool(self.images or self.maps)

    def unmatched(self, paths: Iterable[str]) -> list[str]:
        """The globs that no path matches."""
        left = [*self.images, *self.maps]
        for path in paths:
            left = [glob for glob in left if not matches(path, glob)]
            if not left:
                break
        return left


EVERYTHING = Choice()
"""Nothing is said: the rules decide about everything."""


def matches(path: str, glob: str) -> bool:
    """True if a glob is about a path: `*` within a name, `**` over folders, from any folder on; from `/`, the root."""
    return _expression(glob).fullmatch(path) is not None


_JOKERS = re.compile(r"(\*\*/|\*\*|\*|\?)")
_MEANS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@lru_cache(256)
def _expression(glob: str) -> re.Pattern[str]:
    pieces = [_MEANS.get(piece) or re.escape(piece) for piece in _JOKERS.split(glob.lstrip("/"))]
    return re.compile(("" if glob.startswith("/") else "(?:.*/)?") + "".join(pieces), re.DOTALL)
