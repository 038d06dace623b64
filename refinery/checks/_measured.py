"""Where each geometric label of a batch is seen in the refined images: measured once, read by several checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from refinery.checks._batch import CheckBatch
from refinery.checks._displacement import Displacements, Seen, look, measure
from refinery.checks._things import GEOMETRIC, IMAGE_LABEL, default_radius_px, is_too_small
from refinery.checks._windows import (
    DISC_MARGIN,
    Windows,
    contour_windows,
    disc_windows,
    image_window,
    mask_windows,
)
from refinery.sample import FloatArray, Label


@dataclass(frozen=True, slots=True)
class MeasuredLabels:
    """All labels of a batch whose windows are built alike.

    kind: point, box, contour, mask, image; "" for labels without a window, then the rest is None. jobs: (pair, label).
    clipped: (M,) share of the window that is clipped in the refined image and not in the synthetic one.
    """

    kind: str
    jobs: list[tuple[int, Label]]
    windows: Windows | None = field(default=None, repr=False)
    found: Displacements | None = field(default=None, repr=False)
    clipped: FloatArray | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Source:
    """Labels whose windows are built alike, and what is seen of them in the synthetic images; see `MeasuredLabels`."""

    kind: str
    jobs: list[tuple[int, Label]]
    windows: Windows | None = None
    seen: Seen | None = field(default=None, repr=False)


def measured_labels(batch: CheckBatch, radius_px: int) -> list[MeasuredLabels]:
    """Every geometric label of the batch, searched for within radius_px; the frame where a pair has none."""
    if radius_px not in batch.measured:
        if batch.origin.sources is None:
            batch.origin.sources = _sources(batch)
        batch.measured[radius_px] = [_measured(source, batch, radius_px) for source in batch.origin.sources]
    found: list[MeasuredLabels] = batch.measured[radius_px]
    return found


def _sources(batch: CheckBatch) -> list[_Source]:
    """The geometric labels of the batch's pairs, by how their windows are built."""
    by_kind: dict[str, list[tuple[int, Label]]] = {}
    for i, pair in enumerate(batch.pairs):
        for label in _geometric(pair.labels):
            by_kind.setdefault(_kind(label), []).append((i, label))
    found = []
    for kind, jobs in by_kind.items():
        windows = _windows(kind, [label for _, label in jobs], batch.size_hw) if kind else None
        image_of = np.array([i for i, _ in jobs], dtype=np.intp)
        seen = None if windows is None else look(batch.synthetic_field, image_of, windows)
        found.append(_Source(kind, jobs, windows, seen))
    return found


def _measured(source: _Source, batch: CheckBatch, radius_px: int) -> MeasuredLabels:
    if source.windows is None or source.seen is None:
        return MeasuredLabels(source.kind, source.jobs)
    found = measure(source.seen, batch.refined_field, radius_px)
    clipped = _clipped(batch, source.seen)
    return MeasuredLabels(source.kind, source.jobs, source.windows, found, clipped)


def _clipped(batch: CheckBatch, seen: Seen) -> FloatArray:
    """Share of the points at which the refined image is black or white in all channels and its source is not: (M,)."""
    newly = batch.newly_clipped
    if not newly.any():
        return np.zeros(len(seen.x), np.float32)
    return np.asarray(newly[seen.image_of, seen.y, seen.x].mean(axis=1), dtype=np.float32)


def _geometric(labels: Sequence[Label]) -> Sequence[Label]:
    found = [label for label in labels if label.type in GEOMETRIC]
    return found or [Label(IMAGE_LABEL, "box", np.zeros(0))]


def _kind(label: Label) -> str:
    """How the label's window is built; "" when it cannot be."""
    if label.name == IMAGE_LABEL and label.value.size == 0:
        return IMAGE_LABEL
    if is_too_small(label):
        return ""
    return {"keypoint": "point", "box": "box", "polygon": "contour"}.get(label.type, "mask")


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
