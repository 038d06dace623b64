"""Is this the refined image of this source, and not of another one, of its mirror image or of the source turned?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._descriptor import as_vectors, coarse_field, describe
from refinery.checks._orientation import ComplexArray
from refinery.sample import Finding, FloatArray

TYPES: tuple[str, ...] = ()
GRANTS = False
LABEL = "pairing"
MARGIN = 0.05
MIN_CONTRAST = 0.05
"""Decoys nearer than this to the source (1 - similarity) cannot be told from it and are left out."""


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each pair, named "pairing", without a drift.

    For every decoy d of the source s, lean = r.(s - d) / |s - d| says which of the two the refined image r is nearer:
    sqrt((1 - s.d) / 2) for a copy of s, the negative of that for a copy of d, about 0 for neither. Decoys are the
    source mirrored, flipped, turned, and the other images of the context. pass: all leans > 0.05; fail: one < -0.05;
    abstain between; not_checkable when there is nothing to tell apart: a flat image, or its own mirror image.
    """
    source = coarse_field(batch.synthetic_field)
    own, found = as_vectors(source), describe(batch.refined_field)
    turned = dict(_turned(source, square=batch.size_hw[0] == batch.size_hw[1]))
    leans = [_lean(found, own, np.stack([as_vectors(decoy) for decoy in turned.values()], axis=1))]
    if context.decoy_keys:
        leans.append(_lean(found, own, context.decoys[None]))
        leans[1][[[pair.sample.origin.key == key for key in context.decoy_keys] for pair in batch.pairs]] = np.nan
    names = [f"the source {name}" for name in turned] + [f"another image ({key})" for key in context.decoy_keys]
    lowest = np.nan_to_num(np.concatenate(leans, axis=1), nan=np.inf)
    worst = lowest.argmin(axis=1)
    values = lowest[np.arange(len(lowest)), worst].tolist()
    return [[_judge(names[decoy], value)] for decoy, value in zip(worst.tolist(), values, strict=True)]


def _turned(coarse: ComplexArray, square: bool) -> Iterator[tuple[str, ComplexArray]]:
    """The source's field in mirrors: mirroring negates an angle, a quarter turn adds 180 degrees to its double."""
    yield "mirrored left to right", coarse[:, :, ::-1].conj()
    yield "mirrored top to bottom", coarse[:, ::-1].conj()
    yield "turned by half", coarse[:, ::-1, ::-1]
    if square:
        yield "turned left", -np.rot90(coarse, 1, axes=(1, 2))
        yield "turned right", -np.rot90(coarse, -1, axes=(1, 2))


def _lean(refined: FloatArray, source: FloatArray, decoys: FloatArray) -> FloatArray:
    """r.(s - d) / |s - d| for vectors (N, F) and decoys (N or 1, G, F), all of length 1.

    Returns (N, G), NaN where source and decoy look the same, or the source is flat.
    """
    contrast = 1.0 - np.matmul(decoys, source[:, :, None])[:, :, 0]
    gain = (refined * source).sum(axis=1)[:, None] - np.matmul(decoys, refined[:, :, None])[:, :, 0]
    alike = (contrast < MIN_CONTRAST) | (source == 0).all(axis=1, keepdims=True)
    return np.where(alike, np.float32(np.nan), gain / np.sqrt(2.0 * np.maximum(contrast, MIN_CONTRAST)))


def _judge(decoy: str, lean: float) -> Finding:
    """Verdict by the decoy that the refined image leans to most; the lean is infinite when there is none."""
    if lean == np.inf:
        return Finding(LABEL, LABEL, "not_checkable", unit="", reason="flat, or its own mirror image", check=LABEL)
    if lean < -MARGIN:
        reason = f"looks like {decoy} rather than its own source"
        return Finding(LABEL, LABEL, "fail", unit="", reason=reason, check=LABEL)
    if lean <= MARGIN:
        reason = f"as close to {decoy} as to its own source"
        return Finding(LABEL, LABEL, "abstain", unit="", reason=reason, check=LABEL)
    return Finding(LABEL, LABEL, "pass", unit="", check=LABEL)
