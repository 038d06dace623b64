"""Two datasets of partners, matched by their paths and decoded in step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from refinery.dataset import spread
from refinery.errors import DatasetError, SampleError
from refinery.formats._source import Source
from refinery.image import Decoded, as_channels
from refinery.sample import Sample
from refinery.training.cache import MB, DiskCache, PixelStore
from refinery.training.data import ImageSet, Kind, Pixels, kind_of
from refinery.training.loading import turned_note

NAMED = 3
LOOKED_AT, FEWEST = 16, 16


@dataclass(frozen=True)
class Pairs:
    """Both sides in one order and of one length; the real samples have the keys of their partners.

    notes: what a person should know, one line each.
    """

    synthetic: ImageSet
    real: ImageSet
    notes: tuple[str, ...] = ()

    def select(self, indices: Sequence[int]) -> Pairs:
        """A subset, in the given order."""
        return Pairs(self.synthetic.select(indices), self.real.select(indices), self.notes)


@dataclass(frozen=True)
class _Pair:
    """Two samples, and the kind of pixels that each side is of."""

    samples: tuple[Sample, Sample]
    kinds: tuple[Kind, Kind]


def load_pairs(source: Source, real: Source, memory_mb: int, cache: DiskCache | None = None) -> Pairs:
    """Decode two datasets of partners: each into memory up to `memory_mb`, into the cache beyond that, as `load` does.

    Partners are images of one path but for its suffix (inside the file, for HDF5). The most frequent kind of pixels
    wins; other pairs are skipped and named. Gray partners of colour images are taken as colour, so that no colour is
    lost. Raises DatasetError for a synthetic image without a partner, for partners that differ in size, and where
    nothing is left; a note names the real images that are left out because they are nobody's partner.
    """
    partners, notes = match(_samples(source), _samples(real), str(real.root))
    stores = PixelStore(memory_mb, cache), PixelStore(memory_mb, cache)
    limit = _affordable(source, real, partners, min(store.room_mb for store in stores))
    pairs: list[_Pair] = []
    skipped: list[str] = []
    odd: list[str] = []
    turned = [0, 0]
    for sample in spread(source, limit):
        partner = partners[sample.image]
        try:
            decoded = _decode(sample, partner, source, real)
        except SampleError as error:
            skipped.append(str(error))
            continue
        images = [each.pixels for each in decoded]
        turned = [count + (each.orientation != 1) for count, each in zip(turned, decoded, strict=True)]
        odd += _odd_size(sample, images)
        pairs.append(_Pair((sample, replace(partner, key=sample.key)), (kind_of(images[0]), kind_of(images[1]))))
        for store, image in zip(stores, images, strict=True):
            store.add(image)
    if odd:
        raise DatasetError(
            f"partners of different size: {_first(odd)}; pairs show the same by the pixel: scale one side"
        )
    if not pairs:
        raise DatasetError(f"{source.root}: no usable pair; {skipped[0] if skipped else 'it has no images'}")
    if len(pairs) + len(skipped) < len(partners):
        notes.append(f"{len(pairs):,} of {len(partners):,} pairs are used, as many as there is room for")
    for name, count in zip(("synthetic dataset", "real dataset"), turned, strict=True):
        notes += turned_note(name, count, len(pairs))
    return _of_one_kind(pairs, stores, skipped, notes)


def match(synthetic: Sequence[Sample], real: Sequence[Sample], where: str) -> tuple[dict[str, Sample], list[str]]:
    """The real partner of every synthetic image, by its path, and a note about those that are nobody's.

    where: what the error calls the real images. Raises DatasetError where one is missing.
    """
    by_path = {sample.image: sample for sample in real}
    by_name = dict(zip(_names(real), real, strict=True))
    found = {
        sample.image: by_path.get(sample.image) or by_name.get(name)
        for sample, name in zip(synthetic, _names(synthetic), strict=True)
    }
    if missing := [image for image, partner in found.items() if partner is None]:
        raise DatasetError(
            f"{where}: no partner for {_first(missing)} of {len(found):,} synthetic images; paired training needs a "
            "real image of the same path, whatever its suffix: add it, or remove the synthetic one"
        )
    partners = {image: partner for image, partner in found.items() if partner is not None}
    used = {partner.image for partner in partners.values()}
    extra = [sample.image for sample in real if sample.image not in used]
    return partners, [f"real images without a synthetic partner are left out: {_first(extra)}"] if extra else []


def _samples(source: Source) -> list[Sample]:
    return [entry for entry in source.entries() if isinstance(entry, Sample)]


def _names(samples: Sequence[Sample]) -> list[str]:
    """What partners have in common: the path without its suffix; in a dataset of one HDF5 file, the path inside it."""
    parts = [sample.image.partition("/") for sample in samples]
    files = {file for file, _, _ in parts}
    if len(files) == 1 and next(iter(files)).lower().endswith((".h5", ".hdf5")):
        return [inside for _, _, inside in parts]
    cut = (sample.image.rpartition("/") for sample in samples)
    return [folder + slash + (file.rpartition(".")[0] or file) for folder, slash, file in cut]


def _first(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _affordable(source: Source, real: Source, partners: dict[str, Sample], room_mb: int) -> int | None:
    """How many pairs there is room for, judged by a spread few of them; None: none can be read."""
    sizes = []
    for sample in spread(source, LOOKED_AT):
        try:
            images = _decode(sample, partners[sample.image], source, real)
        except SampleError:
            continue
        sizes.append([image.pixels.nbytes for image in images])
    return max(FEWEST, int(room_mb * MB / np.mean(sizes, 0).max())) if sizes else None


def _decode(sample: Sample, partner: Sample, source: Source, real: Source) -> tuple[Decoded, Decoded]:
    """Both images of a pair, (H, W, C) and (H, W, D) with D at least C. Raises SampleError."""
    synthetic = source.decode(source.read(sample), sample)
    other = real.decode(real.read(partner), partner)
    channels = max(synthetic.pixels.shape[2], other.pixels.shape[2])
    return synthetic, replace(other, pixels=as_channels(other.pixels, channels))


def _odd_size(sample: Sample, images: Sequence[Pixels]) -> list[str]:
    """The sample with both sizes, where partners differ in height or width."""
    (height, width), (high, wide) = (image.shape[:2] for image in images)
    return [] if (height, width) == (high, wide) else [f"{sample.image} ({width}x{height} and {wide}x{high} px)"]


def _of_one_kind(
    pairs: Sequence[_Pair], stores: tuple[PixelStore, PixelStore], skipped: list[str], notes: list[str]
) -> Pairs:
    """The pairs of the most frequent kind as two sets."""
    kinds = Counter(pair.kinds for pair in pairs).most_common(1)[0][0]
    keep = [i for i, pair in enumerate(pairs) if pair.kinds == kinds]
    skipped += [f"{pair.samples[0].image}: not of the kind of most pairs" for pair in pairs if pair.kinds != kinds]
    sides = [
        ImageSet(store.images(), [pair.samples[side] for pair in pairs], *kinds[side], skipped=tuple(skipped)).select(
            keep
        )
        for side, store in enumerate(stores)
    ]
    return Pairs(sides[0], replace(sides[1], skipped=()), tuple(notes))
