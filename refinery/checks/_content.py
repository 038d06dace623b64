"""How much of what is seen in a window can still be told from the source's own colours, whatever map took them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._measured import MeasuredLabels

MIN_VARIANCE = 1e-3
"""Of colours in [-1, 1]: an even window counts as lost when it stays this even."""


def content_lost(batch: CheckBatch, measured: MeasuredLabels) -> NDArray[np.float64]:
    """1 - R of each window: 0 when its refined colours are an affine map of its synthetic ones, 1 when unrelated (M,).

    R^2 is the share of the refined variance that a least-squares map of the synthetic colours explains, both smoothed
    over 3 x 3 px, at the window's points as they lie in the source.
    """
    assert measured.windows is not None
    height, width = batch.size_hw
    image_of = np.array([i for i, _ in measured.jobs], dtype=np.intp)[:, None]
    x, y = measured.windows.points_xy[..., 0], measured.windows.points_xy[..., 1]
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    weights = (inside / np.maximum(inside.sum(axis=1, keepdims=True), 1))[..., None]
    columns = np.clip(np.rint(x), 0, width - 1).astype(np.intp)
    rows = np.clip(np.rint(y), 0, height - 1).astype(np.intp)
    before, after = (
        _centred(images[image_of, rows, columns], weights)
        for images in (batch.synthetic_smoothed, batch.refined_smoothed)
    )
    weighted = np.swapaxes(before * weights, 1, 2)
    held = MIN_VARIANCE * np.eye(before.shape[2])
    explained = before @ np.linalg.solve(weighted @ before + held, weighted @ after)
    variances = ((values**2 * weights).sum(axis=(1, 2)) for values in (explained, after))
    share = next(variances) / (next(variances) + MIN_VARIANCE)
    return np.asarray(1.0 - np.sqrt(np.clip(share, 0.0, 1.0)), dtype=np.float64)


def _centred(values: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values - (values * weights).sum(axis=1, keepdims=True), dtype=np.float64)
