"""Virtual KITTI 2: `bbox.txt`, the boxes of all frames of a scene, one object a row.

Pixels are counted from 0 and the last one belongs to the box. Classes stand by track in another file and are not read.
Source: Virtual KITTI 2's description of its text files.
"""

from __future__ import annotations

from typing import Any

from refinery.annotations import _objects
from refinery.annotations._parts import Parts
from refinery.annotations._rows import are_numbers
from refinery.annotations._shared import Records
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".txt",)
SHARED_NAME = "bbox.txt"
COLUMNS = ("frame", "cameraID", "trackID", "left", "right", "top", "bottom")
MAX_ROWS = 4_000_000


def claims(data: bytes, path: str) -> bool:  # noqa: ARG001
    """True if the header is that of Virtual KITTI's boxes."""
    return data[:200].decode("ascii", "replace").split()[: len(COLUMNS)] == list(COLUMNS)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """None: the file is about the frames of a scene, never about an image beside it."""
    return ()


def open_shared(data: bytes, path: str) -> Records:
    """All frames, by the paths that the images of the scene have. Raises LabelError for rows that are no numbers."""
    images: dict[str, list[list[str]]] = {}
    for line, text in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = text.split()
        if line == 1 or not words:
            continue
        if line > MAX_ROWS or len(words) < len(COLUMNS) or not are_numbers(words[: len(COLUMNS)]):
            raise LabelError(f"{path} line {line}: not a box ({text[:60]!r}); expected {' '.join(COLUMNS)}")
        frame, camera = words[:2]
        images.setdefault(f"frames/rgb/Camera_{camera}/rgb_{frame.zfill(5)}.jpg", []).append(words[2 : len(COLUMNS)])
    return Records(path, images, _labels)


def _labels(rows: list[list[Any]], where: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    parts = Parts(where)
    for item, (_, left, right, top, bottom) in enumerate(_objects.at_most(rows, where)):
        parts.add(_objects.box(xyxy, item, where) for xyxy in ([float(v) for v in (left, top, right, bottom)],))
    return parts.result()
