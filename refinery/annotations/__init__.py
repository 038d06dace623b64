"""Annotations: what the files beside an image say about it, read only so that it can be checked.

A kind is one file with `SUFFIXES` and `read(data, path, size_hw) -> tuple[Label, ...]`; it raises LabelError.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from types import ModuleType

from refinery import registry
from refinery.errors import LabelError
from refinery.sample import Label

__all__ = ["read_labels"]


def read_labels(sidecars: Mapping[str, bytes], size_hw: tuple[int, int]) -> tuple[tuple[Label, ...], tuple[str, ...]]:
    """Labels of one image from all its sidecars, and one line for each sidecar that could not be read.

    sidecars: relative path -> content. A file of a kind that nobody reads has no labels and is no problem; what has no
    known suffix but is a JSON object is read as one, as values inside an HDF5 file are.
    Several files that speak of one name continue its items.
    """
    labels: list[Label] = []
    problems: list[str] = []
    for path, data in sorted(sidecars.items()):
        reader = _reader(path, data)
        if reader is None:
            continue
        try:
            labels.extend(reader.read(data, path, size_hw))
        except LabelError as error:
            problems.append(str(error))
    return _numbered(labels), tuple(problems)


def _reader(path: str, data: bytes) -> ModuleType | None:
    known = _readers().get(PurePosixPath(path).suffix.lower())
    return _readers()[".json"] if known is None and data.startswith(b'{"') else known


@lru_cache(maxsize=1)
def _readers() -> dict[str, ModuleType]:
    """Suffix -> the module that reads it; found once, as a search in the package's folder costs more than a sidecar."""
    modules = [registry.find("annotation", name) for name in registry.names("annotation")]
    return {suffix: module for module in modules for suffix in module.SUFFIXES}


def _numbered(labels: list[Label]) -> tuple[Label, ...]:
    """The same labels with `item` counted per name over all files."""
    counts: dict[str, int] = {}
    numbered = []
    for label in labels:
        item = counts.get(label.name, 0)
        counts[label.name] = item + 1
        same = item == label.item
        numbered.append(
            label if same else Label(label.name, label.type, label.value, label.unit, item, label.text, label.extent_px)
        )
    return tuple(numbered)
