"""A small model of whatever the labels are, trained on one mix of images and tested on photos.

Every mix gets the same network, steps, batches and learning rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from refinery.training.device import place
from refinery.training.probe_targets import ProbePlan, Targets, probe_loss, region_logits
from refinery.utility.augmentation import Augmentation
from refinery.utility.network import build

LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 4e-3, 1e-3, 0.15
AT_ONCE = 256


@dataclass(frozen=True)
class Source:
    """One part of a mix. images: (N, C, h, w) float16 in [-1, 1], several looks of the same samples; share: of a batch.

    targets: of the N samples, on the canvas.
    """

    images: Sequence[Tensor] = field(repr=False)
    targets: Targets = field(repr=False)
    share: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """How every student is trained. width: features of its network; steps of `batch` images."""

    steps: int = 700
    batch: int = 128
    width: int = 24


def train_student(
    plan: ProbePlan, channels: int, mix: Sequence[Source], augmentation: Augmentation, recipe: Recipe, seed: int
) -> nn.Module:
    """A student from scratch; the same seed gives the same weights on one CPU. torch's global generator is kept.

    The augmentation grows from a fifth to the whole in the first half of the steps: worth 5 points of accuracy on
    signs, with synthetic and with refined images alike.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(plan, channels, recipe.width)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=recipe.steps, pct_start=WARM_UP
    )
    bfloat16 = place("cpu", "auto").autocast
    network.train()
    for step in range(recipe.steps):
        looks = augmentation.weaker(min(1.0, 0.2 + 1.6 * step / recipe.steps))
        images, targets = looks.apply(plan, *draw(mix, recipe.batch, generator), generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            answers = network(images)
        loss = probe_loss(plan, answers.float(), targets)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def draw(mix: Sequence[Source], count: int, generator: torch.Generator) -> tuple[Tensor, Targets]:
    """`count` random images (B, C, h, w) float32, each from a source by its share, then any sample and any look."""
    shares = torch.tensor([source.share for source in mix])
    drawn = torch.multinomial(shares, count, replacement=True, generator=generator).bincount(minlength=len(mix))
    images: list[Tensor] = []
    targets: list[Targets] = []
    for source, own in zip(mix, drawn.tolist(), strict=True):
        looks = torch.randint(len(source.images), (own,), generator=generator).bincount(minlength=len(source.images))
        for look, part in zip(source.images, looks.tolist(), strict=True):
            chosen = torch.randint(len(look), (part,), generator=generator)
            images.append(look[chosen].float())
            targets.append(source.targets.select(chosen))
    return torch.cat(images).contiguous(memory_format=torch.channels_last), joined(targets)


def joined(targets: Sequence[Targets]) -> Targets:
    """Several batches' targets as one's."""
    regions = [part.regions for part in targets if part.regions is not None]
    values, known = (torch.cat([getattr(part, name) for part in targets]) for name in ("values", "known"))
    return Targets(values, known, torch.cat(regions) if regions else None)


def answers_of(network: nn.Module, images: Tensor) -> Tensor:
    """(N, C, h, w) to answers (N, A)."""
    with torch.inference_mode():
        return torch.cat([network(part.float()) for part in torch.split(images, AT_ONCE)])


def errors_of(plan: ProbePlan, answers: Tensor, targets: Targets) -> Tensor:
    """How wrong each answer is: (N, P), NaN where the truth is not known.

    Points in px of the canvas, boxes by their worst corner; directions and angles in degrees; numbers in their unit;
    classes 0 or 1; regions 1 - IoU.
    """
    found = torch.stack([_errors(plan, p, answers, targets) for p in range(len(plan.parts))], 1)
    unknown = ~targets.known.clone()
    for p, part in enumerate(plan.parts):
        if part.form == "region":
            unknown[:, p] = found[:, p].isnan()
    return found.masked_fill(unknown, float("nan"))


def _errors(plan: ProbePlan, p: int, answers: Tensor, targets: Targets) -> Tensor:
    part = plan.parts[p]
    if part.form == "region":
        return _region_errors(plan, part.item + 1, answers, targets)
    own, truth = answers[:, part.answer_slice], targets.values[:, part.target_slice]
    if part.form == "class":
        return (own.argmax(1) != truth[:, 0].long()).float()
    if part.form in ("point", "edges"):
        away: Tensor = own - truth
        if part.form == "point":
            return _length(away)
        return torch.stack([_length(away[:, [0, 3]]), _length(away[:, [4, 7]])]).amax(0)
    value = torch.tensor(part.centre) + part.scale * own
    if part.form in ("number", "angles", "angles_radians"):
        return _length(value - truth)
    u, v = functional.normalize(value, dim=1), functional.normalize(truth, dim=1)
    return 2 * torch.rad2deg(torch.atan2(_length(u - v), _length(u + v)))


def _length(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return lengths


def _region_errors(plan: ProbePlan, index: int, answers: Tensor, targets: Targets) -> Tensor:
    if targets.regions is None:
        raise ValueError("regions without targets")
    own, truth = region_logits(plan, answers).argmax(1) == index, targets.regions == index
    both, either = (own & truth).sum((1, 2)), (own | truth).sum((1, 2))
    missed: Tensor = 1 - both / either  # NaN where neither has it: nothing to find, nothing found
    return missed
