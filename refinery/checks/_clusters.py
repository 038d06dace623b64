"""Intervals of a mean over samples that come in sequences: whole sequences are drawn, not samples.

Frames of one sequence err alike, so that an interval over single samples would be too narrow (Field & Welsh 2007).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BUCKETS = 4096
MIN_SEQUENCES = 20
"""With fewer, blocks of consecutive samples are drawn instead."""
BLOCK_SAMPLES = 16
DRAWS = 1000
_DRAWS_AT_ONCE = 50


class Clusters:
    """Sums of values by sequence and by block of consecutive samples, in memory that does not grow with the dataset.

    Sequences are told apart by a hash into 4,096 buckets. Sequences that share one count as one, which is no error: the
    union of independent clusters is a cluster. dims: numbers a value has.
    """

    def __init__(self, dims: int) -> None:
        self._dims = dims
        self._by_sequence: dict[int, list[float]] = {}
        self._by_block: dict[int, list[float]] = {}

    def add(self, key: str, place: int, value: Sequence[float]) -> None:
        """Take one value of as many numbers. key: of its sample. place: of the sample in the stream."""
        by_sequence = self._by_sequence.setdefault(bucket(sequence_of(key)), [0.0] * (1 + self._dims))
        by_block = self._by_block.setdefault(place // BLOCK_SAMPLES % BUCKETS, [0.0] * (1 + self._dims))
        for sums in (by_sequence, by_block):
            sums[0] += 1.0
            for axis, number in enumerate(value, 1):
                sums[axis] += number

    def chosen(self) -> tuple[str, NDArray[np.float64]]:
        """What is drawn, "sequence" or "block of 16 samples", and the sums (K, 1 + dims) of those with any value."""
        if len(self._by_sequence) >= MIN_SEQUENCES:
            return "sequence", self._sorted(self._by_sequence)
        return f"block of {BLOCK_SAMPLES} samples", self._sorted(self._by_block)

    def _sorted(self, sums: Mapping[int, list[float]]) -> NDArray[np.float64]:
        return np.array([sums[place] for place in sorted(sums)], dtype=np.float64).reshape(-1, 1 + self._dims)


def bootstrap_means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 1,000 datasets made by drawing K of K clusters with replacement, always the same draws.

    sums: (K, 1 + dims), count and sum of the values in each. Returns (1000, dims).
    """
    rng = np.random.default_rng(0)
    count = len(sums)
    means = []
    for _ in range(DRAWS // _DRAWS_AT_ONCE):
        drawn = rng.integers(count, size=(_DRAWS_AT_ONCE, count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)
        totals = times @ sums
        means.append(totals[:, 1:] / np.maximum(totals[:, :1], 1.0))
    return np.concatenate(means)


@lru_cache(maxsize=1024)
def sequence_of(key: str) -> str:
    """A sample's sequence: its key without the frame number at its end; its folder where there is no number.

    `walk/frame_0012` and `walk/frame_0013` are of `walk/frame`; `cats/tom` is of `cats`.
    """
    numbered = re.fullmatch(r"(.*?)[ ._-]*\d+", key, flags=re.DOTALL)
    return numbered[1] if numbered else key.rpartition("/")[0]


@lru_cache(maxsize=1024)
def bucket(sequence: str) -> int:
    """The same bucket for a sequence on every machine, 0 to 4,095."""
    digest = hashlib.blake2b(sequence.encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def wilson(share: float, total: int) -> tuple[float, float]:
    """95% interval of a share of so many independent cases (Wilson 1927)."""
    z = 1.96
    middle = share + z * z / (2 * total)
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, float((middle - half) / scale)), min(1.0, float((middle + half) / scale))


def corrected_prevalence(share: float, false_alarms: float, power: float) -> float:
    """The share behind a share of alarms, (share - false alarms) / (power - false alarms) (Rogan & Gladen 1978)."""
    return float(np.clip((share - false_alarms) / (power - false_alarms), 0.0, 1.0))
