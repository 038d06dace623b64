"""Inspect: what a dataset, a run, an artifact or a refined dataset is worth."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinery import artifact as artifacts
from refinery import realism
from refinery.config import InspectConfig, LabelOverride
from refinery.dataset import ImageSurvey, doubts, iter_decoded, kinds, open_dataset, spread, survey
from refinery.errors import DatasetError, SampleError, UsageError
from refinery.formats._noted import TURNED
from refinery.formats._source import Source
from refinery.image import Decoded, from_float, to_float
from refinery.jobs._audit import Audit
from refinery.jobs._label_sheet import save_label_sheet
from refinery.jobs._labels import look_at_labels
from refinery.jobs._observer import Observer, Silent
from refinery.jobs._page import draw_read, tolerances_of
from refinery.jobs._pairs import RefinedImages
from refinery.jobs._proof import count_delivered
from refinery.jobs._record import Record, read_object, read_record
from refinery.jobs._summary import Tally
from refinery.jobs._variants import in_variants
from refinery.journal import FOLDER
from refinery.labels import open_labels
from refinery.pictures.choice import Choice
from refinery.report.gallery import Gallery
from refinery.report.page import write_page
from refinery.report.picture import labelled_rows, save_png
from refinery.report.worst import WORST_TITLE, draw_worst
from refinery.writable import require_place

ACROSS = 8
LARGEST_COMPARED_PX = 256
"""Larger images are compared at this size, so that a few hundred of them fit into memory."""


def inspect(
    config: InspectConfig, observer: Observer | None = None, overrides: Mapping[str, LabelOverride] | None = None
) -> dict[str, Any]:
    """What `refinery inspect --json` prints; its `kind` says what the path is. Raises RefineryError.

    overrides: what labels are, by name, where their files do not say so; from `config.parse_label_overrides`.
    """
    config = _two_paths(config)
    if config.picture:
        require_place(Path(config.picture), "--picture", "the picture")
    if config.html:
        require_place(Path(config.html), "--html", "the page")
    looking = _Looking(config, observer or Silent(), overrides or {})
    path = Path(config.path)
    if config.utility and _is_model(path):
        raise UsageError(f"--utility: {path} is a run or an artifact; expected a refined dataset; refine one with it")
    if (path / "checkpoints").is_dir():
        found = _inspect_run(path, config)
    elif _is_model(path):
        found = _inspect_artifact(path)
    elif (record := _report_at(path)) is not None:
        found = _inspect_report(path, record, config)
    else:
        found = _inspect_dataset(path, looking)
    if not config.html:
        return found
    pictures = {name: _png(picture) for name, picture in looking.pictures.items()}
    pictures |= {"grid": Path(found["grid"]).read_bytes()} if found.get("grid") else {}
    if looking.gallery is not None and looking.gallery.as_json():
        pictures.pop("worst", None)
    records = _records_of(path) if found["kind"] == "run" else ()
    write_page(found | {"path": str(path)}, Path(config.html), pictures, looking.gallery, looking.tolerances, records)
    return found | {"page": config.html}


def _records_of(run: Path) -> Sequence[dict[str, Any]]:
    from refinery.training.stats import read_stats

    return read_stats(run)


def _is_model(path: Path) -> bool:
    """True if the path is a run or an artifact."""
    return (path / "checkpoints").is_dir() or path.suffix == ".onnx" or (path / artifacts.MODEL_FILE).is_file()


@dataclasses.dataclass
class _Looking:
    """One inspection of a dataset: what was asked for, who watches, and what was drawn so far for the page."""

    config: InspectConfig
    observer: Observer
    overrides: Mapping[str, LabelOverride]
    pictures: dict[str, Image.Image] = dataclasses.field(default_factory=dict)
    gallery: Gallery | None = None
    tolerances: Mapping[str, float] = dataclasses.field(default_factory=dict)


def _two_paths(config: InspectConfig) -> InspectConfig:
    """`inspect SYNTH REFINED` as `inspect REFINED --synthetic SYNTH`. Raises UsageError when both are given."""
    if not config.refined:
        return config
    if config.synthetic:
        raise UsageError(
            f"inspect takes two paths, SYNTH REFINED, or one and --synthetic: got {config.path}, {config.refined} and "
            f"--synthetic {config.synthetic}; drop one of them"
        )
    return dataclasses.replace(config, path=config.refined, synthetic=config.path, refined="")


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def _inspect_artifact(path: Path) -> dict[str, Any]:
    artifact = artifacts.load(path)
    manifest = dataclasses.asdict(artifact.manifest)
    return {"kind": "artifact", "model": str(artifact.path), "bytes": len(artifact.model), "manifest": manifest}


def _report_at(path: Path) -> Record | None:
    """What refine said about an output that went elsewhere; None where the folder holds more than that."""
    if not (path / FOLDER).is_dir() or any(entry.name != FOLDER for entry in path.iterdir()):
        return None
    record = read_record(path)
    return record if record is not None and "out" in record.job else None


def _inspect_report(path: Path, record: Record, config: InspectConfig) -> dict[str, Any]:
    if config.real or config.utility or config.synthetic:
        raise UsageError(f"{path}: is a report without images; expected the refined dataset itself to look at")
    parts = record.parts
    found: dict[str, Any] = {
        "kind": "report",
        "report": str(path),
        "source": record.job.get("source", ""),
        "out": record.job["out"],
        "finished": record.summary is not None
        and (not record.parts or record.parts["finished"] == record.parts["count"]),
    }
    if parts:
        found["parts"] = parts
    if record.picture:
        found["worst_picture"] = str(record.picture)
    return found | (record.summary or {})


def _inspect_run(path: Path, config: InspectConfig) -> dict[str, Any]:
    from refinery.report.curves import draw_curves
    from refinery.training.stats import read_stats

    records = read_stats(path)
    picture = Path(config.picture) if config.picture else path / "curves.png"
    if records:
        save_png(draw_curves(records), picture)
    grids = sorted((path / "samples").glob("*.png"))
    summary_file = path / "summary.json"
    summary = read_object(summary_file) if summary_file.exists() else None
    steps = records[-1]["step"] if records else 0
    found: dict[str, Any] = {"kind": "run", "run": str(path), "steps": steps, "finished": summary is not None}
    found |= {"curves": str(picture) if records else None, "grid": str(grids[-1]) if grids else None}
    return found | {"summary": summary}


def _inspect_dataset(path: Path, looking: _Looking) -> dict[str, Any]:
    config = looking.config
    record = read_record(path, wants_summary=not config.synthetic)
    choice = _choice(config, record.job if record else None)
    source = open_dataset(path, choice=choice)
    job, seen = record.job if record else None, survey(source)
    place = config.picture or (str(path / FOLDER / "inspect.png") if job else "")
    if place:
        require_place(Path(place), "--picture", "the picture")
    found: dict[str, Any] = {
        "kind": "refined dataset" if job or config.synthetic else "dataset",
        "layout": seen.layout,
        "samples": seen.samples,
        "images": dataclasses.asdict(seen.images),
        "kinds": kinds(source),
        "problems": [*doubts(source), *seen.problems],
    }
    synthetic = _synthetic_of(config, job, choice)
    if config.utility:
        found["utility"] = _utility_of(path, looking, source, synthetic, job)
    if config.utility or not config.synthetic:
        labelled = synthetic if synthetic is not None and config.synthetic else source
        reader = open_labels(labelled, looking.overrides)
        labels = look_at_labels(labelled, reader, config.limit)
        found["labels"] = labels.labels
        found["no_labels"] = "" if labels.labels else labels.without()
        found["problems"] += [*reader.problems, *labels.lines(), *labels.unread, *reader.unknown_overrides()]
        if config.label_picture and not job and labels.labels:
            sheet = save_label_sheet(source, reader, labels, Path(config.label_picture), looking.observer)
            found |= {"label_picture": sheet} if sheet else {}
    if record and record.parts:
        found["parts"] = record.parts
    if record:
        found |= _delivered(record, source, found["problems"])
    if not (config.utility and config.synthetic):
        found |= _verdicts_of(record, looking, source, synthetic)
        found["problems"] += found.pop("audit_problems", [])
    if config.real:
        real = open_dataset(Path(config.real))
        found["realism"] = _realism_of(config, seen.images, source, synthetic, real)
        found["problems"] += [f"--real: {line}" for line in real.problems() if line.startswith(TURNED)]
    return found | _draw(looking, place, source, synthetic, "worst_picture" in found)


def _delivered(record: Record, source: Source, problems: list[str]) -> dict[str, Any]:
    """How many samples of a refined dataset are what refine's manifest says; what is wrong goes to the problems."""
    proof = count_delivered(record.lines(), source)
    if proof.wrong:
        problems.append(f"{proof.sentence()}; run refine again: it brings the output up to date")
    return {"delivered": {"checked": proof.checked, "wrong": proof.wrong}}


