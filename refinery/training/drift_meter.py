"""How far the labels of one set of synthetic images move while a refiner trains, noise taken out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refinery import registry
from refinery.checks import CheckBatch, CheckContext
from refinery.checks._gone import gone
from refinery.runtime.latent import latents_of
from refinery.sample import FloatArray, Label, Pair, Sample
from refinery.training.appearance import augment
from refinery.training.guide import Guide
from refinery.training.probe_targets import probe_drift
from refinery.training.refining import latent_of, refine_batch, toned_batch

SHARE = 0.95
NULL_STRENGTH = 0.3
"""Of the changes in looks that the geometry check's own noise is taken from: about what a refiner does."""


@dataclass(frozen=True)
class Drift:
    """How far one label of the control images moved: the 95% drift in its unit, noise taken out, and its tolerance."""

    p95: float
    tolerance: float
    unit: str

    @property
    def ratio(self) -> float:
        """The drift in tolerances."""
        return self.p95 / max(self.tolerance, 1e-6)

    def numbers(self) -> dict[str, Any]:
        """For stats.jsonl."""
        return {"p95": round(self.p95, 4), "unit": self.unit, "tolerance": self.tolerance}


@dataclass(frozen=True)
class Control:
    """Synthetic images of one shape that no network is trained on: (H, W, C) float32 in [-1, 1]."""

    samples: Sequence[Sample]
    images: Sequence[FloatArray]
    labels: Sequence[tuple[Label, ...]]

    def batch(self, device: torch.device) -> Tensor:
        """(N, C, H, W)."""
        stacked = torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2)
        return stacked.to(device, memory_format=torch.channels_last)


class DriftMeter:
    """Measures by two networks, `watchers`, what they can read, and by the geometry check what has a geometry.

    Where labels have none, that check measures the whole image. No watchers: by the check alone.
    """

    def __init__(
        self, watchers: Sequence[Guide], control: Control, context: CheckContext, device: torch.device
    ) -> None:
        self.watchers, self.control, self.context = watchers, control, context
        self.batch = control.batch(device)
        self.keys = [sample.key for sample in control.samples]
        self._before: list[Tensor] = []
        self._unmoved: dict[str, Drift] | None = None

    def measure_refiner(self, refiner: nn.Module, seed: int = 0) -> dict[str, Drift]:
        """Drift by label name in what a refiner makes of the control images. seed: of its noise, if it has any."""
        count, device = latent_of(refiner), self.batch.device
        latents = torch.from_numpy(np.stack(latents_of(self.keys, count, seed))).to(device) if count else None
        return self.measure(refine_batch(refiner, self.batch, latents), toned_batch(refiner, self.batch, latents))

    def measure(self, refined: Tensor, toned: Tensor | None = None) -> dict[str, Drift]:
        """Drift by label name in refined images (N, C, H, W) of the control images: what sees more counts.

        toned: what they were refined from, where that is lit otherwise than the control images but nothing moved yet.
        """
        found = self._watched(refined, toned)
        for name, drift in self._checked(refined, toned).items():
            if name not in found or drift.p95 > found[name].p95:
                found[name] = drift
        return found

    def _watched(self, refined: Tensor, toned: Tensor | None = None) -> dict[str, Drift]:
        """By two networks: what they agree on is drift, what they disagree on is their noise.

        With m the mean of the changes of their answers and h half the difference, the noise in m is distributed like h
        if the networks err independently: p95^2 = q95(|m|)^2 - q95(|h|)^2. Where both are misled alike it counts as
        drift, which errs on the safe side.
        """
        if not self.watchers:
            return {}
        if not self._before:
            self._before = [watcher.answer_all(self.batch) for watcher in self.watchers]
        (first, second), plan = self.watchers, self.watchers[0].plan
        answers = self._before if toned is None else [watcher.answer_all(toned) for watcher in self.watchers]
        changes = [w.answer_all(refined) - before for w, before in zip(self.watchers, answers, strict=True)]
        start = (answers[0] + answers[1]) / 2
        mean, half = ((changes[0] + sign * changes[1]) / 2 for sign in (1, -1))
        seen, noise = (
            torch.quantile(probe_drift(plan.probe, start, start + change).float(), SHARE, dim=0)
            for change in (mean, half)
        )
        p95 = (seen.square() - noise.square()).clamp(min=0).sqrt().cpu() / torch.minimum(first.slopes, second.slopes)
        found: dict[str, Drift] = {}
        for p, (part, tolerance) in enumerate(zip(plan.parts, plan.tolerances, strict=True)):
            if bool(first.heeded[p] & second.heeded[p]):
                drift = Drift(float(p95[p]), tolerance, part.unit)
                found[part.name] = max(found.get(part.name, drift), drift, key=lambda d: d.p95)
        return found

    def _checked(self, refined: Tensor, toned: Tensor | None) -> dict[str, Drift]:
        """By the geometry check, less what it sees in images that were changed in looks only.

        Where nothing is left of more than 5% of the images there is nothing to measure in them, and the 95% drift of
        every label is beyond what is searched: the budget must not take that for no drift.
        """
        if self._unmoved is None:
            changed = augment(self.batch.cpu(), torch.Generator().manual_seed(0), NULL_STRENGTH)
            self._unmoved = self._geometry(self.control.images, changed)
        start = self.control.images if toned is None else list(_arrays(toned.cpu()))
        found = {}
        if self._gone(start, refined.cpu()) > 1.0 - SHARE:
            beyond = float(self.context.radius_px)
            return {name: Drift(beyond, drift.tolerance, drift.unit) for name, drift in self._unmoved.items()}
        for name, drift in self._geometry(start, refined.cpu()).items():
            noise = self._unmoved[name].p95 if name in self._unmoved else 0.0
            found[name] = Drift(math.sqrt(max(0.0, drift.p95**2 - noise**2)), drift.tolerance, drift.unit)
        return found

    def _gone(self, before: Sequence[FloatArray], refined: Tensor) -> float:
        """Share of the images of which nothing is left."""
        pairs = [Pair(*row) for row in zip(self.control.samples, before, _arrays(refined), strict=True)]
        starts = range(0, len(pairs), 32)
        return float(np.mean([bool(why) for start in starts for why in gone(CheckBatch(pairs[start : start + 32]))]))

    def _geometry(self, before: Sequence[FloatArray], refined: Tensor) -> dict[str, Drift]:
        """95% drift by label name, as the geometry check measures it."""
        check, control = registry.find("check", "geometry").check, self.control
        pairs = [Pair(*row) for row in zip(control.samples, before, _arrays(refined), control.labels, strict=True)]
        drifts: dict[str, list[float]] = {}
        for start in range(0, len(pairs), 32):
            for findings in check(CheckBatch(pairs[start : start + 32]), self.context):
                for finding in findings:
                    if finding.drift is not None:
                        drifts.setdefault(finding.label, []).append(finding.drift)
        return {
            name: Drift(float(np.quantile(values, SHARE)), self.context.tolerance(name), "px")
            for name, values in drifts.items()
            if len(values) >= max(4, len(pairs) // 4)
        }


def _arrays(batch: Tensor) -> FloatArray:
    """(N, C, H, W) as (N, H, W, C)."""
    return np.asarray(batch.permute(0, 2, 3, 1).numpy())


def worst(drifts: Mapping[str, Drift]) -> float:
    """The largest drift in tolerances; 0 without any."""
    return max((drift.ratio for drift in drifts.values()), default=0.0)
