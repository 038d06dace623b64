"""A student of a slow refiner: trained on its answers, compared with it, and refused where it does not agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refinery.artifact import MODEL_FILE, Artifact, Manifest, write_manifest
from refinery.checks import CheckContext, calibrate, overall, run_checks
from refinery.config import ExportConfig
from refinery.dataset import open_dataset
from refinery.errors import DatasetError, ModelError, UsageError
from refinery.image import to_float
from refinery.jobs._observer import Observer
from refinery.labels import open_labels
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.runtime.probe_session import open_probe
from refinery.sample import FloatArray, Label, Pair, Sample

LEAST_IMAGES, MOST_COMPARED = 40, 256
COMPARED_PIXELS = 1_500_000
MORE_FAILED = 0.02
"""Share of the samples by which a student's may fail more often than its teacher's, or against them."""
LOADED_MB = 1024


@dataclasses.dataclass(frozen=True)
class _Data:
    """The synthetic images, some of them held out of the student's training."""

    taught: Any
    held_out: Any
    labels: Sequence[tuple[Label, ...]]


def export_student(
    config: ExportConfig, checkpoint_file: Path, folder: Path, trained: Artifact | None, observer: Observer
) -> Manifest:
    """Train a student of the checkpoint's refiner, compare both, and write `folder/refiner.onnx` with its manifest.

    trained: the artifact of the run, whose label probe judges the student's labels too.
    Raises ModelError where the student's images differ by more than `student_levels`, or more of their labels fail.
    """
    import torch

    from refinery.onnx_export import export_checkpoint, rebuild
    from refinery.training import checkpoint, distillation
    from refinery.training.device import share_cores

    share_cores()
    state = checkpoint.load(checkpoint_file)
    channels = state["channels"]
    teacher = rebuild(state)
    torch.manual_seed(0)
    student = distillation.new_student(teacher, channels, state.get("real_channels", channels))
    choice = EVERYTHING if config.synthetic else _choice_of(state)
    data = _load(_synthetic_of(config, state), channels, choice)
    observer.say(f"student: learns from {len(data.taught.images):,} images, {config.student_steps:,} steps")
    images = [to_float(image) for image in data.taught.images]
    distillation.distil(teacher, student, images, _keys(data.taught), config.student_steps, 0, observer.say)

    shown, keys = [to_float(image) for image in data.held_out.images], _keys(data.held_out)
    taught, learnt = (distillation.answers_of(one, shown, keys, 0, state["bits"]) for one in (teacher, student))
    agreed = {
        "of": {"method": state["method"], "step": state["step"]},
        "steps": config.student_steps,
        "images": len(shown),
        "levels": dataclasses.asdict(distillation.agreement(taught, learnt)),
        "failed": _failed(data, shown, taught, learnt),
    }
    _require_agreement(agreed, config, checkpoint_file)
    saved = checkpoint_file.with_name("student.safetensors")
    checkpoint.save(saved, _as_checkpoint(state, student))
    manifest = export_checkpoint(saved, folder, MODEL_FILE, config.tolerance, trained.probe if trained else None)
    context = CheckContext(probe=open_probe(trained) if trained else None)
    thresholds = calibrate(_pairs(data, shown, learnt), context).thresholds
    manifest = dataclasses.replace(manifest, student=agreed, check_thresholds=dict(thresholds))
    write_manifest(folder, manifest)
    return manifest


def sentence(manifest: Manifest) -> str:
    """How far a student agrees with its teacher, for the table."""
    agreed = manifest.student
    levels, failed = agreed["levels"], agreed["failed"]
    labels = (
        f"labels fail in {failed['student']:.1%} of the samples (teacher: {failed['teacher']:.1%})"
        if failed
        else "it has no labels to compare"
    )
    return f"{levels['mean_levels']:.2f} levels of 255 apart on average, 99% below {levels['p99_levels']:.1f}; {labels}"


def _synthetic_of(config: ExportConfig, state: dict[str, Any]) -> Path:
    """Where the synthetic images lie: as the option says, or as the run remembers."""
    remembered = (state.get("paths") or {}).get("synthetic", [])
    place = config.synthetic or next((path for path in remembered if Path(path).exists()), "")
    if not place:
        raise UsageError("--student: the synthetic images are not where the run had them; say where with --synthetic")
    return Path(place)


