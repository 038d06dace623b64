"""Held-out synthetic images, refined while training: how real they look and how far their labels moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refinery import realism
from refinery.checks import CheckContext, DriftSummary, overall, run_checks
from refinery.errors import TrainingError
from refinery.image import from_float, to_float
from refinery.labels import LabelReader
from refinery.runtime.batching import refine_images
from refinery.runtime.session import Runner
from refinery.sample import FloatArray, Pair
from refinery.training.data import ImageSet
from refinery.training.diagnosis import WHAT_TO_TRY
from refinery.training.drift_meter import Control, Drift, DriftMeter, worst
from refinery.training.guide import Guide

MAX_FAILED = 0.05
"""Share of the held-out samples whose labels may fail in a checkpoint that is still kept for its realism."""


@dataclass(frozen=True)
class Evaluation:
    """drift: as refine's JSON. realism: {MEASURE: {"synthetic", "refined", "floor", ...}}. failed: share of samples.

    budget: {LABEL: drift} as the label budget measures it, None without one.
    """

    drift: dict[str, dict[str, Any]]
    realism: dict[str, dict[str, Any]]
    failed: float
    pictures: NDArray[np.uint8] = field(repr=False)
    budget: dict[str, Drift] | None = None

    def numbers(self) -> dict[str, Any]:
        """For stats.jsonl and the summary."""
        numbers = {"drift": self.drift, "realism": self.realism, "failed": round(self.failed, 4)}
        if self.budget is None:
            return numbers
        return {**numbers, "held_out_budget": {name: drift.numbers() for name, drift in self.budget.items()}}

    def remaining(self) -> float:
        """Mean share of the distance to the real images that is still there: 1 as synthetic, 0 as real as real."""
        shares = [
            (m["refined"] - m["floor"]) / max(m["synthetic"] - m["floor"], 0.1 * m["synthetic"], 1e-6)
            for m in self.realism.values()
        ]
        return float(np.mean(shares))

    def score(self) -> float:
        """What the best checkpoint has least of: distance to the real images, unless labels fail or pass the budget."""
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
        return f"held-out labels moved: {moved or 'nothing measurable'}; distance to real: {measures}"


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
    ) -> None:
        """watchers: networks that measure the label budget; None: there is no budget."""
        self.synthetic = [to_float(image) for image in held_out.images]
        self.labels = [
            reader.read(sample, (image.shape[0], image.shape[1]))[0]
            for sample, image in zip(held_out.samples, held_out.images, strict=True)
        ]
        self.held_out = held_out
        self.context = context.with_decoys(
            (s.key, image) for s, image in list(zip(held_out.samples, self.synthetic, strict=True))[:32]
        )
        self.size_hw = held_out.smallest_hw
        count = min(len(real.images), 2 * len(self.synthetic))
        spread = (to_float(real.images[i * len(real.images) // count]) for i in range(count))
        self.real = realism.equalise(spread, self.size_hw, count, held_out.channels)
        self.seed = seed
        self.device = device
        self.meter = None
        if watchers is not None and len({image.shape for image in self.synthetic}) == 1:
            self.meter = DriftMeter(watchers, Control(held_out.samples, self.synthetic, self.labels), context, device)

    def evaluate(self, refiner: nn.Module) -> Evaluation:
        """Refine the held-out images as refining would, check their labels, and compare them with the real ones."""
        refined = self._refine(refiner)
        pairs = [
            Pair(sample, synthetic, image, labels)
            for sample, synthetic, image, labels in zip(
                self.held_out.samples, self.synthetic, refined, self.labels, strict=True
            )
        ]
        findings = run_checks(pairs, self.context)
        drift = DriftSummary()
        for found in findings:
            drift.add(found)
        count = len(refined)
        compared = realism.compare(
            realism.equalise(self.synthetic, self.size_hw, count, self.held_out.channels),
            realism.equalise(refined, self.size_hw, count, self.held_out.channels),
            self.real,
            self.seed,
        )
        failed = float(np.mean([overall(found) == "fail" for found in findings]))
        budget = self.meter.measure(self._as_batch(refined)) if self.meter else None
        return Evaluation(drift.as_dict(), compared, failed, _pictures(self.synthetic, refined), budget)

    def _as_batch(self, refined: list[FloatArray]) -> Tensor:
        return torch.from_numpy(np.stack(refined)).permute(0, 3, 1, 2).to(self.device)

    def _refine(self, refiner: nn.Module) -> list[FloatArray]:
        """Refined and quantised to the images' own bit depth, as they would be stored."""
        refiner.eval()
        try:
            with torch.inference_mode():
                refined = refine_images(self._run(refiner), self.synthetic)
        finally:
            refiner.train()
        if not all(np.isfinite(image).all() for image in refined):
            raise TrainingError(f"the refiner gives NaN or infinite pixels, so training cannot go on; {WHAT_TO_TRY}")
        return [to_float(from_float(image, self.held_out.bits)) for image in refined]

    def _run(self, refiner: nn.Module) -> Runner:
        def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
            batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
            result: NDArray[np.float32] = refiner(batch).float().cpu().numpy()
            return result

        return run


def _pictures(synthetic: Sequence[FloatArray], refined: Sequence[FloatArray], count: int = 16) -> NDArray[np.uint8]:
    """Up to `count` pairs of the first image's shape, synthetic above refined, eight to a row: (H, W, C) uint8."""
    shape = synthetic[0].shape
    chosen = [i for i, image in enumerate(synthetic) if image.shape == shape][:count]
    chosen = chosen[: len(chosen) // 8 * 8] or chosen
    across = min(8, len(chosen))
    rows = []
    for start in range(0, len(chosen), across):
        row = chosen[start : start + across]
        if len(row) == across:
            rows += [np.concatenate([kind[i] for i in row], axis=1) for kind in (synthetic, refined)]
    grid = from_float(np.concatenate(rows, axis=0), 8)
    return np.asarray(grid, dtype=np.uint8)
