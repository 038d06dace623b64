"""Is what a label points at still there, all of it? What of its own edges is found again at the place it moved to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._content import content_lost
from refinery.checks._context import CheckContext
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.checks._things import GEOMETRIC, IMAGE_LABEL
from refinery.sample import Finding

TYPES: tuple[str, ...] = GEOMETRIC
GRANTS = False
SHARES = {"gone": 0.1, "covered": 0.1}
"""Of a label's false alarms, what each quantity may have."""

DEFAULTS = {"gone": 0.65, "covered": 0.6}
LIMITS = {"gone": (0.5, 0.9), "covered": (0.6, 0.9)}
NEIGHBOURS = 4
MIN_PART_ENERGY = 0.4
"""Parts that hold less than this of their even share of the edges say nothing."""

LOST = 0.3
"""Below this the colours in a window can be told from the source's, which speaks for what is there."""

MIN_ENERGY = 0.01
MIN_INSIDE = 0.5
MAX_CLIPPED = 0.5


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A fail for each label that is gone or partly covered; nothing about the others.

    gone: 1 - S at the peak, see `_displacement.measure`. covered: 1 - the lowest over the highest S of four
    neighbouring twelfths of the label's window, so that what dims the whole image does not count. Both are less where
    the colours in the window are still those of the source through some map (`_content`). What is black or white where
    the source is not can be gone, like anything else; whether it is partly covered cannot be read.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    for measured in measured_labels(batch, context.radius_px):
        values = _quantities(batch, measured)
        limits = _limits(context, [label.name for _, label in measured.jobs])
        missing = {name: values[name] > limits[name] for name in values}
        for m in np.flatnonzero(np.logical_or.reduce([*missing.values()])).tolist() if missing else ():
            i, label = measured.jobs[m]
            readable = _judgeable(measured, m)
            over = [name for name in values if missing[name][m] and (readable or name == "gone")]
            if label.name != IMAGE_LABEL and over and _visible(measured, m):
                share = 1.0 - values[over[0]][m]
                what = "gone" if over[0] == "gone" else "partly covered"
                reason = f"{what}: at most {share:.0%} of {'it' if what == 'gone' else 'a part'} found again"
                unit = label.unit or "px"
                findings[i].append(Finding(label.name, label.type, "fail", None, unit, reason, "presence", label.item))
    return findings


def _limits(context: CheckContext, labels: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The most that each quantity may be, for each of M labels: (M,)."""
    return {
        quantity: np.array([context.threshold(f"presence.{quantity}", name, default) for name in labels])
        for quantity, default in DEFAULTS.items()
    }


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """(quantity, label name, value) of each label that can be seen, the more suspicious the higher."""
    for measured in measured_labels(batch, context.radius_px):
        values = _quantities(batch, measured)
        for m, (_, label) in enumerate(measured.jobs):
            if values and label.name != IMAGE_LABEL and _judgeable(measured, m):
                yield from ((name, label.name, float(values[name][m])) for name in values)


def _judgeable(measured: MeasuredLabels, m: int) -> bool:
    """Seen in the synthetic image, and readable in the refined one."""
    assert measured.clipped is not None
    return _visible(measured, m) and bool(measured.clipped[m] <= MAX_CLIPPED)


def _visible(measured: MeasuredLabels, m: int) -> bool:
    """Seen in the synthetic image."""
    assert measured.found is not None
    return bool(measured.found.inside[m] >= MIN_INSIDE and measured.found.energy[m] >= MIN_ENERGY)


def _quantities(batch: CheckBatch, measured: MeasuredLabels) -> dict[str, NDArray[Any]]:
    """gone and covered of each window: (M,); empty for labels without a window."""
    if measured.found is None:
        return {}
    presence, share = measured.found.part_presence, measured.found.part_energy
    count = presence.shape[1]
    runs = (np.arange(count)[:, None] + np.arange(min(NEIGHBOURS, count))) % count
    energy = share[:, runs].sum(axis=2)
    found = (presence * share)[:, runs].sum(axis=2) / np.maximum(energy, 1e-9)
    enough = energy > MIN_PART_ENERGY * NEIGHBOURS / count
    lowest = np.where(enough, found, np.inf).min(axis=1)
    highest = np.maximum(np.where(enough, found, -np.inf).max(axis=1), 0.05)
    covered = np.where(enough.any(axis=1), 1.0 - np.clip(lowest / highest, -1.0, 1.0), 0.0)
    doubt = np.minimum(content_lost(batch, measured) / LOST, 1.0)
    return {"gone": doubt * (1.0 - measured.found.presence), "covered": doubt * covered}
