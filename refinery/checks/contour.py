"""Did a label change its size, its direction or a part of its outline, which a shift of all of it does not show?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.checks._outline import upper_moves_px
from refinery.sample import Finding, Label

TYPES: tuple[str, ...] = ("box", "polygon", "instance_mask", "semantic_mask")
GRANTS = False
SHARES = {"error_px": 0.1}
DEFAULTS = {"error_px": 0.8}
LIMITS = {"error_px": (0.2, 2.0)}


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A fail for each outline that moved across itself by more than the tolerance beyond what measuring errs by.

    Each of twelve parts is searched for across itself, and the affine motion that fits them says how the outline bends:
    its moves less those of the shift of the whole, which is for `geometry` to judge. drift: what 95% of the outline
    moved at most, px; for boxes and masks also `iou`, from the area that the outline sweeps. It never passes anything.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    for measured in measured_labels(batch, context.radius_px):
        bends = _bends_px(measured)
        for m, (i, label) in enumerate(measured.jobs):
            if bends is not None and label.type in TYPES and _clear(measured, m, context):
                found = _judge(label, measured, float(bends[m]), m, context)
                findings[i].extend([found] if found is not None else [])
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """("error_px", label name, value) of each outline that is clearly found: what it seems to bend by."""
    for measured in measured_labels(batch, context.radius_px):
        bends = _bends_px(measured)
        for m, (_, label) in enumerate(measured.jobs):
            if bends is not None and label.type in TYPES and _clear(measured, m, context):
                yield "error_px", label.name, float(bends[m])


def _bends_px(measured: MeasuredLabels) -> NDArray[Any] | None:
    """Root mean square of what each point of the outlines moved across itself beyond the whole: (M,); NaN if unseen."""
    if measured.found is None or measured.windows is None or measured.windows.outline is None:
        return None
    own = measured.found.outline_px - _whole_px(measured)
    return np.asarray(np.sqrt((own**2).mean(axis=1)))


def _whole_px(measured: MeasuredLabels) -> NDArray[Any]:
    """What the shift of the whole moves each point of the outlines across itself: (M, L)."""
    assert measured.found is not None
    assert measured.windows is not None
    assert measured.windows.outline is not None
    moved: NDArray[Any] = np.matmul(measured.windows.outline[1], measured.found.shift_px[:, :, None])[..., 0]
    return moved


def _clear(measured: MeasuredLabels, m: int, context: CheckContext) -> bool:
    found = measured.found
    assert found is not None
    if found.inside[m] < 1.0 or found.at_border[m] or not np.isfinite(found.outline_px[m, 0]):
        return False
    return bool(found.confidence[m] >= context.confidence_gate)


def _judge(label: Label, measured: MeasuredLabels, bend: float, m: int, context: CheckContext) -> Finding | None:
    """A fail when the lower bound of the bend is over the tolerance."""
    assert measured.found is not None
    error, tolerance = (
        context.threshold("contour.error_px", label.name, DEFAULTS["error_px"]),
        context.tolerance(label.name),
    )
    lower = bend - error
    if lower <= tolerance:
        return None
    moves = np.abs(measured.found.outline_px[m])
    drift = max(lower, float(np.quantile(moves, 0.95)))
    upper = upper_moves_px(measured.found.part_px[m : m + 1], measured.found.outline_px[m : m + 1])
    return Finding(
        label.name, label.type, "fail", round(drift, 3), "px", f"its outline moved by more than {tolerance:g} px",
        "contour", label.item, None, round(lower, 3), round(max(drift, float(upper[0])), 3), _iou(label, measured, m),
    )  # fmt: skip


def _iou(label: Label, measured: MeasuredLabels, m: int) -> float | None:
    """IoU of the label before and after, from the area that its outline swept; None for a polygon."""
    assert measured.found is not None
    assert measured.windows is not None
    if label.type == "polygon":
        return None
    moves = measured.found.outline_px[m]
    if label.type == "box":
        width, height = (float(abs(label.value[k + 2] - label.value[k])) for k in (0, 1))
        area, length = width * height, 2 * (width + height)
    else:
        area = float(np.count_nonzero(label.value))
        length = float(measured.windows.area_px[m]) / 2
    swept = length / len(moves)
    lost, won = -np.minimum(moves, 0).sum() * swept, np.maximum(moves, 0).sum() * swept
    return round(float(max(0.0, area - lost) / max(area + won, 1e-9)), 4)
