"""How a label's outline moved under the shift, scale and rotation that the refined image supports."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from refinery.checks._affine_bounds import of_corners, of_outline, turned_px
from refinery.checks._affine_fit import MOTIONS, AffineFit, affine_design, fit_affine
from refinery.checks._affine_points import bands, box_corners, filled_boxes
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._measured import MeasuredLabels, measured_labels

BOX_SIZE = (2, 4)
SIZE = (2, 3, 4, 5)
"""Of the six motions of a fit, those that change the edges of a box, and those that change any other outline."""

OUTLINED = ("box", "contour", "mask")
MAX_CLIPPED = 0.5
BELIEF_SIGMAS = 1.25
LEFT_OUT = 0.25
MIN_SPREAD = 0.25
"""Chosen on the battery's tune split: scale and rotation are believed from 1.25 standard errors on; what stays behind
an outline holds a growth back by up to a quarter; where nothing speaks for scale and rotation a quarter of their
variance is left."""

_FITTED: WeakKeyDictionary[CheckBatch, dict[int, list[OutlineMotions | None]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class OutlineMotions:
    """Motions of M outlines: u(x) = shift + linear (x - centre).

    support: (M,) from 0, the shift alone explains what is seen, to 1, all of the fitted scale and rotation is believed:
    1 - (1.25 / q)^4 with q their root mean square in standard errors. shift_px (M, 2), linear (M, 2, 2), centre (M, 2):
    with that much.
    drift_px, upper_px: (M,) of a box the move of the corner that moved most, of other outlines what 95% of it moved
    across itself at most; and its upper 95% bound, to which the turn of what a box holds adds.
    """

    support: NDArray[np.float64]
    shift_px: NDArray[np.float64] = field(repr=False)
    linear: NDArray[np.float64] = field(repr=False)
    centre: NDArray[np.float64] = field(repr=False)
    drift_px: NDArray[np.float64] = field(repr=False)
    upper_px: NDArray[np.float64] = field(repr=False)

    def of(self, m: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Shift, linear part and centre of one motion."""
        return self.shift_px[m], self.linear[m], self.centre[m]


def outline_motions(batch: CheckBatch, radius_px: int) -> list[OutlineMotions | None]:
    """One for each of `measured_labels`; None for points, the frame and what has no window. Computed once a batch."""
    by_radius = _FITTED.setdefault(batch, {})
    if radius_px not in by_radius:
        measured = measured_labels(batch, radius_px)
        by_radius[radius_px] = [_motions(one, batch) if one.kind in OUTLINED else None for one in measured]
    return by_radius[radius_px]


def _motions(measured: MeasuredLabels, batch: CheckBatch) -> OutlineMotions:
    """Fit the outlines that are seen in both images, and weigh what was found; of the others the bend is unknown."""
    assert measured.found is not None
    assert measured.windows is not None
    assert measured.windows.outline is not None
    seen = np.flatnonzero(_clearly_seen(measured))
    motions = _unknown(measured.found.shift_px, measured.windows.outline[0].mean(axis=1))
    if not len(seen):
        return motions
    points, normals, fit = fitted(measured, batch, seen)
    return _with(motions, seen, _judged(fit, measured.found.shift_px[seen], points, normals))


def fitted(
    measured: MeasuredLabels, batch: CheckBatch, seen: NDArray[np.intp]
) -> tuple[NDArray[Any], NDArray[Any] | None, AffineFit]:
    """Points (M, L, 2) of the outlines that are seen (corners of a box), their normals if any, and the fit to them."""
    assert measured.found is not None
    assert measured.windows is not None
    assert measured.windows.outline is not None
    fields = (batch.synthetic_field, batch.blurred_field, batch.refined_field)
    image_of = np.array([i for i, _ in measured.jobs], dtype=np.intp)[seen]
    shift_px = measured.found.shift_px[seen]
    if measured.kind == "box":
        corners = box_corners(measured)[seen]
        return corners, None, fit_affine(fields, image_of, filled_boxes(corners), None, shift_px)
    points, normals = (side[seen] for side in measured.windows.outline)
    return points, normals, fit_affine(fields, image_of, *bands((points, normals)), shift_px)


