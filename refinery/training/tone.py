"""How a refiner's tone is learnt: toned synthetic images are to be spread as real ones are, and not one by one.

Source: the energy distance of Szekely and Rizzo 2013 (doi:10.1016/j.jspi.2013.03.018), eq. 1, between what batches of
both sides look like from afar. It is 0 only where the two are spread alike, so that, unlike a discriminator's loss, no
single look can meet it, and rare looks count by how rare they are.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from refinery.networks._tone import Tone
from refinery.training.device import one_thread

STEPS, BATCH, RATE = 400, 256, 6e-3
FIRST = 0.02
"""Deviation of the last layer's weights at the start; with zeros all latents would be alike for ever."""
SEEN_PX, CELLS = 16, 4
"""Images are looked at from this size, and described by the colours of 4x4 cells, among others."""
DARKEST = 0.04
"""Added to deviations in [-1, 1] before logarithms are taken."""
LEAK = 0.01
"""Share of the gradient that reaches what clamping cuts off."""


def fit_tone(tone: Tone, synthetic: Tensor, real: Tensor, seed: int = 0, steps: int | None = None) -> None:
    """Train it on images (N, C, H, W) in [-1, 1] of both sides, N >= 2, in seconds on a CPU.

    steps: None: STEPS, more help nothing.
    The same images and seed give the same weights. Its weights stay where they are and want no gradients afterwards.
    """
    device = next(tone.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        trained = Tone(tone.channels, tone.latent)
        torch.nn.init.normal_(trained.last.weight, std=FIRST)
    trained.requires_grad_(True)
    optimizer = torch.optim.Adam(trained.parameters(), RATE)
    steps = STEPS if steps is None else steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rendered, wanted = from_afar(synthetic), described(from_afar(real))
    with one_thread():
        for _ in range(steps):
            batch, others = (_drawn(images, generator) for images in (rendered, wanted))
            toned = trained.unclamped(batch, torch.randn(len(batch), tone.latent, generator=generator))
            inside = toned.clamp(-1, 1)
            loss = energy_distance(described(inside + LEAK * (toned - toned.detach())), others)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    tone.load_state_dict({name: value.to(device) for name, value in trained.state_dict().items()})


def described(images: Tensor) -> Tensor:
    """What images (N, C, h, w) look like from afar: (N, F).

    Colours of 4x4 cells, the contrast of each channel, and of each difference of two channels the mean, the deviation
    and the cube root of the third moment: whether the few px of other colours are, say, redder or greener.
    """
    cells = functional.adaptive_avg_pool2d(images, CELLS).flatten(1)
    found = [cells * (2 / cells.shape[1] ** 0.5), torch.log(images.std((2, 3)) + DARKEST)]
    for first, second in combinations(range(images.shape[1]), 2):
        apart = images[:, first] - images[:, second]
        mean = apart.mean((1, 2))
        third = (apart - mean[:, None, None]).pow(3).mean((1, 2))
        root = third.sign() * (third.abs() + 1e-6) ** (1 / 3)
        found.append(torch.stack([mean, apart.std((1, 2)), root], 1))
    return torch.cat(found, 1)


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """2 E|a - b| - E|a - a'| - E|b - b'| of rows a (N, F) and b (M, F), without the distances of rows to themselves."""
    within = [torch.cdist(rows, rows).sum() / (len(rows) * (len(rows) - 1)) for rows in (first, second)]
    return 2 * torch.cdist(first, second).mean() - within[0] - within[1]


def from_afar(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as (N, C, 16, 16) float32 on the CPU: all that is looked at."""
    return functional.adaptive_avg_pool2d(images.float().cpu(), SEEN_PX)


def _drawn(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (BATCH,), generator=generator)]
