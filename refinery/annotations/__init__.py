"""Annotations: what the files beside an image say about it, read only so that it can be checked.

A kind is one file with `SUFFIXES` and `read(data, path, size_hw) -> tuple[Label, ...]`; it raises LabelError. Where
several kinds share a suffix, one may have `claims(data, path) -> bool`, and goes before those that have none. A kind
whose file may be about many images has `open_shared(data, path) -> Shared | None`; one whose dataset has settings
beside the annotations has `open_settings(data, path) -> settings | None`, and `read` takes them as `settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from refinery import registry
from refinery.annotations import virtual_kitti
from refinery.annotations._fields import fields_in
from refinery.annotations._numbering import merged
from refinery.annotations._shared import Shared
from refinery.annotations._turned import as_displayed
from refinery.errors import LabelError, PartlyReadError
from refinery.sample import Label

__all__ = [
    "LEFT_OUT",
    "SETTINGS_SUFFIXES",
    "DatasetSettings",
    "Shared",
    "as_displayed",
    "fields_in",
    "may_be_shared",
    "merged",
    "one_line",
    "open_settings",
    "open_shared",
    "read_labels",
    "read_suffixes",
    "read_with_lines",
]

LEFT_OUT = "left out: "
"""Begins the line about an object that could not be read, whose neighbours could."""

SHARED_SUFFIXES = (".json", ".csv", ".tsv", ".jsonl", ".xml")
SETTINGS_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class DatasetSettings:
    """What one file says about all annotations of a kind in its folder and below."""

    path: str
    kind: str
    settings: Any


def read_labels(
    sidecars: Mapping[str, bytes],
    size_hw: tuple[int, int],
    orientation: Callable[[], int] = lambda: 1,
    settings: Sequence[DatasetSettings] = (),
) -> tuple[tuple[Label, ...], tuple[str, ...]]:
    """Labels of one image from all its sidecars, and one line for each sidecar that could not be read.

    sidecars: relative path -> content. A file of a kind that nobody reads has no labels and is no problem; what has no
    known suffix but is a JSON object is read as one, as values inside an HDF5 file are. orientation: how the image is
    stored, asked where a file is about an image lying on its side: its labels are turned with it. settings: of the
    dataset; of two files about one annotation that of the nearer folder counts.
    Several files that speak of one name continue its items.
    """
    files: list[tuple[Label, ...]] = []
    problems: list[str] = []
    for path, data in sorted(sidecars.items()):
        reader = _reader(path, data)
        if reader is None:
            continue
        told = _settings_for(reader, path, settings)
        read = partial(reader.read, data, path, **({} if told is None else {"settings": told}))
        labels, lines = read_with_lines(read, size_hw, orientation)
        files.append(labels)
        problems += lines
    return merged(files), tuple(problems)


def read_with_lines(
    read: Callable[[tuple[int, int]], tuple[Label, ...]], size_hw: tuple[int, int], orientation: Callable[[], int]
) -> tuple[tuple[Label, ...], tuple[str, ...]]:
    """The labels that `read` gives of an image as it is displayed, and a line for each thing that it could not read."""
    try:
        return as_displayed(read, size_hw, orientation), ()
    except PartlyReadError as error:
        return error.labels, tuple(one_line(f"{LEFT_OUT}{line}") for line in error.lines)
    except LabelError as error:
        return (), (one_line(error),)


def one_line(error: Exception | str) -> str:
    """The message in one line of at most 500 characters, whatever an annotation has put into it."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", str(error))[:500]


def open_shared(data: bytes, path: str) -> Shared | None:
    """A file that is about many images; None for one that is not. Raises LabelError where it cannot be read."""
    reader = _reader(path, data)
    shared: Shared | None = None
    if reader is not None and hasattr(reader, "open_shared"):
        shared = reader.open_shared(data, path)
    elif path.lower().endswith(".json") and not hasattr(reader, "claims"):
        shared = registry.find("annotation", "table").open_tree(data, path)
    return shared


def read_suffixes() -> frozenset[str]:
    """The suffixes of files beside an image that some reader knows: .json, .txt, ..."""
    return frozenset(_readers())


def may_be_shared(path: str) -> bool:
    """True if a file may be about many images, by its name."""
    return path.lower().endswith(SHARED_SUFFIXES) or PurePosixPath(path).name == virtual_kitti.SHARED_NAME


def open_settings(data: bytes, path: str) -> DatasetSettings | None:
    """What a file says about all annotations of one kind; None for a file that says nothing. Raises LabelError."""
    for module in (registry.find("annotation", name) for name in registry.names("annotation")):
        if hasattr(module, "open_settings") and (told := module.open_settings(data, path)) is not None:
            return DatasetSettings(path, module.__name__, told)
    return None


def _settings_for(reader: ModuleType, path: str, settings: Sequence[DatasetSettings]) -> Any:
    above = set(PurePosixPath(path).parents)
    own = [one for one in settings if one.kind == reader.__name__ and PurePosixPath(one.path).parent in above]
    return max(own, key=lambda one: len(PurePosixPath(one.path).parts)).settings if own else None


def _reader(path: str, data: bytes) -> ModuleType | None:
    known = _readers().get(PurePosixPath(path).suffix.lower(), ())
    if not known and data.startswith(b"{"):
        known = _readers()[".json"]
    return next((one for one in known if not hasattr(one, "claims") or one.claims(data, path)), None)


@lru_cache(maxsize=1)
def _readers() -> dict[str, tuple[ModuleType, ...]]:
    """Suffix -> the modules that read it, those that claim files first; found once, a search in the folder is slow."""
    modules = [registry.find("annotation", name) for name in registry.names("annotation")]
    modules.sort(key=lambda module: not hasattr(module, "claims"))
    suffixes = {suffix for module in modules for suffix in module.SUFFIXES}
    return {suffix: tuple(one for one in modules if suffix in one.SUFFIXES) for suffix in suffixes}
