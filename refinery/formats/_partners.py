"""Which folder's pictures a folder of labels belongs to: images <-> labels, train <-> trainannot, rgb <-> depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from refinery.formats._grouping import Owners
from refinery.formats._kinds import FolderKinds
from refinery.formats._name_list import Chosen
from refinery.formats._names import (
    PICTURE_FOLDERS,
    base_of_role_folder,
    is_certain_role_folder,
    is_image_name,
    is_label_folder,
    is_role_folder,
)
from refinery.formats._tree import Tree, join
from refinery.pictures.sensor_words import is_of_any_view, sense_of, sensor_words, without_sensor

ANCESTORS_KEPT = 64


@dataclass(slots=True)
class _Children:
    """The subfolders of one folder that matter here: names of label folders, and picture folders by preference."""

    labels: list[str] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)
    """Names with any word for a sensor: what lies in a folder of labels may be sorted by them once more."""
    pictures: list[str] = field(default_factory=list)
    of_base: dict[str, list[str]] = field(default_factory=dict)


class Partners:
    """The two directions of one relation, each computed from the folder names alone, so that no table is kept."""

    def __init__(self, tree: Tree, kinds: FolderKinds) -> None:
        self._tree = tree
        self._kinds = kinds
        self._folders = kinds.roles.folders
        self._known: dict[str, _Children] = {}

    def owner(self, path: str) -> str | None:
        """The folder whose images the files of this folder belong to; None where it stands for itself."""
        if self._kinds.has_pictures(path):
            return None
        parts = path.split("/") if path else []
        for at in reversed(range(len(parts))):
            for candidate in self._candidates(parts, at):
                picture = self._tree.as_stored(candidate)
                if picture != path and self._tree.reaches(picture) and self.owner(picture) is None:
                    return picture
        return None

    def of(self, path: str) -> list[str]:
        """The folders whose owner is this one, sorted."""
        parts = path.split("/") if path else []
        found: set[str] = set()
        for at in range(len(parts) + 1):
            before = parts[:at]
            children = self._children("/".join(before))
            found |= {"/".join([*before, name, *parts[at:]]) for name in children.labels}
            if at < len(parts):
                beside = [*children.labels, *children.of_base.get(parts[at], [])]
                found |= {"/".join([*before, name, *parts[at + 1 :]]) for name in beside}
                found |= {"/".join([*before, name, *parts[at + 1 :]]) for name in self._nested(before, children.labels)}
        found = set(map(self._tree.as_stored, found))
        return sorted(p for p in found if p != path and self._tree.reaches(p) and self.owner(p) == path)

    def _nested(self, before: list[str], labels: list[str]) -> Iterator[str]:
        """Folders in folders of labels that are called after sensors, too: `GT/COLOR`."""
        for name in labels:
            for inner in self._children("/".join([*before, name])).inner:
                yield f"{name}/{inner}"

    def holds_labels_only(self, path: str) -> bool:
        """True if images in this folder are masks or the like even though no picture goes with them."""
        return any(map(is_certain_role_folder, path.split("/"))) and not self._kinds.has_pictures(path)

    def _candidates(self, parts: list[str], at: int) -> Iterator[str]:
        """Picture folders that the label folder parts[at] may stand beside, likeliest first."""
        name, before, after = parts[at], parts[:at], parts[at + 1 :]
        if not (is_label_folder(name) or _says_map(name) or name in self._folders):
            return
        siblings = self._children("/".join(before)).pictures
        alike = [each for each in siblings if without_sensor(each) == without_sensor(name)]
        beside = siblings if is_role_folder(name) else []
        if _says_map(name) and is_of_any_view(name):
            beside = [*beside, *(each for each in siblings if not without_sensor(each))]
        named = [self._folders.get(name), base_of_role_folder(name), base_of_map_folder(name)]
        for picture in dict.fromkeys([*alike, *beside, *(each for each in named if each)]):
            yield "/".join([*before, picture, *after])
            if after and sensor_words(after[0]):
                yield "/".join([*before, picture, *after[1:]])
        around = "/".join([*before, *after])
        if (is_role_folder(name) or _says_map(name)) and self._shares_stems(around, "/".join(parts)):
            yield around

    def _shares_stems(self, pictures: str, labels: str) -> bool:
        """True if a file of `labels` continues the stem of an image that lies in `pictures`."""
        if not self._tree.reaches(pictures):
            return False
        owners = Owners(Chosen(self._tree.read(pictures).files, is_image_name))
        return any(owners.of(name) is not None for name in self._tree.read(labels).files)

    def _children(self, path: str) -> _Children:
        # No lru_cache: one of a method is a reference cycle, and would keep the tree's names for the collector.
        found = self._known.pop(path, None) or self._read_children(path)
        self._known[path] = found
        if len(self._known) > ANCESTORS_KEPT:
            del self._known[next(iter(self._known))]
        return found

    def _read_children(self, path: str) -> _Children:
        found = _Children()
        for name in self._tree.read(path).folders:
            base = base_of_role_folder(name)
            if is_role_folder(name) or _says_map(name) or name in self._folders:
                found.labels.append(name)
            if sensor_words(name):
                found.inner.append(name)
            if base:
                found.of_base.setdefault(base, []).append(name)
            if (name.lower() in PICTURE_FOLDERS or sense_of(sensor_words(name)) == "picture") and self._tree.enters(
                join(path, name)
            ):
                found.pictures.append(name)
        found.pictures.sort(key=_preference)
        return found


def base_of_map_folder(name: str) -> str:
    """The name of a picture folder that a folder of maps goes on from: `front_depth` -> `front`; empty if none."""
    for joint in "_-. ":
        for part, base in ((0, 1), (-1, 0)):
            pieces = name.split(joint, 1) if part == 0 else name.rsplit(joint, 1)
            if len(pieces) == 2 and _says_map(pieces[part]):
                return pieces[base]
    return ""


def _says_map(name: str) -> bool:
    return sense_of(sensor_words(name)) in ("map", "both")


def _preference(name: str) -> tuple[int, str]:
    lower = name.lower()
    return (PICTURE_FOLDERS.index(lower) if lower in PICTURE_FOLDERS else len(PICTURE_FOLDERS), name)
