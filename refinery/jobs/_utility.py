"""What refined images are worth on the user's own labelled photos: `refinery inspect PATH --utility LABELLED_REAL`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from refinery.config import InspectConfig, LabelOverride
from refinery.dataset import open_dataset, survey
from refinery.errors import DatasetError
from refinery.formats._source import Source
from refinery.jobs._observer import Observer
from refinery.jobs._utility_data import Canvas, Photographed, Rendered, read_photos, read_rendered
from refinery.jobs._utility_looks import more_looks
from refinery.labels import open_labels
from refinery.runtime.probe_views import canvas_size
from refinery.training.device import share_cores
from refinery.utility.arms import Pool, Trial, gathered
from refinery.utility.compare import Photos
from refinery.utility.datasets import targets_of
from refinery.utility.matching import Matched, Side, match_labels, unseen_classes
from refinery.utility.student import Recipe
from refinery.utility.verdict import Results, judge, unit_of, words_for

LEAST_PHOTOS, LEAST_SAMPLES, FEW_GROUPS = 8, 20, 10
WIDTH = 16
BATCH, LEAST_BATCH = 128, 16
NAMED = 6


def measure_utility(
    config: InspectConfig,
    job: Mapping[str, Any] | None,
    synthetic: Source,
    refined: Source,
    overrides: Mapping[str, LabelOverride],
    observer: Observer,
) -> dict[str, Any]:
    """What `utility` of `refinery inspect --json` holds. job: that made the refined dataset, if refinery did.

    Raises RefineryError.
    """
    started = time.monotonic()
    share_cores()
    data = _read(config, job, synthetic, refined, overrides, observer)
    recipe = Recipe(config.utility_steps, _batch(data.canvas), WIDTH)
    seeds = range(config.seed, config.seed + config.utility_seeds)
    trial = Trial(data.matched.plan, data.pool(), data.photos(), recipe, seeds)
    observer.table(f"utility on {config.utility}", data.rows(trial))
    for line in data.notes:
        observer.say(line)
    results = _train_all(trial, observer)
    units = {name: unit_of(part) for name, part in results.labels().items()}
    return {
        "real": config.utility,
        "photos": len(data.real.images),
        "groups": {"by": data.real.grouped_by or None, "count": len(set(data.real.groups))},
        "samples": len(data.rendered.samples),
        "labels": units,
        "left_out": list(data.matched.left_out),
        "notes": data.notes,
        "students": {
            "seeds": len(seeds),
            "steps": recipe.steps,
            "batch": recipe.batch,
            "canvas_hw": data.canvas.size_hw,
        },
        "seconds": round(time.monotonic() - started, 1),
        **judge(results),
    }


@dataclass
class _Data:
    canvas: Canvas
    rendered: Rendered
    looks: list[torch.Tensor]
    real: Photographed
    matched: Matched
    notes: list[str] = field(default_factory=list)

    def pool(self) -> Pool:
        targets, _ = targets_of(self.matched.plan, self.matched.synthetic, self.rendered.sizes_hw)
        return Pool(self.rendered.synthetic, self.looks, targets)

    def photos(self) -> Photos:
        targets, fits = targets_of(self.matched.plan, self.matched.real, self.real.sizes_hw)
        return Photos(self.real.images, targets, fits, self.real.groups)

    def rows(self, trial: Trial) -> dict[str, str]:
        """What was found out before work starts."""
        height, width = self.canvas.size_hw
        names = dict.fromkeys(part.name for part in self.matched.plan.parts)
        out = self.matched.left_out
        more = f"; and {len(out) - NAMED} more" if len(out) > NAMED else ""
        by = self.real.grouped_by
        return {
            "photos": f"{len(self.real.images):,}"
            + (f" in {len(set(self.real.groups)):,} groups by {by}" if by else ", each by itself (--group)"),
            "labels": ", ".join(names),
            "left out": "; ".join(out[:NAMED]) + more if out else "nothing",
            "samples": f"{len(self.rendered.samples):,} on {width}x{height} px, {len(self.looks)} look(s)",
            "models": f"{trial.students()} of {trial.recipe.steps:,} steps of {trial.recipe.batch} images",
        }


def _read(
    config: InspectConfig,
    job: Mapping[str, Any] | None,
    synthetic: Source,
    refined: Source,
    overrides: Mapping[str, LabelOverride],
    observer: Observer,
) -> _Data:
    real = open_dataset(Path(config.utility))
    canvas = _canvas(synthetic, refined)
    rendered = read_rendered(synthetic, refined, open_labels(synthetic, overrides), config.utility_limit, canvas)
    if len(rendered.samples) < LEAST_SAMPLES:
        raise DatasetError(
            f"{refined.root}: {len(rendered.samples)} images that {synthetic.root} has too, of the same size; expected "
            f"{LEAST_SAMPLES} or more; give its source with --synthetic"
        )
    photos = read_photos(real, open_labels(real, overrides), config.utility_limit, canvas, config.group)
    if len(photos.images) < LEAST_PHOTOS:
        raise DatasetError(
            f"{real.root}: {len(photos.images)} photos with labels; expected {LEAST_PHOTOS} or more, better a few "
            "hundred (docs/labels.md says which files are read as labels)"
        )
    sides = (
        Side(str(synthetic.root), rendered.labels, rendered.sizes_hw),
        Side(str(real.root), photos.labels, photos.sizes_hw),
    )
    matched = match_labels(*sides, canvas.size_hw, frozenset({photos.grouped_by} - {""}))
    notes = _notes(rendered, photos, matched)
    looks, why = more_looks(config, job, rendered, synthetic, refined, canvas, observer)
    notes += [why] if why else []
    return _Data(canvas, rendered, [rendered.refined, *looks], photos, matched, notes)


def _canvas(synthetic: Source, refined: Source) -> Canvas:
    first, second = survey(synthetic).images, survey(refined).images
    return Canvas(max((*first.channels, *second.channels), default=1), canvas_size(first.size_common_hw))


def _batch(canvas: Canvas) -> int:
    """Images a step: as many pixels as 128 images of 32x32 px."""
    height, width = canvas.size_hw
    return max(LEAST_BATCH, min(BATCH, BATCH * 32 * 32 // (height * width)))


def _notes(rendered: Rendered, photos: Photographed, matched: Matched) -> list[str]:
    notes = unseen_classes(matched)
    if rendered.lost:
        notes.append(f"{rendered.lost:,} samples are left out: no refined image of the same size")
    if photos.unlabelled:
        notes.append(f"{photos.unlabelled:,} photos without labels are left out")
    if (count := len(set(photos.groups))) < FEW_GROUPS:
        notes.append(f"only {count} groups of photos: the intervals are too narrow; more subjects or tracks would tell")
    return notes


def _train_all(trial: Trial, observer: Observer) -> Results:
    """Every arm's students, one after the other; an arm's figures are said when it is done."""
    started, done, total = time.monotonic(), 0, trial.students()
    results = Results(trial.plan, {}, trial.photos.groups)
    for name in trial.names():
        found: list[NDArray[np.float64]] = []
        for errors in trial.run(name):
            found.append(errors)
            done += 1
            elapsed = time.monotonic() - started
            rate = done * trial.recipe.steps * trial.recipe.batch / max(elapsed, 1e-9)
            record = {"done": done, "images_per_s": round(rate, 1), "eta_s": elapsed / done * (total - done)}
            observer.progress(record, total)
        results = Results(trial.plan, {**results.errors, name: gathered(name, found)}, trial.photos.groups)
        observer.say(f"{name}: {words_for(results, name)}")
    return results
