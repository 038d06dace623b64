"""Which numbers of a label probe's output belong to which label, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from refinery.checks._answers import DIRECTIONS, Form
from refinery.checks._answers import as_answer as as_direction
from refinery.sample import LabelType

__all__ = ["EDGES", "Form", "Part", "as_direction", "form_of", "half_size", "read_part"]

EDGES = (0, 3, 4, 7)
"""Of the four points of a box (middles of its left, top, right and bottom edge) the numbers that are left, top, ..."""

_ANGLE_WORDS = ("pose", "rotation", "euler", "angle")


@dataclass(frozen=True)
class Part:
    """One label of a probe.

    item: which one of several. classes: of a class label, in the order of its logits; a region's name. centre, scale:
    answer = centre + scale * output, for numbers and directions. spread: standard deviation of the label's values.
    answer, target: where its numbers begin in a row of answers, and of targets.
    """

    name: str
    type: LabelType
    unit: str
    form: Form
    item: int = 0
    classes: tuple[str, ...] = ()
    centre: tuple[float, ...] = ()
    scale: float = 1.0
    spread: float = 0.0
    answer: int = 0
    target: int = 0

    @property
    def answers(self) -> int:
        """How many outputs it takes; a region's logits are counted by the plan."""
        return {"point": 2, "edges": 8, "class": len(self.classes), "region": 0}.get(self.form, len(self.centre))

    @property
    def targets(self) -> int:
        """How many target values it takes."""
        return {"point": 2, "edges": 8, "class": 1, "region": 0}.get(self.form, len(self.centre))

    @property
    def answer_slice(self) -> slice:
        """Its outputs in a row of answers."""
        return slice(self.answer, self.answer + self.answers)

    @property
    def target_slice(self) -> slice:
        """Its values in a row of targets."""
        return slice(self.target, self.target + self.targets)

    def at(self, answer: int, target: int) -> Part:
        """The same with its places."""
        return replace(self, answer=answer, target=target)


def form_of(name: str, unit: str, values: NDArray[np.float64]) -> Form:
    """What the numbers (N, D) of a `number` or `vector` label are, by its name, its unit and themselves."""
    finite = values[np.isfinite(values).all(axis=1)]
    if unit != "deg" or values.shape[1] not in (2, 3) or not len(finite):
        return "number"
    lengths = np.linalg.norm(finite, axis=1)
    if lengths.min() > 0 and lengths.std() < 0.02 * lengths.mean():
        return "direction"
    in_radians = float(np.abs(finite).max()) <= np.pi + 0.01
    if values.shape[1] == 2:
        return "radians" if in_radians else "degrees"
    if any(word in name.lower() for word in _ANGLE_WORDS):
        return "angles_radians" if in_radians else "angles"
    return "direction"


def read_part(
    part: Part, outputs: NDArray[np.float32], canvas_hw: tuple[int, int], regions: int, scale: float
) -> NDArray[np.float32]:
    """A network's outputs (..., A) as answers about one label (..., D): px of the image, its unit, or probabilities.

    regions: of masks, background first. scale: canvas px for one image px.
    """
    if part.form == "region":
        height, width = half_size(canvas_hw)
        logits = outputs[..., -regions * height * width :].reshape(*outputs.shape[:-1], regions, height * width)
        return np.asarray(_softmax(logits, axis=-2)[..., part.item + 1, :], np.float32)
    own = outputs[..., part.answer_slice]
    if part.form in ("point", "edges"):
        placed = own[..., EDGES] if part.form == "edges" else own
        return np.asarray((placed + 0.5) / scale - 0.5, np.float32)
    if part.form == "class":
        return _softmax(own, axis=-1)
    values = np.asarray(part.centre, np.float32) + np.float32(part.scale) * own
    if part.form in DIRECTIONS:
        values = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
    return np.asarray(values, np.float32)


def half_size(canvas_hw: tuple[int, int]) -> tuple[int, int]:
    """Size of heat maps and regions."""
    return -(-canvas_hw[0] // 2), -(-canvas_hw[1] // 2)


def _softmax(logits: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis=axis, keepdims=True), np.float32)
