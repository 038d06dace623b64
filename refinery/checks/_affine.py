"""How a label's outline moved under the shift, scale and rotation that the refined image supports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from refinery.checks._affine_bounds import of_corners, of_outline, turned_px
from refinery.checks._affine_fit import MOTIONS, AffineFit, affine_design, fit_affine
from refinery.checks._affine_points import bands, box_corners, filled_boxes
from refinery.checks._batch import CheckBatch
from refinery.checks._measured import MeasuredLabels, measured_labels
from refinery.checks._orientation import ComplexArray, orientation_field

BOX_SIZE = (2, 4)
SIZE = (2, 3, 4, 5)
"""Of the six motions of a fit, those that change the edges of a box, and those that change any other outline."""

BELIEF_SIGMAS = 1.25
LEFT_OUT = 0.25
MIN_SPREAD = 0.25
"""Chosen on the battery's tune split: scale and rotation are believed from 1.25 standard errors on; what stays behind
an outline holds a growth back by up to a quarter; where nothing speaks for scale and rotation a quarter of their
variance is left."""

_Fields = tuple[ComplexArray, ComplexArray, ComplexArray]
_FITTED: WeakKeyDictionary[CheckBatch, dict[int, list[OutlineMotions | None]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class OutlineMotions:
    """Motions of M outlines: u(x) = shift + linear (x - centre).

    support: (M,) from 0, the shift alone explains what is seen, to 1, all of the fitted scale and rotation is believed:
    1 - (1.25 / q)^4 with q what `bend_sigmas` says. shift_px (M, 2), linear (M, 2, 2), centre (M, 2): with that much.
    drift_px, upper_px: (M,) of a box the move of the corner that moved most, of other outlines what 95% of it moved
    across itself at most; and its upper 95% bound, to which the turn of what a box holds adds.
    bend_px: (M,) the same of the fitted scale and rotation alone, all of them believed. bend_sigmas: (M,) their root
    mean square in standard errors.
    """

    support: NDArray[np.float64]
    shift_px: NDArray[np.float64] = field(repr=False)
    linear: NDArray[np.float64] = field(repr=False)
    centre: NDArray[np.float64] = field(repr=False)
    drift_px: NDArray[np.float64] = field(repr=False)
    upper_px: NDArray[np.float64] = field(repr=False)
    bend_px: NDArray[np.float64] = field(repr=False)
    bend_sigmas: NDArray[np.float64] = field(repr=False)

    def of(self, m: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Shift, linear part and centre of one motion."""
        return self.shift_px[m], self.linear[m], self.centre[m]


def outline_motions(batch: CheckBatch, radius_px: int) -> list[OutlineMotions | None]:
    """One for each of `measured_labels`; None for points, the frame and what has no window. Computed once a batch."""
    by_radius = _FITTED.setdefault(batch, {})
    if radius_px not in by_radius:
        measured = measured_labels(batch, radius_px)
        outlined = [one.kind in ("box", "contour", "mask") for one in measured]
        fields = _fields(batch) if any(outlined) else None
        by_radius[radius_px] = [
            _motions(one, fields) if has and fields else None for one, has in zip(measured, outlined, strict=True)
        ]
    return by_radius[radius_px]


def _fields(batch: CheckBatch) -> _Fields:
    """Fields of the synthetic images, of those blurred by 1 px, and of the refined ones."""
    images = np.stack([pair.synthetic for pair in batch.pairs])
    for _ in range(2):
        images = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        images = images[:, :-2] + 2 * images[:, 1:-1] + images[:, 2:]
        images = (images[:, :, :-2] + 2 * images[:, :, 1:-1] + images[:, :, 2:]) / np.float32(16)
    return batch.synthetic_field, orientation_field(images), batch.refined_field


def _motions(measured: MeasuredLabels, fields: _Fields) -> OutlineMotions:
    """Fit the outlines and weigh what was found."""
    assert measured.found is not None
    assert measured.windows is not None
    assert measured.windows.outline is not None
    image_of = np.array([i for i, _ in measured.jobs], dtype=np.intp)
    if measured.kind == "box":
        corners = box_corners(measured)
        fit = fit_affine(fields, image_of, filled_boxes(corners), None, measured.found.shift_px)
        return _judged(fit, measured, corners, None)
    fit = fit_affine(fields, image_of, *bands(measured.windows.outline), measured.found.shift_px)
    return _judged(fit, measured, *measured.windows.outline)


def _judged(
    fit: AffineFit, measured: MeasuredLabels, points: NDArray[Any], normals: NDArray[Any] | None
) -> OutlineMotions:
    """Believe what the evidence supports. points: (M, L, 2), corners of a box when there are no normals."""
    assert measured.found is not None
    design = affine_design(points.astype(np.float64), fit.centre, fit.radius_px)
    plain = np.pad(measured.found.shift_px, ((0, 0), (0, MOTIONS - 2)))
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
    return OutlineMotions(support, motion[:, :2], linear, fit.centre, drift, upper, bend_px, sigmas)


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
