"""Labels of several files as those of one image: items go on counting, and what is of one object stays together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from refinery.sample import Label


def merged(files: Iterable[Sequence[Label]]) -> tuple[Label, ...]:
    """All labels in order; where a file repeats a (name, item), its items of that prefix go on after the others.

    Characters that a terminal would obey are replaced in names and classes.
    """
    files = [file for file in files if file]
    if len(files) == 1 and _counted(files[0]):
        return tuple(map(_printable, files[0]))
    labels: list[Label] = []
    taken: set[tuple[str, int]] = set()
    last: dict[str, int] = {}
    highest: dict[str, int] = {}
    for file in (tuple(map(_printable, file)) for file in files):
        clashing = {_prefix(label.name) for label in file if (label.name, label.item) in taken}
        shifts = {prefix: highest[prefix] + 1 for prefix in clashing}
        for label in file:
            prefix = _prefix(label.name)
            shift = shifts.get(prefix, 0)
            item = label.item + shift
            if (label.name, item) in taken:
                item = last[label.name] + 1
            one = label if item == label.item else replace(label, item=item)
            taken.add((one.name, item))
            last[one.name] = max(last.get(one.name, -1), item)
            labels.append(one)
        for one in labels[len(labels) - len(file) :]:
            prefix = _prefix(one.name)
            highest[prefix] = max(highest.get(prefix, -1), one.item)
    return tuple(labels)


def _counted(file: Sequence[Label]) -> bool:
    """True if no name of a file has an item twice: then its labels stay as they are."""
    return len({(label.name, label.item) for label in file}) == len(file) and all(x.name.isprintable() for x in file)


def _prefix(name: str) -> str:
    return name.rpartition(".")[0]


def _printable(label: Label) -> Label:
    if label.name.isprintable() and (label.text.isprintable() or label.type == "text"):
        return label
    text = label.text if label.type == "text" else _shown(label.text)
    return replace(label, name=_shown(label.name), text=text)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
