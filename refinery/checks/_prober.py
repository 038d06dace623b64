"""What the label checks ask of a label probe, the small networks that read labels off images; they never import one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refinery.checks._answers import Form
from refinery.sample import FloatArray, LabelType

Place = tuple[str, int]
"""Name and item of a label."""

NEEDED_POWER = 0.8
"""Share of the moves as large as the tolerance that a probe must find to be competent."""


@dataclass(frozen=True)
class ProbedLabel:
    """What is known about a probe's skill at one label, from the artifact's manifest.

    form: what its answers are, see `_answers.Form`. classes: answers of a `class` label, in the order of its outputs,
    or the names of a mask's regions. spread: standard deviation of the label's values.
    competent: it finds known label-moving edits of held-out images as large as the tolerance; `reason` says why not.
    bounds: quantiles of |answer(changed in looks only) - answer(before)|, in the label's unit, by share ("0.99").
    errors: quantiles of |answer - label| on held-out synthetic images. power: (size of a move, share of such moves that
    are found), by size. details: "covered", the share that is answered; for a class "sure", the least probability of an
    answer that counts, and "found", [-log10(1 - p), share of exchanged classes that are noticed where p must be reached
    after]; for others "doubt", by how much its networks may disagree, and "reach", [size of a move, how much 95% of
    such moves change the answer at least].
    """

    name: str
    type: LabelType
    unit: str
    form: Form = "number"
    classes: tuple[str, ...] = ()
    spread: float = 0.0
    competent: bool = False
    reason: str = ""
    bounds: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    power: tuple[tuple[float, float], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Answers about one label name, R rows by M networks.

    owners: (R,) index of the image. items: (R,) which of several labels of this name, or which region of a mask.
    values: (R, M, D) as `_answers.Form` says; px are those of the image.
    """

    owners: NDArray[np.intp] = field(repr=False)
    items: NDArray[np.intp] = field(repr=False)
    values: NDArray[np.float32] = field(repr=False)


class Prober(Protocol):
    """Networks trained on the synthetic labels; an image is answered by those that never saw its sample."""

    @property
    def labels(self) -> Mapping[str, ProbedLabel]:
        """The labels it was trained for, by name."""

    @property
    def by_object(self) -> frozenset[str]:
        """Names of the labels that it reads object by object, whose regions it must be told."""

    def ask(
        self,
        keys: Sequence[str],
        images: Sequence[FloatArray],
        regions: Sequence[Mapping[Place, NDArray[np.float64]]],
    ) -> Mapping[str, Answers]:
        """Answers by label name; a label that cannot be answered here has none.

        keys: of the samples. images: (H, W, C) float32 in [-1, 1], of one shape. regions: boxes (4,) xyxy px of the
        labels that belong to one of several objects, by name and item.
        """


def power_at(label: ProbedLabel, size: float) -> float:
    """Share of moves of this size that the probe finds: linear between those that were measured; 0 below the first."""
    if not label.power:
        return 0.0
    if label.form == "class":
        return label.power[0][1]
    sizes, shares = zip(*label.power, strict=True)
    return float(np.interp(size, sizes, shares, left=0.0))
