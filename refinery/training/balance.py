"""Images drawn by what their labels say: every class, or every sequence, equally often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from refinery.checks._clusters import sequence_of
from refinery.errors import ConfigError
from refinery.labels import LabelReader
from refinery.training.data import ImageSet
from refinery.training.sampling import Groups, grouped

NAMED = 12


def balanced(images: ImageSet, how: str, reader: LabelReader, option: str = "balance") -> Groups | None:
    """Groups for `Batches`: none, class, sequence or class:NAME; None where all images are alike.

    class: the only label that is a class. An image with several classes is in the group of each, one without any in a
    group of its own kind. sequence: the key without its trailing frame number, or the folder. Raises ConfigError, which
    says what there is, for labels or sequences that there are not. option: how that names the setting.
    """
    if how == "none":
        return None
    kind, _, name = how.partition(":")
    if how == "sequence":
        return grouped(_sequences(images, option))
    if kind == "class" and (name or ":" not in how):
        return grouped(_classes(images, name, reader, option))
    raise ConfigError(f'{option} = "{how}": expected none, class, class:NAME or sequence')


def _sequences(images: ImageSet, option: str) -> list[list[Hashable]]:
    names = [sequence_of(sample.key) for sample in images.samples]
    if len(set(names)) < 2:
        raise ConfigError(
            f'{option} = "sequence": all {len(names):,} images are of one sequence; a sequence is a folder, or what '
            "stands before the frame number in walk_0012.png"
        )
    return [[name] for name in names]


def _classes(images: ImageSet, name: str, reader: LabelReader, option: str) -> list[list[Hashable]]:
    """The values of the label of each image."""
    found: list[dict[str, set[str]]] = []
    for sample, size_hw in zip(images.samples, images.sizes_hw.tolist(), strict=True):
        own: dict[str, set[str]] = {}
        for label in reader.read(sample, (size_hw[0], size_hw[1]))[0]:
            if label.type == "class":
                own.setdefault(label.name, set()).add(label.text)
        found.append(own)
    chosen = _choose(name, Counter(label for own in found for label in own), option)
    return [list(own.get(chosen, ())) for own in found]


def _choose(name: str, counts: Counter[str], option: str) -> str:
    """The label that is meant. counts: in how many images each class label is."""
    there = ", ".join(sorted(counts)[:NAMED]) or "none"
    if name and name not in counts:
        raise ConfigError(f'{option} = "class:{name}": no class label of this name; class labels: {there}')
    if not name and len(counts) != 1:
        which = f"; say which, as in class:{min(counts)}" if counts else ""
        raise ConfigError(f'{option} = "class": it takes one class label; class labels: {there}{which}')
    return name or next(iter(counts))
