"""What the label checks ask of a label probe, the small networks that read labels off images; they never import one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray, LabelType


@dataclass(frozen=True)
class ProbedLabel:
    """What is known about a probe's skill at one label, from the artifact's manifest.

    classes: answers of a `class` label, in the order of its outputs. spread: standard deviation of the label's values.
    competent: it finds known label-moving edits of held-out images; `reason` says why not.
    bounds: quantiles of |answer(changed in looks only) - answer(before)|, in the label's unit, by share ("0.99").
    """

    name: str
    type: LabelType
    unit: str
    classes: tuple[str, ...] = ()
    spread: float = 0.0
    competent: bool = False
    reason: str = ""
    bounds: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Prober(Protocol):
    """Networks trained on the synthetic labels; an image is answered by those that never saw its sample."""

    labels: Mapping[str, ProbedLabel]

    def ask(self, keys: Sequence[str], images: Sequence[FloatArray]) -> Mapping[str, NDArray[np.float32]]:
        """Answers by label name: (N, M, D) for N images and M networks.

        keys: of the samples. images: (H, W, C) float32 in [-1, 1], of one shape.
        """
