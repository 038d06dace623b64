"""One self-contained HTML page: what inspect found out, as tables, with its pictures inside. Loads and runs nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from refinery.errors import OutputError
from refinery.report.text import count_verdicts, inspect_text, power_rows

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}h2{margin:2rem 0 .3rem;font-size:1.15rem}"
    "th{text-align:left;font-weight:600;padding:.15rem 1.2rem .15rem 0;vertical-align:top;white-space:nowrap}"
    "td{padding:.15rem 1.2rem .15rem 0;font-variant-numeric:tabular-nums}"
    "thead th{border-bottom:1px solid #bbb}tbody tr:nth-child(even){background:#f6f6f6}"
    "img{max-width:100%;image-rendering:pixelated;margin-top:1rem}"
)
_TITLES = {"picture": "Before and after", "worst": "Worst samples", "curves": "Curves", "grid": "Last grid"}

IN_TABLES = ("label ", "power", "worst", "picture")
"""Lines of the text whose content stands in the page's own tables and pictures."""


def write_page(found: dict[str, Any], path: Path, pictures: Mapping[str, bytes] | None = None) -> None:
    """Write the page for inspect's result. pictures: PNG files by name; those of a run are read. Raises OutputError."""
    shown = dict(pictures or {})
    shown |= {key: Path(found[key]).read_bytes() for key in ("curves", "grid") if found.get(key)}
    tables = [*_verdict_tables(found)]
    left_out = IN_TABLES if tables else ("picture",)
    rows = "\n".join(_row(line) for line in inspect_text(found).splitlines() if not line.startswith(left_out))
    parts = [f"<table>\n{rows}\n</table>", *tables, *map(_picture, shown.items())]
    html = (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>refinery</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>refinery inspect</h1>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the page cannot be written ({error.strerror})") from error


def _row(line: str) -> str:
    """A line of text, whose first 11 characters name it."""
    return f"<tr><th>{escape(line[:11].strip())}</th><td>{escape(line[11:])}</td></tr>"


def _verdict_tables(found: Mapping[str, Any]) -> Iterable[str]:
    """Verdicts of samples and labels, drift, power and the worst samples, where an audit or a refine job found any."""
    drift: Mapping[str, Mapping[str, Any]] = found.get("drift") or {}
    if "verdicts" not in found or not drift:
        return
    counts = {"samples": count_verdicts(found["verdicts"])} | {name: d["verdicts"] for name, d in drift.items()}
    kinds = ("pass", "fail", "abstain", "not_checkable")
    yield "<h2>Verdicts</h2>" + _table(
        ("", *(kind.replace("_", " ") for kind in kinds)),
        [(name, *(f"{verdicts.get(kind, 0):,}" for kind in kinds)) for name, verdicts in counts.items()],
    )
    yield "<h2>Drift</h2>" + _table(
        ("label", "unit", "median", "95%", "mean", "interval", "IoU", "failed", "interval", "judged"),
        [_drift_cells(name, d) for name, d in drift.items()],
    )
    if found.get("power"):
        yield "<h2>Power</h2>" + _table(("label", ""), [*power_rows(found["power"]).items()])
    if found.get("worst"):
        yield "<h2>Worst samples</h2>" + _table(
            ("sample", "label", "verdict", "drift", "at least", "unit", ""), [_worst_cells(e) for e in found["worst"]]
        )


def _drift_cells(name: str, d: Mapping[str, Any]) -> tuple[str, ...]:
    share = "" if d.get("failed") is None else f"{d['failed']:.1%}"
    return (
        name,
        d["unit"],
        *(_number(d[key]) for key in ("median", "p95", "mean")),
        _between(d["ci95"], ".2f"),
        _number(d.get("iou")),
        share,
        _between(d.get("failed_ci95"), ".1%"),
        f"{d['coverage']:.0%}",
    )


def _worst_cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    label = f"{entry['label']}[{entry['item']}]" if entry["item"] else entry["label"]
    verdict = entry["verdict"].replace("_", " ")
    return (
        entry["key"],
        label,
        verdict,
        _number(entry["drift"]),
        _number(entry["lower"]),
        entry["unit"],
        entry["reason"],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _between(interval: Sequence[float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{first}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _picture(named: tuple[str, bytes]) -> str:
    name, data = named
    title = escape(_TITLES.get(name, name))
    return f'<h2>{title}</h2>\n<img alt="{title}" src="data:image/png;base64,{base64.b64encode(data).decode("ascii")}">'
