"""Turn a labelled synthetic image dataset into one that looks real, with every label still true.

    refiner = refinery.load("runs/NAME")
    refined = refiner(images)
    report = refinery.audit(images, refined, labels, max_drift="1px")

What is offered here stands in `refinery.api` and is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from refinery import telemetry as _telemetry

_telemetry.switch_off()  # before anything that reports is imported

__version__ = "0.1.0"

_OFFERED = {
    "ArrayAudit": "audit",
    "Dataset": "datasets",
    "ExportResult": "jobs",
    "InspectResult": "jobs",
    "LabelledImage": "datasets",
    "RefineResult": "jobs",
    "RefinedDataset": "torch_data",
    "Refiner": "refiner",
    "TrainResult": "jobs",
    "audit": "audit",
    "export": "jobs",
    "inspect": "jobs",
    "load": "refiner",
    "open_dataset": "datasets",
    "refine": "jobs",
    "train": "jobs",
}
"""Name to the module of `refinery.api` that defines it."""

if TYPE_CHECKING:
    from refinery.api.audit import ArrayAudit, audit
    from refinery.api.datasets import Dataset, LabelledImage, open_dataset
    from refinery.api.jobs import (
        ExportResult,
        InspectResult,
        RefineResult,
        TrainResult,
        export,
        inspect,
        refine,
        train,
    )
    from refinery.api.refiner import Refiner, load
    from refinery.api.torch_data import RefinedDataset
    from refinery.errors import RefineryError

__all__ = [
    "ArrayAudit",
    "Dataset",
    "ExportResult",
    "InspectResult",
    "LabelledImage",
    "RefineResult",
    "RefinedDataset",
    "Refiner",
    "RefineryError",
    "TrainResult",
    "__version__",
    "audit",
    "export",
    "inspect",
    "load",
    "open_dataset",
    "refine",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "RefineryError":
        from refinery.errors import RefineryError

        return RefineryError
    if name not in _OFFERED:
        raise AttributeError(f"module 'refinery' has no attribute {name!r}")
    return getattr(importlib.import_module(f"refinery.api.{_OFFERED[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
