"""The labels of a dataset as a table: name, type, how many, unit, and which checks judge them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from refinery import registry
from refinery.annotations import read_suffixes
from refinery.checks import CheckContext
from refinery.dataset import iter_decoded
from refinery.errors import SampleError, UsageError
from refinery.formats._source import Source
from refinery.image import SUFFIXES
from refinery.labels import LabelReader
from refinery.report.text import judged_text, kind_text

LOOKED_AT = 100
MOST_STRANGERS = 4
_IMAGES = frozenset(SUFFIXES)


@dataclass
class LabelTable:
    """Labels by name: {"type", "count", "unit", "checks", "unchecked"}; `unread`: a line for each unreadable file.

    files: how many lie beside the images looked at. strangers: an example of those of each suffix that no reader knows.
    """

    labels: dict[str, dict[str, Any]]
    unread: list[str]
    looked_at: int
    files: int = 0
    strangers: dict[str, str] = field(default_factory=dict)

    def rows(self) -> dict[str, str]:
        """One line a label, for `Observer.table`."""
        return {name: _row(entry, self.looked_at) for name, entry in self.labels.items()}

    def without(self) -> str:
        """Why there are no labels: there are no files, or nobody could read them."""
        if not self.files:
            return f"none: no annotation lies beside any of {self.looked_at:,} images looked at"
        return f"none: of {self.files:,} files beside {self.looked_at:,} images nobody could read a label"

    def lines(self) -> list[str]:
        """A line for each kind of file that no reader knows."""
        known = ", ".join(sorted(read_suffixes() - _IMAGES))
        return [
            f"{example}: no reader knows {suffix or 'files without a suffix'}, so such files say nothing about labels "
            f"and are carried as they are; read are {known}"
            for suffix, example in self.strangers.items()
        ]

    def add_files(self, paths: Iterable[str]) -> None:
        """Take note of the files beside an image."""
        for path in paths:
            suffix = PurePosixPath(path).suffix.lower()
            self.files += 1
            if suffix and suffix not in read_suffixes() | _IMAGES and len(self.strangers) < MOST_STRANGERS:
                self.strangers.setdefault(suffix, path)


def look_at_labels(
    source: Source,
    reader: LabelReader,
    limit: int = LOOKED_AT,
    context: CheckContext | None = None,
    trains_probe: bool = False,
) -> LabelTable:
    """Read the labels of at most `limit` samples spread over the dataset. trains_probe: a probe is still to come."""
    table = LabelTable({}, [], 0)
    for sample, decoded in iter_decoded(source, limit):
        if isinstance(decoded, SampleError):
            continue
        table.looked_at += 1
        table.add_files(sample.sidecars)
        parsed, problems = reader.read(sample, decoded.size_hw)
        table.unread += problems
        for label in parsed:
            entry = table.labels.setdefault(label.name, {"type": label.type, "count": 0, "unit": label.unit})
            entry["count"] += 1
    for name, entry in table.labels.items():
        entry["checks"] = judges(name, entry["type"], context, trains_probe)
        entry["unchecked"] = "" if entry["checks"] else _why_unchecked(name, entry["type"], context)
    return table


def require_known(context: CheckContext, table: LabelTable) -> None:
    """Raises UsageError for a required label that none of the samples looked at has: all of them would stay open."""
    ends = {known: known.rpartition(".")[2] for known in table.labels}
    for name in sorted(context.require):
        if name not in ends and name not in ends.values():
            near = difflib.get_close_matches(name, [*ends, *ends.values()], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"labels: {', '.join(ends) or 'none'}"
            raise UsageError(f"--require {name}: none of {table.looked_at:,} samples has a label of this name; {hint}")


def judges(name: str, label_type: str, context: CheckContext | None, trains_probe: bool = False) -> list[str]:
    """Names of the checks that can say that a label of this type holds; the probe only where it is competent."""
    modules: Mapping[str, Any] = {check: registry.find("check", check) for check in registry.names("check")}
    granting = [check for check, module in modules.items() if module.GRANTS and label_type in module.TYPES]
    probed = context.probe.labels.get(name) if context is not None and context.probe is not None else None
    if trains_probe:
        return [f"{check} (if it proves competent)" if check == "probe" else check for check in granting]
    return [check for check in granting if check != "probe" or (probed is not None and probed.competent)]


def _why_unchecked(name: str, label_type: str, context: CheckContext | None) -> str:
    """Why no check can say that a label holds."""
    if label_type not in registry.find("check", "probe").TYPES:
        return f"there is no check for a {label_type} yet"
    if context is None or context.probe is None:
        return "a label probe does it, which comes with a trained run"
    known = context.probe.labels.get(name)
    return known.reason if known is not None and known.reason else "the probe was not trained for it"


def _row(entry: Mapping[str, Any], looked_at: int) -> str:
    each = f"{entry['count'] / looked_at:.3g} a sample"
    return f"{kind_text(entry)}, {each}; {judged_text(entry)}"
