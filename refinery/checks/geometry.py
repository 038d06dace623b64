"""Did what a label points at stay where it is? Orientation correlation in a window of the label's own shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._affine import OutlineMotions, outline_motions
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.checks._outline import upper_moves_px
from refinery.checks._overlap import AREAS, bent_iou
from refinery.checks._things import GEOMETRIC, IMAGE_LABEL, MIN_EXTENT_PX
from refinery.checks._uncertainty import FAIL_SIGMAS, lower_bound_px, principal_sigmas, upper_bound_px
from refinery.sample import Finding, Label, Verdict

TYPES: tuple[str, ...] = GEOMETRIC
GRANTS = True
SHARES = {"fail_sigmas": 0.25, "fail_px": 0.25}
"""Of a label's false alarms, what geometry may have."""

DEFAULTS = {"fail_sigmas": FAIL_SIGMAS, "fail_px": np.inf}
LIMITS = {"fail_sigmas": (3.2, 8.0), "fail_px": (0.3, 8.0)}

MIN_ENERGY = 0.01
MIN_INSIDE = 0.5
MAX_CLIPPED = 0.5


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each geometric label; for a pair that has none, one for the whole image, named "image".

    The drift of a keypoint is the length of its shift; that of a box is the move of the corner that moved most, and
    that of an outline (polygon, mask) is what 95% of it moved across itself at most, under the shift, scale and
    rotation that the image supports (see `_affine`). pass: the upper 95% bound of the drift is within the tolerance.
    fail: its lower bound is above it, or the label is at the end of the search. Between them, or when no clear peak
    stands out: abstain. Flat, tiny, outside the frame: not_checkable.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    all_measured = measured_labels(batch, context.radius_px)
    for measured, motions in zip(all_measured, outline_motions(batch, context.radius_px), strict=True):
        if measured.found is None:
            reason = f"smaller than {MIN_EXTENT_PX:g} px, without an edge, or far outside the frame"
            for i, label in measured.jobs:
                findings[i].append(_finding(label, "not_checkable", reason))
            continue
        drifts, unclear = _drifts(measured, motions, context), measured.found.confidence < context.confidence_gate
        for m, (unsure, (i, label)) in enumerate(zip(unclear.tolist(), measured.jobs, strict=True)):
            iou = None if motions is None or label.type not in AREAS else partial(bent_iou, label, *motions.of(m))
            findings[i].append(_judge(label, measured, m, drifts[m], unsure, iou, context))
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """(quantity, label name, value) of each label that can be measured, the more suspicious the higher.

    "fail_sigmas": how many standard errors a label seems to have moved, along the axis where that is most; "fail_px":
    how far. The first is sharp where the errors are known well, the second holds where they are not.
    """
    for measured in measured_labels(batch, context.radius_px):
        if measured.found is None:
            continue
        shift, _, sigmas, axes = _seen(measured)
        along = np.abs(np.matmul(shift[:, None, :], axes)[:, 0])
        most, far = (along / sigmas).max(axis=1), along.max(axis=1)
        for m, (_, label) in enumerate(measured.jobs):
            if not _unseen(measured, m) and measured.found.confidence[m] >= context.confidence_gate:
                yield "fail_sigmas", label.name, float(most[m])
                yield "fail_px", label.name, float(far[m])


@dataclass(frozen=True, slots=True)
class _Drift:
    """How far a label moved: its drift, the bounds of that, and its standard error where it is seen best and worst.

    parts_px: upper bound of how far the parts of its outline moved; 0 for a keypoint, NaN if they cannot be seen.
    """

    px: float
    lower_px: float
    upper_px: float
    best_sigma_px: float
    worst_sigma_px: float
    parts_px: float


def _drifts(measured: MeasuredLabels, motions: OutlineMotions | None, context: CheckContext) -> list[_Drift]:
    """Drift of each window: the length of its shift, or how far its outline went.

    The lower bound is that of the shift alone: no outline goes less far than its middle.
    """
    names = [label.name for _, label in measured.jobs]
    limits = {name: _limits(context, name) for name in set(names)}
    fail_sigmas, fail_px, scale = np.array([limits[name] for name in names]).T
    shift, spread, sigmas, axes = _seen(measured)
    length = np.hypot(shift[:, 0], shift[:, 1])
    by_sigmas = lower_bound_px(shift, axes, fail_sigmas[:, None] * sigmas)
    lower = np.maximum(by_sigmas, lower_bound_px(shift, axes, np.repeat(fail_px[:, None], 2, axis=1)))
    upper = upper_bound_px(shift, spread * scale[:, None, None] ** 2)
    if motions is not None:
        length, upper = np.maximum(motions.drift_px, lower), np.fmax(upper, motions.upper_px)
    columns = (length, lower, upper, sigmas[:, 0], sigmas[:, 1], _parts_px(measured))
    return [_Drift(*row) for row in np.stack(columns, axis=1).tolist()]


