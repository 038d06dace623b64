"""Charts of the HTML page as plain shapes, which its template writes as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refinery.report.curves import Series
from refinery.sample import VERDICTS

COLOURS = 7
"""Line colours that the page's style knows, `line0` to `line6`."""
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 50, 12, 14, 34
_PLOT_HEIGHT, _ROW, _BARS = 110, 24, 40


@dataclass(frozen=True)
class Bar:
    """A rectangle. style: its class in the page's style. text: what it says to those who point at it."""

    x: float
    y: float
    width: float
    height: float
    style: str
    text: str = ""


@dataclass(frozen=True)
class Line:
    """A line through points, as SVG writes them."""

    points: str
    style: str
    text: str = ""


@dataclass(frozen=True)
class Words:
    """A text at a place. anchor: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass
class Chart:
    """A drawing of width x height px. description: what somebody who cannot see it needs to know."""

    title: str
    description: str
    width: float = _WIDTH
    height: float = _TOP + _PLOT_HEIGHT + _BOTTOM
    bars: list[Bar] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    """Style and name of each line."""


def verdict_bar(name: str, verdicts: Mapping[str, int]) -> Chart:
    """Counts of verdicts as one bar of 1000 px, as wide for every label."""
    total = sum(verdicts.values()) or 1
    told = ", ".join(f"{verdicts.get(kind, 0):,} {kind.replace('_', ' ')}" for kind in VERDICTS)
    chart, x = Chart(name, f"{name}: {told}", 1000, 16), 0.0
    for kind in VERDICTS:
        if count := verdicts.get(kind, 0):
            width = 1000 * count / total
            chart.bars.append(Bar(_short(x), 0, _short(width), 16, kind, f"{count:,} {kind.replace('_', ' ')}"))
            x += width
    return chart


def drift_histogram(name: str, drift: Mapping[str, Any], tolerance: float | None, detects: float | None) -> Chart:
    """How far a label moved in how many objects. tolerance, detects: in its unit, each drawn as a line.

    drift: with `histogram` as `checks._summary` tells it: equal bins from 0 on, the last open at its end.
    """
    bins, counts, unit = drift["histogram"]["bin"], drift["histogram"]["counts"], drift["unit"]
    has_open_end = counts[-1] > 0
    while len(counts) > 1 and not counts[-1]:
        counts = counts[:-1]
    marks = [value for value in (tolerance, detects) if value]
    last = max(bins * len(counts), *(1.1 * value for value in marks), 0.0)
    together = max(1, round(last / bins / _BARS))
    bins, counts = bins * together, [sum(counts[i : i + together]) for i in range(0, len(counts), together)]
    most = max(counts)
    told = f"half moved by at most {drift['median']:.3g} {unit}, 95% by at most {drift['p95']:.3g} {unit}"
    chart = Chart(name, f"Drift of {name}: {told}" + _marks_text(tolerance, detects, unit))
    base, room = _TOP + _PLOT_HEIGHT, _WIDTH - _LEFT - _RIGHT

    def across(value: float) -> float:
        return _short(_LEFT + room * value / last)

    chart.lines.append(Line(f"{_LEFT},{base} {_WIDTH - _RIGHT},{base}", "axis"))
    for index, count in enumerate(counts):
        height = _PLOT_HEIGHT * count / most
        is_open = has_open_end and index == len(counts) - 1
        ends = f"{index * bins:.3g} {unit} and more" if is_open else f"{index * bins:.3g} to {(index + 1) * bins:.3g}"
        x, width = across(index * bins), max(1.0, room * bins / last - 1)
        chart.bars.append(Bar(x, _short(base - height), _short(width), _short(height), "drift", f"{ends}: {count:,}"))
    for value, style, word in ((tolerance, "tolerance", "may move"), (detects, "power", "is noticed")):
        if value:
            chart.lines.append(Line(f"{across(value)},{_TOP} {across(value)},{base}", style, f"{word}: {value:.3g}"))
            chart.legend.append((style, f"{word}: {value:.3g} {unit}{' and more' if style == 'power' else ''}"))
    for value in _ticks(last):
        chart.words.append(Words(across(value), base + 14, f"{value:.3g}", "middle"))
    chart.words.append(Words(_WIDTH - _RIGHT, base + 29, unit or "its own unit", "end"))
    chart.words.append(Words(_LEFT - 4, _TOP + 10, f"{most:,}", "end"))
    return chart


def realism_bars(name: str, measure: Mapping[str, Any]) -> Chart:
    """The distances of one measure: synthetic and refined to the photos, with the interval and the floor."""
    rows = [("synthetic", measure["synthetic"], "synthetic")]
    rows += [("refined", measure["refined"], "refined")] if measure["refined"] is not None else []
    rows += [("real", measure["floor"], "floor")]
    interval, left = measure.get("ci95"), 72
    last = max(*(value for _, value, _ in rows), *(interval or ()), 1e-9)
    told = ", ".join(f"{word} {value:.4g}" for word, value, _ in rows)
    between = f"; 95% interval {interval[0]:.4g} to {interval[1]:.4g}" if interval else ""
    chart = Chart(name, f"{name}, distance to the photos: {told}{between}", _WIDTH, _TOP + _ROW * len(rows))

    def across(value: float) -> float:
        return _short(left + (_WIDTH - left - 64) * max(0.0, value) / last)

    for row, (word, value, style) in enumerate(rows):
        y = 4 + row * _ROW
        chart.words.append(Words(left - 6, y + 13, word, "end"))
        chart.bars.append(Bar(left, y, _short(across(value) - left), _ROW - 8, style, f"{word}: {value:.4g}"))
        ends = interval if interval and word == ("refined" if measure["refined"] is not None else "synthetic") else None
        if ends:
            middle = y + (_ROW - 8) / 2
            chart.lines.append(Line(f"{across(ends[0])},{middle} {across(ends[1])},{middle}", "interval", between[2:]))
        right = max(across(value), across(ends[1]) if ends else 0.0)
        chart.words.append(Words(right + 5, y + 13, f"{value:.4g}"))
    floor = across(measure["floor"])
    chart.lines.append(Line(f"{floor},2 {floor},{_ROW * len(rows)}", "limit", "real against real"))
    return chart


def curve_panel(title: str, series: Series) -> Chart:
    """Numbers of a training over its steps."""
    points = [point for line in series.values() for point in line if all(map(math.isfinite, point))]
    last_step = max((x for x, _ in points), default=1) or 1
    low, high = min(0.0, *(y for _, y in points), 0.0), max(*(y for _, y in points), 0.0)
    span, room = (high - low) or 1.0, _WIDTH - _LEFT - _RIGHT
    ends = "; ".join(f"{name} {line[0][1]:.3g} to {line[-1][1]:.3g}" for name, line in series.items() if line)
    chart = Chart(title, f"{title}: {ends}, over {last_step:g} steps")

    def height(value: float) -> float:
        return _short(_TOP + _PLOT_HEIGHT * (1 - (value - low) / span))

    for i in range(3):
        value = low + span * i / 2
        chart.lines.append(Line(f"{_LEFT},{height(value)} {_WIDTH - _RIGHT},{height(value)}", "grid"))
        chart.words.append(Words(_LEFT - 4, height(value) + 4, f"{value:.2g}", "end"))
    for index, (name, line) in enumerate(series.items()):
        style = f"line{index % COLOURS}"
        places = [(x, y) for x, y in _thinned(line) if math.isfinite(y)]
        path = " ".join(f"{_short(_LEFT + room * x / last_step)},{height(y)}" for x, y in places)
        dot = " dot" if len(places) == 1 else ""
        chart.lines.append(Line(f"{path} {path}" if dot else path, f"curve {style}{dot}", name))
        chart.legend.append((style, name))
    base = _TOP + _PLOT_HEIGHT
    chart.words += [Words(_LEFT, base + 16, "0", "middle")]
    chart.words += [Words(_WIDTH - _RIGHT, base + 16, f"{last_step:g} steps", "end")]
    return chart


def _marks_text(tolerance: float | None, detects: float | None, unit: str) -> str:
    allowed = f"; it may move by {tolerance:.3g} {unit}" if tolerance else ""
    return allowed + (f"; a move of {detects:.3g} {unit} would be noticed" if detects else "")


def _thinned(line: Sequence[tuple[float, float]], most: int = 400) -> Sequence[tuple[float, float]]:
    """Every so many of the points, and the last one."""
    step = max(1, math.ceil(len(line) / most))
    return [*line[:-1:step], *line[-1:]]


def _ticks(last: float) -> list[float]:
    """0 and round numbers up to `last`, four at most."""
    rough = last / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    return [i * step for i in range(5) if i * step <= last]


def _short(value: float) -> float:
    return round(value, 2)
