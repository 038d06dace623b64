"""Tables of labels: CSV with a header, JSON lines, or a JSON object by image name; a row is about an image.

For many images a column says which (file, filename, file_name, image, ...), as in labels.csv and Hugging Face's
metadata.jsonl, and several rows of one image are its items. A CSV beside an image is about that image. Columns are read
as values of a JSON sidecar are: xmin to ymax are a box, iris_x and iris_y a keypoint.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from refinery.annotations import _names, _objects
from refinery.annotations._fields import fields_of
from refinery.annotations._json import dicts, load
from refinery.annotations._numbering import merged
from refinery.annotations._numbers import number
from refinery.annotations._parts import MOST_LINES
from refinery.annotations._shared import Shared, of_the_image_beside
from refinery.annotations._walk import labels_in
from refinery.errors import LabelError, PartlyReadError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".csv", ".tsv", ".jsonl")
MAX_ROWS = 1024
_BOX_COLUMNS = ("filename", "xmin", "ymin", "xmax", "ymax", "class")
_SIZES = (("width", "height"), ("image_width", "image_height"), ("img_width", "img_height"), ("w_img", "h_img"))
_SIZE_NAMES = frozenset(name for pair in _SIZES for name in pair)
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".gif")
_WEAK = frozenset({"path", "name", "image_id"})
"""Columns that say which image only where their values are names of images."""


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of the one image that the table lies beside, an item a row. Raises LabelError."""
    rows = list(_rows(data, path))
    shared = _by_image(rows, path)
    if shared is not None:
        return of_the_image_beside(shared, size_hw)
    return _labels(rows, path, size_hw)


def open_shared(data: bytes, path: str) -> Shared | None:
    """All images of the table; None for a table that names no images. Raises LabelError."""
    return _by_image(list(_rows(data, path)), path)


def open_tree(data: bytes, path: str) -> Shared | None:
    """All images of a JSON file {"a.png": {...}} or a list of objects that name one; None for any other JSON."""
    tree = load(data, path)
    if isinstance(tree, dict) and tree and all(_is_image(key) for key in tree):
        return _Table(path, {name: [_record(value)] for name, value in tree.items()})
    inside = list(tree.values()) if isinstance(tree, dict) else [tree]
    lists = [value for value in inside if isinstance(value, list)]
    rows = max((dicts(one) for one in lists), key=len, default=[])
    return _by_image(rows, path)


class _Table:
    """Rows by image, kept as JSON, which is far smaller; nothing is written after the constructor."""

    def __init__(self, path: str, rows: dict[str, list[dict[str, Any]]]) -> None:
        self.path = path
        self._rows = {name: json.dumps(rows.pop(name)).encode() for name in list(rows)}

    @property
    def names(self) -> Iterable[str]:
        """The images as the table has them."""
        return self._rows

    def read(self, name: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
        """Labels of one image, an item a row. Raises LabelError."""
        rows, where = json.loads(self._rows[name]), f"{self.path}: {name[:120]}"
        for row in rows:
            _objects.require_size(_told_size(row), size_hw, where)
        return _labels([_without_size(row) for row in rows], where, size_hw)

    def fields(self, name: str) -> dict[str, str]:
        """Lone values of the image's first row, whatever they are."""
        return fields_of(json.loads(self._rows[name])[0])


def _by_image(rows: list[dict[str, Any]], path: str) -> _Table | None:
    column = _reference(rows)
    if column is None:
        return None
    images: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = row.get(column)
        if isinstance(name, str | int) and str(name):
            images.setdefault(str(name), []).append({key: value for key, value in row.items() if key != column})
    return _Table(path, images)


def _reference(rows: list[dict[str, Any]]) -> str | None:
    """The column that says which image a row is about."""
    lower = {str(key).strip().lower(): key for row in rows[:1] for key in row}
    for name in _names.REFERENCES:
        if name in lower and (name not in _WEAK or all(_is_image(row.get(lower[name])) for row in rows[:100])):
            return lower[name]
    return None


def _labels(rows: list[dict[str, Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    if len(rows) > MAX_ROWS:
        raise LabelError(f"{where}: {len(rows)} rows about one image; expected at most {MAX_ROWS}")
    files: list[tuple[Label, ...]] = []
    lines: dict[str, None] = {}
    for item, row in enumerate(rows):
        try:
            files.append(labels_in(row, where, size_hw, item))
        except PartlyReadError as error:
            files.append(error.labels)
            lines |= dict.fromkeys(error.lines)
    if lines:
        raise PartlyReadError(merged(files), tuple(lines)[:MOST_LINES])
    return merged(files)


def _rows(data: bytes, path: str) -> Iterator[dict[str, Any]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: not text in UTF-8; save the table as UTF-8") from error
    if path.lower().endswith(".jsonl"):
        yield from _json_lines(text, path)
        return
    first = text[: text.find("\n") if "\n" in text else len(text)]
    delimiter = max(",;\t", key=first.count)
    header = _header_of(first.strip().split(delimiter), path)
    try:
        for row in csv.DictReader(io.StringIO(text), header, delimiter=delimiter):
            yield {str(key).strip(): _cell(value) for key, value in row.items() if key and value}
    except (csv.Error, ValueError) as error:
        raise LabelError(f"{path}: not a table ({error}); expected CSV with a header") from error


def _header_of(cells: list[str], path: str) -> list[str] | None:
    """Names of the columns of a table without a header: an image and its class, or its box between; None with one.

    Raises LabelError for a table whose first row is about an image, but not so.
    """
    if not _is_image(cells[0].strip().strip('"')):
        return None
    if len(cells) == 2:
        return ["filename", "label"]
    if len(cells) == len(_BOX_COLUMNS) and all(number(cell.strip()) is not None for cell in cells[1:5]):
        return list(_BOX_COLUMNS)
    raise LabelError(
        f"{path}: a table without a header, whose {len(cells)} columns nobody can tell apart; expected a first row of "
        "names such as filename,xmin,ymin,xmax,ymax,class"
    )


def _told_size(row: dict[str, Any]) -> tuple[Any, Any]:
    """Width and height of the image that a row tells, where they are not those of a box by its corner and size."""
    names = {str(key).strip().lower(): key for key in row}
    for across, down in _SIZES:
        if across in names and down in names and not ({"x", "left", "x_min"} & set(names) and across == "width"):
            return row[names[across]], row[names[down]]
    return None, None


def _without_size(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the size of its image, which is no label."""
    if _told_size(row) == (None, None):
        return row
    return {key: value for key, value in row.items() if str(key).strip().lower() not in _SIZE_NAMES}


def _json_lines(text: str, path: str) -> Iterator[dict[str, Any]]:
    for at, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise LabelError(f"{path} line {at}: not JSON; expected an object a line") from error
            if not isinstance(row, dict):
                raise LabelError(f"{path} line {at}: not a JSON object; expected one with a file_name")
            yield row


def _cell(text: str) -> Any:
    """A list or an object that a cell holds as JSON, else its text."""
    text = text.strip()
    if text[:1] + text[-1:] in ("[]", "{}"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _record(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"label" if isinstance(value, str | int) else "labels": value}


def _is_image(name: object) -> bool:
    return isinstance(name, str) and PurePosixPath(name).suffix.lower() in _IMAGES
