"""Train a refiner: find out, say so, train, export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery.checks import CheckContext
from refinery.config import GUIDE_STEPS, TINY_STEPS, LabelOverride, TrainConfig, build, parse_max_drift, to_toml
from refinery.dataset import doubts, kinds
from refinery.errors import UsageError
from refinery.formats._source import Source
from refinery.jobs._checking import unknown_tolerances
from refinery.jobs._contents import Contents, contents_of, write_contents
from refinery.jobs._held import Held
from refinery.jobs._judge import Judges, make_judges
from refinery.jobs._label_sheet import save_label_sheet
from refinery.jobs._labels import look_at_labels
from refinery.jobs._observer import Observer, Silent
from refinery.jobs._page import write_run_page
from refinery.jobs._rehearsal import TOLERANCE, rehearse
from refinery.jobs._resume import Before, absolute, fixed_settings, found_again, look_back, paths_of
from refinery.jobs._train_data import TrainingData, load_data
from refinery.labels import LabelReader, open_labels
from refinery.registry import find
from refinery.report.label_sheet import SHEET


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
    Returns what `refinery train --json` prints; nothing in the processes of a distributed run that are not its first.
    Raises RefineryError.
    """
    from refinery.training import distributed

    distributed.begin(config.wait_minutes, (observer or Silent()).say)
    watching = (observer or Silent()) if distributed.is_first() else Silent()
    with ExitStack() as stack:
        result = _train(_plan(config, table or {}, resume, watching, stack), watching, overrides or {})
    distributed.end()
    return result


MET, MET_AT_ONCE, MET_SEED = 16, 64, 104729
"""Batches of crops of a side that a method meets before training, and what is added to the seed that chooses them."""


@dataclass(frozen=True)
class _Plan:
    """What is to be trained on what, decided.

    control: synthetic images that the label budget measures; None where there is none. before: what a run that is
    resumed was until now; None where it begins.
    """

    config: TrainConfig
    module: Any
    settings: Any
    method: Any
    data: TrainingData
    control: Any
    folder: Any
    placement: Any
    generator: Any
    before: Before | None
    held: Held

    @property
    def resume(self) -> bool:
        """True if an earlier run goes on."""
        return self.before is not None

    def contents(self, reader: LabelReader) -> dict[str, Contents]:
        """What both sides hold, held-out samples included; labels where something is learned from them."""
        data = self.data
        synthetic = [data.synthetic, *([self.control] if self.control else []), data.held_out]
        real = [data.real, *([data.targets] if data.targets else [])]
        real_reader = None if self.config.balance_real == "none" else open_labels(data.real_source)
        return {"synthetic": _contents(synthetic, reader), "real": _contents(real, real_reader)}

    def header(self) -> dict[str, Any]:
        """What a checkpoint says beside its weights."""
        return {
            "method": self.config.method,
            "settings": dataclasses.asdict(self.settings),
            "channels": self.data.channels,
            "real_channels": self.data.real_channels,
            "bits": self.data.bits,
            "training": self.data.provenance(),
            "train": fixed_settings(self.config),
            "paths": paths_of(self.config),
        }


