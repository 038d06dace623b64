"""Rotated images for a discriminator: which ones, how they are cut, and what it says in one pass."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from refinery.errors import TrainingError
from refinery.networks._discriminator import QUARTER_TURNS, Discriminator


class Judged(NamedTuple):
    """Logits of all upright images, (B, 2, h, w), and of turned ones, (N, 4), with by how many quarter turns, (N,)."""

    patches: Tensor
    rotations: Tensor | None = None
    quarter_turns: Tensor = torch.empty(0)


def judge(discriminator: Discriminator, images: Tensor, subject: slice, generator: torch.Generator) -> Judged:
    """What a discriminator says about upright images, and about a quarter of some of them turned four ways.

    images: (B, C, H, W), all upright. subject: those of which the first quarter (at least one) is also turned.
    Square images are seen once: the three turned copies join the batch. Others are seen as they are, and random
    squares of the quarter in a second pass. Raises TrainingError where a square is smaller than what the discriminator
    takes.
    """
    first = subject.start
    count = max(1, (subject.stop - first) // QUARTER_TURNS)
    chosen = images[first : first + count]
    _require_patch(discriminator, images)
    if images.shape[2] == images.shape[3]:
        features = discriminator.features(torch.cat([images, turned(chosen)[count:]]))
        upright, others = features[: images.shape[0]], features[images.shape[0] :]
        seen = torch.cat([upright[first : first + count], others])
    else:
        upright = discriminator.features(images)
        seen = discriminator.features(turned(squares(chosen, generator)))
    turns = torch.arange(QUARTER_TURNS, device=images.device).repeat_interleave(count)
    return Judged(discriminator.patches(upright), discriminator.rotation_logits(seen), turns)


def turned(images: Tensor) -> Tensor:
    """Square images (N, C, S, S) in all four rotations, (4 N, C, S, S): first all upright, then all by 90 degrees."""
    return torch.cat([torch.rot90(images, turns, (2, 3)) for turns in range(QUARTER_TURNS)])


def squares(images: Tensor, generator: torch.Generator) -> Tensor:
    """The largest square of each image, at a random place along its longer side: (N, C, S, S)."""
    side = min(images.shape[2:])
    return random_crops(images, (side, side), generator)


def random_crops(images: Tensor, size_hw: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A part of each image (N, C, H, W) at a random place of its own: (N, C, *size_hw)."""
    (height, width), (high, wide) = images.shape[2:], size_hw
    places = torch.rand(images.shape[0], 2, generator=generator).tolist()
    corners = [(int(y * (height - high + 1)), int(x * (width - wide + 1))) for y, x in places]
    return torch.stack([image[:, y : y + high, x : x + wide] for image, (y, x) in zip(images, corners, strict=True)])


def _require_patch(discriminator: Discriminator, images: Tensor) -> None:
    side, patch = min(images.shape[2:]), discriminator.smallest_side_px
    if side < patch:
        raise TrainingError(
            f"rotation: squares of the training crops are {side} px, but the discriminator looks at patches of "
            f"{patch} px; set rotation_alpha = 0 and rotation_beta = 0, or take a discriminator with smaller "
            'patches, such as discriminator_variant = "small"'
        )
