"""What a probe is trained and measured on: images on its canvas with their targets, whole or cut out by object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refinery.image import to_float
from refinery.regions import regions
from refinery.runtime.label_probe import IMAGE, OBJECT
from refinery.runtime.probe_views import OBJECT_SIDE_PX, canvas_scale, canvas_size, cut_out, fold_of, on_canvas
from refinery.sample import FloatArray, Label
from refinery.training.probe_targets import ProbePlan, Targets, place_points, plan_probe, region_targets, target_values

Pixels = NDArray[Any]
MAX_BYTES = 512 * 2**20
PLACELESS = ("class", "number", "vector")


@dataclass(frozen=True)
class Rows:
    """R images of one view, as its networks see them.

    images: (R, C, h, w) float16 in [-1, 1]. targets: on the canvas. scale: (R,) canvas px for one image px.
    folds, samples: (R,) fold and index of the sample. extents_px: (R,) radius on the canvas of what a keypoint is the
    centre of, 0 where nobody says. boxes: of the objects, empty for whole images.
    """

    images: NDArray[np.float16] = field(repr=False)
    targets: Targets = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    folds: NDArray[np.intp] = field(repr=False)
    samples: NDArray[np.intp] = field(repr=False)
    extents_px: NDArray[np.float64] = field(repr=False)
    boxes: tuple[NDArray[np.float64], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Shown:
    """A dataset by view: for each row its sample, its labels, and the box of the object (None: the whole image)."""

    samples: tuple[int, ...]
    labels: tuple[tuple[Label, ...], ...]
    boxes: tuple[NDArray[np.float64], ...] = ()

    def select(self, chosen: Sequence[int]) -> Shown:
        """A part of the rows."""
        boxes = tuple(self.boxes[i] for i in chosen) if self.boxes else ()
        return Shown(tuple(self.samples[i] for i in chosen), tuple(self.labels[i] for i in chosen), boxes)


def split_views(labels: Sequence[Sequence[Label]]) -> dict[str, Shown]:
    """Labels that are said of one of several objects by object, all others by image; views without labels are absent.

    labels: of each sample.
    """
    several = {label.name for own in labels for label in own if label.item > 0}
    crowded = {label.name for own in labels for label in own if label.item > 0 and label.type == "box"}
    samples: list[int] = []
    of_objects: list[tuple[Label, ...]] = []
    boxes: list[NDArray[np.float64]] = []
    whole: list[tuple[Label, ...]] = []
    for i, own in enumerate(labels):
        objects = [label for label in own if label.type in PLACELESS and label.name in several]
        whole.append(tuple(x for x in own if x.name not in crowded and not (x.type in PLACELESS and x.name in several)))
        found = regions(own) if objects else {}
        grouped: dict[tuple[float, ...], list[Label]] = {}
        for label in objects:
            box = found.get((label.name, label.item))
            if box is not None:
                grouped.setdefault(tuple(box.tolist()), []).append(replace(label, item=0))
        for place, group in grouped.items():
            samples.append(i)
            of_objects.append(tuple({label.name: label for label in group}.values()))
            boxes.append(np.array(place))
    views = {
        IMAGE: Shown(tuple(range(len(labels))), tuple(whole)),
        OBJECT: Shown(tuple(samples), tuple(of_objects), tuple(boxes)),
    }
    return {name: shown for name, shown in views.items() if any(shown.labels)}


def plan_view(name: str, shown: Shown, images: Sequence[Pixels]) -> ProbePlan:
    """What a network of this view is to answer, on a canvas for the median size of the images."""
    if name == OBJECT:
        return plan_probe(shown.labels, (OBJECT_SIDE_PX, OBJECT_SIDE_PX))
    height, width = np.median([image.shape[:2] for image in images], axis=0)
    return plan_probe(shown.labels, canvas_size((round(height), round(width))))


def spread_rows(shown: Shown, keys: Sequence[str], most: int) -> Shown:
    """At most this many rows, evenly spread over each fold."""
    if len(shown.samples) <= most:
        return shown
    folds = np.array([fold_of(keys[sample]) for sample in shown.samples])
    counts = Counter(folds.tolist())
    chosen: list[int] = []
    for fold, count in counts.items():
        wanted = min(count, most // len(counts))
        members = np.flatnonzero(folds == fold)
        chosen += members[np.arange(wanted) * count // wanted].tolist()
    return shown.select(sorted(chosen))


def affordable_rows(plan: ProbePlan, channels: int) -> int:
    """How many rows fit into half a gigabyte."""
    return max(64, MAX_BYTES // (2 * channels * plan.canvas_hw[0] * plan.canvas_hw[1]))


def make_rows(plan: ProbePlan, shown: Shown, images: Sequence[Pixels], keys: Sequence[str]) -> Rows:
    """Cut out and scale what a view shows. images: (H, W, C) uint8 or uint16, or float32 in [-1, 1]."""
    channels = images[0].shape[2]
    canvases = np.empty((len(shown.samples), channels, *plan.canvas_hw), np.float16)
    scale = np.ones(len(shown.samples))
    for row, sample in enumerate(shown.samples):
        image = as_float(images[sample])
        if shown.boxes:
            canvases[row] = cut_out(image, [shown.boxes[row]])[0]
        else:
            canvases[row] = on_canvas(image[None], plan.canvas_hw)[0]
            scale[row] = canvas_scale((image.shape[0], image.shape[1]), plan.canvas_hw)
    values, known = target_values(plan, shown.labels)
    targets = place_points(plan, values, known, scale, np.zeros((len(values), 2)), plan.canvas_hw)
    if plan.regions:
        targets = replace(targets, regions=region_targets(plan, shown.labels))
    folds = np.array([fold_of(keys[sample]) for sample in shown.samples], np.intp)
    extents = [max((label.extent_px for label in own), default=0.0) for own in shown.labels]
    return Rows(canvases, targets, scale, folds, np.array(shown.samples, np.intp), scale * extents, shown.boxes)


def as_float(image: Pixels) -> FloatArray:
    """Float32 in [-1, 1], whatever it was."""
    return image.astype(np.float32) if image.dtype.kind == "f" else to_float(image)


def batch_of(rows: Rows, chosen: NDArray[np.intp]) -> Tensor:
    """(B, C, h, w) float32."""
    return torch.from_numpy(rows.images[chosen].astype(np.float32))
