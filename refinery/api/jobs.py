"""The four commands as functions; what `--json` prints comes back as an object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from refinery.api.refiner import Refiner
from refinery.config import ExportConfig, InspectConfig, RefineConfig, TrainConfig, build, parse_label_overrides
from refinery.jobs._observer import Observer
from refinery.scratch import scratch

Config = TypeVar("Config")
LabelTable = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class JobResult(Mapping[str, Any]):
    """A mapping of all that the command prints with `--json` (docs: the command's help), and its main parts by name."""

    values_by_name: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


@dataclass(frozen=True)
class RefineResult(JobResult):
    """samples: how many were written. verdicts: how many got which. drift: by label. out: where they lie."""

    samples: int
    verdicts: dict[str, int]
    drift: dict[str, dict[str, Any]]
    out: str
    images_per_s: float | None


@dataclass(frozen=True)
class TrainResult(JobResult):
    """run: its folder. artifact: what `load` takes; None after an interruption. steps: how many were trained."""

    run: Path
    artifact: Path | None
    steps: int


@dataclass(frozen=True)
class ExportResult(JobResult):
    """model: the .onnx file. manifest: what is known about it."""

    model: Path
    manifest: dict[str, Any]


@dataclass(frozen=True)
class InspectResult(JobResult):
    """kind: what was inspected. problems: a line for each thing that is wrong with it."""

    kind: str
    problems: tuple[str, ...]


def refine(
    source: str | Path,
    out: str | Path,
    model: str | Path | Refiner = "",
    labels: LabelTable | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> RefineResult:
    """Refine a dataset and check its labels: `refinery refine SOURCE --out OUT --model MODEL`.

    labels: what labels are, by name, as the [labels] table of the TOML. observer: is told how far the job is.
    settings: those of `RefineConfig` (max_drift="2px", on_drift="keep", check=False, ...). The same call again goes on
    where an interrupted one stopped. Raises RefineryError.
    """
    from refinery.jobs.refine import refine as run

    path = model.artifact.path if isinstance(model, Refiner) else model
    config = _config(RefineConfig, settings, source=source, out=out, model=path)
    with scratch(config.report or config.out):
        told = run(config, observer, parse_label_overrides(labels or {}, "labels"))
    return RefineResult(told, told["samples"], told["verdicts"], told["drift"], told["out"], told["images_per_s"])


def train(
    real: str | Path,
    synthetic: str | Path,
    out: str | Path = "",
    method_settings: Mapping[str, Any] | None = None,
    labels: LabelTable | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a refiner: `refinery train --real REAL --synthetic SYNTHETIC --out OUT`; needs torch.

    method_settings: of the method, as the TOML table of its name. settings: those of `TrainConfig` (steps=900,
    minutes=10, method="ssgan", ...). Raises RefineryError.
    """
    from refinery.jobs.train import train as run

    config = _config(TrainConfig, settings, real=real, synthetic=synthetic, out=out)
    with scratch(config.out or "runs"):
        told = run(config, method_settings or {}, False, observer, parse_label_overrides(labels or {}, "labels"))
    artifact = Path(told["artifact"]) if told["artifact"] else None
    return TrainResult(told, Path(told["run"]), artifact, told["steps"])


def export(run: str | Path, out: str | Path = "", observer: Observer | None = None, **settings: Any) -> ExportResult:
    """Write a run's refiner as ONNX: `refinery export RUN --out OUT`; needs torch. Raises RefineryError."""
    from refinery.jobs.export import export as run_export

    config = _config(ExportConfig, settings, run=run, out=out)
    with scratch(config.out or config.run):
        told = run_export(config, observer)
    return ExportResult(told, Path(told["model"]), told["manifest"])


def inspect(
    path: str | Path,
    refined: str | Path = "",
    labels: LabelTable | None = None,
    observer: Observer | None = None,
    **settings: Any,
) -> InspectResult:
    """What a dataset, a run, an artifact or a refined dataset is worth: `refinery inspect PATH [REFINED]`.

    settings: those of `InspectConfig` (real="./real", max_drift="1px", ...). Raises RefineryError.
    """
    from refinery.jobs.inspect import inspect as run

    config = _config(InspectConfig, settings, path=path, refined=refined)
    told = run(config, observer, parse_label_overrides(labels or {}, "labels"))
    return InspectResult(told, told["kind"], tuple(told.get("problems", ())))


def _config(kind: type[Config], settings: Mapping[str, Any], **places: str | Path) -> Config:
    """Settings as the command line's are built. Raises ConfigError for unknown names and wrong types."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in {**settings, **places}.items()}
    return build(kind, plain, {}, kind.__name__)
