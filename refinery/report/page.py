"""The report as one HTML file that loads nothing: sentences, charts, tables, and a gallery of samples."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refinery.errors import OutputError
from refinery.report.charts import Chart, curve_panel, drift_histogram, realism_bars, verdict_bar
from refinery.report.curves import panels
from refinery.report.gallery import Gallery, shortened
from refinery.report.summary import summary_sentences
from refinery.report.text import count_verdicts, inspect_text, power_rows, realism_verdict
from refinery.report.utility import utility_table

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT = "report.html"
IN_CHARTS = ("label ", "power", "worst", "picture", "report", "realism", "advice", "utility", "curves", "last grid")
"""Lines of the text whose content stands in the page's own tables, charts and pictures."""
SHOWN_LABELS = 60
"""Labels that have a row and a chart; of a dataset with more of them the rest is counted."""
LONGEST_TEXT = 1000
"""Characters of one text; the rest is cut off, which is said."""
PICTURE_BYTES = 4_000_000
"""A picture beyond this is left out and named."""
_TITLES = {"picture": "Before and after", "worst": "Worst samples", "grid": "Last grid"}


def write_page(
    found: Mapping[str, Any],
    path: Path,
    pictures: Mapping[str, bytes] | None = None,
    gallery: Gallery | None = None,
    tolerances: Mapping[str, float] | None = None,
    records: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the page for the result of inspect, refine or train; the same result gives the same bytes.

    pictures: PNG files by name. gallery: of samples of the dataset. tolerances: by label, in its unit. records: of a
    run's stats.jsonl. Raises OutputError.
    """
    page = _environment().get_template("page.html")
    html = page.render(
        title=_title(found),
        sentences=summary_sentences(found),
        facts=_facts(found),
        verdicts=_verdicts(found),
        drift=_drift(found, tolerances or {}),
        left_out_labels=max(0, len(_drift_of(found)) - SHOWN_LABELS),
        power=[*power_rows(found.get("power") or {}).items()][:SHOWN_LABELS],
        realism=_realism(found),
        utility=_utility(found),
        curves=[curve_panel(title, series) for title, series in panels(records)],
        gallery=gallery.as_json() if gallery else None,
        pictures=[_picture(name, data) for name, data in (pictures or {}).items()],
        worst=[_worst_cells(entry) for entry in found.get("worst") or ()],
        **_inlined(),
    )
    _write_whole(path, html.encode("utf-8", "replace"))


@cache
def _environment() -> Environment:
    """Templates that escape everything and cut every text that is too long to be read."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("refinery.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shortened(value, LONGEST_TEXT) if type(value) is str else value,
    )


@cache
def _inlined() -> dict[str, str]:
    """The page's style and script with the hashes by which its policy lets them, and nothing else, be used."""
    shown: dict[str, str] = {}
    for name, file in (("style", "page.css"), ("script", "page.js")):
        text = "\n" + resources.files("refinery.report").joinpath("templates", file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        shown |= {name: text, f"{name}_hash": f"'sha256-{digest}'"}
    return shown


def _title(found: Mapping[str, Any]) -> str:
    path = found.get("path") or found.get("run") or found.get("source") or found.get("model") or ""
    return Path(str(path)).name


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of the text that no chart shows; their first 11 characters name them."""
    left_out = IN_CHARTS if _drift_of(found) else ("picture",)
    rows: list[tuple[str, str]] = []
    is_kept = True
    for line in inspect_text(found).splitlines():
        name = line[:11].strip()
        is_kept = not line.startswith(left_out) if name else is_kept  # without a name it goes on with the one before
        rows += [(name, line[11:].strip())] if is_kept and line[11:].strip() else []
    return rows


def _drift_of(found: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    summary = found.get("summary") if found["kind"] == "run" else found
    return (summary or {}).get("drift") or {}


def _verdicts(found: Mapping[str, Any]) -> list[tuple[Chart, Mapping[str, int]]]:
    """Of samples and of each label the bar and the counts."""
    drift = _drift_of(found)
    if "verdicts" not in found and not drift:
        return []
    counts = {"samples": count_verdicts(found["verdicts"])} if "verdicts" in found else {}
    counts |= {name: d["verdicts"] for name, d in [*drift.items()][:SHOWN_LABELS] if "verdicts" in d}
    return [(verdict_bar(name, verdicts), verdicts) for name, verdicts in counts.items()]


def _drift(found: Mapping[str, Any], tolerances: Mapping[str, float]) -> list[tuple[Chart | None, tuple[str, ...]]]:
    """Of each label the histogram, where it was measured in a unit, and its numbers."""
    rows: list[tuple[Chart | None, tuple[str, ...]]] = []
    for name, d in [*_drift_of(found).items()][:SHOWN_LABELS]:
        drawn = d.get("histogram") and d["unit"] != "flip"
        chart = drift_histogram(name, d, tolerances.get(name), d.get("power")) if drawn else None
        rows.append((chart, _drift_cells(name, d)))
    return rows


def _drift_cells(name: str, d: Mapping[str, Any]) -> tuple[str, ...]:
    share = "" if d.get("failed") is None else f"{d['failed']:.1%}"
    return (
        name,
        d["unit"],
        *(_number(d.get(key)) for key in ("median", "p95", "mean")),
        _between(d.get("ci95"), ".2f"),
        _number(d.get("iou")),
        share,
        _between(d.get("failed_ci95"), ".1%"),
        f"{d['coverage']:.0%}" if "coverage" in d else "",
    )


def _realism(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """A chart a measure, and what they mean."""
    summary = found.get("summary") if found["kind"] == "run" else found
    measures = (summary or {}).get("realism")
    if not measures:
        return None
    return {"charts": [realism_bars(name, m) for name, m in measures.items()], "verdict": realism_verdict(measures)}


def _utility(found: Mapping[str, Any]) -> dict[str, Any] | None:
    if "utility" not in found:
        return None
    utility = found["utility"]
    head, rows = utility_table(utility)
    return {"head": head, "rows": rows, "advice": utility["recommendation"], "photos": utility["photos"]}


def _worst_cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    label = f"{entry['label']}[{entry['item']}]" if entry["item"] else entry["label"]
    verdict = entry["verdict"].replace("_", " ")
    numbers = (_number(entry["drift"]), _number(entry["lower"]))
    return (entry["key"], label, verdict, *numbers, entry["unit"], entry["reason"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _between(interval: Sequence[float] | None, form: str) -> str:
    return "" if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"


def _picture(name: str, data: bytes) -> tuple[str, str | None]:
    """Title and base64 of a picture; None for one that is too large."""
    encoded = base64.b64encode(data).decode("ascii") if len(data) <= PICTURE_BYTES else None
    return _TITLES.get(name, name), encoded


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: the page cannot be written ({error.strerror}); make room there and run the same command again"
        ) from error
