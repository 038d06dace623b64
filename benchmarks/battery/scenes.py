"""The kinds of scenes by name."""

from __future__ import annotations

from functools import lru_cache

from battery._kind import Kind
from battery.eyes import Eyes
from battery.procedural import Procedural
from battery.signs import Signs

KINDS = ("scenes", "eyes", "signs")


@lru_cache(maxsize=3)
def kind_named(name: str) -> Kind:
    """The kind of this name; each is built once."""
    return {"scenes": Procedural, "eyes": Eyes, "signs": Signs}[name]()
