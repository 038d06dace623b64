"""Train the matcher of the label checks and write its two graphs.

    python -m refinery.matcher.train --out refinery/checks/matcher [--minutes 60] [--seed 0]

One process draws scenes, another learns from them.
"""

from __future__ import annotations

import argparse
import copy
import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from refinery.checks._consensus import PRIOR, consensus
from refinery.checks._outlines import POSITIONS, SECTORS
from refinery.matcher.export import write_graphs
from refinery.matcher.network import FEATURES, RADIUS_PX, SIDE, Features, Sectors
from refinery.matcher.scenes import SceneBatch, SceneDrawer

BATCH = 32
RATE = 2e-3
AVERAGE_DECAY = 0.995
WARM_UP_STEPS = 50
CROWDED_AFTER = 0.25
"""Share of the time after which scenes are as crowded as they get: with lids from the start nothing is learnt."""

FREEDOM_TOGETHER, FREEDOM_ALONE = 8.0, 3.0
"""Of the Student t distributions by which the motion of a thing, and the move of a sector, are scored."""


class Matcher(nn.Module):
    """Both networks, and their consensus."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.sectors = Features(), Sectors()

    def forward(self, scenes: SceneBatch) -> tuple[Tensor, ...]:
        """Motions (B, 6), their precision matrices (B, 6, 6), and what `Sectors` says."""
        height, width = scenes.source.shape[2:]
        source = self.features(scenes.source).permute(0, 2, 3, 1).reshape(-1, FEATURES + 2)
        padded = F.pad(self.features(scenes.refined)[:, :FEATURES], (RADIUS_PX,) * 4).permute(0, 2, 3, 1)
        steps = (torch.arange(SIDE)[:, None] * padded.shape[2] + torch.arange(SIDE)).reshape(-1)
        source_at, refined_at, inside = rows_of(scenes.points_xy, (height, width))
        away = scenes.points_xy - scenes.centre[:, None, None]
        said = self.sectors(
            source,
            padded.reshape(-1, FEATURES),
            source_at,
            refined_at,
            steps,
            inside * scenes.mine,
            away,
            scenes.normals,
            scenes.is_area,
        )
        moves, factors, _, designs = said
        prior = torch.diag(torch.tensor(PRIOR))
        return (*consensus(designs, moves, precision_of(factors), prior, torch.linalg.solve), *said)


def rows_of(points_xy: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of points (B, L, O, 2) in the flat features, plain and padded, and 1 where a point lies in the frame."""
    height, width = size_hw
    nearest = points_xy.round()
    inside = ((nearest >= 0) & (nearest <= torch.tensor([width - 1, height - 1]))).all(-1).float()
    x, y = nearest[..., 0].clamp(0, width - 1).long(), nearest[..., 1].clamp(0, height - 1).long()
    image = torch.arange(len(points_xy))[:, None, None]
    padded = (image * (height + 2 * RADIUS_PX) + y) * (width + 2 * RADIUS_PX) + x
    return (image * height + y) * width + x, padded, inside


def precision_of(factors: Tensor) -> Tensor:
    """L L^T of factors (..., 3): the diagonal of L, then what is below it."""
    a, b, c = factors.unbind(-1)
    return torch.stack((a * a, a * c, a * c, c * c + b * b), -1).reshape(*a.shape, 2, 2)


def loss_of(said: tuple[Tensor, ...], scenes: SceneBatch) -> tuple[Tensor, Tensor]:
    """Loss, and the error of the shift, in px, of the things that are found again.

    Negative log-likelihoods of the motion and of the moves of uncovered sectors, their errors in px where there is
    something to be found, and cross-entropy of what is still shown. Of a thing that is gone the true motion is drawn at
    random, so that the best the network can say is that it does not know.
    """
    motion, precision, moves, factors, logits, designs = said
    error = scenes.motion - motion
    together = (_minus_log_likelihood(error, precision, FREEDOM_TOGETHER) / 6).mean()
    there = (scenes.still_shown.mean(1) > 0.2).float()
    shift_px = error[:, :2].norm(dim=1)
    whole = ((shift_px**2 + 1e-3).sqrt() * there).mean()
    true = (designs @ scenes.motion[:, None, :, None])[..., 0].detach()
    shown, still = _by_sector(scenes.shown), (_by_sector(scenes.still_shown) > 0.5).float()
    alone = _minus_log_likelihood(true - moves, precision_of(factors) + 0.01 * torch.eye(2), FREEDOM_ALONE) * shown
    pulled = ((true - moves).pow(2).sum(-1) + 0.01).sqrt() * shown * still
    seen = F.binary_cross_entropy_with_logits(logits, still, weight=shown)
    return together + 0.5 * (whole + alone.mean() + pulled.mean() + seen), shift_px[there > 0]


def _minus_log_likelihood(error: Tensor, precision: Tensor, freedom: float) -> Tensor:
    """Of a Student t distribution, but for a constant: error (..., D), precision (..., D, D) -> (...)."""
    square = (error[..., None, :] @ precision @ error[..., None])[..., 0, 0]
    return (freedom + error.shape[-1]) / 2 * torch.log1p(square / freedom) - 0.5 * torch.logdet(precision)


def _by_sector(values: Tensor) -> Tensor:
    return values.reshape(-1, SECTORS, POSITIONS // SECTORS).mean(2)


def _draw_scenes(seed: int, queue: Any, crowded: Any) -> None:
    """Body of a drawing process: batches for ever."""
    torch.set_num_threads(1)
    drawer = SceneDrawer(seed)
    while True:
        queue.put(drawer.draw(BATCH, crowded.value))


def train(minutes: float, seed: int, threads: int = 1) -> Matcher:
    """Train for some minutes; prints a line each 50 steps. Returns the moving average of the networks."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    matcher = Matcher()
    average = copy.deepcopy(matcher)
    optimiser = torch.optim.AdamW(matcher.parameters(), RATE, weight_decay=1e-3)
    context = multiprocessing.get_context("spawn")
    queue, crowded = context.Queue(8), context.Value("d", 0.0)
    drawing = context.Process(target=_draw_scenes, args=(seed, queue, crowded), daemon=True)
    drawing.start()
    start, step, usual_px = time.monotonic(), 0, 1.0
    while (share := (time.monotonic() - start) / 60 / minutes) < 1:
        crowded.value = min(1.0, share / CROWDED_AFTER)
        rate = RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate
        scenes = queue.get()
        loss, shift_px = loss_of(matcher(scenes), scenes)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(nn.utils.clip_grad_norm_(matcher.parameters(), 1.0)):
            optimiser.step()
            with torch.no_grad():
                for mean, value in zip(average.parameters(), matcher.parameters(), strict=True):
                    mean.lerp_(value, 1 - min(AVERAGE_DECAY, (step + 1) / (step + 10)))
        step, usual_px = step + 1, 0.97 * usual_px + 0.03 * shift_px.median().item()
        if step % 50 == 0:
            print(
                f"{step} {share * minutes:.1f} min, median error {usual_px:.3f} px, loss {loss.item():.3f}", flush=True
            )
    drawing.terminate()
    return average


def main() -> None:
    """Read the command line, train, export."""
    parser = argparse.ArgumentParser(description="Train the matcher of the label checks.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the graphs")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of the process that learns")
    options = parser.parse_args()
    matcher = train(options.minutes, options.seed, options.threads)
    write_graphs(matcher.features, matcher.sectors, options.out)


if __name__ == "__main__":
    main()
