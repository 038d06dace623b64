"""The arms: which images students are trained on, and training one.

`ours` is the default of refinery train, `ssgan` that of its method ssgan; plain SimGAN is the paper's, with Adam and
batches of 32 so that it learns in the time that the defaults take (`Stages._settings`; with batches of 512 and SGD it
runs only when named). All arms of a refiner with noise see three variants of every image, but for "1 variant" and
plain SimGAN, which has none. Mixed is 1:1 with the synthetic images. Histogram matching and FDA give every image the
look of one photo. Every student has the same network, steps and, but for the arms without, the same augmentation.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _stages import Stages
from numpy.typing import NDArray
from torch import nn

from refinery.training.probe_targets import ProbePlan
from refinery.utility.augmentation import Augmentation
from refinery.utility.compare import Arm, Photos
from refinery.utility.student import Recipe, Source, answers_of, errors_of, train_student

FOLDS = 6
SHIFT, SCALE = 0.08, 0.12
"""Of the augmentation: largest shift as a share of the sides, largest change of size in e-folds."""
RIVAL, REAL = "synthetic + augmentation", "real + augmentation"
COLOURS = "colours"


@dataclass(frozen=True)
class Spec:
    """kind: of images. mixed: 1:1 with synthetic ones. many: in all variants of the refiner's noise.

    colours: with gamma, contrast and level of each channel varied by themselves, beside the usual augmentation.
    """

    kind: str
    augmented: bool = True
    mixed: bool = False
    many: bool = False
    colours: bool = False


ARMS: dict[str, Spec] = {
    "synthetic": Spec("synthetic", augmented=False),
    RIVAL: Spec("synthetic"),
    f"{RIVAL}, {COLOURS} too": Spec("synthetic", colours=True),
    "histogram matching + augmentation": Spec("histogram matching"),
    "FDA + augmentation": Spec("FDA"),
    "plain SimGAN + augmentation": Spec("plain"),
    "plain SimGAN mixed + augmentation": Spec("plain", mixed=True),
    "plain SimGAN, batches of 512 + augmentation": Spec("plain 512"),
    "plain SimGAN, batches of 512, mixed + augmentation": Spec("plain 512", mixed=True),
    "ssgan mixed + augmentation, 3 variants": Spec("ssgan", mixed=True, many=True),
    "ours": Spec("ours", augmented=False, many=True),
    "ours + augmentation": Spec("ours", many=True),
    "ours mixed + augmentation, 1 variant": Spec("ours", mixed=True),
    "ours mixed + augmentation, 3 variants": Spec("ours", mixed=True, many=True),
    f"ours mixed + augmentation, 3 variants, {COLOURS} too": Spec("ours", mixed=True, many=True, colours=True),
    REAL: Spec("real"),
    "real mixed with synthetic + augmentation": Spec("real", mixed=True),
}


class Students:
    """Trains students of one set and keeps how wrong each is about each photo."""

    def __init__(self, stages: Stages) -> None:
        self.stages, self.task = stages, stages.task
        self.plan: ProbePlan = stages.rendered().plan
        self.photos: Photos = self.task.photos(self.plan)
        self.part = next(p for p, part in enumerate(self.plan.parts) if part.name == self.task.label)
        recipe = self.task.recipe
        self.recipe = Recipe(8, 16, 8) if stages.short else recipe

    def found(self, name: str, seed: int) -> dict[str, Any] | None:
        """What a student of this arm said, if it was trained: errors (N,), seconds, and what the set notes."""
        path = self._path(name, seed)
        if not path.exists():
            return None
        with np.load(path) as arrays:
            return dict(arrays)

    def train(self, name: str, seed: int, spec: Spec, strength: float) -> dict[str, Any]:
        """Train a student, or one for each fold of photos, and keep what it says."""
        seconds = 0.0
        errors = np.full(len(self.photos.images), np.nan)
        noted: dict[str, Any] = {}
        for arm, tested in self._turns(name, spec):
            started = time.perf_counter()
            network = self._student(arm, self._augmentation(spec, strength), seed)
            errors[tested] = self._errors(network, tested)
            seconds += time.perf_counter() - started
            noted = {} if spec.kind == "real" else self.task.watch(self.plan, network)
        result = {"errors": errors, "seconds": np.array(round(seconds, 1)), **noted}
        path = self._path(name, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, **result)
        unfinished.replace(path)
        return result

    def forget(self, kind: str) -> None:
        """Remove a refiner with all that came of it."""
        self.stages.forget(kind)
        for name, spec in ARMS.items():
            if spec.kind == kind:
                shutil.rmtree(self.stages.work / "students" / name, ignore_errors=True)

    def same_as_one_variant(self, spec: Spec) -> bool:
        """True if an arm of several variants has one only, as its mixed arm with one does."""
        return spec.many and spec.mixed and self.stages.variants(spec.kind) == 1

    def _turns(self, name: str, spec: Spec) -> Iterator[tuple[Arm, NDArray[np.intp]]]:
        """Each student's mix with the numbers of the photos it is tested on."""
        everything = np.arange(len(self.photos.images))
        if spec.kind != "real":
            yield Arm(name, self._mix(self._source(spec), spec), spec.augmented), everything
        elif (taught := self.task.teaching_photos(self.plan)) is not None:
            yield Arm(name, self._mix(taught, spec), spec.augmented), everything
        else:
            folds = folds_of(self.photos.groups)
            for fold in range(FOLDS):
                known = torch.from_numpy(np.flatnonzero(folds != fold))
                source = Source([self.photos.images[known]], self.photos.targets.select(known))
                yield Arm(name, self._mix(source, spec), spec.augmented), np.flatnonzero(folds == fold)

    def _source(self, spec: Spec) -> Source:
        return Source(self.stages.looks(spec.kind, spec.many), self.stages.rendered().targets)

    def _mix(self, source: Source, spec: Spec) -> list[Source]:
        rendered = self.stages.rendered()
        return [source, Source([rendered.images], rendered.targets)] if spec.mixed else [source]

    def _augmentation(self, spec: Spec, strength: float) -> Augmentation:
        if not spec.augmented:
            return Augmentation()
        return Augmentation(strength, SHIFT, SCALE, float(spec.colours))

    def _student(self, arm: Arm, augmentation: Augmentation, seed: int) -> nn.Module:
        return train_student(self.plan, self.photos.images.shape[1], arm.mix, augmentation, self.recipe, seed)

    def _errors(self, network: nn.Module, tested: NDArray[np.intp]) -> NDArray[np.float64]:
        """Of the scored label: (n,), as `compare.test_arm` has them; the network is needed for more than that here."""
        chosen = torch.from_numpy(tested)
        answers = answers_of(network, self.photos.images[chosen])
        errors = errors_of(self.plan, answers, self.photos.targets.select(chosen))[:, self.part].double()
        if self.plan.parts[self.part].unit == "px":
            errors = errors / self.photos.fits[chosen]
        return np.asarray(errors.numpy())

    def _path(self, name: str, seed: int) -> Path:
        return self.stages.work / "students" / name / f"{seed}.npz"


def folds_of(groups: Any, seed: int = 0) -> NDArray[np.intp]:
    """Fold of each photo: groups stay whole, and folds have equally many of them, or one more."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return np.asarray((order % FOLDS)[index])


def tuning(strengths: tuple[float, ...], usual: float) -> dict[str, tuple[Spec, float]]:
    """The rival with several strengths of augmentation; the usual one is the arm that there is anyway."""
    return {
        RIVAL if strength == usual else f"{RIVAL} of strength {strength:g}": (ARMS[RIVAL], strength)
        for strength in strengths
    }
