"""What the utility of a refined dataset is measured with: its samples, synthetic and refined, and labelled photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from refinery.annotations import _names
from refinery.dataset import iter_decoded
from refinery.errors import SampleError, UsageError
from refinery.formats._source import Source
from refinery.image import Decoded, as_channels, to_float
from refinery.jobs._pairs import RefinedImages
from refinery.labels import LabelReader
from refinery.sample import Label, Sample
from refinery.utility.datasets import canvases, masks_on

GROUPS = ("track", "subject", "person", "identity", "sequence")
"""Names of what photos share that are no independent witnesses, the finest first."""
NAMED = 12


@dataclass(frozen=True)
class Canvas:
    """What every image is brought to: (C, h, w)."""

    channels: int
    size_hw: tuple[int, int]

    def show(self, decoded: Decoded) -> Tensor:
        """An image as (1, C, h, w) float16 in [-1, 1]."""
        return canvases([as_channels(to_float(decoded.pixels), self.channels)], self.size_hw)

    def nothing(self) -> Tensor:
        """No image: (0, C, h, w)."""
        return torch.empty(0, self.channels, *self.size_hw, dtype=torch.float16)


@dataclass(frozen=True)
class Rendered:
    """Samples that the synthetic and the refined dataset both have. synthetic, refined: (N, C, h, w) float16.

    labels: their masks are on the canvas. lost: how many samples were left out, because one of the two images is
    missing or cannot be read.
    """

    samples: Sequence[Sample] = field(repr=False)
    synthetic: Tensor = field(repr=False)
    refined: Tensor = field(repr=False)
    labels: Sequence[tuple[Label, ...]] = field(repr=False)
    sizes_hw: Sequence[tuple[int, int]] = field(repr=False)
    lost: int = 0


@dataclass(frozen=True)
class Photographed:
    """Photos with labels. images: (N, C, h, w) float16. groups: a name each, of photos that belong together.

    grouped_by: what the groups are, empty where each photo stands alone. unlabelled: how many photos had no label and
    were left out.
    """

    images: Tensor = field(repr=False)
    labels: Sequence[tuple[Label, ...]] = field(repr=False)
    sizes_hw: Sequence[tuple[int, int]] = field(repr=False)
    groups: Sequence[str] = field(repr=False)
    grouped_by: str = ""
    unlabelled: int = 0


def read_rendered(source: Source, refined: Source, reader: LabelReader, limit: int, canvas: Canvas) -> Rendered:
    """At most `limit` samples spread over the dataset."""
    partners = RefinedImages(refined)
    samples: list[Sample] = []
    synthetic, after = [canvas.nothing()], [canvas.nothing()]
    labels: list[tuple[Label, ...]] = []
    sizes: list[tuple[int, int]] = []
    lost = 0
    for sample, decoded in iter_decoded(source, limit):
        partner = None if isinstance(decoded, SampleError) else _partner(sample, decoded, partners)
        if partner is None or isinstance(decoded, SampleError):
            lost += 1
            continue
        samples.append(sample)
        synthetic.append(canvas.show(decoded))
        after.append(canvas.show(partner))
        labels.append(masks_on(reader.read(sample, decoded.size_hw)[0], decoded.size_hw, canvas.size_hw))
        sizes.append(decoded.size_hw)
    return Rendered(samples, torch.cat(synthetic), torch.cat(after), labels, sizes, lost)


def _partner(sample: Sample, synthetic: Decoded, partners: RefinedImages) -> Decoded | None:
    """The refined image of the same size."""
    try:
        found = partners.decode(sample)
    except SampleError:
        return None
    return found if found.size_hw == synthetic.size_hw else None


def read_photos(source: Source, reader: LabelReader, limit: int, canvas: Canvas, group: str) -> Photographed:
    """At most `limit` photos spread over the dataset. group: see `grouped`. Raises UsageError."""
    images = [canvas.nothing()]
    labels: list[tuple[Label, ...]] = []
    sizes: list[tuple[int, int]] = []
    fields: list[dict[str, str]] = []
    unlabelled = 0
    for sample, decoded in iter_decoded(source, limit):
        if isinstance(decoded, SampleError):
            continue
        own, _ = reader.read(sample, decoded.size_hw)
        if not own:
            unlabelled += 1
            continue
        images.append(canvas.show(decoded))
        labels.append(masks_on(own, decoded.size_hw, canvas.size_hw))
        sizes.append(decoded.size_hw)
        fields.append(reader.fields(sample))
    name, groups = grouped(fields, group)
    return Photographed(torch.cat(images), labels, sizes, groups, name, unlabelled)


def grouped(fields: Sequence[dict[str, str]], asked: str) -> tuple[str, list[str]]:
    """What groups the photos, and the group of each; a photo without it is a group of its own.

    asked: a name that the photos' files have, or `folder`; empty: the first usual name with several values, if any.
    Raises UsageError for a name that no photo has, or that all have the same value of.
    """
    values = {
        name: {own[name] for own in fields if name in own} for name in dict.fromkeys(n for x in fields for n in x)
    }
    if asked and len(values.get(asked, ())) < 2:
        why = "all photos have the same" if asked in values else "no photo has it"
        listed = ", ".join(sorted(values)[:NAMED]) or "none"
        raise UsageError(f"--group {asked}: {why}; expected what differs between photos; found: {listed}")
    usual = (name for word in GROUPS for name in values if _is_called(name, word) and len(values[name]) > 1)
    name = asked or next(usual, "")
    return name, [f"= {own[name]}" if name in own else f"photo {i}" for i, own in enumerate(fields)]


def _is_called(name: str, word: str) -> bool:
    first, *others = _names.words(name) or ("",)
    return first in (word, f"{word}id") and others in ([], ["id"], ["name"], ["number"], ["index"])
