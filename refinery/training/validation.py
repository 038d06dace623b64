"""Held-out synthetic images, refined while training: how real they look and how far their labels moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from refinery import realism
from refinery.checks import CheckContext, DriftSummary, is_gone, overall, run_checks
from refinery.errors import TrainingError
from refinery.image import as_channels, from_float, to_float
from refinery.labels import LabelReader
from refinery.sample import FloatArray, Pair
from refinery.training.data import ImageSet
from refinery.training.diagnosis import WHAT_TO_TRY
from refinery.training.drift_meter import Control, Drift, DriftMeter, worst
from refinery.training.guide import Guide
from refinery.training.refining import refine_arrays
from refinery.training.two_sample import MIN_IMAGES, TwoSampleTest, told

MAX_FAILED = 0.05
"""Share of the held-out samples whose labels may fail in a checkpoint that is still kept for its realism."""

MAX_FLAT = 0.05
"""Share of the held-out images that may be flat; with more of them the refiner has collapsed."""

WORST_DISTANCE = 1e6


@dataclass(frozen=True)
class Evaluation:
    """drift: as refine's JSON. realism: {MEASURE: {"synthetic", "refined", "floor", ...}}. failed: share of samples.

    budget: {LABEL: drift} as the label budget measures it, None without one. flat: share of the images of which nothing
    is left.
    """

    drift: dict[str, dict[str, Any]]
    realism: dict[str, dict[str, Any]]
    failed: float
    pictures: NDArray[np.uint8] = field(repr=False)
    budget: dict[str, Drift] | None = None
    flat: float = 0.0

    @property
    def collapsed(self) -> bool:
        """True if the refiner makes flat images: it is never the best one, and never exported."""
        return self.flat > MAX_FLAT

    def numbers(self) -> dict[str, Any]:
        """For stats.jsonl and the summary."""
        numbers = {"drift": self.drift, "realism": self.realism, "failed": round(self.failed, 4)}
        numbers |= {"flat": round(self.flat, 4)} if self.flat else {}
        if self.budget is None:
            return numbers
        return {**numbers, "held_out_budget": {name: drift.numbers() for name, drift in self.budget.items()}}

    def remaining(self) -> float:
        """Share of the distance to the real images that is still there: 1 as synthetic, 0 as real as real.

        Half of it is the classifier's, since tone and grain alone can meet the other measures; their mean the other.
        A distance that is no number counts as a very large one: NaN is less than nothing, so it would stay the best.
        """
        shares = {
            name: (m["refined"] - m["floor"]) / max(m["synthetic"] - m["floor"], 0.1 * m["synthetic"], 1e-6)
            for name, m in self.realism.items()
        }
        others = float(np.mean([share for name, share in shares.items() if name != "classifier"]))
        mean = (others + shares.get("classifier", others)) / 2
        return mean if math.isfinite(mean) else WORST_DISTANCE

    def score(self) -> float:
        """What the best checkpoint has least of: distance to the real images, unless labels fail or pass the budget.

        Of checkpoints that collapsed none is the best, see `collapsed`.
        """
        beyond = max(0.0, worst(self.budget) - 1.0) if self.budget else 0.0
        return self.remaining() if self.failed <= MAX_FAILED and not beyond else 2.0 + self.failed + beyond

    def sentence(self) -> str:
        """One line for the log."""
        moved = ", ".join(
            f"{name} {d['median']:.2f} {d['unit']} (p95 {d['p95']:.2f})"
            for name, d in self.drift.items()
            if d["median"] is not None
        )
        measures = ", ".join(f"{n} {m['synthetic']:.3g} -> {m['refined']:.3g}" for n, m in self.realism.items())
        unmeasured = "" if self.budget is None or self.budget else "; the label budget can measure none of them"
        told = f"held-out labels moved: {moved or 'nothing measurable'}; distance to real: {measures}{unmeasured}"
        if not self.flat:
            return told
        return (
            f"{told}; the refiner makes flat images: {self.flat:.0%} of the held-out ones show nothing of their source"
        )


class Validation:
    """The held-out images with their labels, and the real ones to compare with."""

    def __init__(
        self,
        reader: LabelReader,
        held_out: ImageSet,
        real: ImageSet,
        context: CheckContext,
        seed: int,
        device: torch.device,
        watchers: Sequence[Guide] | None = None,
        targets: ImageSet | None = None,
    ) -> None:
        """watchers: networks that measure the label budget; None: there is no budget.

        targets: what the refiner is to make of the held-out images, where images are paired; None: nobody knows.
        """
        self.synthetic = [to_float(image) for image in held_out.images]
        self.labels = [
            reader.read(sample, (image.shape[0], image.shape[1]))[0]
            for sample, image in zip(held_out.samples, held_out.images, strict=True)
        ]
        self.held_out = held_out
        self.size_hw = held_out.smallest_hw
        count = min(len(real.images), 2 * len(self.synthetic))
        spread = (to_float(real.images[i * len(real.images) // count]) for i in range(count))
        self.channels = max(held_out.channels, real.channels)
        self.real = realism.equalise(spread, self.size_hw, count, self.channels)
        self.targets = [to_float(as_channels(image, self.channels)) for image in targets.images] if targets else None
        decoys = list(zip(held_out.samples, self.targets or self.synthetic, strict=True))[:32]
        self.context = context.with_decoys((sample.key, image) for sample, image in decoys)
        self.seed = seed
        self.device = device
        half = self.real[::2]
        self.test = TwoSampleTest(half, seed) if min(len(half), len(self.synthetic)) >= MIN_IMAGES else None
        self.apart: tuple[float, float] | None = None
        """How well synthetic images are told from real ones: it never changes."""
        self.meter = None
        if watchers is not None and len({image.shape for image in self.synthetic}) == 1:
            self.meter = DriftMeter(watchers, Control(held_out.samples, self.synthetic, self.labels), context, device)

    def evaluate(self, refiner: nn.Module) -> Evaluation:
        """Refine the held-out images as refining would, check their labels, and compare them with the real ones.

        Where images are paired, labels are looked for where they lie in the target: it has them as the synthetic image
        has, and a label map, unlike its render, has no looks to be compared by.
        """
        refined = self._refine(refiner)
        shown = [as_channels(image, refined[0].shape[2]) for image in self.synthetic]
        sources = shown if self.targets is None else [as_channels(t, refined[0].shape[2]) for t in self.targets]
        pairs = [Pair(*row) for row in zip(self.held_out.samples, sources, refined, self.labels, strict=True)]
        findings = run_checks(pairs, self.context)
        drift = DriftSummary()
        for found in findings:
            drift.add(found)
        failed = float(np.mean([overall(found) == "fail" for found in findings]))
        budget = self.meter.measure_refiner(refiner, self.seed) if self.meter else None
        rows = [shown, refined] if self.targets is None else [shown, refined, self.targets]
        flat = float(np.mean([is_gone(found) for found in findings]))
        return Evaluation(drift.as_dict(), self._compare(shown, refined), failed, _pictures(rows), budget, flat)

    def _compare(self, synthetic: Sequence[FloatArray], refined: Sequence[FloatArray]) -> dict[str, dict[str, Any]]:
        """Realism, and where images are paired how far they are from their own targets."""
        count = len(refined)
        first, other = (realism.equalise(side, self.size_hw, count, self.channels) for side in (synthetic, refined))
        compared = realism.compare(first, other, self.real, self.seed)
        if self.test is not None:
            self.apart = self.apart or self.test.accuracy(first)
            compared["classifier"] = told(self.apart, self.test.accuracy(other))
        if self.targets is None:
            return compared
        before, after = ([as_channels(i, self.channels) for i in side] for side in (synthetic, refined))
        return {**compared, "target_l1": realism.paired_l1(before, after, self.targets)}

    def _refine(self, refiner: nn.Module) -> list[FloatArray]:
        """Refined and quantised to the images' own bit depth, as they would be stored."""
        keys = [sample.key for sample in self.held_out.samples]
        refined = refine_arrays(refiner, self.synthetic, keys, self.device, self.seed)
        if not all(np.isfinite(image).all() for image in refined):
            raise TrainingError(f"the refiner gives NaN or infinite pixels, so training cannot go on; {WHAT_TO_TRY}")
        return [to_float(from_float(image, self.held_out.bits)) for image in refined]


def _pictures(kinds: Sequence[Sequence[FloatArray]], count: int = 16) -> NDArray[np.uint8]:
    """Up to `count` samples of the first one's size, eight to a row: (H, W, C) uint8.

    kinds: synthetic, refined and perhaps target images, which stand below each other.
    """
    channels = max(images[0].shape[2] for images in kinds)
    kinds = [[as_channels(image, channels) for image in images] for images in kinds]
    shape = kinds[0][0].shape
    chosen = [i for i, image in enumerate(kinds[0]) if image.shape == shape][:count]
    chosen = chosen[: len(chosen) // 8 * 8] or chosen
    across = min(8, len(chosen))
    rows = []
    for start in range(0, len(chosen), across):
        row = chosen[start : start + across]
        if len(row) == across:
            rows += [np.concatenate([images[i] for i in row], axis=1) for images in kinds]
    grid = from_float(np.concatenate(rows, axis=0), 8)
    return np.asarray(grid, dtype=np.uint8)
