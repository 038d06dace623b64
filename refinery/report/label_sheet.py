"""A dozen images with every label drawn where it was read, so that a person sees whether it was read right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from refinery.image import as_channels, from_float, to_float
from refinery.report.picture import to_pillow
from refinery.report.text import kind_text
from refinery.report.worst import outline
from refinery.sample import Label

SHEET = "labels.png"
TILES, ACROSS = 12, 4
_TILE_PX = (300, 220)
_TEXT_LINES, _LINE_PX, _MARGIN_PX, _GAP_PX = 4, 16, 16, 12
_MOST_NAMES = 40
_MOST_DRAWN = 200
"""Labels of one image that are drawn; with more of them nobody sees one."""
_MOST_TAGS = 12
"""Objects whose class is written beside them; with more of them it would hide the image."""
_FINE, _ARM_PX = 3, 6
_INK, _FAINT, _PAPER, _HALO = (30, 30, 30), (110, 110, 110), (255, 255, 255), (0, 0, 0)
COLOURS = (
    *((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0)),
    *((160, 220, 100), (180, 150, 255), (255, 170, 170), (120, 240, 240)),
)
"""The first six are told apart by nearly every eye (Okabe and Ito); after the tenth they begin again."""


@dataclass(frozen=True)
class LabelledTile:
    """One image. pixels: (H, W, 1 or 3) uint8 or uint16."""

    key: str
    pixels: NDArray[Any] = field(repr=False)
    labels: tuple[Label, ...]
    problems: tuple[str, ...] = ()


def draw_sheet(tiles: Sequence[LabelledTile], table: Mapping[str, Mapping[str, Any]], title: str) -> Image.Image:
    """The tiles in rows of four with their classes and numbers in words below, and a legend of all names.

    table: labels by name, each {"type", "unit", ...}, in the order of the legend.
    """
    tiles = tiles[:TILES]
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(table)}
    across = max(1, min(ACROSS, len(tiles)))
    step_x, step_y = _TILE_PX[0] + _GAP_PX, _TILE_PX[1] + (_TEXT_LINES + 1) * _LINE_PX + _GAP_PX
    rows = -(-len(tiles) // across)
    legend = _legend(table)
    width = 2 * _MARGIN_PX + max(across, 2) * step_x - _GAP_PX
    top = 48 + _LINE_PX * len(legend) + _GAP_PX
    canvas = Image.new("RGB", (width, top + rows * step_y + _MARGIN_PX), _PAPER)
    _write(canvas, (_MARGIN_PX, 12), title, _INK, 18, width - _MARGIN_PX)
    for at, (name, text) in enumerate(legend):
        y = 44 + at * _LINE_PX
        if name:
            ImageDraw.Draw(canvas).rectangle(
                (_MARGIN_PX, y + 4, _MARGIN_PX + 18, y + 11), fill=colours[name], outline=_HALO
            )
        _write(canvas, (_MARGIN_PX + 26, y), text, _INK if name else _FAINT, 13, width - _MARGIN_PX)
    for at, tile in enumerate(tiles):
        left, upper = _MARGIN_PX + (at % across) * step_x, top + (at // across) * step_y
        picture = _drawn(tile, colours)
        canvas.paste(picture, (left, upper))
        below = upper + picture.height + 3
        for line, (text, colour) in enumerate([(tile.key, _FAINT), *_words(tile, colours)]):
            _write(canvas, (left, below + line * _LINE_PX), text, colour, 13, left + _TILE_PX[0])
    return canvas


def _legend(table: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name and words of each line; the last one may have no name."""
    lines = [(name, f"{name}: {kind_text(entry)}") for name, entry in list(table.items())[:_MOST_NAMES]]
    more = len(table) - len(lines)
    return [*lines, ("", f"{more} more names")] if more > 0 else lines or [("", "no labels were read")]


