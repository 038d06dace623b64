"""What a set brings along: its simulator, its photos, and what a student is to answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from refinery.sample import Label
from refinery.training.probe_targets import ProbePlan
from refinery.utility.compare import Photos
from refinery.utility.student import Recipe, Source

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


class Task(ABC):
    """One set. `data`: the folder of real data; `work`: where all that is made goes; both are given once, at the start.

    unit: of the score, with `higher` it is 1 - error. label: which of the plan's parts is scored. count, seed: of the
    rendered images. plain_steps: of the plain SimGAN, so that it takes about as long as the default of refinery train.
    """

    name: str
    unit: str
    higher: bool
    label: str
    count: int
    seed: int
    canvas_hw: tuple[int, int]
    recipe: Recipe
    plain_steps: int
    strength: float = 1.0
    left_out: Sequence[str] = ("batches of 512",)
    """Words in the names of arms that run only when they are named."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work

    def simulator(self) -> list[str]:
        """The command that renders, but for OUT, --count and --seed."""
        return [str(EXAMPLES / self.name / "simulate.py")]

    @abstractmethod
    def real_folder(self) -> Path:
        """Unlabelled photos for refiners and transfers, without the test photos."""

    @abstractmethod
    def labels_of(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """What a student is to answer, of all labels of a rendered image."""

    @abstractmethod
    def photos(self, plan: ProbePlan) -> Photos:
        """Labelled photos that students are tested on."""

    def teaching_photos(self, plan: ProbePlan) -> Source | None:
        """Labelled photos that students of real photos learn from; None: test photos of other groups, fold by fold."""
        del plan
        return None

    def watch(self, plan: ProbePlan, network: nn.Module) -> dict[str, NDArray[np.float32]]:
        """What else is noted of a student, by name; nothing."""
        del plan, network
        return {}

    def watched(self, found: Sequence[dict[str, NDArray[np.float32]]]) -> dict[str, Any]:
        """Figures of that, over students of several seeds."""
        del found
        return {}
