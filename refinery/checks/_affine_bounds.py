"""How far an outline went under an affine motion, and how far it may have gone at most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refinery.checks._affine_fit import AffineFit
from refinery.checks._uncertainty import PASS_SIGMAS, upper_bound_px

BOUND_SIGMAS = 0.7
TURN_SIGMAS = 1.5
MOST = 0.95
"""Chosen on the battery's tune split: 0.7 of the fit's standard errors bound 95% of what moved; a box's turn counts
from 1.5 of them on. The drift of an outline is what 95% of it moved across itself at most."""


def of_corners(
    design: NDArray[np.float64], motion: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the corner went that went farthest, and the highest upper bound of any: (M,). design: (M, 4, 2, 6)."""
    moves = np.matmul(design, motion[:, None, :, None])[..., 0]
    spread = np.matmul(np.matmul(design, covariance[:, None]), np.swapaxes(design, 2, 3))
    bounds = upper_bound_px(moves.reshape(-1, 2), BOUND_SIGMAS**2 * spread.reshape(-1, 2, 2)).reshape(moves.shape[:2])
    return np.hypot(moves[..., 0], moves[..., 1]).max(axis=1), bounds.max(axis=1)


def of_outline(
    across: NDArray[np.float64], motion: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What 95% of an outline moved across itself at most, and its upper bound: (M,) each. across: (M, L, 6)."""
    moves = np.abs(np.matmul(across, motion[..., None])[..., 0])
    sigmas = np.sqrt(np.maximum((np.matmul(across, covariance) * across).sum(axis=2), 0.0))
    upper = np.quantile(moves + BOUND_SIGMAS * PASS_SIGMAS * sigmas, MOST, axis=1)
    return np.quantile(moves, MOST, axis=1), upper


def turned_px(fit: AffineFit, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the supported rotation may move what touches an edge of a box: (M,). corners: (M, 4, 2)."""
    sigmas = np.abs(fit.motion[:, 3]) / np.sqrt(fit.covariance[:, 3, 3])
    support = np.maximum(0.0, 1.0 - (TURN_SIGMAS / np.maximum(sigmas, 1e-3)) ** 4)
    longest = np.ptp(corners, axis=1).max(axis=1) / 2
    return np.asarray(support * np.abs(fit.motion[:, 3]) / fit.radius_px * longest)