def _plan(config: TrainConfig, table: Mapping[str, Any], resume: bool, observer: Observer, stack: ExitStack) -> _Plan:
    """Find out what was left open, decode the images, and make the method.

    stack: gives back at the end what the run holds.
    """
    import torch

    from refinery.training import distributed
    from refinery.training.device import place
    from refinery.training.prepare_budget import set_aside
    from refinery.training.run_folder import RunFolder, claimed

    module = find("method", config.method)
    settings = build(module.Settings, table, {}, f"[{config.method}]")
    resume = resume or (bool(config.out) and distributed.restarted() and RunFolder(Path(config.out)).last.is_file())
    folder = stack.enter_context(claimed(config.out, config.method, resume))
    before = look_back(folder) if resume else None
    placement = place(config.device, config.precision)
    on_gpu = placement.device.type == "cuda"
    config = dataclasses.replace(config, crop=config.crop or (224 if on_gpu else 64))
    if before:
        before.require_same_settings(config)
        config = before.settled(found_again(config, folder.path))
    held = stack.enter_context(Held(config, folder, resume, observer.say))
    data = load_data(config, module.PAIRED, held)
    settings = module.scale(settings, data.crop_hw)
    generator = distributed.seeded(config.seed)
    steps = config.steps or settings.steps
    settings = _with_pretraining_for(settings, steps)
    torch.manual_seed(config.seed)
    method = module.create(data.channels, data.real_channels, settings, steps, placement, generator)
    distributed.differ(config.seed)
    control = None
    if method.follows_budget:
        kept, control = set_aside(data.synthetic, config.control)
        data = dataclasses.replace(data, synthetic=kept)
    batch_size = config.batch_size or (64 if on_gpu else _batch_size(data.crop_hw))
    if batch_size % distributed.size():
        raise UsageError(
            f"--batch-size {batch_size}: cannot be shared evenly by {distributed.size()} processes; give a multiple of "
            "their number"
        )
    config = _without_what_is_too_long(
        dataclasses.replace(config, out=str(folder.path), steps=steps, batch_size=batch_size), control, observer
    )
    if before:
        before.require_same_settings(config)
    return _Plan(config, module, settings, method, data, control, folder, placement, generator, before, held)


def _train(plan: _Plan, observer: Observer, overrides: Mapping[str, LabelOverride]) -> dict[str, Any]:
    """Say what was found, train, and make what judges the labels of the best refiner."""
    from refinery.training import distributed
    from refinery.training.diagnosis import delivery_sentence, require_best
    from refinery.training.loop import run_training
    from refinery.training.pairs import require_mirrorable
    from refinery.training.validation import MAX_FAILED, Validation

    config, data, folder = plan.config, plan.data, plan.folder
    reader = open_labels(data.source, overrides)
    contents, header = plan.contents(reader), plan.header()
    if plan.before:
        plan.before.require_same_data(config, contents, header["training"])
    header["contents"] = {side: one.fingerprint for side, one in contents.items()}
    distributed.decided(lambda: rehearse(folder, plan.method, header, data, reader, config))
    _open_folder(plan, overrides, contents)
    observer.table(f"run {folder.path}", _describe(plan))
    if found := kinds(data.source):
        observer.table("synthetic images", found)
    sides = (("synthetic", data.source), ("real", data.real_source))
    unsure = [f"{side}: {line}" for side, source in sides for line in doubts(source)]
    for line in (*unsure, *data.problems, *(plan.before.notes(config, plan.settings) if plan.before else [])):
        observer.say(line)
    context = CheckContext(max_drift=parse_max_drift(config.max_drift))
    labels = _tell_labels(reader, data.source, context, observer, plan.folder.path)
    if plan.module.PAIRED and plan.settings.mirror:
        require_mirrorable({name: entry["type"] for name, entry in labels.items()})
    budget = _budget(plan, reader, context, observer)
    plan.method.brake = budget
    watchers = budget.meter.watchers if budget else None
    device = plan.placement.device
    validation = Validation(reader, data.held_out, data.real, context, config.seed, device, watchers, data.targets)
    feed = _feed(plan, reader)
    if not plan.resume:
        _introduce(plan)
    outcome = run_training(
        plan.method,
        feed,
        validation.evaluate,
        folder,
        config,
        plan.generator,
        observer,
        header,
        plan.resume,
        budget,
    )
    if not distributed.is_first():
        return {}
    folder.write_config(_config_text(config, plan.settings, overrides))
    if outcome.stopped_by == "interrupt":
        observer.say(f"stopped at step {outcome.step}; go on with: refinery train --resume {folder.path}")
        return {"run": str(folder.path), "steps": outcome.step, "stopped_by": "interrupt", "artifact": None}
    require_best(outcome.best, outcome.last, folder.path)
    if sentence := delivery_sentence(outcome.best, MAX_FAILED):
        observer.say(sentence)
    judges = make_judges(
        folder.best, reader, data.synthetic, data.held_out, context, config, observer.say, data.targets
    )
    return _finish(folder, outcome, judges)


