"""Did a label change its size, its direction or its proportions, which a shift of all of it does not show?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from refinery.checks._affine import OutlineMotions, outline_motions
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.checks._overlap import bent_iou
from refinery.sample import Finding, Label

TYPES: tuple[str, ...] = ("box", "polygon", "instance_mask", "semantic_mask")
GRANTS = False
SHARES = {"error_px": 0.1, "error_sigmas": 0.1}
"""Of a label's false alarms, what each quantity may have."""

DEFAULTS = {"error_px": 0.8, "error_sigmas": 3.0}
MIN_SEEN = 0.75
"""Of an outline's parts; what is half covered says nothing about its size."""

LIMITS = {"error_px": (0.2, 2.0), "error_sigmas": (1.8, 8.0)}


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A fail for each outline that scale, rotation or shear moved by more than the tolerance, errors taken off.

    drift: how far the outline went, with the shift, px; for boxes and masks also `iou` (see `_affine`). lower: what is
    left of the bend alone when what measuring errs by is taken off, in px or in standard errors, whichever leaves more.
    It never passes anything.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    for measured, motions in _outlined(batch, context):
        lower = _lower_px(measured, motions, context)
        for m in np.flatnonzero(_clear(measured, context)).tolist():
            i, label = measured.jobs[m]
            if label.type in TYPES and lower[m] > context.tolerance(label.name):
                findings[i].append(_objection(label, motions, m, lower[m], context.tolerance(label.name)))
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """(quantity, label name, value) of each outline that is clearly found: what it seems to bend by.

    "error_px": how far; "error_sigmas": in standard errors.
    """
    for measured, motions in _outlined(batch, context):
        for m in np.flatnonzero(_clear(measured, context)).tolist():
            label = measured.jobs[m][1]
            if label.type in TYPES:
                yield "error_px", label.name, float(motions.bend_px[m])
                yield "error_sigmas", label.name, float(motions.bend_sigmas[m])


def _outlined(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[MeasuredLabels, OutlineMotions]]:
    """The labels of a batch that have an outline, and how those moved."""
    all_measured = measured_labels(batch, context.radius_px)
    for measured, motions in zip(all_measured, outline_motions(batch, context.radius_px), strict=True):
        if motions is not None:
            yield measured, motions


def _clear(measured: MeasuredLabels, context: CheckContext) -> NDArray[np.bool_]:
    """Outlines inside the frame of which most parts are found again: (M,)."""
    found = measured.found
    assert found is not None
    whole = (found.inside >= 1.0) & ~found.at_border & (np.isfinite(found.part_px).mean(axis=1) >= MIN_SEEN)
    return np.asarray(whole & (found.confidence >= context.confidence_gate))


def _lower_px(measured: MeasuredLabels, motions: OutlineMotions, context: CheckContext) -> list[float]:
    """What is left of each bend when errors are taken off, in px or in standard errors, whichever leaves more: M."""
    names = [label.name for _, label in measured.jobs]
    limits = {name: [context.threshold(f"contour.{q}", name, DEFAULTS[q]) for q in SHARES] for name in set(names)}
    error_px, error_sigmas = np.array([limits[name] for name in names], dtype=np.float64).T
    bend, sigmas = motions.bend_px, np.maximum(motions.bend_sigmas, 1e-6)
    lower: list[float] = np.maximum(bend - error_px, bend * (1.0 - error_sigmas / sigmas)).tolist()
    return lower


def _objection(label: Label, motions: OutlineMotions, m: int, lower_px: float, tolerance_px: float) -> Finding:
    drift = max(lower_px, float(motions.drift_px[m]))
    iou = bent_iou(label, motions.shift_px[m], motions.linear[m], motions.centre[m])
    return Finding(
        label.name, label.type, "fail", round(drift, 3), "px", f"its outline moved by more than {tolerance_px:g} px",
        "contour", label.item, None, round(lower_px, 3), round(max(drift, float(motions.upper_px[m])), 3), iou,
    )  # fmt: skip