def _drawn(tile: LabelledTile, colours: Mapping[str, tuple[int, int, int]]) -> Image.Image:
    """The image at its scale, enlarged without blur by a whole factor or made smaller, with the outlines of labels."""
    height, width = tile.pixels.shape[:2]
    scale = min(_TILE_PX[0] / width, _TILE_PX[1] / height)
    scale = float(int(scale)) if scale >= 1 else scale
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = as_channels(np.asarray(from_float(to_float(tile.pixels), 8)), 3)
    picture = to_pillow(pixels).resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
    overlay = Image.new("RGBA", (size[0] * _FINE, size[1] * _FINE))
    draw = ImageDraw.Draw(overlay)
    classes = {(_prefix(label), label.item): label.text for label in tile.labels if label.type == "class"}
    tags: dict[tuple[float, float], str] = {}
    for label in tile.labels[:_MOST_DRAWN]:
        ink = colours.get(label.name, _INK)
        lines = [(line + 0.5) * scale * _FINE for line in outline(label)]
        if label.type == "keypoint" and lines:
            lines = [*_cross(lines[0].mean(axis=0)), *lines[2:]]
        for line in lines:
            at = [(float(x), float(y)) for x, y in np.clip(line, -1e5, 1e5)]
            for wide, colour in ((4 * _FINE, (*_HALO, 130)), (2 * _FINE, (*ink, 255))):
                draw.line(at, fill=colour, width=wide, joint="curve")
        if lines and (_prefix(label), label.item) in classes:
            left, top = np.concatenate(lines).min(axis=0) / _FINE
            tags[float(left), float(top)] = classes.pop((_prefix(label), label.item))
    smooth = overlay.resize(size, Image.Resampling.BOX)
    drawn = Image.alpha_composite(picture.convert("RGBA"), smooth).convert("RGB")
    for (left, top), text in list(tags.items()) if len(tags) <= _MOST_TAGS else ():
        place = int(np.clip(left + 3, 0, max(0, size[0] - 20))), int(np.clip(top - 1, 0, max(0, size[1] - 14)))
        _write(drawn, (place[0] + 1, place[1] + 1), text, _HALO, 12, size[0])
        _write(drawn, place, text, _PAPER, 12, size[0])
    return drawn


def _prefix(label: Label) -> str:
    return label.name.rpartition(".")[0]


def _cross(middle: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """A cross of one size, however small the image is shown."""
    arm = _ARM_PX * _FINE
    return [middle + arm * np.array([(-1, 0), (1, 0)]), middle + arm * np.array([(0, -1), (0, 1)])]


def _words(tile: LabelledTile, colours: Mapping[str, tuple[int, int, int]]) -> list[tuple[str, tuple[int, int, int]]]:
    """What has no place in the image, a line each: classes, texts, numbers, vectors; and what could not be read."""
    placed = {label.name for label in tile.labels if outline(label)}
    values: dict[str, list[str]] = {}
    for label in tile.labels:
        if label.name not in placed:
            values.setdefault(label.name, []).append(_value(label))
    lines = [(f"{name}: {', '.join(told)}", _darker(colours.get(name, _INK))) for name, told in values.items()]
    lines = [*((f"not read: {line}", _INK) for line in tile.problems[:1]), *lines]
    if not tile.labels and not tile.problems:
        return [("no labels", _FAINT)]
    if len(lines) > _TEXT_LINES:
        lines = [*lines[: _TEXT_LINES - 1], (f"and {len(lines) - _TEXT_LINES + 1} more", _FAINT)]
    return lines


def _value(label: Label) -> str:
    if label.type in ("class", "text"):
        return label.text[:60]
    if label.value.size > 6:
        return f"{'x'.join(map(str, label.value.shape))} {label.type.replace('_', ' ')}"
    return " ".join(f"{float(value):.4g}" for value in label.value.reshape(-1))


def _darker(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour that can be read as text on white."""
    return colour[0] * 6 // 10, colour[1] * 6 // 10, colour[2] * 6 // 10


def _write(
    canvas: Image.Image, place: tuple[int, int], text: str, colour: tuple[int, int, int], size: int, right: int
) -> None:
    """One line of text, cut where its column ends."""
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:400])
    while text and draw.textlength(text, font=font) > right - place[0]:
        text = text[:-2] + "…" if len(text) > 2 else ""
    draw.text(place, text, fill=colour, font=font)