def _with_pretraining_for(settings: Any, steps: int) -> Any:
    """A try of a few steps does not pretrain for longer than it trains."""
    names = [field.name for field in dataclasses.fields(settings) if field.name.endswith("_pretrain")]
    if steps >= TINY_STEPS:
        return settings
    return dataclasses.replace(settings, **{name: min(steps, getattr(settings, name)) for name in names})


def _without_what_is_too_long(config: TrainConfig, control: Any, observer: Observer) -> TrainConfig:
    """Decide on the networks that watch labels; a tiny training does without."""
    if config.guide_steps >= 0:
        return config
    if config.is_tiny and control is not None:
        observer.say(
            f"{config.steps} steps are a try: no networks are trained to watch the labels, their geometry is measured; "
            f"from {TINY_STEPS} steps on they are, or with guide_steps"
        )
    return dataclasses.replace(config, guide_steps=0 if config.is_tiny else GUIDE_STEPS)


def _open_folder(plan: _Plan, overrides: Mapping[str, LabelOverride], contents: Mapping[str, Contents]) -> None:
    """Make what the run's folder holds at the beginning, once for all processes."""
    from refinery.training import distributed

    def begin() -> None:
        plan.folder.create(plan.resume)
        if not plan.resume:
            plan.folder.write_config(_config_text(plan.config, plan.settings, overrides))
        write_contents(plan.folder.contents, contents)

    distributed.decided(begin)


def _contents(parts: Sequence[Any], reader: LabelReader | None) -> Contents:
    """Of the parts (ImageSets) of one side."""
    images = (image for part in parts for image in part.images)
    return contents_of(images, [sample for part in parts for sample in part.samples], reader)


def _budget(plan: _Plan, reader: LabelReader, context: CheckContext, observer: Observer) -> Any:
    """What measures and brakes the labels' drift while training; None where the method asks for none."""
    from refinery.training.prepare_budget import make_budget

    if plan.control is None:
        return None
    data, device = plan.data, plan.placement.device
    return make_budget(
        reader, data.synthetic, plan.control, data.crop_hw, context, plan.config, device, plan.resume, observer.say
    )


def _introduce(plan: _Plan) -> None:
    """Show the method some crops of both sides, made small; the same in all processes of a distributed run."""
    import torch

    from refinery.training.data import Batches
    from refinery.training.sampling import SIDES, Chance
    from refinery.training.tone import from_afar

    if not hasattr(plan.method, "meet"):
        return
    size, device, seed = (plan.data.crop_hw, MET_AT_ONCE), plan.placement.device, plan.config.seed + MET_SEED
    sides = zip((plan.data.synthetic, plan.data.real), SIDES, strict=True)
    batches = [Batches(images, *size, Chance(seed, side), device) for images, side in sides]
    plan.method.meet(*(torch.cat([from_afar(side.draw()) for _ in range(MET)]) for side in batches))


