"""Did a label change its size, its direction or a part of its outline, which a shift of all of it does not show?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.sample import Finding, Label

TYPES: tuple[str, ...] = ("box", "polygon", "instance_mask", "semantic_mask")
GRANTS = False
SHARES = {"error_px": 0.1}
DEFAULTS = {"error_px": 1.0}
LIMITS = {"error_px": (0.3, 2.0)}
FOUND = 0.5
"""A part with less correlation than this is not measured: its move is taken for that of the whole."""

MIN_PARTS = 6


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A fail for each outline that moved across itself by more than the tolerance beyond what measuring errs by.

    The outline is cut into twelve segments; each one's move across itself is that of the whole plus its own Newton
    step. drift: the larger of the median size and the mean signed one of these steps, in px; for boxes and masks also
    `iou`, from the area that the segments sweep. What moved as a whole is for `geometry` to say.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    for measured in measured_labels(batch, context.radius_px):
        own = _own_moves(measured)
        for m, (i, label) in enumerate(measured.jobs):
            if own is None or label.type not in TYPES or not _clear(measured, own, m, context):
                continue
            found = _judge(label, measured, own[m], m, context)
            if found is not None:
                findings[i].append(found)
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """("error_px", label name, value) of each outline that is clearly found: what it seems to bend by."""
    for measured in measured_labels(batch, context.radius_px):
        own = _own_moves(measured)
        for m, (_, label) in enumerate(measured.jobs):
            if own is not None and label.type in TYPES and _clear(measured, own, m, context):
                yield "error_px", label.name, bend_px(own[m])


def bend_px(moves_px: NDArray[Any]) -> float:
    """How far segments moved beyond the shift of the whole: the larger of the median size and the mean signed one.

    moves_px: (G,), NaN for segments not found.
    """
    found = moves_px[np.isfinite(moves_px)]
    return float(max(np.median(np.abs(found)), abs(found.mean())))


def _own_moves(measured: MeasuredLabels) -> NDArray[Any] | None:
    """What each segment moved across itself beyond the whole (M, G), NaN where it is not found again."""
    if measured.found is None or measured.windows is None or measured.windows.outward is None:
        return None
    return np.where(measured.found.part_presence >= FOUND, measured.found.part_px, np.nan)


def _clear(measured: MeasuredLabels, own: NDArray[Any], m: int, context: CheckContext) -> bool:
    assert measured.found is not None
    if measured.found.inside[m] < 1.0 or measured.found.at_border[m]:
        return False
    return bool(np.isfinite(own[m]).sum() >= MIN_PARTS and measured.found.confidence[m] >= context.confidence_gate)


def _judge(label: Label, measured: MeasuredLabels, own: NDArray[Any], m: int, context: CheckContext) -> Finding | None:
    """A fail when the lower bound of the bend is over the tolerance."""
    bend, error = bend_px(own), context.threshold("contour.error_px", label.name, DEFAULTS["error_px"])
    tolerance = context.tolerance(label.name)
    lower = bend - error
    if lower <= tolerance:
        return None
    return Finding(
        label.name, label.type, "fail", round(bend, 3), "px", f"its outline moved by more than {tolerance:g} px",
        "contour", label.item, None, round(lower, 3), round(bend + error, 3), _iou(label, measured, own, m),
    )  # fmt: skip


def _iou(label: Label, measured: MeasuredLabels, own: NDArray[Any], m: int) -> float | None:
    """IoU of the label before and after, from the area that its segments swept; None for a polygon."""
    assert measured.found is not None
    assert measured.windows is not None
    assert measured.windows.outward is not None
    if label.type == "polygon":
        return None
    whole = measured.windows.outward[m] @ measured.found.shift_px[m]
    moves = whole + np.where(np.isfinite(own), own, 0.0)
    if label.type == "box":
        width, height = (float(abs(label.value[k + 2] - label.value[k])) for k in (0, 1))
        area, length = width * height, 2 * (width + height)
    else:
        area = float(np.count_nonzero(label.value))
        length = float(measured.windows.area_px[m]) / 2
    swept = length / len(moves)
    lost, won = -np.minimum(moves, 0).sum() * swept, np.maximum(moves, 0).sum() * swept
    return round(float(max(0.0, area - lost) / max(area + won, 1e-9)), 4)