def _utility_of(
    path: Path, looking: _Looking, source: Source, synthetic: Source | None, job: dict[str, Any] | None
) -> dict[str, Any]:
    """What models trained on the refined dataset do on labelled photos. Raises UsageError where its source is gone."""
    from refinery.jobs._utility import measure_utility

    if synthetic is None:
        gone = f"its source {job.get('source', '')} is not there" if job else "refinery did not refine it"
        raise UsageError(f"--utility: {path}: {gone}; give the synthetic dataset with --synthetic")
    if looking.config.synthetic:
        looking.observer.say("with --utility the labels are not audited: leave it out for an audit")
    return measure_utility(looking.config, job, synthetic, source, looking.overrides, looking.observer)


def _draw(looking: _Looking, place: str, source: Source, synthetic: Source | None, drawn: bool) -> dict[str, str]:
    """Add the grid to the pictures, and save what has a place to be saved; their paths.

    drawn: the worst samples have their picture already.
    """
    saved: dict[str, str] = {}
    config, pictures = looking.config, looking.pictures
    rows = _picture_rows(config, source, synthetic) if place or config.html else []
    if rows:
        pictures["picture"] = labelled_rows(rows)
    if rows and place:
        save_png(pictures["picture"], Path(place))
        saved["picture"] = place
    if "worst" in pictures and place and (config.picture or not drawn):
        beside = Path(place).with_name(Path(place).stem + "-worst.png")
        save_png(pictures["worst"], beside)
        saved["worst_picture"] = str(beside)
    return saved


