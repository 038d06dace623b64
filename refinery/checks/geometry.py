"""Did what a label points at stay where it is? Orientation correlation in a window of the label's own shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._displacement import Displacements, measure
from refinery.checks._uncertainty import lower_bound_px, principal_sigmas, upper_bound_px
from refinery.checks._windows import (
    DISC_MARGIN,
    Windows,
    contour_windows,
    default_radius_px,
    disc_windows,
    edge_band,
    image_window,
    mask_windows,
)
from refinery.sample import Finding, FloatArray, Label, Verdict

TYPES: tuple[str, ...] = ("keypoint", "box", "polygon", "instance_mask", "semantic_mask")
GRANTS = True
IMAGE_LABEL = "image"
MIN_EXTENT_PX = 4.0
FAR_PX = 1e6
MIN_ENERGY = 0.01
MIN_INSIDE = 0.5


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each geometric label; for a pair that has none, one for the whole image, named "image".

    The drift of a keypoint or a box is the length of its shift; that of an outline (polygon, mask) is what of the shift
    crosses it. pass: the upper 95% bound of the drift is within the tolerance. fail: its lower bound is above it, or
    the label is at the end of the search. Between them, or when no clear peak stands out: abstain. Flat, tiny, outside
    the frame: not_checkable.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    by_kind: dict[str, list[tuple[int, Label]]] = {}
    for i, pair in enumerate(batch.pairs):
        for label in _geometric(pair.labels):
            by_kind.setdefault(_kind(label), []).append((i, label))
    for kind, jobs in by_kind.items():
        _check_kind(kind, jobs, batch, context, findings)
    return findings


def _geometric(labels: Sequence[Label]) -> Sequence[Label]:
    found = [label for label in labels if label.type in TYPES]
    return found or [Label(IMAGE_LABEL, "box", np.zeros(0))]


def _kind(label: Label) -> str:
    """How the label's window is built; "" when it cannot be."""
    if label.name == IMAGE_LABEL and label.value.size == 0:
        return IMAGE_LABEL
    if _too_small(label):
        return ""
    return {"keypoint": "point", "box": "box", "polygon": "contour"}.get(label.type, "mask")


def _too_small(label: Label) -> bool:
    """True for what has no window: NaN or absurd numbers, under 4 px, a mask without an edge."""
    if label.type in ("instance_mask", "semantic_mask"):
        return not edge_band(label.value).any()
    values: list[float] = label.value.ravel().tolist()
    if not sum(map(abs, values)) < FAR_PX:
        return True
    if label.type == "keypoint":
        return not 0.0 <= label.extent_px < FAR_PX
    x, y = values[0::2], values[1::2]
    return min(max(x) - min(x), max(y) - min(y)) < MIN_EXTENT_PX


def _check_kind(
    kind: str, jobs: list[tuple[int, Label]], batch: CheckBatch, context: CheckContext, findings: list[list[Finding]]
) -> None:
    """Measure all labels of one kind at once and append a finding for each."""
    if not kind:
        reason = f"smaller than {MIN_EXTENT_PX:g} px, without an edge, or far outside the frame"
        for i, label in jobs:
            findings[i].append(_finding(label, "not_checkable", reason))
        return
    windows = _windows(kind, [label for _, label in jobs], batch.size_hw)
    image_of = np.array([i for i, _ in jobs], dtype=np.intp)
    measured = measure(batch.synthetic_field, batch.refined_field, image_of, windows, context.radius_px)
    drifts = _drifts(measured, windows.facing)
    for m, (i, label) in enumerate(jobs):
        findings[i].append(_judge(label, measured, m, drifts[m], context))


def _windows(kind: str, labels: Sequence[Label], size_hw: tuple[int, int]) -> Windows:
    if kind == IMAGE_LABEL:
        return image_window(size_hw, len(labels))
    values = [label.value for label in labels]
    if kind == "point":
        radii = [DISC_MARGIN * label.extent_px or default_radius_px(size_hw) for label in labels]
        return disc_windows(np.array(values, dtype=np.float32), np.repeat(np.array(radii)[:, None], 2, axis=1))
    if kind == "box":
        corners = np.array(values, dtype=np.float32).reshape(-1, 2, 2)
        return disc_windows(corners.mean(axis=1), np.abs(corners[:, 1] - corners[:, 0]) / 2 * np.float32(DISC_MARGIN))
    return contour_windows(values) if kind == "contour" else mask_windows(values)


@dataclass(frozen=True, slots=True)
class _Drift:
    """How far a label moved: its drift, the bounds of that, and its standard error where it is seen best and worst."""

    px: float
    lower_px: float
    upper_px: float
    best_sigma_px: float
    worst_sigma_px: float


def _drifts(measured: Displacements, facing: FloatArray | None) -> list[_Drift]:
    """Drift of each window: the length of its shift, or for an outline of what crosses it (see `Windows.facing`)."""
    shift, spread = measured.shift_px, measured.covariance
    if facing is not None:
        shift = np.matmul(facing, shift[:, :, None])[:, :, 0]
        spread = np.matmul(np.matmul(facing, spread), facing)
    sigmas, axes = principal_sigmas(spread)
    length = np.hypot(shift[:, 0], shift[:, 1])
    columns = (length, lower_bound_px(shift, sigmas, axes), upper_bound_px(shift, spread), sigmas[:, 0], sigmas[:, 1])
    return [_Drift(*row) for row in np.stack(columns, axis=1).tolist()]


def _judge(label: Label, measured: Displacements, m: int, drift: _Drift, context: CheckContext) -> Finding:
    """Verdict of window m: from the reasons not to measure, over those not to trust, to the drift itself."""
    if measured.inside[m] < MIN_INSIDE:
        return _finding(label, "not_checkable", "outside the frame")
    if measured.energy[m] < MIN_ENERGY:
        return _finding(label, "not_checkable", "flat: nothing to be seen at this label")
    if measured.confidence[m] < context.confidence_gate:
        return _finding(label, "abstain", f"not clearly found again (confidence {measured.confidence[m]:.2f})")
    dx, dy = measured.shift_px[m].tolist()
    found = partial(
        _finding,
        label,
        drift_px=round(drift.px, 3),
        shift_px=(round(dx, 3), round(dy, 3)),
        bounds_px=(round(drift.lower_px, 3), round(drift.upper_px, 3)),
    )
    if measured.at_border[m]:
        return found("fail", f"moved beyond {context.radius_px} px")
    tolerance = context.tolerance(label.name)
    if drift.lower_px > tolerance:
        return found("fail", f"moved by more than {tolerance:g} px")
    if drift.upper_px <= tolerance:
        return found("pass")
    one_way = drift.worst_sigma_px > tolerance > 2 * drift.best_sigma_px
    return found("abstain", "seen across its edge only, not along it" if one_way else _may_have_moved(drift))


def _may_have_moved(drift: _Drift) -> str:
    return f"moved by {drift.px:.2f} px, but it may be up to {drift.upper_px:.2f} px"


def _finding(
    label: Label,
    verdict: Verdict,
    reason: str = "",
    drift_px: float | None = None,
    shift_px: tuple[float, float] | None = None,
    bounds_px: tuple[float | None, float | None] = (None, None),
) -> Finding:
    return Finding(
        label.name, label.type, verdict, drift_px, "px", reason, "geometry", label.item, shift_px, *bounds_px
    )
