"""The labels of a dataset as a table: name, type, how many, unit, and which checks judge them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refinery import registry
from refinery.checks import CheckContext
from refinery.dataset import iter_decoded
from refinery.errors import SampleError, UsageError
from refinery.formats._source import Source
from refinery.labels import LabelReader
from refinery.report.text import judged_text, kind_text

LOOKED_AT = 100


@dataclass
class LabelTable:
    """Labels by name: {"type", "count", "unit", "checks", "unchecked"}; `unread`: a line for each unreadable file."""

    labels: dict[str, dict[str, Any]]
    unread: list[str]
    looked_at: int

    def rows(self) -> dict[str, str]:
        """One line a label, for `Observer.table`."""
        return {name: _row(entry, self.looked_at) for name, entry in self.labels.items()}


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