def _choice_of(state: dict[str, Any]) -> Choice:
    """Which images were said to be pictures when the run began."""
    settings = state.get("train") or {}
    return Choice(tuple(settings.get("images", ())), tuple(settings.get("maps", ())))


def _load(path: Path, channels: int, choice: Choice) -> _Data:
    """Decode what the teacher is to be asked about, and every fifth image to compare on. Raises DatasetError."""
    from refinery.training.distillation import TAUGHT_PIXELS
    from refinery.training.loading import load

    source = open_dataset(path, choice=choice)
    images = load(source, LOADED_MB, "synthetic dataset")
    if images.channels != channels:
        raise DatasetError(f"{path}: images have {images.channels} channel(s), the refiner takes {channels}")
    total, pixels = len(images.images), images.size_hw[0] * images.size_hw[1]
    if total < LEAST_IMAGES:
        raise DatasetError(f"{path}: {total} usable image(s); a student needs {LEAST_IMAGES}, and hundreds to do well")
    held_out = range(0, total, 5)
    taught = [i for i in range(total) if i % 5]
    chosen = images.select(_spread(taught, max(LEAST_IMAGES, TAUGHT_PIXELS // pixels)))
    compared = images.select(_spread(held_out, max(8, min(MOST_COMPARED, COMPARED_PIXELS // pixels))))
    reader = open_labels(source)
    rows = zip(compared.samples, compared.images, strict=True)
    return _Data(chosen, compared, [reader.read(sample, (i.shape[0], i.shape[1]))[0] for sample, i in rows])


def _spread(members: Sequence[int], most: int) -> list[int]:
    count = min(len(members), most)
    return [members[i * len(members) // count] for i in range(count)]


def _keys(images: Any) -> list[str]:
    samples: Sequence[Sample] = images.samples
    return [sample.key for sample in samples]


def _pairs(data: _Data, before: Sequence[FloatArray], after: Sequence[FloatArray]) -> list[Pair]:
    return [Pair(*row) for row in zip(data.held_out.samples, before, after, data.labels, strict=True)]


def _failed(
    data: _Data, shown: Sequence[FloatArray], taught: Sequence[FloatArray], learnt: Sequence[FloatArray]
) -> dict[str, float]:
    """Share of the held-out samples whose labels fail: teacher's, student's, and student's against teacher's.

    Empty where no sample has a label.
    """
    if not any(data.labels):
        return {}
    context = CheckContext()
    sides = {"teacher": (shown, taught), "student": (shown, learnt), "against_teacher": (taught, learnt)}
    found = {name: run_checks(_pairs(data, *side), context) for name, side in sides.items()}
    return {name: float(np.mean([overall(own) == "fail" for own in one])) for name, one in found.items()}


def _require_agreement(agreed: dict[str, Any], config: ExportConfig, checkpoint_file: Path) -> None:
    mean, failed = agreed["levels"]["mean_levels"], agreed["failed"]
    if not mean <= config.student_levels:
        raise ModelError(
            f"{checkpoint_file}: the student is {mean:.2f} levels of 255 apart from its teacher, more than "
            f"student_levels = {config.student_levels:g}: not written; give it more student_steps"
        )
    worse = max(failed["student"] - failed["teacher"], failed["against_teacher"]) if failed else 0.0
    if worse > MORE_FAILED:
        raise ModelError(
            f"{checkpoint_file}: labels of {failed['student']:.1%} of the student's images fail, of its teacher's "
            f"{failed['teacher']:.1%}, against them {failed['against_teacher']:.1%}: not written; give it more "
            "student_steps"
        )


def _as_checkpoint(state: dict[str, Any], student: Any) -> dict[str, Any]:
    """The student in the form of a run's checkpoint, so that it is exported as any refiner."""
    from refinery.training import distillation
    from refinery.training.methods.simgan import Settings

    settings = Settings(
        refiner="multiscale_refiner",
        width=distillation.WIDTH,
        blocks=distillation.BLOCKS,
        scales=distillation.SCALES,
        kernel=3,
        latent=student.latent,
        tone=student.tone is not None,
    )
    kept: dict[str, Any] = {
        name: state[name] for name in ("channels", "real_channels", "bits", "training", "step") if name in state
    }
    return {**kept, "method": "simgan", "settings": dataclasses.asdict(settings), "refiner": student.state_dict()}
