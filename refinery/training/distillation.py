"""Distillation: a small refiner learns from a slow one's own answers to do what it does.

The student is `networks/multiscale_refiner`; it takes the teacher's latent numbers and, if it has one, its tone. It
follows the teacher in levels and in edges, |S(x, z) - T(x, z)| + |grad S - grad T|, with no discriminator: what there
is to learn is a function, and the teacher says what it is. How well it was learnt is measured on images that the
student never saw. Source: Hinton et al. 2015 (arXiv:1503.02531), whose soft targets images do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refinery.errors import ModelError
from refinery.image import from_float, to_float
from refinery.networks.multiscale_refiner import MultiscaleRefiner
from refinery.runtime.latent import latents_of
from refinery.sample import FloatArray
from refinery.training.refining import latent_of, refine_arrays

WIDTH, BLOCKS, SCALES = 16, 2, 3
LEARNING_RATE, WARMUP = 3e-3, 0.1
CROP_PX, BATCH_PIXELS = 64, 16 * 64 * 64
TAUGHT_PIXELS = 4_000_000
"""The teacher's answers are asked once, about whole images of so many pixels in all: some 20 s on two cores."""
TOLD_EVERY = 200


@dataclass(frozen=True)
class Agreement:
    """By how many levels of 255 a student's images differ from its teacher's: on average, and 99% of the pixels."""

    mean_levels: float
    p99_levels: float


def new_student(teacher: nn.Module, channels: int, out_channels: int) -> MultiscaleRefiner:
    """An untrained student; the same for the same seed of torch. Raises ModelError for a teacher it cannot follow."""
    if channels != out_channels:
        raise ModelError(
            f"a student keeps the channels of its images; this refiner makes {out_channels} of {channels}: export it "
            "without --student"
        )
    tone = getattr(teacher, "tone", None)
    student = MultiscaleRefiner(
        channels, WIDTH, BLOCKS, SCALES, latent=latent_of(teacher), tone=isinstance(tone, nn.Module)
    )
    if student.tone is not None:
        student.tone.load_state_dict(cast("nn.Module", tone).state_dict())
        student.tone.requires_grad_(False)
    return student


def distil(
    teacher: nn.Module,
    student: MultiscaleRefiner,
    images: Sequence[FloatArray],
    keys: Sequence[str],
    steps: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train the student on images (H, W, C) float32 in [-1, 1], whose sizes may differ; it is in eval mode after.

    The same seed gives the same student on one machine.
    """
    device = torch.device("cpu")
    answers = refine_arrays(teacher, images, keys, device, seed)
    latents = latents_of(keys, student.latent, seed) if student.latent else None
    height, width = (min(CROP_PX, *(image.shape[axis] for image in images)) for axis in (0, 1))
    size = max(4, min(64, BATCH_PIXELS // (height * width)))
    generator = np.random.default_rng(seed)
    student.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARMUP)
    for step in range(1, steps + 1):
        chosen = generator.integers(len(images), size=size).tolist()
        places = [
            (slice(top, top + height), slice(left, left + width))
            for top, left in (
                (int(generator.integers(rows - height + 1)), int(generator.integers(columns - width + 1)))
                for rows, columns in (images[i].shape[:2] for i in chosen)
            )
        ]
        shown, wanted = (
            _batch([side[i][place] for i, place in zip(chosen, places, strict=True)]) for side in (images, answers)
        )
        noise = torch.from_numpy(np.stack([latents[i] for i in chosen])) if latents else None
        loss = _difference(student(shown, noise), wanted)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % TOLD_EVERY == 0 or step == steps:
            say(f"student, step {step:,} of {steps:,}: {127.5 * float(loss.detach()):.2f} levels, edges counted in")
    student.eval()


def answers_of(
    refiner: nn.Module, images: Sequence[FloatArray], keys: Sequence[str], seed: int, bits: int
) -> list[FloatArray]:
    """What a refiner makes of images, as it would be stored."""
    made = refine_arrays(refiner, images, keys, torch.device("cpu"), seed)
    return [to_float(from_float(image, bits)) for image in made]


def agreement(teachers: Sequence[FloatArray], students: Sequence[FloatArray]) -> Agreement:
    """Of images (H, W, C) in [-1, 1]."""
    apart = np.concatenate([np.abs(one - other).ravel() for one, other in zip(teachers, students, strict=True)]) * 127.5
    return Agreement(float(f"{apart.mean():.4g}"), float(f"{np.quantile(apart, 0.99):.4g}"))


def _batch(crops: Sequence[FloatArray]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def _difference(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean |made - wanted| of the levels and of both gradients, (B, C, H, W) each."""
    apart = made - wanted
    across, down = apart.diff(dim=3), apart.diff(dim=2)
    return functional.l1_loss(made, wanted) + across.abs().mean() + down.abs().mean()
