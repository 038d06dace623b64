"""Labels of a dataset's samples, from the files that belong to each, read only so that they can be checked."""

from __future__ import annotations

import difflib
import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from refinery.annotations import DatasetSettings, fields_in, merged, one_line, read_labels, read_with_lines
from refinery.config import LabelOverride
from refinery.errors import LabelError, SampleError
from refinery.formats._source import Source
from refinery.image import stored_orientation
from refinery.label_files import ImageIndex, entries_about, look_over, without_repeats
from refinery.sample import Label, LabelType, Sample

_PLACES = ("keypoint", "box", "polygon", "instance_mask", "semantic_mask", "depth")
_SIZES: dict[str, tuple[int, ...]] = {"keypoint": (2,), "box": (4,), "number": (1,)}


class LabelReader:
    """Reads the labels of one dataset; `read` may be called from several threads.

    problems: files about many images that cannot be read, one line each.
    """

    def __init__(
        self,
        source: Source,
        indices: Sequence[ImageIndex] = (),
        folders: frozenset[str] = frozenset(),
        overrides: Mapping[str, LabelOverride] | None = None,
        problems: Sequence[str] = (),
        settings: Sequence[DatasetSettings] = (),
    ) -> None:
        self.source = source
        self._settings = tuple(settings)
        self.problems = tuple(problems)
        self._indices = tuple(indices)
        self._folders = folders
        self._overrides = dict(overrides or {})
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LabelReader], tuple[object, ...]]:
        """Another process gets a reader with a lock of its own."""
        told = self._indices, self._folders, self._overrides, self.problems, self._settings
        return LabelReader, (self.source, *told)

    def read(self, sample: Sample, size_hw: tuple[int, int]) -> tuple[tuple[Label, ...], tuple[str, ...]]:
        """Labels of one image of this size in px, and one line for each file or value that could not be read.

        The size, and the labels, are those of the image as it is displayed.
        """
        sample = sample.origin
        orientation = partial(_orientation, self.source, sample)
        sidecars, problems = read_sidecars(self.source, sample)
        own, unreadable = read_labels(sidecars, size_hw, orientation, self._settings)
        problems.extend(unreadable)
        files = [own]
        for shared, name in entries_about(sample.image, self._indices):
            labels, lines = read_with_lines(partial(shared.read, name), size_hw, orientation)
            files.append(labels)
            problems += lines
        files = without_repeats(files)
        labels = self._with_folder(merged(files), sample)
        return self._overridden(labels, sample, problems), tuple(problems)

    def fields(self, sample: Sample) -> dict[str, str]:
        """Lone values that the files have about one image, by name as text, labels or not: its track, its subject."""
        found = {"folder": PurePosixPath(sample.image).parent.name}
        for shared, name in entries_about(sample.image, self._indices):
            found |= shared.fields(name)
        return found | fields_in(read_sidecars(self.source, sample)[0])

    @property
    def class_folders(self) -> frozenset[str]:
        """The folders whose names are classes."""
        return self._folders

    def shared_digest(self, sample: Sample, size_hw: tuple[int, int]) -> str:
        """A hash of what files about many images, settings and class folders say of an image; empty without any."""
        if not self._indices and not self._folders and not self._settings:
            return ""
        told_by_all = f"{self._folder_of(sample.origin)}{[(one.path, one.settings) for one in self._settings]}"
        digest = hashlib.sha256(told_by_all.encode("utf-8", "surrogateescape"))
        for shared, name in entries_about(sample.origin.image, self._indices):
            for label in read_with_lines(partial(shared.read, name), size_hw, lambda: 1)[0]:
                told = (label.name, label.type, label.item, label.text, label.unit, label.extent_px)
                digest.update(repr(told).encode("utf-8", "surrogateescape"))
                digest.update(label.value.tobytes())
        return digest.hexdigest()

    def index_files(self) -> list[str]:
        """The files about many images that images of this dataset are looked up in."""
        return [index.shared.path for index in self._indices]

    def unknown_overrides(self) -> list[str]:
        """One line for each [labels.NAME] of the TOML that no label read so far has, with the nearest known name."""
        with self._lock:
            known = sorted(self._seen)
        return [_no_such_label(name, known) for name in self._overrides if name not in known]

    def _with_folder(self, labels: tuple[Label, ...], sample: Sample) -> tuple[Label, ...]:
        folder = self._folder_of(sample)
        if not folder or any(label.type == "class" for label in labels):
            return labels
        return (*labels, Label("folder", "class", np.zeros(0), "flip", text=folder))

    def _folder_of(self, sample: Sample) -> str:
        """The folder that is the sample's class; empty where folders are none."""
        folder = PurePosixPath(sample.image).parent.name
        return folder if folder in self._folders else ""

    def _overridden(self, labels: tuple[Label, ...], sample: Sample, problems: list[str]) -> tuple[Label, ...]:
        if not self._overrides:
            return labels
        with self._lock:
            self._seen.update(label.name for label in labels)
        kept: list[Label] = []
        for label in labels:
            override = self._overrides.get(label.name)
            if override is None:
                kept.append(label)
            elif not override.ignore:
                try:
                    kept.append(apply_override(label, override))
                except LabelError as error:
                    problems.append(f"{sample.image}: {one_line(error)}")
        return tuple(kept)


