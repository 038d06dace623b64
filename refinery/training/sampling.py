"""Which images a batch takes and where it crops them: a function of the seed and the batch's number alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["synthetic", "real"]
SIDES: tuple[Side, ...] = ("synthetic", "real")
COLUMNS = 4
"""Random numbers an image takes: its group, its place in the group, and where it is cropped, down and across."""


@dataclass(frozen=True)
class Chance:
    """All chance of one side's batches.

    rank, ranks: of this process among those that train together. They share out one larger batch, so that no two see
    the same draw, and together they see what a single process with a batch of that size would.
    """

    seed: int
    side: Side
    rank: int = 0
    ranks: int = 1

    def numbers(self, batch: int, count: int) -> NDArray[np.float64]:
        """For batch number `batch` of `count` images: (count, 4), uniform in [0, 1)."""
        rng = np.random.default_rng((self.seed % 2**64, SIDES.index(self.side), batch))
        drawn: NDArray[np.float64] = rng.random((self.ranks, count, COLUMNS))[self.rank]
        return drawn


@dataclass(frozen=True)
class Groups:
    """Images in groups that are drawn equally often; within a group each image is drawn equally often.

    members: numbers of images, group after group; an image may be in several. starts: (G + 1,), where each begins.
    """

    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    def pick(self, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """numbers: (B, 2) in [0, 1). Returns the numbers of B images."""
        group = (numbers[:, 0] * (len(self.starts) - 1)).astype(np.int64)
        first, size = self.starts[group], np.diff(self.starts)[group]
        chosen: NDArray[np.int64] = self.members[first + (numbers[:, 1] * size).astype(np.int64)]
        return chosen

    def only(self, allowed: NDArray[np.bool_]) -> Groups:
        """Without the images that are not allowed, (N,) bool; groups that lose all their images are gone."""
        parts = [self.members[a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        return _groups([kept for part in parts if len(kept := part[allowed[part]])])


def uniform(count: int) -> Groups:
    """All images alike."""
    return _groups([np.arange(count)])


def grouped(names: Sequence[Iterable[Hashable]]) -> Groups:
    """One group for each name, of the images that have it. names: of each image, perhaps several or none.

    Images without a name are a group of their own.
    """
    found: dict[Hashable, list[int]] = {}
    for i, own in enumerate(names):
        for name in set(own) or {None}:
            found.setdefault(name, []).append(i)
    return _groups([np.array(found[name], np.int64) for name in sorted(found, key=str)])


def _groups(parts: Sequence[NDArray[np.int64]]) -> Groups:
    sizes = [len(part) for part in parts]
    members = np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)
    return Groups(members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
