"""What a file offers that is about many images: COCO's one JSON file, a table of labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol

from refinery.sample import Label


class Shared(Protocol):
    """One file about many images; `read` may be called from several threads.

    path: of the file. names: of the images, as the file has them.
    """

    path: str

    @property
    def names(self) -> Iterable[str]:
        """Image names as the file has them, each once."""

    def read(self, name: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
        """Labels of one image. Raises LabelError."""

    def fields(self, name: str) -> dict[str, str]:
        """Lone values about one image by name, labels or not, as text."""


class Records:
    """Records by image, kept as JSON, which is far smaller; nothing is written after the constructor.

    read_one(records, where, size_hw): the labels of one image; raises LabelError.
    """

    def __init__(
        self,
        path: str,
        records: Mapping[str, Any],
        read_one: Callable[[Any, str, tuple[int, int]], tuple[Label, ...]],
    ) -> None:
        self.path = path
        self._read_one = read_one
        self._records = {name: json.dumps(record).encode() for name, record in records.items()}

    @property
    def names(self) -> Iterable[str]:
        """The images as the file has them."""
        return self._records

    def read(self, name: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
        """Labels of one image. Raises LabelError."""
        return self._read_one(json.loads(self._records[name]), f"{self.path}: {name[:120]}", size_hw)

    def fields(self, name: str) -> dict[str, str]:  # noqa: ARG002
        """None are kept."""
        return {}


def of_the_image_beside(shared: Shared, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of a file that lies beside one image: its only image, or the one of the file's own stem."""
    names = list(shared.names)
    stem = PurePosixPath(shared.path).stem
    own = names if len(names) == 1 else [name for name in names if PurePosixPath(name.replace("\\", "/")).stem == stem]
    return shared.read(own[0], size_hw) if own else ()
