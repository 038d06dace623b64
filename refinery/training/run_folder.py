"""Where a run keeps its things: config, stats, grids, checkpoints, artifact, summary."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from refinery.errors import OutputError, UsageError


class RunFolder:
    """Paths of one run, and the small files written whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.summary = path / "summary.json"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.artifact = path / "artifact"
        self.simulated = path / "simulated"
        self.last = self.checkpoints / "last.safetensors"
        self.best = self.checkpoints / "best.safetensors"

    def create(self, resume: bool) -> None:
        """Make the folders, as `require` allows."""
        self.require(resume)
        try:
            for folder in (self.samples, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be made ({error.strerror}); give another --out") from error

    def require(self, resume: bool) -> None:
        """Raise UsageError for a run that is there and not to be resumed, or the other way round.

        A run that was killed before its first checkpoint has nothing to resume and is begun again.
        """
        if resume and not self.last.exists():
            raise UsageError(
                f"{self.path}: nothing to resume: no checkpoints/last.safetensors; start it without --resume"
            )
        begun = self.last.exists() or (self.config.exists() and not self.checkpoints.is_dir())
        if not resume and begun:
            raise UsageError(f"{self.path}: holds a run already; add --resume to go on, or give another --out")

    def write_config(self, text: str) -> None:
        """The resolved settings as TOML; a run is resumed with them."""
        _write_whole(self.config, text)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The run's result; a run with a summary is finished."""
        _write_whole(self.summary, json.dumps(summary, indent=2) + "\n")


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); make room and try again") from error


def default_path(method: str) -> Path:
    """runs/METHOD-DATE-TIME, a new name."""
    return Path("runs") / f"{method}-{time.strftime('%Y%m%d-%H%M%S')}"
