"""What the battery asks of a kind of scene: to be drawn, edited and drawn again, with its labels known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from battery._pixels import Image
from refinery.sample import Label

SPLITS = ("tune", "score", "blind", "fresh")


class Disc(NamedTuple):
    """Where a labelled object is: a circle around it, in px."""

    x: float
    y: float
    radius: float


class Edit(Protocol):
    """Returns the scene with object `index` edited."""

    def __call__(self, scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any: ...


class Kind(Protocol):
    """One kind of scene. `edits` holds what can be done to an object of it, by the names in `edits.py`."""

    name: str
    size_hw: tuple[int, int]
    per_pixel: int
    edits: Mapping[str, Edit]

    def sample(self, rng: np.random.Generator, split: str) -> Any:
        """Draw a scene; the splits share neither shapes nor textures where the kind has a choice of them."""

    def draw(self, scene: Any) -> Image:
        """Sub-pixels (H * S, W * S, C) in [0, 1] before they are averaged."""

    def grain(self, scene: Any) -> Image | float:
        """What is added to the pixels after averaging: the camera's own noise, which does not move."""

    def labels(self, scene: Any) -> tuple[Label, ...]:
        """Labels as the annotation of this scene gives them."""

    def discs(self, scene: Any) -> tuple[Disc, ...]:
        """Its labelled objects."""

    def labels_of(self, scene: Any, index: int) -> tuple[tuple[str, int], ...]:
        """(name, item) of the labels that need object `index` to be seen."""

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:
        """(name, item) of all labels of the object that this label is of."""

    def retextured(self, scene: Any, strength: float, rng: np.random.Generator) -> Any:
        """The same objects in the same places with other textures."""
