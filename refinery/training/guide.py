"""Small networks that read labels while a refiner trains: one shapes it, two others measure it; none of them judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refinery.checks import CheckContext
from refinery.losses.label_consistency import label_consistency
from refinery.networks.label_probe import build
from refinery.runtime.probe_answers import Form, Part
from refinery.sample import Label
from refinery.training.appearance import augment
from refinery.training.probe_targets import (
    ProbePlan,
    Targets,
    place_points,
    plan_probe,
    probe_drift,
    probe_loss,
    target_values,
)

STEPS = 450
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-3
STEP_PIXELS = 24 * 36 * 60
LARGEST_PIXELS = 160 * 160
"""Images larger than this have no guide: training one would take longer than it may."""
FORMS: frozenset[Form] = frozenset(
    {"point", "edges", "class", "direction", "radians", "degrees", "angles", "angles_radians", "number"}
)
CLASS_TOLERANCE = 0.5
"""A class holds while less than half of its probability changes sides."""
MIN_SLOPE, MIN_RIGHT = 0.3, 0.6
"""A label is read when answers follow it by at least this much, or this share of its classes is right."""


@dataclass(frozen=True)
class GuidePlan:
    """What guides are to read. tolerances: (P,), one for each part."""

    probe: ProbePlan
    tolerances: tuple[float, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The labels, each with its place in the answers."""
        return self.probe.parts


def plan_guide(labels: Sequence[Sequence[Label]], size_hw: tuple[int, int], context: CheckContext) -> GuidePlan | None:
    """What of these labels a guide can read and a budget can hold; None when that is nothing.

    labels: of each sample. Numbers in a unit of their own count only where `max_drift` names them: nobody said how far
    they may move.
    """
    if size_hw[0] * size_hw[1] > LARGEST_PIXELS:
        return None
    wanted = [
        [x for x in own if x.type not in ("number", "vector") or x.unit == "deg" or x.name in context.max_drift]
        for own in labels
    ]
    plan = plan_probe(wanted, size_hw, FORMS)
    tolerances = tuple(
        CLASS_TOLERANCE if part.form == "class" else context.tolerance(part.name, part.unit, part.spread)
        for part in plan.parts
    )
    return GuidePlan(plan, tolerances) if plan.parts else None


def targets_of(plan: GuidePlan, labels: Sequence[Sequence[Label]]) -> Targets:
    """Targets of whole images with these labels."""
    values, known = target_values(plan.probe, labels)
    return place_points(plan.probe, values, known, 1.0, np.zeros((len(values), 2)), plan.probe.canvas_hw)


class Guide:
    """One trained network; frozen."""

    def __init__(self, plan: GuidePlan, network: torch.nn.Module, device: torch.device) -> None:
        self.plan, self.device = plan, device
        self.network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.slopes = torch.ones(len(plan.parts))
        self.tolerances = torch.tensor(plan.tolerances, device=device).clamp(min=1e-6)

    def answer(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to answers (B, A), in float32, differentiable."""
        with torch.autocast(images.device.type, enabled=False):
            answers: Tensor = self.network(images.float())
        return answers

    def answer_all(self, images: Tensor) -> Tensor:
        """Answers of any number of images, without a gradient."""
        with torch.inference_mode():
            return torch.cat([self.answer(part) for part in torch.split(images, 128)])

    def consistency(self, refined: Tensor, synthetic: Tensor, generator: torch.Generator) -> Tensor:
        """Label consistency of a batch (B, C, H, W), both changed in looks alike: what the change does falls out."""
        state = generator.get_state()
        with torch.no_grad():
            before = self.answer(augment(synthetic.float(), generator))
        generator.set_state(state)
        after = self.answer(augment(refined.float(), generator))
        moved = probe_drift(self.plan.probe, before, after) / self.tolerances
        return label_consistency(moved[:, self.heeded])

    def look_over(self, images: Tensor, targets: Targets) -> None:
        """Find out how well it reads each label of images that it was not trained on; it heeds those it can read."""
        self.slopes = reading_slopes(self.plan, self.answer_all(images).cpu(), targets)

    @property
    def heeded(self) -> Tensor:
        """(P,) bool: the labels that it can read."""
        return self.slopes > 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"network": self.network.state_dict(), "slopes": self.slopes}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        self.network.load_state_dict(state["network"])
        self.slopes = state["slopes"]


def new_guide(plan: GuidePlan, channels: int, seed: int, device: torch.device) -> Guide:
    """An untrained guide; torch's global generator is left as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(channels, **plan.probe.network_settings())
    return Guide(plan, network, device)


def train_guide(guide: Guide, images: Tensor, targets: Targets, seed: int, steps: int = STEPS) -> None:
    """Train it on synthetic images (N, C, H, W) in [-1, 1] in ever other looks; ten seconds for 60x36 on two cores."""
    network = guide.network.train().requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    size = min(64, max(8, STEP_PIXELS // (images.shape[2] * images.shape[3])))
    for _ in range(steps):
        chosen = torch.randint(len(images), (size,), generator=generator)
        batch = images[chosen].to(guide.device, memory_format=torch.channels_last)
        answers = network(augment(batch, generator))
        loss = probe_loss(
            guide.plan.probe, answers.cpu() if guide.device.type != "cpu" else answers, targets.select(chosen)
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    optimizer.zero_grad()
    network.eval().requires_grad_(False)


def reading_slopes(plan: GuidePlan, answers: Tensor, targets: Targets) -> Tensor:
    """By how much answers (N, A) follow each label: (P,), 1 all the way, 0 where they do not.

    The slope of the regression of answers on the truth, at most 1: a network that is not sure answers too near to the
    mean, and by the same factor it sees moves too small. A class is followed by 1 or by 0.
    """
    slopes = torch.zeros(len(plan.parts))
    for p, part in enumerate(plan.parts):
        known = targets.known[:, p]
        own, truth = answers[known][:, part.answer_slice], targets.values[known][:, part.target_slice]
        if len(own) < 2:
            continue
        if part.form == "class":
            slopes[p] = float((own.argmax(1) == truth[:, 0].long()).float().mean() >= MIN_RIGHT)
            continue
        scale = 1.0 if part.form in ("point", "edges") else part.scale
        around = truth - truth.mean(0)
        slope = float(scale * (own * around).sum() / around.square().sum().clamp(min=1e-12))
        slopes[p] = min(1.0, slope) if slope >= MIN_SLOPE else 0.0
    return slopes
