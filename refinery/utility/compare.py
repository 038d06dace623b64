"""Students of several mixes on the same photos, and how sure a difference between two of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from refinery.training.probe_targets import ProbePlan, Targets
from refinery.utility.augmentation import Augmentation
from refinery.utility.student import Recipe, Source, answers_of, errors_of, train_student

DRAWS = 2000

Errors = NDArray[np.float64]
"""(S, N): of each seed's student on each photo, NaN where a photo does not have the label."""


@dataclass(frozen=True)
class Arm:
    """What students of one kind are trained on. augmented: whether with ordinary augmentation."""

    name: str
    mix: Sequence[Source] = field(repr=False)
    augmented: bool = True


@dataclass(frozen=True)
class Photos:
    """What students are tested on.

    images: (N, C, h, w) on the canvas. fits: (N,) canvas px for one px of the photo. groups: N names; photos of one
    subject, sign or sequence have the same, since they are no independent witnesses.
    """

    images: Tensor = field(repr=False)
    targets: Targets = field(repr=False)
    fits: Tensor = field(repr=False)
    groups: Sequence[str] = field(repr=False)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float


def test_arm(
    plan: ProbePlan, arm: Arm, photos: Photos, recipe: Recipe, augmentation: Augmentation, seed: int
) -> NDArray[np.float64]:
    """Train a student of this arm, and how wrong it is about each photo: (N, P), px of the photo where it is px."""
    network = train_student(
        plan, photos.images.shape[1], arm.mix, augmentation if arm.augmented else Augmentation(), recipe, seed
    )
    errors = errors_of(plan, answers_of(network, photos.images), photos.targets).double().numpy()
    for p, part in enumerate(plan.parts):
        if part.unit == "px":
            errors[:, p] /= photos.fits.numpy()
    return errors


def mean_of(errors: Errors, groups: Sequence[str], seed: int = 0) -> Interval:
    """Mean error over photos and students, with an interval over groups of photos and over seeds."""
    return _interval(_mean(errors), _draws(errors, groups, seed))


def difference_of(errors: Errors, others: Errors, groups: Sequence[str], seed: int = 0) -> Interval:
    """Mean error less that of `others`, the same seeds and photos on both sides: below 0 is better than they are."""
    return mean_of(errors - others, groups, seed)


def score_of(errors: Sequence[Errors], scales: Sequence[float], groups: Sequence[str], seed: int = 0) -> Interval:
    """Mean over labels of mean error / scale, with the interval of `mean_of`: for labels in different units.

    errors, or differences of them: of each label, the same seeds and photos. scales: > 0, of each label.
    """
    pairs = list(zip(errors, scales, strict=True))
    drawn = np.mean([_draws(own, groups, seed) / scale for own, scale in pairs], axis=0)
    return _interval(float(np.mean([_mean(own) / scale for own, scale in pairs])), drawn)


def _mean(values: Errors) -> float:
    known = np.isfinite(values)
    return float(np.where(known, values, 0.0).sum() / max(known.sum(), 1))


def _interval(mean: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Interval(mean, float(low), float(high))


def _draws(values: Errors, groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Means of (S, N) when groups of photos and seeds are drawn anew with replacement: (DRAWS,), NaN for no photo.

    One fewer is drawn than there are, so that the means vary as they should with a few seeds or groups (Rao and Wu
    1988); the same seed, groups and number of students draw the same.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    count, seeds = int(index.max()) + 1, len(values)
    known = np.isfinite(values)
    sums = np.stack([np.bincount(index, row, count) for row in np.where(known, values, 0.0)])
    sizes = np.stack([np.bincount(index, row, count) for row in known.astype(float)])
    random = np.random.default_rng(seed)
    drawn, weights = (random.multinomial(max(1, n - 1), np.full(n, 1 / n), DRAWS).astype(float) for n in (count, seeds))
    totals = np.einsum("ds,sg,dg->d", weights, sums, drawn)
    many = np.einsum("ds,sg,dg->d", weights, sizes, drawn)
    return np.where(many > 0, totals / np.maximum(many, 1.0), np.nan)
