"""A label probe: small networks that read labels off synthetic images, trained out of fold to judge refined ones.

A network of fold k never saw a sample of fold k and answers those only. What a probe can do is measured on images that
its networks never saw (`probe_skill`); a label that it cannot judge is said so and never passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from refinery.checks import CheckContext
from refinery.checks._prober import ProbedLabel
from refinery.networks import label_probe
from refinery.runtime.label_probe import LabelProbe, Runner, View
from refinery.runtime.probe_views import FOLDS
from refinery.sample import FloatArray, Label
from refinery.training.appearance import augment
from refinery.training.probe_rows import (
    Pixels,
    Rows,
    Shown,
    affordable_rows,
    as_float,
    batch_of,
    make_rows,
    plan_view,
    split_views,
    spread_rows,
)
from refinery.training.probe_skill import judge_skill, smallest_found, weaker
from refinery.training.probe_targets import ProbePlan, probe_loss
from refinery.training.probe_trials import Seen, run_trials

Say = Callable[[str], None]
Refine = Callable[[Sequence[FloatArray]], Sequence[FloatArray]]
"""Images (H, W, C) float32 in [-1, 1] to the same, refined."""

MIN_ROWS = 64
STEP_PIXELS = 64 * 36 * 60
MOST_STEPS, LEAST_STEPS = 700, 500
GLANCE, GLANCE_SLACK = 0.2, 2.0
"""Share of the steps after which a view is given up, of which no label is read twice as well as would be hopeless."""
NAMED = 6


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe is trained and measured.

    steps: of each network; 0: 700 up to 60x36 px of canvas, fewer on larger ones, 500 at least. networks: for each
    fold. judged: most samples of each fold on which its skill is measured.
    """

    steps: int = 0
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    networks: int = 2
    judged: int = 512
    hopeless: tuple[float, float] = (3.0, 0.8)


@dataclass(frozen=True)
class TrainedView:
    """One view's plan, and its networks by fold, in eval mode."""

    plan: ProbePlan
    view: View
    networks: tuple[tuple[nn.Module, ...], ...] = field(repr=False)

    def runners(self) -> list[Runner]:
        """For `LabelProbe`, one for each fold."""
        return [_runner(own) for own in self.networks]


@dataclass(frozen=True)
class TrainedProbe:
    """Networks by view, what is known about each label, and one line for each label that is left out."""

    views: Mapping[str, TrainedView]
    labels: Mapping[str, ProbedLabel]
    skipped: tuple[str, ...] = ()

    def prober(self) -> LabelProbe:
        """To be asked by the label checks, with torch."""
        views = {name: own.view for name, own in self.views.items()}
        return LabelProbe(self.labels, views, {name: own.runners() for name, own in self.views.items()})

    def describe(self) -> dict[str, Any]:
        """What the artifact's manifest says about it, but for the files."""
        return {
            "folds": FOLDS,
            "views": {name: asdict(own.view) for name, own in self.views.items()},
            "labels": [asdict(label) for label in self.labels.values()],
            "skipped": list(self.skipped),
        }

    def sentences(self) -> list[str]:
        """What it can judge and what it cannot, for the log."""
        lines = [_sentence(label) for label in self.labels.values()]
        more = len(self.skipped) - NAMED
        return (
            lines + [f"no probe: {x}" for x in self.skipped[:NAMED]] + ([f"no probe: {more} more"] if more > 0 else [])
        )


