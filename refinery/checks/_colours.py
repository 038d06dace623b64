"""Where a refined image has colours that its source does not lead one to expect: a map fitted to each image by most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from refinery.sample import FloatArray

FIT_CELLS = 600
ROUNDS = 3
TRUST = 0.01
OUTLIER = 1.5
"""Cells off by more than this many median residuals count less (Geman & McClure)."""

MIN_SCALE = 1e-3


def unexpected_colours(source: FloatArray, refined: FloatArray) -> NDArray[np.float32]:
    """How far each cell of a refined image lies outside what its source leads one to expect next to it: (N, H, W, C).

    A map (colours, squared brightness, 1) -> refined colours is fitted to each image, outliers counting less. A cell is
    off by what it lies beyond the lowest and highest expected values of the 3 x 3 cells round it, so that what moved by
    a cell is not unexpected. source, refined: (N, H, W, C), means of cells.
    """
    count, channels = len(source), source.shape[3]
    features = np.concatenate(
        (source, source.mean(axis=3, keepdims=True) ** 2, np.ones_like(source[..., :1])), axis=3
    ).reshape(count, -1, channels + 2)
    expected = np.matmul(features, _fitted(features, refined.reshape(count, -1, channels))).reshape(source.shape)
    padded = np.pad(expected, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    low, high = (_over_3x3(padded, extreme) for extreme in (np.minimum, np.maximum))
    return np.asarray(refined - np.clip(refined, low, high), dtype=np.float32)


def _fitted(features: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float32]:
    """Map (N, F, C) from features (N, P, F) to targets (N, P, C) by least squares, reweighted ROUNDS times."""
    step = max(1, features.shape[1] // FIT_CELLS)
    inputs, outputs = features[:, ::step], target[:, ::step]
    weights = np.ones((*inputs.shape[:2], 1), np.float32)
    held = TRUST * np.eye(inputs.shape[2])
    found = np.zeros((len(inputs), inputs.shape[2], outputs.shape[2]))
    for _ in range(ROUNDS):
        weighted = np.swapaxes(inputs * weights, 1, 2)
        found = np.linalg.solve(np.matmul(weighted, inputs) + held, np.matmul(weighted, outputs))
        off = np.sqrt(((outputs - np.matmul(inputs, found)) ** 2).sum(axis=2, keepdims=True))
        scale = OUTLIER * (np.median(off, axis=1, keepdims=True) + MIN_SCALE)
        weights = (1.0 / np.maximum(1.0, off / scale) ** 2).astype(np.float32)
    return found.astype(np.float32)


def _over_3x3(padded: NDArray[Any], extreme: Any) -> NDArray[Any]:
    windows = sliding_window_view(padded, 3, axis=1)
    rows = extreme(extreme(windows[..., 0], windows[..., 1]), windows[..., 2])
    return np.asarray(extreme(extreme(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:]))
