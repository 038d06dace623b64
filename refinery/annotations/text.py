"""Plain text beside an image: a class in a `.cls` file, a caption or transcription in any other."""

from __future__ import annotations

import numpy as np

from refinery.annotations._numbers import number
from refinery.errors import LabelError
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".txt", ".text", ".caption", ".cls")
MAX_BYTES = 65536


MOST_NUMBERS = 0.6
"""Of a caption's words; what has more is an annotation of a format that nobody reads."""


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:  # noqa: ARG001
    """One label, or none of an empty file. Raises LabelError for what is not UTF-8 or longer than 64 KiB."""
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes of text for one image; expected at most {MAX_BYTES:,}")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: not text in UTF-8; expected a class, a caption or a YOLO annotation") from error
    if not text:
        return ()
    if _is_table(text):
        raise LabelError(
            f"{path}: rows of numbers that no reader knows (YOLO, KITTI and DOTA are read); no label is taken from it"
        )
    if path.lower().endswith(".cls"):
        return (Label("class", "class", np.zeros(0), "flip", text=text),)
    return (Label("text", "text", np.zeros(0), "flip", text=text),)


def _is_table(text: str) -> bool:
    """True if most words are numbers, as in the rows of an annotation."""
    words = text.split()
    return len(words) >= 4 and sum(number(word) is not None for word in words) > MOST_NUMBERS * len(words)
