"""Inspect: what a dataset, a run, an artifact or a refined dataset is worth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery import artifact as artifacts
from refinery import realism
from refinery.checks import CheckContext, DriftSummary, measure_power, overall, run_checks
from refinery.config import InspectConfig, parse_max_drift
from refinery.dataset import ImageSurvey, iter_decoded, open_dataset, survey
from refinery.errors import DatasetError, SampleError
from refinery.formats._source import Source
from refinery.image import Decoded, from_float, to_float
from refinery.jobs.refine import read_decoys, read_pair, unknown_tolerances
from refinery.journal import FOLDER
from refinery.labels import open_labels, read_sidecars
from refinery.report.page import write_page
from refinery.report.picture import labelled_rows, save_png
from refinery.sample import Pair, Sample

ACROSS = 8
LARGEST_COMPARED_PX = 256
"""Larger images are compared at this size, so that a few hundred of them fit into memory."""
BATCH = 64


def inspect(config: InspectConfig) -> dict[str, Any]:
    """What `refinery inspect --json` prints; its `kind` says what the path is. Raises RefineryError."""
    path = Path(config.path)
    if (path / "checkpoints").is_dir():
        found = _inspect_run(path, config)
    elif path.suffix == ".onnx" or (path / artifacts.MODEL_FILE).is_file():
        found = _inspect_artifact(path)
    else:
        found = _inspect_dataset(path, config)
    if config.html:
        write_page(found, Path(config.html))
    return found


def _inspect_artifact(path: Path) -> dict[str, Any]:
    artifact = artifacts.load(path)
    manifest = dataclasses.asdict(artifact.manifest)
    return {"kind": "artifact", "model": str(artifact.path), "bytes": len(artifact.model), "manifest": manifest}


def _inspect_run(path: Path, config: InspectConfig) -> dict[str, Any]:
    from refinery.report.curves import draw_curves
    from refinery.training.stats import read_stats

    records = read_stats(path)
    picture = Path(config.picture) if config.picture else path / "curves.png"
    if records:
        save_png(draw_curves(records), picture)
    grids = sorted((path / "samples").glob("*.png"))
    summary_file = path / "summary.json"
    summary = _read_json(summary_file) if summary_file.exists() else None
    steps = records[-1]["step"] if records else 0
    found: dict[str, Any] = {"kind": "run", "run": str(path), "steps": steps, "finished": summary is not None}
    found |= {"curves": str(picture) if records else None, "grid": str(grids[-1]) if grids else None}
    return found | {"summary": summary}


def _inspect_dataset(path: Path, config: InspectConfig) -> dict[str, Any]:
    source = open_dataset(path)
    job = _job_of(path)
    seen = survey(source)
    found: dict[str, Any] = {
        "kind": "refined dataset" if job or config.synthetic else "dataset",
        "layout": seen.layout,
        "samples": seen.samples,
        "images": dataclasses.asdict(seen.images),
    }
    found["labels"], unread = _label_types(source, config.limit)
    found["problems"] = [*seen.problems, *unread]
    synthetic = _synthetic_of(config, job)
    if synthetic is not None:
        found |= _drift_of(path, config, source, synthetic)
        found["problems"] += found.pop("audit_problems", [])
    if config.real:
        found["realism"] = _realism_of(config, seen.images, source, synthetic)
    picture = config.picture or (str(path / FOLDER / "inspect.png") if job else "")
    rows = _picture_rows(config, source, synthetic) if picture else []
    if rows:
        save_png(labelled_rows(rows), Path(picture))
        found["picture"] = picture
    return found


def _job_of(path: Path) -> dict[str, Any] | None:
    """The refine job that made this dataset, if refinery made it."""
    try:
        job: dict[str, Any] = _read_json(path / FOLDER / "job.json")
    except DatasetError:
        return None
    return job


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object that refinery wrote. Raises DatasetError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error}); run the job again") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: not a JSON object; run the job again")
    return content


def _synthetic_of(config: InspectConfig, job: dict[str, Any] | None) -> Source | None:
    """The source of a refined dataset: the one named, or the one its job remembers and that is still there."""
    if config.synthetic:
        return open_dataset(Path(config.synthetic))
    source = str(job.get("source", "")) if job else ""
    return open_dataset(Path(source)) if source and Path(source).exists() else None


def _label_types(source: Source, limit: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Types and counts of the labels in at most `limit` samples, and what could not be read."""
    labels: dict[str, dict[str, Any]] = {}
    unread: list[str] = []
    reader = open_labels(source)
    for sample, decoded in iter_decoded(source, limit):
        if isinstance(decoded, SampleError):
            continue
        parsed, problems = reader.read(sample, decoded.size_hw)
        unread += problems
        for label in parsed:
            labels.setdefault(label.name, {"type": label.type, "count": 0})["count"] += 1
    return labels, unread