def _choice(config: InspectConfig, job: dict[str, Any] | None) -> Choice:
    """What was said about which images are pictures: now, or when the dataset was refined."""
    said = job or {}
    return Choice(config.images or tuple(said.get("images", ())), config.maps or tuple(said.get("maps", ())))


def _synthetic_of(config: InspectConfig, job: dict[str, Any] | None, choice: Choice) -> Source | None:
    """The source of a refined dataset: the one named, or the one its job remembers and that is still there."""
    if config.synthetic:
        return open_dataset(Path(config.synthetic), choice=choice)
    source = str(job.get("source", "")) if job else ""
    return open_dataset(Path(source), choice=choice) if source and Path(source).exists() else None


def _verdicts_of(record: Record | None, looking: _Looking, refined: Source, synthetic: Source | None) -> dict[str, Any]:
    """Verdicts and drift: refine's own if it made the dataset and nobody asks for an audit; else measured now."""
    config = looking.config
    if record and record.summary is not None and not config.synthetic:
        if config.html and synthetic is not None:
            _look_through(record, looking, refined, synthetic)
        return _remembered(record.summary, record.picture, looking)
    if synthetic is None:
        return {}
    labels = open_labels(synthetic, looking.overrides)
    audit = Audit(synthetic, refined, labels, config, record.job if record else None)
    model = artifacts.load(config.model) if config.model else None
    found = audit.run(model, looking.observer, shows=bool(config.html))
    if audit.gallery is not None:
        draw_read(audit.gallery, audit.expected, audit.images, labels)
        looking.gallery, looking.tolerances = audit.gallery, tolerances_of(found["drift"], audit.context)
    if rows := audit.rows(found["worst"]):
        looking.pictures["worst"] = draw_worst(rows, WORST_TITLE)
    return found


def _look_through(record: Record, looking: _Looking, refined: Source, synthetic: Source) -> None:
    """Choose samples for the page from the lines that refine wrote, and draw them."""
    if (context := record.context()) is None or record.summary is None:
        return
    tally = Tally(context, Gallery(context))
    for line in record.lines():
        tally.add(line)
    assert tally.gallery is not None
    expected = in_variants(synthetic, refined, record.job)
    draw_read(tally.gallery, expected, RefinedImages(refined), open_labels(synthetic, looking.overrides))
    looking.gallery, looking.tolerances = tally.gallery, tolerances_of(record.summary["drift"], context)


def _remembered(kept: dict[str, Any], picture: Path | None, looking: _Looking) -> dict[str, Any]:
    """What refine wrote into its own summary, and drew."""
    found = {"verdicts": kept.get("verdicts", {}), "drift": kept.get("drift", {})}
    delivered = ("refined", "rejected", "quarantined", "softened", "strengths", "flat", "not_finite")
    names = (*delivered, "open", "failures", "power", "worst")
    found |= {name: kept[name] for name in names if name in kept}
    if picture is None:  # a job without labels has none
        return found
    try:
        with Image.open(picture, formats=("PNG",)) as opened:
            looking.pictures["worst"] = opened.convert("RGB")
    except OSError:
        return found
    return found | {"worst_picture": str(picture)}


def _realism_of(
    config: InspectConfig, images: ImageSurvey, source: Source, synthetic: Source | None, real_source: Source
) -> dict[str, Any]:
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
    real = stack(real_source, 2 * config.limit, "real dataset")
    compared = realism.compare(before, after, real, config.seed)
    from refinery.training.device import share_cores
    from refinery.training.two_sample import measured

    share_cores()
    compared |= measured(before, after, real, config.seed)
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
        rows.append(("refined", _refined_tiles(source, synthetic)))
    else:
        rows.append(("images", _tiles(source)))
    if config.real:
        rows.append(("real", _tiles(open_dataset(Path(config.real)))))
    return [row for row in rows if row[1]]


def _tiles(source: Source) -> list[NDArray[np.uint8]]:
    return [_shown(decoded) for _, decoded in iter_decoded(source, ACROSS) if isinstance(decoded, Decoded)]


def _refined_tiles(refined: Source, synthetic: Source) -> list[NDArray[np.uint8]]:
    """What became of the samples that `_tiles` shows of the source; those that are missing are left out."""
    partners, images = RefinedImages(refined), list[NDArray[np.uint8]]()
    for sample in spread(synthetic, ACROSS):
        with contextlib.suppress(SampleError):
            images.append(_shown(partners.decode(sample)))
    return images


def _shown(decoded: Decoded) -> NDArray[np.uint8]:
    return np.asarray(from_float(to_float(decoded.pixels), 8), dtype=np.uint8)
