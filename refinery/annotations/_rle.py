"""COCO's run lengths as masks: column by column, starting with what is outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.errors import LabelError

LONGEST_COUNT = 7
"""Characters of one number: 5 bits each, which is more than 200 million px need."""


def decode(rle: dict[str, Any], size_hw: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Mask (H, W) from {"size": [h, w], "counts": list or compressed string}, never larger than its image.

    Raises LabelError for another size than the image's, and for runs that do not add up to it.
    Source: COCO API, maskApi.c, rleFrString.
    """
    if rle.get("size") != list(size_hw):
        raise LabelError(
            f"{where}: run lengths of size {str(rle.get('size'))[:40]} but the image is {size_hw[1]}x{size_hw[0]} px; "
            "expected [height, width] of the image"
        )
    counts = rle.get("counts")
    runs = _from_string(counts, where) if isinstance(counts, str) else counts
    total = size_hw[0] * size_hw[1]
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run <= total for run in runs):
        raise LabelError(f"{where}: broken run lengths; expected whole numbers from 0 to {total:,}")
    if sum(runs) != total:
        raise LabelError(f"{where}: run lengths add up to {sum(runs):,} px; expected {total:,}")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(size_hw[1], size_hw[0]).T


def _from_string(text: str, where: str) -> list[int]:
    """Numbers of 5 bits a character, the sixth bit says that more follow; from the fourth on, less the last but one."""
    runs: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits >= 5 * LONGEST_COUNT:
            raise LabelError(f"{where}: broken compressed run lengths; export the masks again")
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (1 << bits) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = bits = 0
    if bits:
        raise LabelError(f"{where}: compressed run lengths are cut off; export the masks again")
    return runs
