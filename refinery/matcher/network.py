"""The matcher: features of an image, and what a thing's points say of its motion, sector by sector.

Two graphs of ONNX come from here. `Features` runs once an image; `Sectors` runs on the points of things. What their
sectors say is made one motion by `refinery.checks._consensus`, here while training and in the checks alike.

Sources: local correlation volumes and soft-argmax as in RAFT (Teed & Deng 2020) and point trackers (TAPIR, Doersch et
al. 2023), reduced to moves of a few px; precision by negative log-likelihood.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from refinery.checks._consensus import design_of
from refinery.checks._outlines import OFFSETS_PX, POSITIONS, SECTORS

RADIUS_PX = 5
SIDE = 2 * RADIUS_PX + 1
FEATURES = 16
GRADIENTS = 2
NEIGHBOURS = 0.3
FLAT, ALONG = 0.02, 0.1
"""Squared gradient at which a point speaks half as loud; and what it says along its edge, of what it says across."""

_LOCAL_PX = 13


class Features(nn.Module):
    """Full-resolution features that survive a change of looks: (B, 3, H, W) -> (B, 18, H, W).

    Image values in [-1, 1]. The first 16 have length 1 together; the last two are the gradient of the locally
    normalised luminance, x and y.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, FEATURES, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(FEATURES, FEATURES, 1),
        )
        across = torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
        self.gradient: Tensor
        self.register_buffer("gradient", torch.stack((across, across.T))[:, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Features of images."""
        normalised = self.normalised(image)
        features = F.normalize(self.layers(normalised), dim=1, eps=1e-4)
        local = F.pad(normalised[:, :1], (1, 1, 1, 1), mode="replicate")
        return torch.cat((features, F.conv2d(local, self.gradient)), 1)

    @staticmethod
    def normalised(image: Tensor) -> Tensor:
        """Luminance, locally and over the whole image made even, and two colour differences: (B, 4, H, W)."""
        luminance = image.mean(1, keepdim=True)
        colours = torch.cat((image[:, :1] - image[:, 1:2], image[:, :2].mean(1, keepdim=True) - image[:, 2:]), 1)
        planes = torch.cat((luminance, colours), 1)
        centred = planes - _box_mean(planes)
        variance = _box_mean(centred**2)
        total = variance.sum(1, keepdim=True)
        scale = (total + 0.02 * total.mean((2, 3), keepdim=True) + 1e-4).sqrt()
        whole = luminance - luminance.mean((2, 3), keepdim=True)
        spread = ((whole**2).mean((2, 3), keepdim=True) + 1e-4).sqrt()
        return torch.cat((centred[:, :1] / scale, whole / spread, centred[:, 1:] / scale), 1)


class Sectors(nn.Module):
    """Moves of the sectors of T things: how far, how surely, whether still to be seen."""

    def __init__(self) -> None:
        super().__init__()
        count = len(OFFSETS_PX)
        self.entry = nn.Conv1d(count * (FEATURES + 4) + 1, 48, 1)
        self.along = nn.ModuleList(
            [nn.Conv1d(48, 48, 3, padding=d, dilation=d, padding_mode="circular") for d in (1, 2)]
        )
        self.importance = nn.Conv1d(48, count, 1)
        self.head = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 1, 3, padding=1),
        )
        self.conf = nn.Sequential(nn.Linear(SIDE * SIDE * 2 + 2 + 48, 64), nn.ReLU(), nn.Linear(64, 4))
        self.temperature = nn.Parameter(torch.tensor(2.3))
        steps = torch.arange(-RADIUS_PX, RADIUS_PX + 1.0)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("step_px", torch.stack((columns, rows), -1).reshape(-1, 2), persistent=False)

    def forward(
        self,
        source: Tensor,
        refined: Tensor,
        source_at: Tensor,
        refined_at: Tensor,
        steps: Tensor,
        counts: Tensor,
        away: Tensor,
        normals: Tensor,
        is_area: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of K sectors: moves (T, K, 2) px, precision factors (T, K, 3), logits of being shown (T, K), designs.

        A design (T, K, 2, 6) says what a motion of the thing moves the sector's peak by. A point sees the move across
        its edge alone (the aperture problem), so that on an arc that grows the peak moves further than the arc's middle
        does, and on one that turns not at all: the least squares of its points, each weighted by its own gradient.

        source (P, 18), refined (Q, 16): features of all images, channels last, the refined ones padded by RADIUS_PX.
        source_at, refined_at (T, L, O) int64: rows of the points in them (in the refined of the move (-R, -R)).
        steps (SIDE^2,) int64: from there to each move. counts (T, L, O): 0 outside the frame and where another label
        explains what is seen. away (T, L, O, 2): from the thing's centre. normals (T, L, 2). is_area (T,).
        """
        seen = _rows(source, source_at)
        features, gradient = seen[..., :FEATURES], seen[..., FEATURES:]
        across = (gradient * normals[:, :, None]).sum(-1)
        along = gradient[..., 0] * normals[:, :, None, 1] - gradient[..., 1] * normals[:, :, None, 0]
        ratio = (across**2 - along**2) / (across**2 + along**2 + 0.02)
        told = torch.cat((features, torch.stack((across.abs(), along.abs(), ratio, counts), -1)), -1).flatten(2)
        told = torch.cat((told, is_area[:, None, None].expand(-1, POSITIONS, 1)), -1).transpose(1, 2)
        hidden = torch.relu(self.entry(told))
        for layer in self.along:
            hidden = hidden + torch.relu(layer(hidden))
        weights = counts * torch.sigmoid(self.importance(hidden)).transpose(1, 2)
        around = _rows(refined, refined_at[..., None] + steps)
        scores = (around @ (features * weights[..., None])[..., None]).squeeze(-1)
        per_sector = POSITIONS // SECTORS
        shape = (-1, SECTORS, per_sector * len(OFFSETS_PX))
        mass = weights.reshape(shape).sum(2)
        around_mass = _with_neighbours(mass)[..., None] + 1e-3
        maps = _with_neighbours(scores.reshape(*shape, SIDE * SIDE).sum(2)) / around_mass
        # Each sector is read alone: one that knew the move of the whole thing would not see that it turns.
        shown = self.head(maps.reshape(-1, 1, SIDE, SIDE) * 3).reshape(-1, SECTORS, SIDE * SIDE)
        logits = maps * 10 + shown
        chances = (logits * self.temperature.exp() / 10).softmax(-1)
        moves = chances @ self.step_px
        context = hidden.reshape(-1, 48, SECTORS, per_sector).mean(3).transpose(1, 2)
        share = mass / counts.reshape(shape).sum(2).clamp(min=1.0)
        said = self.conf(torch.cat((chances, maps, mass[..., None] / 8, share[..., None], context), -1))
        factors = torch.cat((said[..., :2].clamp(-5, 3).exp(), said[..., 2:3]), -1)
        # A sector without any point that counts has no say.
        factors = factors * (mass / (mass + 0.05))[..., None]
        return moves, factors, said[..., 3], _designs(away, gradient, weights)


def _designs(away: Tensor, gradient: Tensor, weights: Tensor) -> Tensor:
    """Least squares of what the points (T, L, O) of each sector and of those beside it say: (T, K, 2, 6)."""
    square = (gradient**2).sum(-1)
    sure = weights / (square + FLAT)
    xx = sure * gradient[..., 0] ** 2 + ALONG * weights
    yy = sure * gradient[..., 1] ** 2 + ALONG * weights
    xy = sure * gradient[..., 0] * gradient[..., 1]
    design = design_of(away, torch.stack)
    across, down = design[..., 0, :], design[..., 1, :]
    said = torch.stack(
        (xx[..., None] * across + xy[..., None] * down, xy[..., None] * across + yy[..., None] * down), -2
    )
    sums = torch.cat((torch.stack((xx, xy, yy), -1), said.flatten(3)), -1)
    sums = _with_neighbours(sums.reshape(-1, SECTORS, POSITIONS // SECTORS * len(OFFSETS_PX), 15).sum(2))
    xx, xy, yy = sums[..., 0] + 1e-4, sums[..., 1], sums[..., 2] + 1e-4
    first, second = sums[..., 3:9], sums[..., 9:]
    share = 1 / (xx * yy - xy * xy)
    rows = (yy[..., None] * first - xy[..., None] * second, xx[..., None] * second - xy[..., None] * first)
    return torch.stack(rows, -2) * share[..., None, None]


def _with_neighbours(sectors: Tensor) -> Tensor:
    """Each sector with a share of the ones beside it: (T, K, ...)."""
    return sectors + NEIGHBOURS * (sectors.roll(1, 1) + sectors.roll(-1, 1))


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table (P, F) at indices (...): (..., F)."""
    return table.index_select(0, index.reshape(-1)).reshape(*index.shape, table.shape[1])


def _box_mean(planes: Tensor) -> Tensor:
    """Means over 13 x 13 px, of what lies in the frame: (B, C, H, W)."""
    return _row_mean(_row_mean(planes).transpose(2, 3)).transpose(2, 3)


def _row_mean(planes: Tensor) -> Tensor:
    """Means over 13 px along the last axis, by running sums."""
    half, width = _LOCAL_PX // 2, planes.shape[-1]
    sums = F.pad(planes, (half + 1, half)).cumsum(-1)
    at = torch.arange(width, device=planes.device)
    count = (at + half).clamp(max=width - 1) - (at - half).clamp(min=0) + 1
    return (sums[..., _LOCAL_PX:] - sums[..., :-_LOCAL_PX]) / count
