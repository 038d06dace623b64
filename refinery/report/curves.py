"""A run's curves as one PNG: losses, accuracy, label budget, drift and realism over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Series = dict[str, list[tuple[float, float]]]
_COLOURS = (
    (31, 119, 180),
    (214, 39, 40),
    (44, 160, 44),
    (148, 103, 189),
    (255, 127, 14),
    (127, 127, 127),
    (140, 86, 75),
)
_INK, _GRID, _PAPER = (30, 30, 30), (225, 225, 225), (255, 255, 255)
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 960, 240, 64, 34, 28


def draw_curves(records: Sequence[dict[str, Any]]) -> Image.Image:
    """One panel for each kind of number that the records of stats.jsonl hold."""
    shown = panels(records)
    picture = Image.new("RGB", (_WIDTH, _HEIGHT * max(1, len(shown))), _PAPER)
    for row, (title, series) in enumerate(shown):
        _draw_panel(ImageDraw.Draw(picture), row * _HEIGHT, title, series)
    return picture


def panels(records: Sequence[dict[str, Any]]) -> list[tuple[str, Series]]:
    """Title and lines of each kind of number that the records hold."""
    opponents = ("refiner_adversarial", "discriminator", "rotation_refined", "rotation_real", "gradient_penalty")
    held_by = ("reconstruction", "regularization", "label_consistency", "shift", "shading", "change")
    titled = [
        ("losses of the two opponents", _series(records, opponents)),
        ("what holds the refiner, and its change", _series(records, held_by)),
        (
            "accuracy (guessing: real or refined 0.5, rotation 0.25)",
            _series(records, ("discriminator_accuracy", "rotation_accuracy")),
        ),
        ("95% drift over the label budget, 1 is all of it", _budget(records)),
        ("how hard it brakes", _series(records, ("multiplier", "lambda_reg", "consistency_weight"))),
        ("drift of held-out labels", _drift(records)),
        ("distance to the real images, synthetic = 1", _realism(records)),
    ]
    return [(title, series) for title, series in titled if any(series.values())]


def _budget(records: Sequence[dict[str, Any]]) -> Series:
    """Of each label the 95% drift as a share of what is allowed."""
    lines: Series = {}
    for record in records:
        for label, numbers in record.get("budget", {}).items():
            name = f"{label}, {numbers['tolerance']:g} {numbers['unit']}"
            lines.setdefault(name, []).append((record["step"], numbers["p95"] / max(numbers["tolerance"], 1e-9)))
    return lines


def _drift(records: Sequence[dict[str, Any]]) -> Series:
    """Of each label that could be measured the median drift, in its unit."""
    lines: Series = {}
    for record in records:
        for label, numbers in record.get("drift", {}).items():
            if numbers["median"] is not None:
                lines.setdefault(f"{label} ({numbers['unit']}), median", []).append((record["step"], numbers["median"]))
    return lines


def _realism(records: Sequence[dict[str, Any]]) -> Series:
    """Of each measure the distance of the refined images as a share of the synthetic ones'."""
    lines: Series = {}
    for record in records:
        for measure, numbers in record.get("realism", {}).items():
            share = numbers["refined"] / max(abs(numbers["synthetic"]), 1e-9)
            lines.setdefault(measure, []).append((record["step"], share))
    return lines


def _series(records: Sequence[dict[str, Any]], names: Sequence[str]) -> Series:
    return {
        name: [(r["step"], r[name]) for r in records if name in r] for name in names if any(name in r for r in records)
    }


def _draw_panel(draw: ImageDraw.ImageDraw, top: int, title: str, series: Series) -> None:
    font = ImageFont.load_default(13)
    points = [point for line in series.values() for point in line]
    last_step = max(x for x, _ in points) or 1
    low, high = min(0.0, *(y for _, y in points)), max(y for _, y in points)
    span = (high - low) or 1.0
    plot_height = _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - 16) * x / last_step
        return across, top + _TOP + plot_height * (1 - (y - low) / span)

    for i in range(5):
        value = low + span * i / 4
        _, y = place(0, value)
        draw.line([(_LEFT, y), (_WIDTH - 16, y)], fill=_GRID)
        draw.text((6, y - 8), f"{value:.3g}", fill=_INK, font=font)
    draw.text((_LEFT, top + _HEIGHT - 22), f"0 ... {last_step:g} steps", fill=_INK, font=font)
    draw.text((_LEFT, top + 8), title, fill=_INK, font=font)
    legend = _LEFT + 12 + int(draw.textlength(title, font=font))
    for (name, line), colour in zip(series.items(), _COLOURS * 4, strict=False):
        path = [place(x, y) for x, y in line]
        draw.line(path if len(path) > 1 else [*path, *path], fill=colour, width=2)
        draw.text((legend, top + 8), name, fill=colour, font=font)
        legend += 14 + int(draw.textlength(name, font=font))