def _drift_of(path: Path, config: InspectConfig, refined: Source, synthetic: Source) -> dict[str, Any]:
    """Verdicts and drift: refine's own if it made the dataset and nobody asks for an audit; else measured now."""
    summary = path / FOLDER / "summary.json"
    if not config.synthetic and summary.exists():
        kept = _read_json(summary)
        return {"verdicts": kept.get("verdicts", {}), "drift": kept.get("drift", {})}
    return audit(synthetic, refined, config)


def audit(synthetic: Source, refined: Source, config: InspectConfig) -> dict[str, Any]:
    """Check every sample of a refined dataset against its source, whoever refined it.

    Returns {"verdicts": {KEY: verdict}, "drift", "audit_problems"}; a sample fails that is missing, changed its size or
    lost or changed a sidecar, and audit_problems says so; one whose source cannot be read is not checkable.
    """
    context = CheckContext(max_drift=parse_max_drift(config.max_drift)).with_decoys(read_decoys(synthetic))
    drift = DriftSummary()
    verdicts: dict[str, str] = {}
    kept: list[Pair] = []
    batch: list[Pair] = []
    problems: list[str] = []
    labels = open_labels(synthetic)

    def judge() -> None:
        for pair, findings in zip(batch, run_checks(batch, context), strict=True):
            verdicts.setdefault(pair.sample.key, overall(findings))
            drift.add(findings)
        batch.clear()

    for entry in synthetic.entries():
        if not isinstance(entry, Sample):
            continue
        changed = _changed_sidecars(entry, synthetic, refined)
        try:
            pair = read_pair(entry, synthetic, refined, labels)
        except SampleError as error:
            verdicts[entry.key] = "fail" if _is_readable(entry, synthetic) else "not_checkable"
            problems.append(str(error))
            continue
        if changed:
            verdicts[entry.key] = "fail"
            problems += changed
        batch.append(pair)
        kept += [pair] if len(kept) < BATCH else []
        if len(batch) == BATCH:
            judge()
    judge()
    if not verdicts:
        raise DatasetError(f"{synthetic.root}: no samples to compare with")
    found = drift.as_dict(measure_power(kept, context) if kept else {})
    return {"verdicts": verdicts, "drift": found, "audit_problems": [*problems, *unknown_tolerances(context, found)]}


def _changed_sidecars(sample: Sample, synthetic: Source, refined: Source) -> list[str]:
    """One line for each sidecar that the refined dataset does not hold as its source does."""
    changed: list[str] = []
    for path, expected in read_sidecars(synthetic, sample)[0].items():
        try:
            if refined.read_file(path) != expected:
                changed.append(f"{path}: differs from its source")
        except SampleError as error:
            changed.append(f"{error} (in the refined dataset)")
    return changed


def _is_readable(sample: Sample, source: Source) -> bool:
    try:
        source.decode(source.read(sample), sample)
    except SampleError:
        return False
    return True


def _realism_of(config: InspectConfig, images: ImageSurvey, source: Source, synthetic: Source | None) -> dict[str, Any]:
    """Distances to the real images: of the refined dataset and its source, or of a dataset alone."""
    height, width = images.size_min_hw
    scale = min(1.0, LARGEST_COMPARED_PX / max(height, width, 1))
    size_hw = (max(1, round(height * scale)), max(1, round(width * scale)))

    def stack(one: Source, limit: int, name: str) -> realism.Images:
        floats = (to_float(d.pixels) for _, d in iter_decoded(one, limit) if not isinstance(d, SampleError))
        try:
            return realism.equalise(floats, size_hw, limit, max(images.channels, default=1))
        except DatasetError as error:
            raise DatasetError(f"{name} {one.root}: no readable image") from error

    after = stack(source, config.limit, "dataset")
    before = stack(synthetic, config.limit, "synthetic dataset") if synthetic is not None else after
    real = stack(open_dataset(Path(config.real)), 2 * config.limit, "real dataset")
    compared = realism.compare(before, after, real, config.seed)
    if synthetic is None:
        for numbers in compared.values():
            numbers |= {"refined": None, "gain_ci95": None}
    return compared


def _picture_rows(
    config: InspectConfig, source: Source, synthetic: Source | None
) -> list[tuple[str, Sequence[NDArray[np.uint8]]]]:
    """Captioned rows: synthetic and refined of the same samples, and real images; rows without images are left out."""
    rows: list[tuple[str, Sequence[NDArray[np.uint8]]]] = []
    if synthetic is not None:
        rows.append(("synthetic", _tiles(synthetic)))
    rows.append(("refined" if synthetic is not None else "images", _tiles(source)))
    if config.real:
        rows.append(("real", _tiles(open_dataset(Path(config.real)))))
    return [row for row in rows if row[1]]


def _tiles(source: Source) -> list[NDArray[np.uint8]]:
    images: list[NDArray[np.uint8]] = []
    for _, decoded in iter_decoded(source, ACROSS):
        if isinstance(decoded, Decoded):
            images.append(np.asarray(from_float(to_float(decoded.pixels), 8), dtype=np.uint8))
    return images
