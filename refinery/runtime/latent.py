"""The noise of a refiner that has any: normal numbers that depend on the sample's key and variant alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from refinery.sample import FloatArray


def latents_of(keys: Sequence[str], count: int, seed: int, variants: Sequence[int] | None = None) -> list[FloatArray]:
    """For each key (count,) float32 ~ N(0, 1): the same for the same seed, variant and key, whatever the batch.

    Refining a part of a dataset, or all of it in another order, so gives every image the same noise.
    variants: which one of several refined images of the sample, for each key; None: the first of all.
    """
    numbers = variants or [0] * len(keys)
    return [_latent(f"{seed}/{variant}/{key}", count) for key, variant in zip(keys, numbers, strict=True)]


def _latent(name: str, count: int) -> FloatArray:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    generator = np.random.default_rng(np.frombuffer(digest, np.uint32))
    return generator.standard_normal(count, dtype=np.float32)
