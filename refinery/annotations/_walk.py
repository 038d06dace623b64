"""Labels of a tree of objects and lists, each with the item that its object is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from refinery.annotations._groups import grouped
from refinery.annotations._json import MAX_DEPTH
from refinery.annotations._values import labels_of
from refinery.errors import LabelError, PartlyReadError
from refinery.sample import Label

MAX_LABELS = 4096


def labels_in(tree: Any, path: str, size_hw: tuple[int, int], item: int = 0) -> tuple[Label, ...]:
    """Labels in the order of the tree; `coins[3].center` and `coins[3].value` have item 3 whatever other coins lack.

    item: of what stands at the top, where the tree is one row of several. Raises LabelError when the tree is nested
    deeper than 32 levels or holds more than 4096 labels, PartlyReadError where the numbers of a label contradict its
    name: all labels of that name are left out then.
    """
    walk = _Walk(path, size_hw)
    labels: list[Label] = []
    for label, wanted in walk.labels(tree, "", item, 0):
        if len(labels) == MAX_LABELS:
            raise LabelError(
                f"{path}: more than {MAX_LABELS} labels for one image; expected a sidecar of this image only"
            )
        free = walk.free_item(label.name, wanted)
        labels.append(label if label.item == free else replace(label, item=free))
    if walk.doubts:
        lines = tuple(f"{path}: {line}" for line in walk.doubts.values())
        raise PartlyReadError(tuple(label for label in labels if label.name not in walk.doubts), lines)
    return tuple(labels)


@dataclass
class _Walk:
    """elements: objects met so far in lists of a name. taken: the highest item of each name. doubts: a line a name."""

    path: str
    size_hw: tuple[int, int]
    elements: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    def labels(self, node: Any, name: str, item: int, depth: int) -> Iterator[tuple[Label, int]]:
        """Labels under a node with the item each should have; `name` is the way to it, without list indices."""
        if depth > MAX_DEPTH:
            raise LabelError(
                f"{self.path}: nested deeper than {MAX_DEPTH} levels at {name[:60]!r}; flatten or remove the file"
            )
        if isinstance(node, dict):
            yield from self._of_object(node, name, item, depth)
        elif isinstance(node, list):
            for value in node:
                are_rows = isinstance(value, list) and value and isinstance(value[0], list)
                rows = self._read(name, name.rpartition(".")[2], value, {}) if are_rows else None
                if rows is not None:
                    yield from ((label, item) for label in rows)
                    continue
                if isinstance(value, dict):
                    item = self.elements.get(name, 0)
                    self.elements[name] = item + 1
                yield from self.labels(value, name, item, depth + 1)

    def free_item(self, name: str, wanted: int) -> int:
        """The item wanted, or the next one where a label of this name has it already."""
        highest = self.taken.get(name, -1)
        item = wanted if wanted > highest else highest + 1
        self.taken[name] = item
        return item

    def _of_object(self, node: dict[str, Any], name: str, item: int, depth: int) -> Iterator[tuple[Label, int]]:
        record, group = grouped(node)
        if group and name:
            key = name.rpartition(".")[2]
            kind = key if group in ("xy", "vector") else group
            yield from ((label, item) for label in self._read(name, kind, record[group], node) or ())
            return
        for key, value in record.items():
            inner = f"{name}.{key}" if name else str(key)
            labels = self._read(inner, str(key), value, record)
            if labels is not None:
                yield from ((label, item) for label in labels)
            else:
                yield from self.labels(value, inner, item, depth + 1)

    def _read(self, name: str, key: str, value: Any, siblings: dict[str, Any]) -> list[Label] | None:
        """Labels of one value, see `labels_of`; a name that was doubted once has none."""
        try:
            return labels_of(name, key, value, siblings, self.size_hw)
        except LabelError as error:
            self.doubts.setdefault(name, str(error))
            return []
