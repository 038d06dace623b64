"""Train a refiner: find out, say so, train, export."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery.checks import CheckContext
from refinery.config import LabelOverride, TrainConfig, build, parse_max_drift, to_toml
from refinery.dataset import open_dataset
from refinery.errors import DatasetError, UsageError
from refinery.formats._source import Source
from refinery.jobs._checking import unknown_tolerances
from refinery.jobs._judge import Judges, make_judges
from refinery.jobs._labels import look_at_labels
from refinery.jobs._observer import Observer, Silent
from refinery.labels import LabelReader, open_labels
from refinery.registry import find

HELD_OUT_PIXELS = 8_000_000
"""Refining this many pixels in fp32 takes seconds on two cores; larger images are held out in smaller number."""
MIN_HELD_OUT, MIN_REAL = 4, 8
"""What realism needs to compare two sets: two halves of the real images are compared too."""
NAMED = 5


def train(
    config: TrainConfig,
    table: Mapping[str, Any] | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    overrides: Mapping[str, LabelOverride] | None = None,
) -> dict[str, Any]:
    """Train, and export the best checkpoint as an artifact.

    table: settings of the method by name, as its TOML table. resume: go on with the run in `config.out`.
    overrides: what labels are, by name, where their files do not say so; from `config.parse_label_overrides`.
    Returns what `refinery train --json` prints. Raises RefineryError.
    """
    import torch

    from refinery.training.data import Batches
    from refinery.training.device import place
    from refinery.training.loop import run_training
    from refinery.training.prepare_budget import make_budget, set_aside
    from refinery.training.run_folder import RunFolder, default_path
    from refinery.training.validation import Validation

    observer = observer or Silent()
    method_module = find("method", config.method)
    settings = build(method_module.Settings, table or {}, {}, f"[{config.method}]")
    context = CheckContext(max_drift=parse_max_drift(config.max_drift))
    folder = RunFolder(Path(config.out) if config.out else default_path(config.method))
    placement = place(config.device, config.precision)
    on_gpu = placement.device.type == "cuda"
    config = dataclasses.replace(config, crop=config.crop or (224 if on_gpu else 64))
    data = _load_data(config)
    settings = method_module.scale(settings, data.crop_hw)

    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    steps = config.steps or settings.steps
    method = method_module.create(data.channels, settings, steps, placement, generator)
    control = None
    if method.follows_budget:
        kept, control = set_aside(data.synthetic, config.control)
        data = dataclasses.replace(data, synthetic=kept)
    folder.create(resume)
    batch_size = config.batch_size or (64 if on_gpu else _batch_size(data.crop_hw))
    config = dataclasses.replace(config, out=str(folder.path), steps=steps, batch_size=batch_size)
    if not resume:
        folder.write_config(_config_text(config, settings, overrides or {}))
    observer.table(f"run {folder.path}", _describe(data, config, settings, method, placement))
    for line in data.problems:
        observer.say(line)

    reader = open_labels(data.source, overrides)
    _tell_labels(reader, data.source, context, observer)
    budget = None
    if control is not None:
        budget = make_budget(
            reader, data.synthetic, control, data.crop_hw, context, config, placement.device, resume, observer.say
        )
    method.brake = budget
    watchers = budget.meter.watchers if budget else None
    validation = Validation(reader, data.held_out, data.real, context, config.seed, placement.device, watchers)
    batches = [
        Batches(images, data.crop_hw, batch_size, generator, placement.device) for images in (data.synthetic, data.real)
    ]
    header = {
        "method": config.method,
        "settings": dataclasses.asdict(settings),
        "channels": data.channels,
        "bits": data.bits,
        "training": data.provenance(),
    }
    outcome = run_training(
        method, batches[0], batches[1], validation.evaluate, folder, config, generator, observer, header, resume, budget
    )
    folder.write_config(_config_text(config, settings, overrides or {}))
    if outcome.stopped_by == "interrupt":
        observer.say(f"stopped at step {outcome.step}; go on with: refinery train --resume {folder.path}")
        return {"run": str(folder.path), "steps": outcome.step, "stopped_by": "interrupt", "artifact": None}
    judges = make_judges(folder.best, reader, data.synthetic, data.held_out, context, config, observer.say)
    return _finish(folder, outcome, judges)


def _tell_labels(reader: LabelReader, source: Source, context: CheckContext, observer: Observer) -> None:
    """Print the labels that were found, and what of them could not be read or is misspelt."""
    labels = look_at_labels(source, reader, trains_probe=True)
    observer.table("labels", labels.rows() or {"none": "none found"})
    for line in (*reader.problems, *reader.unknown_overrides(), *unknown_tolerances(context, labels.labels)):
        observer.say(line)


@dataclass(frozen=True)
class _Data:
    """Both sides of the training, decoded."""

    source: Source
    synthetic: Any
    held_out: Any
    real: Any
    crop_hw: tuple[int, int]
    channels: int
    bits: int
    real_fit: str
    problems: tuple[str, ...]

    def provenance(self) -> dict[str, Any]:
        """Where the refiner comes from, for checkpoint and manifest."""
        return {
            "synthetic": {"samples": len(self.synthetic.images), "fingerprint": _fingerprint(self.synthetic)},
            "real": {"samples": len(self.real.images), "fingerprint": _fingerprint(self.real)},
        }


def _load_data(config: TrainConfig) -> _Data:
    from refinery.training.data import crop_size, load, resize_to_cover

    for name, path in (("--real", config.real), ("--synthetic", config.synthetic)):
        if not path:
            raise UsageError(f"{name} is missing: give the folder of {name[2:]} images")
    source = open_dataset(Path(config.synthetic))
    real_source = open_dataset(Path(config.real))
    synthetic = load(source, config.memory_mb, "synthetic dataset")
    real = load(real_source, config.memory_mb, "real dataset")
    problems = [line for images in (synthetic, real) for line in _left_out(images.skipped)]
    for images, path, least in ((synthetic, config.synthetic, 2 * MIN_HELD_OUT), (real, config.real, MIN_REAL)):
        if len(images.images) < least:
            raise DatasetError(
                f"{path}: {len(images.images)} usable image(s); training needs {least}, and hundreds to do well"
            )
    if real.channels < synthetic.channels:
        raise DatasetError(
            f"the real images in {config.real} are gray, the synthetic ones in {config.synthetic} are colour: a "
            "refiner cannot learn colours from gray; convert the synthetic images to gray, or give colour photos"
        )
    if real.channels > synthetic.channels:
        problems.append("real images are colour, synthetic ones gray: the real images are used as gray")
    smallest = min(synthetic.smallest_hw)
    size_hw = synthetic.size_hw if config.real_fit == "resize" else (smallest, smallest)
    fitted = real
    if not _fits(real, synthetic, config.real_fit):
        fitted = resize_to_cover(real, size_hw, synthetic.channels, shrink=config.real_fit == "resize")
    if fitted.bits != synthetic.bits:
        problems.append(f"real images have {real.bits} bits, synthetic ones {synthetic.bits}: both are used as [-1, 1]")
    kept, held_out = _hold_out(synthetic, config.validation)
    return _Data(
        source,
        kept,
        held_out,
        fitted,
        crop_size(synthetic, fitted, config.crop),
        synthetic.channels,
        synthetic.bits,
        "cropped" if fitted is real or config.real_fit == "crop" else f"scaled to cover {size_hw[1]}x{size_hw[0]} px",
        tuple(problems),
    )


def _left_out(skipped: tuple[str, ...]) -> list[str]:
    """What to say about images that cannot be used: the first few, and how many more."""
    lines = [f"left out: {line}" for line in skipped[:NAMED]]
    return lines + ([f"left out: {len(skipped) - NAMED:,} more images"] if len(skipped) > NAMED else [])


def _fits(real: Any, synthetic: Any, real_fit: str) -> bool:
    """Whether the real images can be used without a change of size or channels."""
    if real.channels != synthetic.channels:
        return False
    same = {image.shape[:2] for image in real.images} == {synthetic.size_hw}
    return same or (real_fit == "crop" and min(real.smallest_hw) >= min(synthetic.smallest_hw))


def _hold_out(synthetic: Any, most: int) -> tuple[Any, Any]:
    """Training images and evenly spread held-out ones: at most a fifth, but enough to compare with real ones."""
    total = len(synthetic.images)
    affordable = HELD_OUT_PIXELS // (synthetic.size_hw[0] * synthetic.size_hw[1])
    count = max(MIN_HELD_OUT, min(most, total // 5, affordable))
    chosen = {i * total // count for i in range(count)}
    return synthetic.select([i for i in range(total) if i not in chosen]), synthetic.select(sorted(chosen))


def _batch_size(crop_hw: tuple[int, int]) -> int:
    """As many pixels a step as 32 images of 60x36: 8 to 64 images."""
    return int(min(64, max(8, 32 * 36 * 60 // (crop_hw[0] * crop_hw[1]))))


def _describe(data: _Data, config: TrainConfig, settings: Any, method: Any, placement: Any) -> dict[str, str]:
    """The table printed before training starts."""

    def side(images: Any) -> str:
        height, width = images.size_hw
        return f"{len(images.images):,} images, {width}x{height}, {images.channels} channel(s), {images.bits} bits"

    refiner = sum(p.numel() for p in method.refiner.parameters())
    limit = f", at most {config.minutes:g} minutes" if config.minutes else ""
    held_out = f"{len(data.held_out.images)} held out"
    return {
        "synthetic": f"{config.synthetic}: {side(data.synthetic)} ({data.source.layout}), {held_out}",
        "real": f"{config.real}: {side(data.real)}, {data.real_fit}",
        "method": f"{config.method}, {method.total_steps:,} steps{limit}, batch {config.batch_size}",
        "crops": f"{data.crop_hw[1]}x{data.crop_hw[0]} px",
        "refiner": f"{settings.refiner}, {refiner:,} parameters",
        "psi, lambda": f"{settings.feature_transform}, {_lambda(settings)}",
        "device": f"{placement.device.type}, {placement.precision}",
        "labels may move": config.max_drift,
    }


def _config_text(config: TrainConfig, settings: Any, overrides: Mapping[str, LabelOverride]) -> str:
    """The resolved settings, with which a run is resumed."""
    text = to_toml({"train": config, config.method: settings})
    tables = [f"\n[labels.{json.dumps(name)}]\n{_toml_of(override)}" for name, override in sorted(overrides.items())]
    return text + "".join(tables)


def _toml_of(override: LabelOverride) -> str:
    """The lines of one label's table."""
    return to_toml({"": override}).partition("\n")[2]


