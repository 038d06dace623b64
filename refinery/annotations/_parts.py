"""Objects of one annotation, read one by one, so that a bad one is left out and named and its neighbours stand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from refinery.annotations import _objects
from refinery.errors import LabelError, PartlyReadError
from refinery.sample import Label

MOST_LINES = 8


class Parts:
    """Collects the labels of one image; `where` says which."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.labels: list[Label] = []
        self.lines: list[str] = []

    def add(self, labels: Iterable[Label]) -> None:
        """All of an object, or of a part of one; nothing of it where something in it cannot be read."""
        try:
            self.labels += list(islice(labels, _objects.MAX_LABELS + 1))
        except LabelError as error:
            self.lines.append(str(error))

    def result(self) -> tuple[Label, ...]:
        """All labels. Raises LabelError where there are too many, PartlyReadError where something was left out."""
        labels = _objects.bounded(self.labels, self.where)
        if self.lines:
            more = len(self.lines) - MOST_LINES
            lines = self.lines[:MOST_LINES] + ([f"{self.where}: {more} more like these"] if more > 0 else [])
            raise PartlyReadError(labels, tuple(lines))
        return labels
