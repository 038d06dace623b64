"""The worst samples as one picture: synthetic, refined, and the refined one with the label where it was and is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from refinery.image import as_channels, from_float
from refinery.report.picture import to_pillow
from refinery.sample import FloatArray, Label, Pair

WORST, WORST_TITLE = "worst.png", "The samples whose labels moved most"
ROWS = 8
BEFORE, AFTER = (64, 196, 255), (255, 140, 0)
"""Blue and orange: told apart by nearly every eye."""
_INK, _FAINT, _PAPER, _HALO = (30, 30, 30), (110, 110, 110), (255, 255, 255), (0, 0, 0)
_PANEL_PX, _LEAST_PX = (400, 260), 760
_GAP_PX, _MARGIN_PX, _CAPTION_PX, _TITLE_PX = 12, 16, 44, 84
_FINE = 3
"""Outlines are drawn this many times larger and brought down, so that they are smooth."""
_LONGEST_ARROW_PX = 110
_EXAGGERATIONS = (20, 10, 5, 2, 1)
_MIN_CROP_PX = 48
_FAR_PX = 1e6
"""Beyond it lies nothing that could be drawn."""

Box = tuple[int, int, int, int]
Lines = list[NDArray[np.float64]]


@dataclass(frozen=True)
class Row:
    """One worst sample. entry: see `checks._worst`. label: the one that moved, None where it has no place."""

    entry: Mapping[str, Any]
    pair: Pair
    label: Label | None


def draw_worst(rows: Sequence[Row], title: str) -> Image.Image:
    """Up to eight rows of three panels under a caption each; the title says what the colours and arrows are."""
    rows = rows[:ROWS]
    crops = [_crop(row) for row in rows]
    scales = [_scale(crop) for crop in crops]
    times = _exaggeration(rows, scales)
    sizes = [(_length(c[0], c[2], scale), _length(c[1], c[3], scale)) for c, scale in zip(crops, scales, strict=True)]
    step = max((width for width, _ in sizes), default=_PANEL_PX[0]) + _GAP_PX
    width = max(_LEAST_PX, 2 * _MARGIN_PX + 3 * step - _GAP_PX)
    height = _TITLE_PX + sum(height + _CAPTION_PX for _, height in sizes) + _MARGIN_PX
    canvas = Image.new("RGB", (width, height), _PAPER)
    _draw_title(canvas, title, times, step)
    top = _TITLE_PX
    for row, crop, scale, size in zip(rows, crops, scales, sizes, strict=True):
        _write(canvas, (_MARGIN_PX, top + 4), _headline(row.entry), _INK, 15)
        _write(canvas, (_MARGIN_PX, top + 23), _details(row.entry), _FAINT, 13)
        for column, panel in enumerate(_panels(row, crop, scale, times)):
            canvas.paste(panel, (_MARGIN_PX + column * step, top + _CAPTION_PX))
        top += size[1] + _CAPTION_PX
    return canvas


def _draw_title(canvas: Image.Image, title: str, times: int, step: int) -> None:
    _write(canvas, (_MARGIN_PX, 10), title, _INK, 18)
    longer = f", drawn {times} times as long as it is" if times > 1 else ""
    draw, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(13), _MARGIN_PX
    for text, colour in (
        ("where the label was", BEFORE),
        ("where it is found now", AFTER),
        (f"arrow: its move{longer}", None),
    ):
        if colour:
            draw.rectangle((left, 43, left + 18, 49), fill=colour, outline=_HALO)
            left += 24
        draw.text((left, 38), text, fill=_INK, font=font)
        left += int(draw.textlength(text, font=font)) + 18
    for column, text in enumerate(("synthetic", "refined", "refined, with its label")):
        _write(canvas, (_MARGIN_PX + column * step, 62), text, _FAINT, 14)


def _headline(entry: Mapping[str, Any]) -> str:
    label = f"{entry['label']}[{entry['item']}]" if entry["item"] else entry["label"]
    what = f"{label}: {_amount(entry)}" if entry["drift"] is not None else f"{label}: {entry['reason']}"
    return f"{entry['image']}    {what}"


def _amount(entry: Mapping[str, Any]) -> str:
    drift, unit = entry["drift"], entry["unit"]
    if unit == "flip":
        return "flipped" if drift >= 0.5 else "did not flip"
    low, high = entry["lower"], entry["upper"]
    between = "" if low is None else f" (at least {low:.2f})"
    if low is not None and high is not None and high < 4 * drift:
        between = f" (between {low:.2f} and {high:.2f})"
    return f"moved by {drift:.2f} {unit}{between}"


def _details(entry: Mapping[str, Any]) -> str:
    delivered = {
        "softened": f"delivered at strength {entry.get('strength', 0):g}" if entry.get("strength") else "",
        "quarantined": "in quarantine; the synthetic image was delivered",
        "kept": "delivered all the same",
    }.get(entry.get("status", ""), "")
    if entry.get("status") == "softened" and not entry.get("strength"):
        delivered = "the synthetic image was delivered"
    reason = entry["reason"] if entry["drift"] is not None else ""
    right = "" if entry["shift_px"] else "on the right: what changed"
    parts = (f"verdict: {entry['verdict'].replace('_', ' ')}", reason, delivered, right)
    return "; ".join(part for part in parts if part)


def _panels(row: Row, crop: Box, scale: float, times: int) -> list[Image.Image]:
    synthetic, refined = _show(row.pair.synthetic, crop, scale), _show(row.pair.refined, crop, scale)
    lines = outline(row.label)
    if not lines:
        return [synthetic, refined, _show(_change(row.pair), crop, scale)]
    shift = np.array(row.entry["shift_px"] or (0.0, 0.0))
    overlay = Image.new("RGBA", (refined.width * _FINE, refined.height * _FINE))
    draw = ImageDraw.Draw(overlay)
    fine = scale * _FINE

    def place(points: NDArray[np.float64]) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in (points + 0.5 - np.array(crop[:2])) * fine]

    for moved, colour in (((0.0, 0.0), BEFORE), (shift, AFTER)):
        for line in lines:
            _stroke(draw, place(line + np.array(moved)), colour)
    if shift.any():
        middle = _middle(lines)
        _arrow(draw, *place(np.stack((middle, middle + times * shift))))
    smooth = overlay.resize(refined.size, Image.Resampling.BOX)
    return [synthetic, refined, Image.alpha_composite(refined.convert("RGBA"), smooth).convert("RGB")]


def _show(image: FloatArray, crop: Box, scale: float) -> Image.Image:
    """A crop of an image (H, W, C) float32 in [-1, 1], enlarged without blur."""
    left, top, right, bottom = crop
    pixels = as_channels(np.asarray(from_float(image[top:bottom, left:right], 8)), 3)
    size = (_length(left, right, scale), _length(top, bottom, scale))
    return to_pillow(pixels).resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)


def _change(pair: Pair) -> FloatArray:
    """|refined - synthetic|, the largest change white: what is shown for a label without a place."""
    change = np.abs(pair.refined - pair.synthetic)
    return np.asarray(2 * change / max(float(change.max()), 1e-6) - 1, dtype=np.float32)


def outline(label: Label | None) -> Lines:
    """Lines (N, 2) in px that show where a label is; none for what has no place."""
    if label is None or label.value.size == 0:
        return []
    value = label.value
    if label.type in ("instance_mask", "semantic_mask"):
        return _mask_edges(np.asarray(value, dtype=bool))
    points = np.asarray(value, dtype=np.float64)
    if not (np.abs(points) < _FAR_PX).all() or not label.extent_px < _FAR_PX:
        return []
    if label.type == "keypoint":
        return _cross(points.reshape(2), label.extent_px)
    if label.type == "box" and points.size == 4:
        x0, y0, x1, y1 = points.ravel()
        return [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])]
    if label.type in ("polygon", "box"):
        corners = points.reshape(-1, 2)
        return [np.concatenate((corners, corners[:1]))]
    return []


def _cross(point: NDArray[np.float64], extent_px: float) -> Lines:
    """A small cross, and a circle where the thing round the point has a size."""
    arm = 2.0
    lines = [point + arm * np.array([(-1, 0), (1, 0)]), point + arm * np.array([(0, -1), (0, 1)])]
    if extent_px > 0:
        turn = np.linspace(0, 2 * np.pi, 49)
        lines.append(point + extent_px * np.stack((np.cos(turn), np.sin(turn)), axis=1))
    return lines


def _mask_edges(mask: NDArray[np.bool_]) -> Lines:
    """The borders between pixels of a mask and pixels outside it, as runs along rows and columns."""
    padded = np.pad(mask, 1).astype(np.int8)
    lines: Lines = []
    for axis in (0, 1):
        edges = np.diff(padded, axis=axis) != 0
        rows = edges[:, 1:-1] if axis == 0 else edges[1:-1].T
        ends = np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        (at, start), (_, end) = np.nonzero(ends == 1), np.nonzero(ends == -1)
        runs = np.stack((np.stack((start, at), axis=1), np.stack((end, at), axis=1)), axis=1) - 0.5
        lines += [*(runs if axis == 0 else runs[:, :, ::-1])]
    return lines


def _middle(lines: Lines) -> NDArray[np.float64]:
    points = np.concatenate(lines)
    return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2)


def _crop(row: Row) -> Box:
    """The part to show, left, top, right, bottom in px: twice the label, at least 48 px, not beyond the image."""
    height, width = row.pair.refined.shape[:2]
    lines = outline(row.label)
    if not lines:
        return 0, 0, width, height
    points = np.concatenate(lines)
    middle, size = _middle(lines), points.max(axis=0) - points.min(axis=0)
    wanted = np.maximum(2 * size, _MIN_CROP_PX)
    wanted = np.maximum(wanted, wanted[::-1] * (3 / 5, 2 / 5))
    left, right = _span(middle[0], wanted[0], width)
    top, bottom = _span(middle[1], wanted[1], height)
    return left, top, right, bottom


def _span(middle: float, wanted: float, length: int) -> tuple[int, int]:
    if wanted > 0.6 * length:
        return 0, length
    start = int(np.clip(round(middle - wanted / 2), 0, length - round(wanted)))
    return start, start + round(wanted)


def _scale(crop: Box) -> float:
    """Enlargement that fills a panel, whole where it is above 1."""
    scale = min(_PANEL_PX[0] / (crop[2] - crop[0]), _PANEL_PX[1] / (crop[3] - crop[1]))
    return float(int(scale)) if scale >= 1 else scale


def _length(start: int, end: int, scale: float) -> int:
    return max(1, round((end - start) * scale))


def _exaggeration(rows: Sequence[Row], scales: Sequence[float]) -> int:
    """How many times too long arrows are drawn: as much as leaves the longest of them inside its panel."""
    drawn = [np.hypot(*(row.entry["shift_px"] or (0, 0))) * scale for row, scale in zip(rows, scales, strict=True)]
    longest = max(drawn, default=0.0)
    return next((times for times in _EXAGGERATIONS if times * longest <= _LONGEST_ARROW_PX), 1)


def _stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    for width, ink in ((4 * _FINE, (*_HALO, 150)), (2 * _FINE, (*colour, 255))):
        draw.line(points, fill=ink, width=width, joint="curve")


def _arrow(draw: ImageDraw.ImageDraw, tail: tuple[float, float], tip: tuple[float, float]) -> None:
    """A white arrow with a dark rim."""
    along = np.array(tip) - np.array(tail)
    length = float(np.hypot(*along))
    along /= max(length, 1e-6)
    across = np.array((-along[1], along[0]))
    head = min(11.0 * _FINE, 0.6 * length)
    neck = np.array(tip) - head * along
    barbs = [tuple(neck + side * 0.55 * head * across) for side in (1, -1)]
    for rim, ink in ((2 * _FINE, (*_HALO, 255)), (0, (*_PAPER, 255))):
        draw.line([tail, tuple(neck)], fill=ink, width=3 * _FINE + rim)
        draw.polygon([tip, *barbs], fill=ink, outline=ink, width=max(1, rim))


def _write(canvas: Image.Image, place: tuple[int, int], text: str, colour: tuple[int, int, int], size: int) -> None:
    """One line of text, cut where the canvas ends."""
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size)
    text = "".join(c if c.isprintable() else "?" for c in text)
    room = canvas.width - place[0] - _MARGIN_PX
    while text and draw.textlength(text, font=font) > room:
        text = text[:-2] + "…" if len(text) > 2 else ""
    draw.text(place, text, fill=colour, font=font)
