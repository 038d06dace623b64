"""What models trained on synthetic, refined and mixed images do on labelled photos, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN_LABELS = 4
HIGHER = ("accuracy", "iou")


def utility_lines(found: Mapping[str, Any]) -> list[str]:
    """The table of arms, and the recommendation; of more than four labels the table has their score alone."""
    groups, units = found["groups"], found["labels"]
    by = f" in {groups['count']:,} groups by {groups['by']}" if groups["by"] else ""
    students = found["students"]
    lines = [
        f"utility    {found['photos']:,} photos of {found['real']}{by}; each line: {students['seeds']} models of "
        f"{students['steps']:,} steps, mean and 95% interval",
    ]
    head, rows = utility_table(found)
    wide = [max(map(len, column)) for column in zip(head, *rows.values(), strict=True)]
    names = max(map(len, rows))
    for name, cells in {"": head, **rows}.items():
        shown = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, wide, strict=True))
        lines.append(f"{'':<11}{name:<{names}}  {shown}".rstrip())
    if len(units) > 1:
        lines.append(f"{'':<11}score: error relative to that of synthetic + augmentation, mean over labels")
    lines += [f"left out   {line}" for line in found["left_out"]]
    lines += [f"note       {line}" for line in found["notes"]]
    return [*lines, f"advice     {found['recommendation']}"]


def utility_table(found: Mapping[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the columns, and the cells of each arm: a column a label, up to four of them, and their score."""
    units = found["labels"]
    columns = list(units) if len(units) <= SHOWN_LABELS else []
    head = [_head(name, units[name]) for name in columns] + (["score"] if len(units) > 1 else [])
    return head, {arm: _cells(entry, columns, len(units) > 1) for arm, entry in found["arms"].items()}


def _head(name: str, unit: str) -> str:
    kind = {"iou": "IoU"}.get(unit, unit)
    return f"{name} ({kind})" if unit in HIGHER else f"{name} (error, {kind})"


def _cells(entry: Mapping[str, Any], columns: list[str], scored: bool) -> list[str]:
    own = [entry["labels"][name] for name in columns] + ([entry["score"]] if scored else [])
    return [_bounds(one) for one in own]


def _bounds(one: Mapping[str, Any]) -> str:
    digits = 2 if abs(one["mean"]) < 10 else 1
    low, high = one["ci95"]
    return f"{one['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