def _limits(context: CheckContext, name: str) -> tuple[float, float, float]:
    """What is taken off a shift before it counts, in standard errors and in px, and what its spread is scaled by."""
    in_sigmas = context.threshold("geometry.fail_sigmas", name, FAIL_SIGMAS)
    return (
        in_sigmas,
        context.threshold("geometry.fail_px", name, np.inf),
        context.threshold("geometry.scale", name, 1.0),
    )


def _parts_px(measured: MeasuredLabels) -> NDArray[Any]:
    """Upper bound of how far the parts of each label's outline moved: (M,)."""
    assert measured.found is not None
    if measured.kind in ("point", IMAGE_LABEL):
        return np.zeros(len(measured.jobs))
    return upper_moves_px(measured.found.part_px, measured.found.outline_px)


def _seen(measured: MeasuredLabels) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shifts (M, 2) as the labels see them, their covariances, and the standard errors along the axes of those."""
    assert measured.found is not None
    assert measured.windows is not None
    shift, spread, facing = measured.found.shift_px, measured.found.covariance, measured.windows.facing
    if facing is not None:
        shift = np.matmul(facing, shift[:, :, None])[:, :, 0]
        spread = np.matmul(np.matmul(facing, spread), facing)
    sigmas, axes = principal_sigmas(spread)
    return shift, spread, np.maximum(sigmas, 1e-3), axes


def _unseen(measured: MeasuredLabels, m: int) -> str:
    """Why window m cannot be looked at in the synthetic image; empty when it can."""
    assert measured.found is not None
    if measured.found.inside[m] < MIN_INSIDE:
        return "outside the frame"
    return "flat: nothing to be seen at this label" if measured.found.energy[m] < MIN_ENERGY else ""


def _judge(
    label: Label,
    labels: MeasuredLabels,
    m: int,
    drift: _Drift,
    unsure: bool,
    iou: Callable[[], float | None] | None,
    context: CheckContext,
) -> Finding:
    """Verdict of window m: from the reasons not to measure, over those not to trust, to the drift itself."""
    measured, clipped = labels.found, labels.clipped
    assert measured is not None
    assert clipped is not None
    unseen = _unseen(labels, m)
    if unseen:
        return _finding(label, "not_checkable", unseen)
    if clipped[m] > MAX_CLIPPED:
        return _finding(label, "abstain", f"unreadable: {clipped[m]:.0%} of it are black or white")
    if unsure:
        return _finding(label, "abstain", f"not clearly found again (confidence {measured.confidence[m]:.2f})")
    dx, dy = measured.shift_px[m].tolist()
    found = partial(
        _finding,
        label,
        drift_px=round(drift.px, 3),
        shift_px=(round(dx, 3), round(dy, 3)),
        bounds_px=(round(drift.lower_px, 3), round(float(np.fmax(drift.upper_px, drift.parts_px)), 3)),
    )
    if measured.at_border[m]:
        return found("fail", f"moved beyond {context.radius_px} px")
    tolerance = context.tolerance(label.name)
    found = partial(found, iou=None if iou is None else iou())
    if drift.lower_px > tolerance:
        return found("fail", f"moved by more than {tolerance:g} px")
    if drift.upper_px <= tolerance and not np.isfinite(drift.parts_px):
        return found("abstain", "too little of its outline is found again to say that it kept its size")
    if max(drift.upper_px, drift.parts_px) <= tolerance:
        return found("pass")
    one_way = drift.worst_sigma_px > tolerance > 2 * drift.best_sigma_px
    return found("abstain", "seen across its edge only, not along it" if one_way else _may_have_moved(drift))


def _may_have_moved(drift: _Drift) -> str:
    if drift.parts_px > drift.upper_px:
        return f"moved by {drift.px:.2f} px, but parts of its outline by up to {drift.parts_px:.2f} px"
    return f"moved by {drift.px:.2f} px, but it may be up to {drift.upper_px:.2f} px"


def _finding(
    label: Label,
    verdict: Verdict,
    reason: str = "",
    drift_px: float | None = None,
    shift_px: tuple[float, float] | None = None,
    bounds_px: tuple[float | None, float | None] = (None, None),
    iou: float | None = None,
) -> Finding:
    return Finding(
        label.name, label.type, verdict, drift_px, "px", reason, "geometry", label.item, shift_px, *bounds_px, iou
    )