def train_probe(
    images: Sequence[Pixels],
    keys: Sequence[str],
    labels: Sequence[Sequence[Label]],
    settings: ProbeSettings,
    context: CheckContext,
    seed: int,
    say: Say = lambda _: None,
    refine: Refine | None = None,
) -> TrainedProbe | None:
    """Train a probe on synthetic images and measure it; the same seed gives the same probe on one machine.

    images: (H, W, C) uint8 or uint16, sizes may differ; keys and labels: of their samples. context: tolerances.
    refine: see `measure_probe`. A view of which the first network can judge no label gets no others.
    Returns None, saying why, when there is nothing to learn.
    """
    views: dict[str, TrainedView] = {}
    skipped: list[str] = []
    for number, (name, shown) in enumerate(split_views(labels).items()):
        plan = plan_view(name, shown, images)
        skipped += plan.skipped
        if not plan.parts:
            continue
        chosen = spread_rows(shown, keys, affordable_rows(plan, images[0].shape[2]))
        rows = make_rows(plan, chosen, images, keys)
        smallest = min(int((rows.folds != fold).sum()) for fold in range(FOLDS))
        if smallest < MIN_ROWS:
            skipped.append(f"{', '.join(dict.fromkeys(p.name for p in plan.parts))}: fewer than {2 * MIN_ROWS} images")
            continue

        def trained(
            fold: int, member: int, share: float = 1.0, plan: ProbePlan = plan, rows: Rows = rows, number: int = number
        ) -> nn.Module:
            steps = round(share * (settings.steps or _steps(plan.canvas_hw)))
            return _train_network(plan, rows, fold, replace(settings, steps=steps), _seed(seed, number, fold, member))

        def measured(network: nn.Module, plan: ProbePlan = plan, name: str = name) -> list[ProbedLabel]:
            alone = TrainedProbe({name: TrainedView(plan, _view(plan, images), ((network,),))}, {})
            return list(measure_probe(alone, images, keys, labels, context, seed, settings, refine).labels.values())

        # classes are learnt too late to be told by a fifth of the steps
        glances = math.isfinite(settings.hopeless[0]) and all(part.form != "class" for part in plan.parts)
        told = measured(trained(0, 0, GLANCE)) if glances else []
        first = None
        if not told or not all(_is_hopeless(label, context, settings, GLANCE_SLACK) for label in told):
            first = trained(0, 0)
            told = measured(first)
        if first is None or all(_is_hopeless(label, context, settings) for label in told):
            skipped += [f"{label.name}: {label.reason}" for label in told]
            continue
        networks = tuple(
            tuple(first if fold == member == 0 else trained(fold, member) for member in range(settings.networks))
            for fold in range(FOLDS)
        )
        views[name] = TrainedView(plan, _view(plan, images), networks)
    if not views:
        say(f"no label probe: {'; '.join(skipped[-3:]) or 'the synthetic images have no labels'}")
        return None
    probe = TrainedProbe(views, {}, tuple(skipped))
    return measure_probe(probe, images, keys, labels, context, seed, settings, refine)


def untrained_probe(images: Sequence[Pixels], labels: Sequence[Sequence[Label]]) -> TrainedProbe | None:
    """A probe as `train_probe` begins it, with one network for each fold: enough to see that it can be exported."""
    views: dict[str, TrainedView] = {}
    for name, shown in split_views(labels).items():
        plan = plan_view(name, shown, images)
        if plan.parts:
            channels, settings = images[0].shape[2], plan.network_settings()
            with torch.random.fork_rng(devices=[]):
                networks = [label_probe.build(channels, **settings).eval() for _ in range(FOLDS)]
            views[name] = TrainedView(plan, _view(plan, images), tuple((network,) for network in networks))
    return TrainedProbe(views, {}) if views else None


def measure_probe(
    probe: TrainedProbe,
    images: Sequence[Pixels],
    keys: Sequence[str],
    labels: Sequence[Sequence[Label]],
    context: CheckContext,
    seed: int,
    settings: ProbeSettings | None = None,
    refine: Refine | None = None,
) -> TrainedProbe:
    """The same probe with its skill measured on these synthetic images, each by networks that never saw it.

    refine: a refiner; what it does to other images is then what must not be noticed, in place of random looks.
    """
    judged = (settings or ProbeSettings()).judged
    found: dict[str, ProbedLabel] = {}
    shown = split_views(labels)
    for number, (name, own) in enumerate(probe.views.items()):
        if name not in shown:
            continue
        chosen = spread_rows(shown[name], keys, FOLDS * judged)
        rows = make_rows(own.plan, chosen, images, keys)
        refined = None if refine is None else _refined(own.plan, rows, chosen.labels, images, keys, refine)
        generator = torch.Generator().manual_seed(_seed(seed, number, FOLDS, 0))
        with torch.inference_mode():
            trials = _trials(own, rows, generator, refined)
        for p, part in enumerate(own.plan.parts):
            label = judge_skill(part, [one[p] for one in trials], context, seed + p)
            found[part.name] = weaker(found[part.name], label) if part.name in found else label
    return replace(probe, labels=found)


