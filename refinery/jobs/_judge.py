"""What judges the labels of a trained refiner: its probe, and the thresholds of the checks; made at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refinery.artifact import ProbeFiles
from refinery.checks import CheckContext, calibrate
from refinery.config import TINY_STEPS, TrainConfig
from refinery.image import as_channels, from_float, to_float
from refinery.labels import LabelReader
from refinery.sample import FloatArray, Pair

Refine = Callable[[Sequence[FloatArray]], list[FloatArray]]


@dataclass(frozen=True)
class Judges:
    """probe: as files for the artifact, None when there is nothing it could learn. thresholds: of the checks."""

    probe: ProbeFiles | None
    thresholds: dict[str, float]


def make_judges(
    checkpoint: Path,
    reader: LabelReader,
    synthetic: Any,
    held_out: Any,
    context: CheckContext,
    config: TrainConfig,
    say: Callable[[str], None],
    targets: Any = None,
) -> Judges:
    """Train the probe out of fold on all synthetic images, measure it against what this refiner does, calibrate.

    checkpoint: of the refiner that will be exported. synthetic, held_out: ImageSets. The probe shares no network with
    the guides that shaped the refiner. targets: an ImageSet, what `held_out` should become, where images are paired:
    the checks are calibrated on these partners too, whose labels are the same however they look.
    """
    refine = _refiner_of(checkpoint)
    pairs = _pairs(reader, held_out, refine)
    recoloured = pairs[0].refined.shape[2] != held_out.channels
    if config.probe and recoloured:
        say("no label probe: it would learn gray images and be asked about colour ones")
    if config.probe and not trains_probe(config):
        say(
            f"no label probe after {config.steps} steps: labels that only it can judge are not judged; from "
            f"{TINY_STEPS} steps on there is one, or with probe_steps"
        )
    wanted = trains_probe(config) and not recoloured
    probe = _probe(reader, synthetic, held_out, context, config, refine, say) if wanted else None
    files = None
    if probe is not None:
        from refinery.onnx_export import export_probe

        files = export_probe(probe)
        context = replace(context, probe=probe.prober())
    unmoved = [] if targets is None else _partners(pairs, targets)
    decoys = [(pair.sample.key, pair.synthetic) for pair in pairs[:: max(1, len(pairs) // 32)]]
    return Judges(files, dict(calibrate(pairs, context.with_decoys(decoys), config.seed, unmoved).thresholds))


def trains_probe(config: TrainConfig) -> bool:
    """True if a label probe is trained: where it is wanted, and the training is no try or asks for it."""
    return config.probe and (config.probe_steps > 0 or not config.is_tiny)


def _probe(
    reader: LabelReader,
    synthetic: Any,
    held_out: Any,
    context: CheckContext,
    config: TrainConfig,
    refine: Refine,
    say: Callable[[str], None],
) -> Any:
    from refinery.training.probe import ProbeSettings, train_probe

    images, samples = [*synthetic.images, *held_out.images], [*synthetic.samples, *held_out.samples]
    keys = [sample.key for sample in samples]
    labels = [reader.read(s, (i.shape[0], i.shape[1]))[0] for s, i in zip(samples, images, strict=True)]
    settings = ProbeSettings(config.probe_steps)
    if config.probe_steps:  # who says how many gets them, whatever they can judge
        settings = replace(settings, hopeless=(math.inf, math.inf))
    probe = train_probe(images, keys, labels, settings, context, config.seed, say, refine)
    for sentence in probe.sentences() if probe else ():
        say(sentence)
    return probe


def _pairs(reader: LabelReader, held_out: Any, refine: Refine) -> list[Pair]:
    """The held-out samples and what the refiner makes of them, as they would be stored, in the same channels."""
    labels = [
        reader.read(s, (i.shape[0], i.shape[1]))[0] for s, i in zip(held_out.samples, held_out.images, strict=True)
    ]
    synthetic = [to_float(image) for image in held_out.images]
    after = [to_float(from_float(image, held_out.bits)) for image in refine(synthetic)]
    before = [as_channels(image, after[0].shape[2]) for image in synthetic]
    return [Pair(*row) for row in zip(held_out.samples, before, after, labels, strict=True)]


def _partners(pairs: Sequence[Pair], targets: Any) -> list[Pair]:
    """The held-out samples and the images they are partners of, in the channels of the refined ones."""
    return [
        replace(pair, refined=as_channels(to_float(image), pair.refined.shape[2]))
        for pair, image in zip(pairs, targets.images, strict=True)
    ]


def _refiner_of(path: Path) -> Refine:
    """The refiner of a checkpoint, on the CPU in fp32; its noise, if any, differs from image to image."""
    import torch

    from refinery.onnx_export import rebuild
    from refinery.training import checkpoint
    from refinery.training.refining import refine_arrays

    refiner = rebuild(checkpoint.load(path))
    device = torch.device("cpu")
    return lambda images: refine_arrays(refiner, images, [str(i) for i in range(len(images))], device)
