"""Export a run: the chosen checkpoint as ONNX with its manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refinery.artifact import MODEL_FILE, Artifact, Manifest, load, write_manifest
from refinery.config import ExportConfig
from refinery.errors import ModelError, UsageError
from refinery.jobs._observer import Observer, Silent
from refinery.writable import require_place


def export(config: ExportConfig, observer: Observer | None = None) -> dict[str, Any]:
    """Write the artifact of a run, finished or not, or of one checkpoint file.

    The label probe of the run's artifact goes with it; the thresholds of the checks too where it is the same refiner,
    since they were calibrated on what that one does. With `student` a small network is taught by the checkpoint's
    refiner, and exported in its place.
    Returns {"artifact", "model", "manifest"}. Raises ModelError when parity with torch is not met.
    """
    from refinery.onnx_export import export_checkpoint

    observer = observer or Silent()
    checkpoint = _checkpoint(Path(config.run), config.checkpoint)
    if config.student:
        return _student(config, checkpoint, observer)
    default = checkpoint.parent.parent / "artifact"
    target = Path(config.out) if config.out else default
    folder, name = (target.parent, target.name) if target.suffix == ".onnx" else (target, MODEL_FILE)
    require_place(folder / name, what="the artifact")
    known = _trained(default, observer if name == MODEL_FILE else Silent())
    trained = known if name == MODEL_FILE else None
    probe, like = trained.probe if trained else None, known.model if known else b""
    manifest = export_checkpoint(checkpoint, folder, name, config.tolerance, probe, like)
    if trained is not None and trained.sha256 == manifest.model_sha256:
        manifest = dataclasses.replace(manifest, check_thresholds=trained.manifest.check_thresholds)
        write_manifest(folder, manifest)
    return _told(folder / name, checkpoint, manifest, {}, observer)


def _student(config: ExportConfig, checkpoint: Path, observer: Observer) -> dict[str, Any]:
    """Train a student of the checkpoint, and export that."""
    from refinery.jobs._student import export_student, sentence

    folder = Path(config.out) if config.out else checkpoint.parent.parent / "student"
    if folder.suffix == ".onnx":
        raise UsageError(f"--out {folder}: a student goes into a folder, with its manifest; leave the .onnx away")
    require_place(folder / MODEL_FILE, what="the artifact")
    trained = _trained(checkpoint.parent.parent / "artifact", observer)
    manifest = export_student(config, checkpoint, folder, trained, observer)
    return _told(folder / MODEL_FILE, checkpoint, manifest, {"student": sentence(manifest)}, observer)


def _told(
    model: Path, checkpoint: Path, manifest: Manifest, more: Mapping[str, str], observer: Observer
) -> dict[str, Any]:
    """Print what was exported; returns what `export` does."""
    observer.table(
        f"exported {model}",
        {
            "from": f"{checkpoint} (step {manifest.training['step']})",
            "input": f"(batch, {manifest.channels}, height, width) float32 in [-1, 1]; all but channels are free",
            "parity": f"{manifest.parity['max_abs']:.1e} at most, tolerance {manifest.parity['tolerance']:.0e}",
            **more,
        },
    )
    return {"artifact": str(model.parent), "model": str(model), "manifest": dataclasses.asdict(manifest)}


def _trained(folder: Path, observer: Observer) -> Artifact | None:
    """The artifact that training left, for what judges labels; None where there is none, or it is broken."""
    if not (folder / MODEL_FILE).is_file():
        return None
    try:
        return load(folder)
    except ModelError as error:
        observer.say(f"exported without a label probe: {error}")
        return None


def _checkpoint(run: Path, which: str) -> Path:
    if run.is_file():
        return run
    found = run / "checkpoints" / f"{which}.safetensors"
    if not found.is_file():
        other = run / "checkpoints" / "last.safetensors"
        hint = "; --checkpoint last is there" if other.is_file() else "; is it a run folder of `refinery train`?"
        raise ModelError(f"{run}: no checkpoints/{which}.safetensors{hint}")
    return found
