"""What students are trained on, arm by arm, and how wrong each arm's students are about the photos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refinery.training.probe_targets import ProbePlan, Targets
from refinery.utility.augmentation import Augmentation
from refinery.utility.compare import Arm, Photos, test_arm
from refinery.utility.student import Recipe, Source

ORDINARY = Augmentation(strength=1.0, shift=0.08, scale=0.12, colour=1.0)
"""As the rival does best with on eyes and signs, of half, one and one and a half of it, with and without colours."""
SYNTHETIC, AUGMENTED = "synthetic", "synthetic + augmentation"
REFINED, REFINED_AUGMENTED = "refined", "refined + augmentation"
MIXED = "refined and synthetic 1:1 + augmentation"
REAL, REAL_MIXED = "real + augmentation", "real and synthetic 1:1 + augmentation"
RIVALS, REFERENCES = (SYNTHETIC, AUGMENTED), (REAL, REAL_MIXED)
FOLDS = 3
LEAST_PHOTOS = 40


def variants_name(count: int) -> str:
    """Name of the arm with several looks of each sample."""
    return f"{MIXED}, {count} variants"


@dataclass(frozen=True)
class Pool:
    """What there is to train on. synthetic, looks: (N, C, h, w) float16 in [-1, 1] of the same samples.

    looks: refined images, several where the refiner has noise. targets: of the N samples, on the canvas.
    """

    synthetic: Tensor = field(repr=False)
    looks: Sequence[Tensor] = field(repr=False)
    targets: Targets = field(repr=False)

    def arms(self) -> list[Arm]:
        """Without any photo, in the order of the table."""
        synthetic = Source([self.synthetic], self.targets)
        refined = Source(self.looks[:1], self.targets)
        found = [
            Arm(SYNTHETIC, [synthetic], augmented=False),
            Arm(AUGMENTED, [synthetic]),
            Arm(REFINED, [refined], augmented=False),
            Arm(REFINED_AUGMENTED, [refined]),
            Arm(MIXED, [refined, synthetic]),
        ]
        if len(self.looks) > 1:
            found.append(Arm(variants_name(len(self.looks)), [Source(self.looks, self.targets), synthetic]))
        return found


@dataclass(frozen=True)
class Trial:
    """Students of one pool on the same photos. seeds: of each arm; the references, which no advice needs, have one."""

    plan: ProbePlan
    pool: Pool
    photos: Photos
    recipe: Recipe
    seeds: Sequence[int]

    def names(self) -> list[str]:
        """All arms. Those with real photos need 40 photos in as many groups as there are folds."""
        enough = len(self.photos.images) >= LEAST_PHOTOS and len(set(self.photos.groups)) >= FOLDS
        return [arm.name for arm in self.pool.arms()] + (list(REFERENCES) if enough else [])

    def students(self) -> int:
        """How many are trained in all."""
        references = sum(name in REFERENCES for name in self.names())
        return (len(self.names()) - references) * len(self.seeds) + references * FOLDS

    def run(self, name: str) -> Iterator[NDArray[np.float64]]:
        """Errors (N, P) of one arm: NaN where unknown. One array a seed, or a fold, which knows its own photos."""
        if name in REFERENCES:
            yield from self._folds(name == REAL_MIXED)
            return
        arm = next(arm for arm in self.pool.arms() if arm.name == name)
        for seed in self.seeds:
            yield test_arm(self.plan, arm, self.photos, self.recipe, ORDINARY, seed)

    def _folds(self, mixed: bool) -> Iterator[NDArray[np.float64]]:
        photos, folds = self.photos, folds_of(self.photos.groups)
        for fold in range(FOLDS):
            learnt, tested = (torch.from_numpy(np.flatnonzero(which)) for which in (folds != fold, folds == fold))
            mix = [Source([photos.images[learnt]], photos.targets.select(learnt))]
            mix += [Source([self.pool.synthetic], self.pool.targets)] if mixed else []
            errors = np.full((len(folds), len(self.plan.parts)), np.nan)
            seed = self.seeds[0]
            errors[folds == fold] = test_arm(
                self.plan, Arm(REAL, mix), select(photos, tested), self.recipe, ORDINARY, seed
            )
            yield errors


def gathered(name: str, found: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """What `Trial.run` gave as (S, N, P): a row a seed; the folds of a reference are one row."""
    stacked = np.stack(found)
    if name not in REFERENCES:
        return stacked
    known: NDArray[np.bool_] = np.isfinite(stacked)
    return np.where(known.any(0), np.where(known, stacked, 0.0).sum(0), np.nan)[None]


def select(photos: Photos, chosen: Tensor) -> Photos:
    """A part of the photos."""
    groups = [photos.groups[i] for i in chosen.tolist()]
    return Photos(photos.images[chosen], photos.targets.select(chosen), photos.fits[chosen], groups)


def folds_of(groups: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """Fold of each photo, of about equal sizes; photos of one group are in one fold."""
    names, index, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    filled = np.zeros(folds, np.int64)
    place = np.zeros(len(names), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        place[group] = int(filled.argmin())
        filled[place[group]] += sizes[group]
    return place[index]


def by_label(plan: ProbePlan, errors: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """(S, N, P) as (S, N) for each label: the mean over its items or regions that are known."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in dict.fromkeys(part.name for part in plan.parts):
        own = errors[:, :, [p for p, part in enumerate(plan.parts) if part.name == name]]
        known = np.isfinite(own)
        total, count = np.where(known, own, 0.0).sum(2), known.sum(2)
        found[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