def _clearly_seen(measured: MeasuredLabels) -> NDArray[np.bool_]:
    """Labels of which a check may say how far they moved: (M,). To fit the others would only take time."""
    assert measured.found is not None
    assert measured.clipped is not None
    readable = (measured.found.energy > 0.0) & (measured.clipped <= MAX_CLIPPED)
    return np.asarray(readable & (measured.found.confidence >= CheckContext.confidence_gate))


def _unknown(shift_px: NDArray[np.float64], centre: NDArray[Any]) -> OutlineMotions:
    """Outlines that moved by a shift and nobody knows by what else: without an upper bound."""
    count = len(shift_px)
    none, without_end = np.zeros(count), np.full(count, np.inf)
    drift, still = np.hypot(shift_px[:, 0], shift_px[:, 1]), np.zeros((count, 2, 2))
    return OutlineMotions(none, shift_px, still, centre.astype(np.float64), drift, without_end)


def _with(motions: OutlineMotions, places: NDArray[np.intp], known: OutlineMotions) -> OutlineMotions:
    """The motions with those at some places put in."""
    columns = []
    for column in dataclasses.fields(motions):
        values = getattr(motions, column.name).copy()
        values[places] = getattr(known, column.name)
        columns.append(values)
    return OutlineMotions(*columns)


def _judged(
    fit: AffineFit, shift_px: NDArray[np.float64], points: NDArray[Any], normals: NDArray[Any] | None
) -> OutlineMotions:
    """Believe what the evidence supports. points: (M, L, 2), corners of a box when there are no normals."""
    design = affine_design(points.astype(np.float64), fit.centre, fit.radius_px)
    plain = np.pad(shift_px, ((0, 0), (0, MOTIONS - 2)))
    sigmas = _sigmas(fit, BOX_SIZE if normals is None else SIZE)
    support = np.maximum(0.0, 1.0 - (BELIEF_SIGMAS / np.maximum(sigmas, 1e-3)) ** 4)
    motion, bend = plain + support[:, None] * (fit.motion - plain), fit.motion * _among(SIZE)
    spread = _spread(fit, support)
    if normals is None:
        motion, design = motion * _among((0, 1, *BOX_SIZE)), design * _among((0, 1, *BOX_SIZE))
        drift, upper = of_corners(design, motion, spread)
        bend_px = of_corners(design, bend, spread)[0]
        upper = upper + turned_px(fit, points)
    else:
        across = np.matmul(normals.astype(np.float64)[:, :, None], design)[:, :, 0]
        drift, upper = of_outline(across, motion, spread)
        bend_px = of_outline(across, bend, spread)[0]
    upper = upper + LEFT_OUT * support * bend_px
    linear = _linear(motion) / fit.radius_px[:, None, None]
    return OutlineMotions(support, motion[:, :2], linear, fit.centre, drift, upper)


def _among(motions: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.isin(np.arange(MOTIONS), motions)


def _spread(fit: AffineFit, support: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of the motions as far as they are believed: (M, 6, 6)."""
    left = np.where(_among(SIZE), np.sqrt(MIN_SPREAD + (1.0 - MIN_SPREAD) * support)[:, None], 1.0)
    return np.asarray(fit.covariance * left[:, :, None] * left[:, None, :])


def _sigmas(fit: AffineFit, motions: tuple[int, ...]) -> NDArray[np.float64]:
    """Root mean square of some motions in standard errors: (M,)."""
    found, spread = fit.motion[:, motions], fit.covariance[:, motions][:, :, motions]
    squared = np.matmul(found[:, None], np.linalg.solve(spread, found[..., None]))[:, 0, 0]
    return np.asarray(np.sqrt(np.maximum(squared, 0.0) / len(motions)))


def _linear(motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """[[growth + stretch, shear - rotation], [shear + rotation, growth - stretch]]: (M, 2, 2)."""
    growth, rotation, stretch, shear = motion[:, 2:].T
    rows = (growth + stretch, shear - rotation, shear + rotation, growth - stretch)
    return np.stack(rows, axis=-1).reshape(-1, 2, 2)
