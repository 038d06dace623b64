"""Labelled datasets as a student sees them: images and targets on one canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from refinery.dataset import iter_decoded
from refinery.errors import SampleError
from refinery.formats._source import Source as Dataset
from refinery.image import as_channels, to_float
from refinery.labels import LabelReader
from refinery.sample import FloatArray, Label
from refinery.training.probe_targets import ProbePlan, Targets, place_points, region_targets, target_values


@dataclass(frozen=True)
class Labelled:
    """Decoded images (H, W, C) float32 in [-1, 1] with their keys and labels; sizes may differ."""

    keys: Sequence[str] = field(repr=False)
    images: Sequence[FloatArray] = field(repr=False)
    labels: Sequence[tuple[Label, ...]] = field(repr=False)


def read_labelled(source: Dataset, reader: LabelReader, limit: int | None, channels: int = 0) -> Labelled:
    """Images of a dataset with their labels, `limit` of them spread evenly; what cannot be read is left out.

    channels: 1 or 3, which images are brought to; 0: as they are.
    """
    keys: list[str] = []
    images: list[FloatArray] = []
    labels: list[tuple[Label, ...]] = []
    for sample, decoded in iter_decoded(source, limit):
        if isinstance(decoded, SampleError):
            continue
        own, _ = reader.read(sample, decoded.size_hw)
        pixels = to_float(decoded.pixels)
        keys.append(sample.key)
        images.append(as_channels(pixels, channels) if channels else pixels)
        labels.append(own)
    return Labelled(keys, images, labels)


def canvases(images: Sequence[FloatArray], canvas_hw: tuple[int, int]) -> Tensor:
    """(N, C, h, w) float16 in [-1, 1]: each scaled to fit, what is left repeating its border."""
    return torch.from_numpy(np.stack([_fitted(image, canvas_hw) for image in images]).astype(np.float16))


def fit_of(size_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> float:
    """Canvas px for one image px; above 1 for smaller images.

    A point (x, y) px of the image lies at (x + 0.5) fit - 0.5 on the canvas.
    """
    return min(canvas_hw[0] / size_hw[0], canvas_hw[1] / size_hw[1])


def targets_on(plan: ProbePlan, found: Labelled) -> tuple[Targets, Tensor]:
    """Targets on the canvas, and (N,) how many canvas px one px of each image is."""
    sizes = [(image.shape[0], image.shape[1]) for image in found.images]
    labels = [masks_on(own, size, plan.canvas_hw) for own, size in zip(found.labels, sizes, strict=True)]
    return targets_of(plan, labels, sizes)


def targets_of(
    plan: ProbePlan, labels: Sequence[Sequence[Label]], sizes_hw: Sequence[tuple[int, int]]
) -> tuple[Targets, Tensor]:
    """The same of labels in px of images of these sizes, whose masks are on the canvas already."""
    values, known = target_values(plan, labels)
    fits = np.array([fit_of(size, plan.canvas_hw) for size in sizes_hw])
    targets = place_points(plan, values, known, fits, np.zeros((len(values), 2)), plan.canvas_hw)
    regions = region_targets(plan, labels) if plan.regions else None
    return Targets(targets.values, targets.known, regions), torch.from_numpy(fits)


def masks_on(labels: Sequence[Label], size_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> tuple[Label, ...]:
    """The labels of an image with its masks (H, W) scaled as the image is: (h, w) bool on the canvas."""
    return tuple(
        replace(label, value=_fitted(label.value.astype(np.float32)[:, :, None], canvas_hw)[0] > 0.5)
        if label.type in ("semantic_mask", "instance_mask") and label.value.shape == size_hw
        else label
        for label in labels
    )


def _fitted(image: FloatArray, canvas_hw: tuple[int, int]) -> FloatArray:
    """(H, W, C) to (C, h, w)."""
    size_hw = (image.shape[0], image.shape[1])
    fit = fit_of(size_hw, canvas_hw)
    height, width = (min(to, max(1, round(side * fit))) for side, to in zip(size_hw, canvas_hw, strict=True))
    planes = image.transpose(2, 0, 1)
    if (height, width) != size_hw:
        resize = Image.Resampling.BILINEAR
        planes = np.stack([np.asarray(Image.fromarray(plane).resize((width, height), resize)) for plane in planes])
    return np.pad(planes, ((0, 0), (0, canvas_hw[0] - height), (0, canvas_hw[1] - width)), mode="edge")
