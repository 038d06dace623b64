"""A label probe ready to be asked: what it looks at, which networks answer which sample, how answers are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refinery.checks._prober import Answers, Place, ProbedLabel
from refinery.errors import ModelError
from refinery.runtime.probe_answers import Part, read_part
from refinery.runtime.probe_views import OBJECT_SIDE_PX, canvas_scale, cut_out, fold_of, on_canvas
from refinery.sample import FloatArray

Box = NDArray[np.float64]
Runner = Callable[[FloatArray], FloatArray]
"""(B, C, h, w) float32 in [-1, 1] to the answers of M networks, (B, M, A) float32."""

IMAGE, OBJECT = "image", "object"
PIXELS_AT_ONCE = 16 * 36 * 60
"""Of the canvases of one inference: what passes between the layers then stays in the processor's cache."""

SIZE_SLACK = 1.25
"""Images this much larger or smaller than those the probe was measured on are not answered."""


@dataclass(frozen=True)
class View:
    """What the networks of a view are given, and what their outputs mean.

    canvas_hw: size of the canvas, 32 x 32 for objects. regions: of masks, background first. smallest_hw, largest_hw: of
    the images that the probe was trained on.
    """

    canvas_hw: tuple[int, int]
    channels: int
    parts: tuple[Part, ...]
    regions: int = 0
    smallest_hw: tuple[int, int] = (1, 1)
    largest_hw: tuple[int, int] = (1 << 16, 1 << 16)

    def takes(self, shape: tuple[int, ...]) -> bool:
        """True if images (H, W, C) are like those that it was measured on."""
        sizes = zip(shape[:2], self.smallest_hw, self.largest_hw, strict=True)
        fits = all(least <= side * SIZE_SLACK and side <= most * SIZE_SLACK for side, least, most in sizes)
        return fits and shape[2] == self.channels

    @property
    def outputs(self) -> int:
        """Numbers in a network's answer."""
        cells = -(-self.canvas_hw[0] // 2) * -(-self.canvas_hw[1] // 2)
        return sum(part.answers for part in self.parts) + self.regions * cells


@dataclass(frozen=True)
class LabelProbe:
    """Implements `checks._prober.Prober`. runners: by view, one for each fold; may be called from several threads."""

    labels: Mapping[str, ProbedLabel]
    views: Mapping[str, View] = field(repr=False)
    runners: Mapping[str, Sequence[Runner]] = field(repr=False)

    @property
    def by_object(self) -> frozenset[str]:
        """See `Prober.by_object`."""
        return frozenset(part.name for part in self.views[OBJECT].parts) if OBJECT in self.views else frozenset()

    def ask(
        self, keys: Sequence[str], images: Sequence[FloatArray], regions: Sequence[Mapping[Place, Box]]
    ) -> Mapping[str, Answers]:
        """See `Prober.ask`. Raises ModelError when a network does not answer what its manifest says."""
        found: dict[str, Answers] = {}
        if IMAGE in self.views and len(images) and self.views[IMAGE].takes(images[0].shape):
            found |= self._ask_images(keys, images)
        if OBJECT in self.views and len(images) and self.views[OBJECT].takes(images[0].shape):
            found |= self._ask_objects(keys, images, regions)
        return found

    def _ask_images(self, keys: Sequence[str], images: Sequence[FloatArray]) -> dict[str, Answers]:
        view = self.views[IMAGE]
        canvases = on_canvas(np.stack(images), view.canvas_hw)
        outputs = self._run(IMAGE, [fold_of(key) for key in keys], canvases)
        scale = canvas_scale((images[0].shape[0], images[0].shape[1]), view.canvas_hw)
        everyone = np.arange(len(images))
        by_name: dict[str, list[Answers]] = {}
        for part in view.parts:
            values = read_part(part, outputs, view.canvas_hw, view.regions, scale)
            by_name.setdefault(part.name, []).append(Answers(everyone, np.full(len(images), part.item), values))
        return {name: _joined(answers) for name, answers in by_name.items()}

    def _ask_objects(
        self, keys: Sequence[str], images: Sequence[FloatArray], regions: Sequence[Mapping[Place, Box]]
    ) -> dict[str, Answers]:
        view = self.views[OBJECT]
        names = {part.name for part in view.parts}
        crops: list[FloatArray] = []
        rows: list[tuple[int, str, int, int]] = []  # image, name, item, row of the crop
        folds: list[int] = []
        for i, (key, image, own) in enumerate(zip(keys, images, regions, strict=True)):
            boxes = {place: tuple(box.tolist()) for place, box in own.items() if place[0] in names}
            distinct = {box: len(folds) + n for n, box in enumerate(dict.fromkeys(boxes.values()))}
            if distinct:
                crops.append(cut_out(image, [np.array(box) for box in distinct]))
                folds += [fold_of(key)] * len(distinct)
                rows += [(i, name, item, distinct[box]) for (name, item), box in boxes.items()]
        if not rows:
            return {}
        outputs = self._run(OBJECT, folds, np.concatenate(crops))
        found: dict[str, Answers] = {}
        for part in view.parts:
            own_rows = [row for row in rows if row[1] == part.name]
            if own_rows:
                chosen = outputs[[row[3] for row in own_rows]]
                values = read_part(part, chosen, (OBJECT_SIDE_PX, OBJECT_SIDE_PX), 0, 1.0)
                owners, items = (np.array([row[k] for row in own_rows], np.intp) for k in (0, 2))
                found[part.name] = Answers(owners, items, values)
        return found

    def _run(self, name: str, folds: Sequence[int], canvases: FloatArray) -> FloatArray:
        """Outputs (B, M, A), each image by the networks of its own fold."""
        of_row = np.array(folds)
        answers: FloatArray | None = None
        for fold, run in enumerate(self.runners[name]):
            rows = np.flatnonzero(of_row == fold)
            if not len(rows):
                continue
            own = _in_slices(run, canvases if len(rows) == len(of_row) else canvases[rows])
            if own.ndim != 3 or own.shape[0] != len(rows) or own.shape[2] != self.views[name].outputs:
                raise ModelError(
                    f"the label probe ({name}s) answers {own.shape}; its manifest says ({len(rows)}, networks, "
                    f"{self.views[name].outputs}); export the run again"
                )
            if answers is None:
                answers = np.zeros((len(of_row), own.shape[1], own.shape[2]), np.float32)
            answers[rows] = own
        assert answers is not None, "fold_of gives folds that have networks"
        return answers


def _in_slices(run: Runner, canvases: FloatArray) -> FloatArray:
    """Answers about all canvases (B, C, h, w), some at a time.

    The last slice is filled up with copies: a network adds up in another order when it is given another number of
    images, and an answer must not depend on what it came with, to the last digit.
    """
    size = max(1, PIXELS_AT_ONCE // (canvases.shape[2] * canvases.shape[3]))
    answers = []
    for start in range(0, len(canvases), size):
        part = canvases[start : start + size]
        missing = size - len(part)
        full = np.concatenate((part, np.repeat(part[-1:], missing, axis=0))) if missing else part
        answers.append(run(full)[: len(part)])
    return np.concatenate(answers)


def _joined(answers: Sequence[Answers]) -> Answers:
    if len(answers) == 1:
        return answers[0]
    parts = [np.concatenate([getattr(one, name) for one in answers]) for name in ("owners", "items", "values")]
    return Answers(*parts)
