"""Is anything left of what the source shows? A picture that became one flat colour has lost every label in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refinery.checks import _evidence as limits
from refinery.checks._batch import CLIPPED, CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._evidence import Evidence, edges_left, evidence_in, evidence_of_images, is_noise
from refinery.checks._measured import GEOMETRIC, IMAGE_LABEL, measured_labels
from refinery.checks._windows import Windows, disc_windows
from refinery.regions import PLACELESS, regions
from refinery.sample import Finding, FloatArray, Label

TYPES: tuple[str, ...] = (*GEOMETRIC, *PLACELESS, "depth")
GRANTS = False
LABEL = "evidence"
GONE = "gone"
"""How the reason of every finding of this check begins."""

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
            findings.append(objections(labels, whole))
        else:
            lost_labels = (label for label in labels if (i, label.name, label.item) in flat)
            findings.append([_objection(label, "its place became one flat colour") for label in lost_labels])
    return findings


def objections(labels: Sequence[Label], reason: str) -> list[Finding]:
    """A fail for a picture of which nothing is left, and one for each of its labels and the stand-in for geometry."""
    whole = Finding(LABEL, LABEL, "fail", unit="", reason=f"{GONE}: {reason}", check=LABEL)
    stand_in = () if any(label.type in GEOMETRIC for label in labels) else (Label(IMAGE_LABEL, "box", np.zeros(0)),)
    return [whole, *(_objection(label, reason) for label in (*labels, *stand_in))]


def gone(batch: CheckBatch) -> list[str]:
    """Why nothing is left of each source's picture; empty where something is, or where the source shows nothing.

    With smoothed values in levels of 255: flat: they lie less than 4 apart, and those of the source at least 16. Lost:
    they deviate by less than 8, and by a quarter of the source's at most, and neither edges nor colours follow the
    source (S(0) < 0.2, R < 0.7). Noise: as little of both as no look leaves (0.15), and the values differ from pixel to
    pixel, however much; images of few pixels are not judged by this. Another picture is not gone but the wrong one.
    """
    found = evidence_of_images(batch)
    faint = found.is_faint
    noise = found.shows & (found.colours < limits.NOISE) & (batch.size_hw[0] * batch.size_hw[1] >= limits.NOISE_PX)
    reasons = []
    for n, flat in enumerate(found.is_flat.tolist()):
        looks_lost = not flat and bool(faint[n] or noise[n])
        edges = edges_left(batch.synthetic_field[n], batch.refined_field[n]) if looks_lost else 1.0
        lost = (faint[n] and edges < limits.FAINT_EDGES) or (
            noise[n] and edges < limits.NOISE and is_noise(batch.refined_images[n], batch.refined_smoothed[n])
        )
        told = _described(batch.pairs[n].refined) if flat else "nothing of its source is found in the image"
        reasons.append(told if flat or lost else "")
    return reasons


def is_gone(findings: Sequence[Finding]) -> bool:
    """Whether the findings of a pair say that its whole picture is gone."""
    return any(one.label == LABEL and one.check == LABEL and one.verdict == "fail" for one in findings)


def _described(refined: FloatArray) -> str:
    values = np.median(refined, axis=(0, 1))
    ends = {"black": bool((values <= -CLIPPED).all()), "white": bool((values >= CLIPPED).all())}
    colour = next((name for name, holds in ends.items() if holds), "one flat colour")
    return f"the image became {colour}"


def _objection(label: Label, reason: str) -> Finding:
    return Finding(
        label.name, label.type, "fail", unit=label.unit, reason=f"{GONE}: {reason}", check=LABEL, item=label.item
    )


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
