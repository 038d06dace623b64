"""The kinds of scenes by name."""

from __future__ import annotations

from functools import lru_cache

from battery._kind import Kind
from battery.blind_eyes import BlindEyes
from battery.blind_scenes import PARTS, SCENES, BlindScenes
from battery.blind_signs import BlindSigns
from battery.eyes import Eyes
from battery.fresh_crates import Crates
from battery.fresh_texts import Texts
from battery.fresh_weaves import Weaves
from battery.fresh_wires import Wires
from battery.procedural import Procedural
from battery.signs import Signs

KINDS = ("scenes", "eyes", "signs")
BLIND_KINDS = (*KINDS, "parts")
FRESH = {"wires": Wires, "weaves": Weaves, "texts": Texts, "crates": Crates}
FRESH_KINDS = tuple(FRESH)
ALL_KINDS = (*BLIND_KINDS, *FRESH_KINDS)


def kinds_of(split: str) -> tuple[str, ...]:
    """Names of the kinds that a split has."""
    return {"blind": BLIND_KINDS, "fresh": FRESH_KINDS}.get(split, KINDS)


@lru_cache(maxsize=8)
def kind_named(name: str, split: str = "tune") -> Kind:
    """The kind of this name; each is built once. The blind and the fresh split have renderers of their own."""
    if split == "fresh":
        return FRESH[name]()
    if split == "blind":
        blind = {"eyes": BlindEyes, "signs": BlindSigns}
        return blind[name]() if name in blind else BlindScenes({"scenes": SCENES, "parts": PARTS}[name])
    return {"scenes": Procedural, "eyes": Eyes, "signs": Signs}[name]()