def open_labels(source: Source, overrides: Mapping[str, LabelOverride] | None = None) -> LabelReader:
    """A reader of this dataset's labels: of each sample's own files, and of files about many images (COCO, CSV, ...).

    overrides: of `config.parse_label_overrides`. Raises LabelError where files about many images exceed 512 MB.
    """
    files = look_over(source)
    return LabelReader(source, files.indices, files.folders, overrides, files.problems, files.settings)


def read_sidecars(source: Source, sample: Sample) -> tuple[dict[str, bytes], list[str]]:
    """A sample's sidecars by path, and one line for each that cannot be read."""
    sidecars: dict[str, bytes] = {}
    unreadable: list[str] = []
    for path in sample.sidecars:
        try:
            sidecars[path] = source.read_file(path)
        except SampleError as error:
            unreadable.append(str(error))
    return sidecars, unreadable


def _orientation(source: Source, sample: Sample) -> int:
    """How the sample's image is stored; 1 where it cannot be read."""
    try:
        return stored_orientation(source.read(sample))
    except SampleError:
        return 1


def apply_override(label: Label, override: LabelOverride) -> Label:
    """The label as the type and unit that the user says it is of.

    Raises LabelError where its value cannot be of that type.
    """
    kind: LabelType = override.type or label.type
    if kind == label.type:
        return replace(label, unit=override.unit or label.unit)
    value, text = _as_type(label, kind)
    return replace(label, type=kind, value=value, text=text, unit=override.unit or _unit(kind))


def _as_type(label: Label, kind: LabelType) -> tuple[Any, str]:
    """Value and text of a label as another type."""
    masks = ("instance_mask", "semantic_mask")
    if kind in masks and label.type in masks:
        return label.value, label.text
    if kind in ("class", "text") and (label.text or label.value.size == 1):
        return np.zeros(0), label.text or f"{float(label.value.reshape(-1)[0]):g}"
    if label.type in ("class", "text") and kind == "number":
        try:
            return np.array([float(label.text)]), ""
        except ValueError as error:
            raise _cannot(label, kind) from error
    values = label.value.reshape(-1)
    if label.type in ("number", "vector", "keypoint", "box", "polygon"):
        if kind == "polygon" and values.size >= 6 and values.size % 2 == 0:
            return values.reshape(-1, 2), ""
        if kind == "vector" or (values.size,) == _SIZES.get(kind):
            return values, ""
    raise _cannot(label, kind)


def _unit(kind: LabelType) -> str:
    return "px" if kind in _PLACES else "flip" if kind in ("class", "text") else ""


def _cannot(label: Label, kind: str) -> LabelError:
    shape = repr(label.text[:40]) if label.text else "x".join(map(str, label.value.shape)) + " values"
    return LabelError(
        f"label {label.name!r} is a {label.type} ({shape}) and cannot be read as {kind}; "
        f"correct [labels.{label.name}] in the TOML"
    )


def _no_such_label(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"labels: {', '.join(known[:20]) or 'none'}"
    return f"[labels.{name}]: no label of this name was found; {hint}"
