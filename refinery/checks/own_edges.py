"""Did a round thing stay though edges of others that cross it moved? Lids drag the window of an iris with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._displacement import look, measure
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.checks._owned import without_others
from refinery.checks._uncertainty import FAIL_SIGMAS, lower_bound_px, principal_sigmas, upper_bound_px
from refinery.checks._windows import Windows
from refinery.sample import Finding, Label

TYPES: tuple[str, ...] = ("keypoint", "polygon")
GRANTS = False
KINDS = ("point", "contour")
CHECK = "own_edges"
DIFFERS_SIGMAS = 1.6
"""By how many of its own standard errors, which are cautious, the rest of a window must differ from the whole."""


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A pass for each label that has moved beyond the tolerance by its window, but not by what of that is its own.

    What of a window lies on polygons of other things is left out (see `_owned`), and the rest is measured alone. It
    contradicts the whole when it differs from it by more than its own error and may have stayed within the tolerance.
    A pass says no more than that: it grants none, and takes a fail of geometry back to abstain.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    for measured in measured_labels(batch, context.radius_px):
        if measured.kind not in KINDS or measured.found is None:
            continue
        for i, finding in _contradictions(measured, batch, context):
            findings[i].append(finding)
    return findings


def _contradictions(measured: MeasuredLabels, batch: CheckBatch, context: CheckContext) -> list[tuple[int, Finding]]:
    """(pair, finding) of the labels whose own edges say otherwise than their windows."""
    assert measured.found is not None
    assert measured.windows is not None
    chosen = np.flatnonzero(_fails_by_window(measured, context))
    if not len(chosen):
        return []
    jobs = [measured.jobs[m] for m in chosen.tolist()]
    windows = _selected(measured.windows, chosen)
    own = without_others(windows, [label for _, label in jobs], [batch.pairs[i].labels for i, _ in jobs])
    crossed = np.flatnonzero((own.area_px < windows.area_px).astype(bool))
    if not len(crossed):
        return []
    jobs = [jobs[m] for m in crossed.tolist()]
    return _compared(jobs, measured.found.shift_px[chosen[crossed]], _selected(own, crossed), batch, context)


def _fails_by_window(measured: MeasuredLabels, context: CheckContext) -> NDArray[np.bool_]:
    """Which labels `geometry` may fail: clearly found beyond the tolerance, or at the end of the search (M,)."""
    assert measured.found is not None
    assert measured.windows is not None
    found, names = measured.found, [label.name for _, label in measured.jobs]
    shift, spread = _across(measured.windows, found.shift_px, found.covariance)
    sigmas, axes = principal_sigmas(spread)
    limits = {name: _limits(context, name) for name in set(names)}
    tolerance, in_sigmas, in_px = np.array([limits[name] for name in names]).T
    by_sigmas = lower_bound_px(shift, axes, in_sigmas[:, None] * np.maximum(sigmas, 1e-3))
    lower = np.maximum(by_sigmas, lower_bound_px(shift, axes, np.repeat(in_px[:, None], 2, axis=1)))
    return np.asarray(((lower > tolerance) | found.at_border) & (found.confidence >= context.confidence_gate))


def _limits(context: CheckContext, name: str) -> tuple[float, float, float]:
    """Tolerance in px, and what `geometry` takes off a shift, in standard errors and in px."""
    in_sigmas = context.threshold("geometry.fail_sigmas", name, FAIL_SIGMAS)
    return context.tolerance(name), in_sigmas, context.threshold("geometry.fail_px", name, np.inf)


def _compared(
    jobs: Sequence[tuple[int, Label]],
    whole_px: NDArray[np.float64],
    own: Windows,
    batch: CheckBatch,
    context: CheckContext,
) -> list[tuple[int, Finding]]:
    """Findings of the labels whose own windows contradict the shifts that were measured on all of them."""
    image_of = np.array([i for i, _ in jobs], dtype=np.intp)
    found = measure(look(batch.synthetic_field, image_of, own), batch.refined_field, context.radius_px)
    shift, spread = _across(own, found.shift_px, found.covariance)
    whole, _ = _across(own, whole_px, found.covariance)
    sigmas, axes = principal_sigmas(spread)
    least = lower_bound_px(shift, axes, FAIL_SIGMAS * sigmas)
    apart = lower_bound_px(whole - shift, axes, DIFFERS_SIGMAS * sigmas)
    most = upper_bound_px(shift, spread)
    clear = (found.confidence >= context.confidence_gate) & ~found.at_border
    findings = []
    for m, (i, label) in enumerate(jobs):
        if clear[m] and apart[m] > 0 and least[m] <= context.tolerance(label.name):
            findings.append((i, _finding(label, shift[m], float(least[m]), float(most[m]))))
    return findings


def _across(
    windows: Windows, shift: NDArray[np.float64], spread: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Shifts (M, 2) and covariances as the labels see them; see `Windows.facing`."""
    if windows.facing is None:
        return shift, spread
    facing = windows.facing
    return np.matmul(facing, shift[:, :, None])[:, :, 0], np.matmul(np.matmul(facing, spread), facing)


def _selected(windows: Windows, chosen: NDArray[np.intp]) -> Windows:
    """Some of the windows."""
    expected = None if windows.expected is None else windows.expected[chosen]
    facing = None if windows.facing is None else windows.facing[chosen]
    outline = None if windows.outline is None else (windows.outline[0][chosen], windows.outline[1][chosen])
    return Windows(windows.points_xy[chosen], windows.area_px[chosen], expected, facing, outline)


def _finding(label: Label, shift: NDArray[np.float64], lower_px: float, upper_px: float) -> Finding:
    dx, dy = shift.tolist()
    return Finding(
        label.name,
        label.type,
        "pass",
        round(float(np.hypot(dx, dy)), 3),
        "px",
        "its own edges stayed",
        CHECK,
        label.item,
        (round(dx, 3), round(dy, 3)),
        round(lower_px, 3),
        round(upper_px, 3),
    )
