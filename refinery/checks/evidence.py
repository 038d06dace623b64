"""Is anything left of what the source shows? A picture that became one flat colour has lost every label in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinery.checks import _evidence as limits
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._evidence import Evidence, evidence_in
from refinery.checks._gone import gone, objection, objections
from refinery.checks._measured import measured_labels
from refinery.checks._things import GEOMETRIC, IMAGE_LABEL
from refinery.checks._windows import Windows, disc_windows
from refinery.regions import PLACELESS, regions
from refinery.sample import Finding, FloatArray, Label

TYPES: tuple[str, ...] = (*GEOMETRIC, *PLACELESS, "depth")
GRANTS = False
MIN_ENERGY, MIN_INSIDE = 0.01, 0.5
MIN_SIDE_PX = 4.0


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A fail for each label of which nothing is left, and one named "evidence" for each picture of which nothing is.

    A picture is gone when its source shows something and it is one colour, or strays from one by a few gray levels that
    are not the source's, or is noise (see `gone`). Every label of it fails, of whatever type, except those that could
    not be seen in the source either. A label is gone when its place became one flat colour and is not one in the
    source; a class, number, vector or text has the place of the object that it is said about. The limits are fixed: a
    refiner that makes flat pictures must not be what they are calibrated on.
    """
    reasons = gone(batch)
    unseen, flat = set[tuple[int, str, int]](), set[tuple[int, str, int]]()
    for places in _places(batch, context):
        states = zip(places.jobs, places.visible.tolist(), _flat_places(batch, places).tolist(), strict=True)
        for (i, label), seen, lost in states:
            if not seen:
                unseen.add((i, label.name, label.item))
            elif lost:
                flat.add((i, label.name, label.item))
    findings: list[list[Finding]] = []
    for i, (pair, whole) in enumerate(zip(batch.pairs, reasons, strict=True)):
        labels = [label for label in pair.labels if (i, label.name, label.item) not in unseen]
        if whole:
            findings.append(objections(pair, labels, whole))
        else:
            lost_labels = (label for label in labels if (i, label.name, label.item) in flat)
            findings.append([objection(label, "its place became one flat colour") for label in lost_labels])
    return findings


@dataclass(frozen=True)
class _Places:
    """Where M labels are. visible: (M,) in the source. edges: (M,) S where they fit best, 0 where nobody looked."""

    jobs: list[tuple[int, Label]]
    windows: Windows
    visible: NDArray[np.bool_]
    edges: FloatArray


def _places(batch: CheckBatch, context: CheckContext) -> Iterator[_Places]:
    """Labels with a geometry in their own windows, then those without one in the box of their object."""
    for measured in measured_labels(batch, context.radius_px):
        if measured.found is None or measured.windows is None or measured.kind == IMAGE_LABEL:
            continue
        seen = (measured.found.inside >= MIN_INSIDE) & (measured.found.energy >= MIN_ENERGY)
        yield _Places(measured.jobs, measured.windows, seen, measured.found.presence)
    jobs, boxes = [], []
    for i, pair in enumerate(batch.pairs):
        known = regions(pair.labels)
        for label in pair.labels if known else ():
            box = known.get((label.name, label.item))
            if box is not None and min(box[2:] - box[:2]) >= MIN_SIDE_PX:
                jobs.append((i, label))
                boxes.append(box.reshape(2, 2))
    if jobs:
        corners, count = np.stack(boxes), len(jobs)
        windows = disc_windows(corners.mean(axis=1), (corners[:, 1] - corners[:, 0]) / 2)
        yield _Places(jobs, windows, np.ones(count, dtype=bool), np.zeros(count, dtype=np.float32))


def _flat_places(batch: CheckBatch, places: _Places) -> NDArray[np.bool_]:
    """Places at which nothing is left: (M,)."""
    found = _evidence_at(batch, places.jobs, places.windows)
    return np.asarray(found.is_flat | (found.is_faint & (places.edges < limits.FAINT_PLACE)))


def _evidence_at(batch: CheckBatch, jobs: Sequence[tuple[int, Label]], windows: Windows) -> Evidence:
    height, width = batch.size_hw
    nearest = np.rint(windows.points_xy)
    x, y = nearest[..., 0], nearest[..., 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    image_of = np.array([i for i, _ in jobs], dtype=np.intp)[:, None]
    columns, rows = np.clip(x, 0, width - 1).astype(np.intp), np.clip(y, 0, height - 1).astype(np.intp)
    before, after = (images[image_of, rows, columns] for images in (batch.synthetic_smoothed, batch.refined_smoothed))
    return evidence_in(before, after, inside)