def _feed(plan: _Plan, reader: LabelReader) -> Any:
    """Where batches come from: pairs, or two sides that know nothing of each other."""
    from refinery.training import distributed
    from refinery.training.balance import balanced
    from refinery.training.data import Batches
    from refinery.training.feed import Unpaired
    from refinery.training.pairs import PairedBatches
    from refinery.training.sampling import SIDES, Chance

    data, settings = plan.data, plan.settings
    size, device = (data.crop_hw, plan.config.batch_size // distributed.size()), plan.placement.device
    chances = [Chance(plan.config.seed, side, distributed.rank(), distributed.size()) for side in SIDES]
    balance = balanced(data.synthetic, plan.config.balance, reader)
    if data.targets is not None:
        changes = settings.jitter, settings.mirror
        return PairedBatches(data.synthetic, data.real, *size, chances[0], device, *changes, balance, ahead=2)
    how = plan.config.balance_real
    groups = None if how == "none" else balanced(data.real, how, open_labels(data.real_source), "balance_real")
    real = Batches(data.real, *size, chances[1], device, groups, ahead=2)
    if plan.held.stream is not None:
        aside = [data.held_out, *([plan.control] if plan.control else [])]
        synthetic = plan.held.batches(data.synthetic, *size, chances[0], device, aside)
    else:
        synthetic = Batches(data.synthetic, *size, chances[0], device, balance, ahead=2)
    return Unpaired(synthetic, real, plan.config.match_real)


def _tell_labels(
    reader: LabelReader, source: Source, context: CheckContext, observer: Observer, run: Path
) -> dict[str, Any]:
    """Print and draw the labels that were found, and what could not be read or is misspelt; the labels by name."""
    labels = look_at_labels(source, reader, trains_probe=True)
    observer.table("labels", labels.rows() or {"none": labels.without()})
    more = *labels.lines(), *reader.unknown_overrides(), *unknown_tolerances(context, labels.labels)
    for line in (*reader.problems, *more):
        observer.say(line)
    if labels.labels:
        save_label_sheet(source, reader, labels, run / SHEET, observer)
    return dict(labels.labels)


def _batch_size(crop_hw: tuple[int, int]) -> int:
    """As many pixels a step as 32 images of 60x36: 8 to 64 images."""
    return int(min(64, max(8, 32 * 36 * 60 // (crop_hw[0] * crop_hw[1]))))


def _describe(plan: _Plan) -> dict[str, str]:
    """The table printed before training starts."""
    from refinery.training import distributed

    data, config, method, placement = plan.data, plan.config, plan.method, plan.placement

    def side(images: Any) -> str:
        height, width = images.size_hw
        return f"{len(images.images):,} images, {width}x{height}, {images.channels} channel(s), {images.bits} bits"

    refiner = sum(p.numel() for p in method.refiner.parameters())
    limit = f", at most {config.minutes:g} minutes" if config.minutes else ""
    held_out = f"{len(data.held_out.images)} held out"
    processes = f", {distributed.size()} processes" if distributed.size() > 1 else ""
    return {
        "synthetic": f"{config.synthetic}: {side(data.synthetic)} ({data.source.layout}), {held_out}",
        "real": f"{config.real}: {side(data.real)}, {data.real_fit}",
        "method": f"{config.method}, {method.total_steps:,} steps{limit}, batch {config.batch_size}",
        "crops": f"{data.crop_hw[1]}x{data.crop_hw[0]} px",
        "refiner": f"{plan.settings.refiner}, {refiner:,} parameters",
        **method.describe(),
        "device": f"{placement.device.type}, {placement.precision}{processes}",
        "labels may move": config.max_drift,
    }


def _config_text(config: TrainConfig, settings: Any, overrides: Mapping[str, LabelOverride]) -> str:
    """The resolved settings, with which a run is resumed."""
    text = to_toml({"train": absolute(config), config.method: settings})
    tables = [f"\n[labels.{json.dumps(name)}]\n{_toml_of(override)}" for name, override in sorted(overrides.items())]
    return text + "".join(tables)


def _toml_of(override: LabelOverride) -> str:
    """The lines of one label's table."""
    return to_toml({"": override}).partition("\n")[2]


def _finish(folder: Any, outcome: Any, judges: Judges) -> dict[str, Any]:
    """Export the best checkpoint with what judges its labels, and write the summary."""
    from refinery.artifact import MODEL_FILE, write_manifest
    from refinery.onnx_export import export_checkpoint
    from refinery.training.stats import read_stats

    manifest = export_checkpoint(folder.best, folder.artifact, MODEL_FILE, TOLERANCE, judges.probe)
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
    page = write_run_page(folder.path, summary, read_stats(folder.path))
    folder.write_summary(summary)
    return summary | {"page": str(page)}