def _lambda(settings: Any) -> str:
    """How hard the refiner is held."""
    return f"{settings.lambda_reg:g} x mean L1" if settings.lambda_reg else "follows the label budget"


def _fingerprint(images: Any) -> str:
    """SHA-256 over keys and pixels, in order."""
    digest = hashlib.sha256()
    for sample, image in zip(images.samples, images.images, strict=True):
        digest.update(sample.key.encode("utf-8", "surrogateescape"))
        digest.update(image.tobytes())
    return digest.hexdigest()


def _finish(folder: Any, outcome: Any, judges: Judges) -> dict[str, Any]:
    """Export the best checkpoint with what judges its labels, and write the summary."""
    from refinery.artifact import MODEL_FILE, write_manifest
    from refinery.export import export_checkpoint

    manifest = export_checkpoint(folder.best, folder.artifact, MODEL_FILE, tolerance=1e-3, probe=judges.probe)
    write_manifest(folder.artifact, dataclasses.replace(manifest, check_thresholds=judges.thresholds))
    summary = {
        "run": str(folder.path),
        "steps": outcome.step,
        "images_per_s": outcome.images_per_s,
        "seconds": round(outcome.seconds, 1),
        "best_step": outcome.best["step"],
        "artifact": str(folder.artifact),
        "stopped_by": outcome.stopped_by,
        "drift": outcome.best["drift"],
        "realism": outcome.best["realism"],
        "failed": outcome.best["failed"],
        "budget": outcome.best.get("held_out_budget", {}),
    }
    folder.write_summary(summary)
    return summary
