"""Star-shaped things: how far a point is from their outline, and where that runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from refinery.checks._outlines import POSITIONS
from refinery.matcher.random_numbers import RandomNumbers

HARMONICS = (0.18, 0.12, 0.08, 0.05, 0.03)
"""Standard deviations of the waves of two to six bumps around, as shares of the radius."""

_FINE = 360


@dataclass(frozen=True)
class Shape:
    """B things: r(t) = radius (|cos t|^n + |sin t|^n)^(-1/n) (1 + sum_k h_k cos(k t + phase_k)), k = 2 to 6.

    They are then squeezed by `aspect` and turned. centre (B, 2) px, radius (B,) px, harmonics, phases (B, 5), power n
    (B,): 2 for a circle, 12 for about a square. aspect (B,) > 0, turn (B,) rad.
    """

    centre: Tensor
    radius: Tensor
    harmonics: Tensor
    phases: Tensor
    power: Tensor
    aspect: Tensor
    turn: Tensor

    def distance(self, points: Tensor) -> Tensor:
        """About the signed distance of points (B, ..., 2) to the outline, px; negative inside."""
        ones = (1,) * (points.dim() - 2)
        x, y = (points - self.centre.reshape(-1, *ones, 2)).unbind(-1)
        cos, sin = self.turn.cos().reshape(-1, *ones), self.turn.sin().reshape(-1, *ones)
        u, v = x * cos + y * sin, (y * cos - x * sin) * self.aspect.reshape(-1, *ones)
        return torch.hypot(u, v) - self._reach(torch.atan2(v, u))

    def outline(self) -> tuple[Tensor, Tensor]:
        """Points evenly along the outline (B, L, 2), and outward unit normals."""
        count = len(self.radius)
        angle = (torch.arange(_FINE + 1) * (2 * math.pi / _FINE)).expand(count, -1)
        reach = self._reach(angle)
        u, v = reach * angle.cos(), reach * angle.sin() / self.aspect[:, None]
        cos, sin = self.turn.cos()[:, None], self.turn.sin()[:, None]
        fine = torch.stack((u * cos - v * sin, u * sin + v * cos), -1) + self.centre[:, None]
        walked = torch.cat((torch.zeros(count, 1), (fine[:, 1:] - fine[:, :-1]).norm(dim=-1).cumsum(1)), 1)
        wanted = walked[:, -1:] * (torch.arange(POSITIONS) / POSITIONS)
        after = torch.searchsorted(walked.contiguous(), wanted.contiguous(), right=True).clamp(1, _FINE)
        start, end = walked.gather(1, after - 1), walked.gather(1, after)
        share = ((wanted - start) / (end - start).clamp(min=1e-6))[..., None]
        points = _picked(fine, after - 1) * (1 - share) + _picked(fine, after) * share
        along = points.roll(-1, 1) - points.roll(1, 1)
        normals = torch.stack((along[..., 1], -along[..., 0]), -1)
        return points, normals / normals.norm(dim=-1, keepdim=True).clamp(min=1e-6)

    def least_radius(self) -> Tensor:
        """Half of the width of the narrowest way through: (B,) px."""
        return self.radius * (1 - self.harmonics.abs().sum(1)) / self.aspect.clamp(min=1.0)

    def _reach(self, angle: Tensor) -> Tensor:
        """r(t) of angles (B, ...)."""
        ones = (1,) * (angle.dim() - 1)
        power = self.power.reshape(-1, *ones)
        wave = (angle.cos().abs() ** power + angle.sin().abs() ** power) ** (-1 / power)
        bumps = torch.ones_like(angle)
        for k in range(len(HARMONICS)):
            phase = self.phases[:, k].reshape(-1, *ones)
            bumps = bumps + self.harmonics[:, k].reshape(-1, *ones) * torch.cos((k + 2) * angle + phase)
        return wave * bumps * self.radius.reshape(-1, *ones)


def random_shape(
    random: RandomNumbers, count: int, side_px: int, radius_px: tuple[float, float], off_px: float
) -> Shape:
    """Shapes of random size, their centres up to off_px from the middle.

    Half of them have bumps, a quarter has corners, a tenth is thin.
    """
    smallest, largest = radius_px
    harmonics = random.normal(count, 5) * torch.tensor(HARMONICS) * random.chance(0.5, count, 1)
    harmonics = harmonics * (0.7 / harmonics.abs().sum(1, keepdim=True).clamp(min=0.7))
    thin = random.chance(0.1, count)
    return Shape(
        side_px / 2 + (random.uniform(count, 2) - 0.5) * 2 * off_px,
        smallest * torch.exp(random.uniform(count) * math.log(largest / smallest)),
        harmonics,
        random.uniform(count, 5) * 2 * math.pi,
        2.0 + 10.0 * random.chance(0.25, count) * random.uniform(count),
        torch.exp(random.normal(count) * 0.25 + thin * (0.8 + 0.7 * random.uniform(count))),
        random.uniform(count) * 2 * math.pi,
    )


def linear_of(motion: Tensor) -> Tensor:
    """The 2 x 2 matrix of a motion (B, 6), without the identity: (B, 2, 2)."""
    _, _, growth, turn, stretch, shear = motion.unbind(1)
    return torch.stack((growth + stretch, shear - turn, shear + turn, growth - stretch), 1).reshape(-1, 2, 2)


def _picked(points: Tensor, index: Tensor) -> Tensor:
    return points.gather(1, index[..., None].expand(-1, -1, 2))
