"""The loss that keeps edges where they are, whatever becomes of light, contrast and texture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW_PX, STRIDE_PX = 8, 4
FLAT = 2e-3
"""Added to the mean square of gradients per px, so that where an image is smooth nothing seems to move."""
EVEN = 1e-5
"""The same of tone, so that there is a solution."""


def shift(refined: Tensor, synthetic: Tensor) -> Tensor:
    """Mean squared shift, px^2, of what is seen in each small window, weighted by the gradients there.

    refined, synthetic: (B, C, H, W) float in [-1, 1], the same scenes; the gradient goes to refined. Returns a scalar.

    In each window of 8 px of an image the one shift s and the one change of tone t are taken that together best explain
    how it changed: refined = synthetic + s . grad synthetic + t(synthetic), t of first degree: least squares after
    Lucas and Kanade (1981). Light and contrast are free, blur and texture have no direction; what grows, shrinks or
    moves does not. The labels' own networks are of less help here: what they get wrong about photos, images that look
    like photos are made to agree with, and things are moved by as much.
    """
    with torch.autocast(refined.device.type, enabled=False):
        before, after = _smooth(synthetic.detach().float()), _smooth(refined.float())
        inner = before[:, :, 1:-1, 1:-1]
        explaining = torch.stack(
            [
                (before[:, :, 1:-1, 2:] - before[:, :, 1:-1, :-2]) / 2,
                (before[:, :, 2:, 1:-1] - before[:, :, :-2, 1:-1]) / 2,
                torch.ones_like(inner),
                inner,
            ],
            1,
        )
        change = (after - before)[:, None, :, 1:-1, 1:-1]
        unknowns = explaining.shape[1]
        pairs = explaining[:, :, None] * explaining[:, None]
        normal = _windows(pairs.mean(3).flatten(1, 2))
        normal = normal.reshape(*normal.shape[:2], unknowns, unknowns)
        right = _windows((explaining * change).mean(2))
        strength = normal[..., 0, 0] + normal[..., 1, 1]
        normal = normal + torch.diag(normal.new_tensor([FLAT, FLAT, EVEN, EVEN]))
        moved = torch.linalg.solve(normal, right)[..., :2].square().sum(2)
        mean: Tensor = (strength * moved).sum() / strength.sum().clamp(min=FLAT)
        return mean


def _smooth(images: Tensor) -> Tensor:
    """A 3x3 mean, without the border."""
    return functional.avg_pool2d(images, 3, 1)


def _windows(maps: Tensor) -> Tensor:
    """Means of maps (B, I, H, W) over overlapping windows: (B, windows, I)."""
    window = [min(WINDOW_PX, side) for side in maps.shape[2:]]
    return functional.avg_pool2d(maps, window, STRIDE_PX).flatten(2).transpose(1, 2)
