"""What a label budget needs before training starts: images set aside, networks that read their labels."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from refinery.checks import CheckContext
from refinery.config import TrainConfig
from refinery.image import to_float
from refinery.labels import LabelReader
from refinery.sample import Label
from refinery.training.budget import LabelBudget
from refinery.training.data import ImageSet, as_tensor
from refinery.training.drift_meter import Control, DriftMeter
from refinery.training.guide import Guide, GuidePlan, new_guide, plan_guide, targets_of, train_guide

CONTROL_PIXELS = 128 * 128 * 64
GUIDE_PIXELS = 30_000_000
"""Pixels that the guides are trained on at most."""
MIN_CONTROL = 4


def set_aside(synthetic: ImageSet, most: int) -> tuple[ImageSet, ImageSet]:
    """Images to train on, and evenly spread ones of the most frequent shape to measure drift on.

    The latter are a tenth, at least 4, at most half.
    """
    shapes = [image.shape for image in synthetic.images]
    shape, _ = Counter(shapes).most_common(1)[0]
    usable = [i for i, own in enumerate(shapes) if own == shape]
    wanted = max(MIN_CONTROL, min(most, len(shapes) // 10, CONTROL_PIXELS // (shape[0] * shape[1])))
    count = min(wanted, len(shapes) // 2)
    chosen = {usable[i * len(usable) // count] for i in range(count)}
    return synthetic.select([i for i in range(len(shapes)) if i not in chosen]), synthetic.select(sorted(chosen))


def make_budget(
    reader: LabelReader,
    synthetic: ImageSet,
    control: ImageSet,
    crop_hw: tuple[int, int],
    context: CheckContext,
    config: TrainConfig,
    device: torch.device,
    resume: bool,
    say: Callable[[str], None],
) -> LabelBudget:
    """The budget, its networks trained unless a checkpoint will bring them.

    Networks read whole images of one size. Where training crops are smaller than these, or images are large, nothing
    gives a consistency loss, and lambda is the only brake.
    """
    began = time.monotonic()
    control_set = read_control(reader, control)
    plan = _plan(reader, synthetic, context) if config.guide_steps else None
    if plan is None:
        say("label budget: no network can read these labels; their geometry is measured, and lambda is the brake")
        return LabelBudget(None, DriftMeter((), control_set, context, device))
    whole = crop_hw == plan.probe.canvas_hw
    guides = [new_guide(plan, synthetic.channels, 7919 * config.seed + 1 + i, device) for i in range(3 if whole else 2)]
    if not resume:
        _train(guides, reader, synthetic, control_set, config)
        say(f"label budget: {_read(guides)} ({time.monotonic() - began:.0f} s)")
    watchers = guides[-2:]
    return LabelBudget(guides[0] if whole else None, DriftMeter(watchers, control_set, context, device))


def read_control(reader: LabelReader, images: ImageSet) -> Control:
    """These images, all of one shape, with their labels."""
    labels = _labels(reader, images)
    return Control(list(images.samples), [to_float(image) for image in images.images], labels)


def _labels(reader: LabelReader, images: ImageSet) -> list[tuple[Label, ...]]:
    return [
        reader.read(sample, (image.shape[0], image.shape[1]))[0]
        for sample, image in zip(images.samples, images.images, strict=True)
    ]


def _plan(reader: LabelReader, synthetic: ImageSet, context: CheckContext) -> GuidePlan | None:
    if len({image.shape for image in synthetic.images}) > 1:
        return None
    return plan_guide(_labels(reader, synthetic), synthetic.smallest_hw, context)


def _train(
    guides: list[Guide], reader: LabelReader, synthetic: ImageSet, control: Control, config: TrainConfig
) -> None:
    """Train each with a seed of its own on an even spread of the images, then look over what it reads."""
    height, width = synthetic.smallest_hw
    count = min(len(synthetic.images), GUIDE_PIXELS // (height * width))
    chosen = synthetic.select([i * len(synthetic.images) // count for i in range(count)])
    images: Tensor = as_tensor(np.stack(list(chosen.images)), torch.device("cpu"))
    targets = targets_of(guides[0].plan, _labels(reader, chosen))
    held_out = control.batch(torch.device("cpu")), targets_of(guides[0].plan, control.labels)
    for i, guide in enumerate(guides):
        train_guide(guide, images, targets, 7919 * config.seed + 1 + i, config.guide_steps)
        guide.look_over(*held_out)


def _read(guides: list[Guide]) -> str:
    """What all of them can read, in words."""
    parts = guides[0].plan.parts
    heeded = [all(bool(guide.heeded[p]) for guide in guides) for p in range(len(parts))]
    able = sorted({part.name for part, held in zip(parts, heeded, strict=True) if held})
    unable = sorted({part.name for part, held in zip(parts, heeded, strict=True) if not held} - set(able))
    told = f"networks read {', '.join(able)}" if able else "networks can read no label well enough"
    return told + (f"; not {', '.join(unable)}" if unable else "")