def _trials(
    own: TrainedView, rows: Rows, generator: torch.Generator, refined: NDArray[np.float16] | None
) -> list[list[Seen]]:
    found: list[list[Seen]] = []
    for fold, run in enumerate(own.runners()):
        chosen = np.flatnonzero(rows.folds == fold)
        if len(chosen) >= 2:
            found.append(run_trials(own.plan, rows, chosen, run, generator, refined))
    return found


def _refined(
    plan: ProbePlan, rows: Rows, labels: Any, images: Sequence[Pixels], keys: Sequence[str], refine: Refine
) -> NDArray[np.float16]:
    """The rows as the refiner leaves them."""
    needed = sorted(set(rows.samples.tolist()))
    done = dict(zip(needed, refine([as_float(images[i]) for i in needed]), strict=True))
    sources: list[Any] = [done.get(i) for i in range(len(images))]
    shown = Shown(tuple(rows.samples.tolist()), labels, rows.boxes)
    return make_rows(plan, shown, sources, keys).images


def _train_network(plan: ProbePlan, rows: Rows, fold: int, settings: ProbeSettings, seed: int) -> nn.Module:
    """A network for a fold, trained on the rows of the others. Looks get harder in the first half of the steps."""
    members = np.flatnonzero(rows.folds != fold)
    steps = settings.steps
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = label_probe.build(rows.images.shape[1], **plan.network_settings()).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, steps, pct_start=0.15)
    for step in range(steps):
        drawn = torch.randint(len(members), (settings.batch_size,), generator=generator).numpy()
        chosen = members[drawn]
        looks = augment(batch_of(rows, chosen), generator, min(1.0, 0.2 + 1.6 * step / steps))
        answers = network(looks.contiguous(memory_format=torch.channels_last))
        loss = probe_loss(plan, answers, rows.targets.select(torch.from_numpy(chosen)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)
    return network


def _is_hopeless(label: ProbedLabel, context: CheckContext, settings: ProbeSettings, slack: float = 1.0) -> bool:
    """True if a network reads a label so badly that more of them, or more steps, would not judge it.

    slack: how many times worse it may be, where it has had few steps.
    Its power says nothing yet: by how far networks disagree the answers are chosen that count.
    """
    in_tolerances, of_guessing = settings.hopeless
    if label.form == "class":
        return label.errors.get("wrong", 1.0) >= of_guessing * (1 - 1 / max(2, len(label.classes)))
    tolerance = context.tolerance(label.name, label.unit, label.spread)
    return label.errors.get("0.5", math.inf) > slack * in_tolerances * tolerance


def _steps(canvas_hw: tuple[int, int]) -> int:
    affordable = MOST_STEPS * STEP_PIXELS // (64 * canvas_hw[0] * canvas_hw[1])
    return int(min(MOST_STEPS, max(LEAST_STEPS, affordable)))


def _view(plan: ProbePlan, images: Sequence[Pixels]) -> View:
    sizes = np.array([image.shape[:2] for image in images])
    (least_h, least_w), (most_h, most_w) = sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()
    return View(plan.canvas_hw, images[0].shape[2], plan.parts, plan.regions, (least_h, least_w), (most_h, most_w))


def _runner(networks: Sequence[nn.Module]) -> Runner:
    def run(canvases: FloatArray) -> FloatArray:
        with torch.inference_mode():
            batch = torch.from_numpy(canvases)
            answers: FloatArray = torch.stack([network(batch) for network in networks], 1).numpy()
        return answers

    return run


def _seed(seed: int, view: int, fold: int, member: int) -> int:
    return int(np.random.SeedSequence((seed, view, fold, member)).generate_state(1)[0])


def _sentence(label: ProbedLabel) -> str:
    if not label.competent:
        return f"probe cannot judge {label.name}: {label.reason}"
    if label.form == "class":
        return f"probe judges {label.name}: notices {label.power[0][1]:.0%} of exchanged images"
    least = smallest_found(label)
    finds = "less than 90% of any move" if least is None else f"{least:.3g} {label.unit} and more with 90% power"
    return f"probe judges {label.name}: finds {finds}, at 1% false alarms"
