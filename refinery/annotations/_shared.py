"""What a file offers that is about many images: COCO's one JSON file, a table of labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Protocol

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


def of_the_image_beside(shared: Shared, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of a file that lies beside one image: its only image, or the one of the file's own stem."""
    names = list(shared.names)
    stem = PurePosixPath(shared.path).stem
    own = names if len(names) == 1 else [name for name in names if PurePosixPath(name.replace("\\", "/")).stem == stem]
    return shared.read(own[0], size_hw) if own else ()
