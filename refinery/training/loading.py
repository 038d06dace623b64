"""A dataset decoded once for training: what of it is kept, where, and how real images are fitted to synthetic ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from refinery.dataset import iter_decoded
from refinery.errors import DatasetError, SampleError
from refinery.formats._counting import count_samples
from refinery.formats._source import Source
from refinery.image import as_channels
from refinery.sample import Sample
from refinery.training.cache import MB, DiskCache, PixelStore
from refinery.training.data import ImageSet, Kind, Pixels, kind_of

LOOKED_AT, FEWEST = 32, 16
SLACK = 1.25
"""Images may turn out this much larger than those that were looked at first."""
SMALL_SHARE = 0.05
"""Share of the images that may be smaller than the crops."""

Fit = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Cover:
    """Scales an image, keeping its proportions, to the smallest size that covers `size_hw`; matches the channels.

    shrink: whether larger images are made smaller too. Only for real images: they carry no labels that a change of
    size could falsify.
    """

    size_hw: tuple[int, int]
    channels: int
    shrink: bool = True

    def __call__(self, image: Pixels) -> Pixels:
        """(H, W, C) to (h, w, channels) of the same type."""
        image = as_channels(image, self.channels)
        height, width = image.shape[:2]
        scale = max(self.size_hw[0] / height, self.size_hw[1] / width)
        target = (max(self.size_hw[1], round(width * scale)), max(self.size_hw[0], round(height * scale)))
        if (scale <= 1 and not self.shrink) or target == (width, height):
            return image
        planes = [_resize_plane(image[:, :, c], target) for c in range(image.shape[2])]
        return np.stack(planes, axis=2).astype(image.dtype)


def load(source: Source, memory_mb: int, name: str, cache: DiskCache | None = None, fit: Fit | None = None) -> ImageSet:
    """Decode a dataset: into memory up to `memory_mb`, into the cache beyond that, and of more an evenly spread part.

    The most frequent number of channels and of bits wins; other images are skipped and named. fit: what is done to
    each image before it is kept. Raises DatasetError if nothing is left, OutputError where the cache's disk is full.
    name: what errors call the dataset.
    """
    store = PixelStore(memory_mb, cache)
    limit = _affordable(source, store.room_mb, fit)
    samples: list[Sample] = []
    kinds: list[Kind] = []
    skipped: list[str] = []
    changed = turned = 0
    for sample, decoded in iter_decoded(source, limit):
        if isinstance(decoded, SampleError):
            skipped.append(str(decoded))
            continue
        image = fit(decoded.pixels) if fit else decoded.pixels
        store.add(image)
        samples.append(sample)
        kinds.append(kind_of(decoded.pixels))
        turned += decoded.orientation != 1
        changed += image.shape[:2] != decoded.size_hw
        if store.bytes > SLACK * store.room_mb * MB:
            break
    if not samples:
        raise DatasetError(f"{name} {source.root}: no usable image; {skipped[0] if skipped else 'it has no images'}")
    notes = (*_notes(source, store, name, len(samples) + len(skipped)), *turned_note(name, turned, len(samples)))
    return _of_one_kind(store.images(), samples, kinds, skipped, notes, changed)


def kind_of_dataset(source: Source) -> Kind | None:
    """Channels and bits of most images, by an evenly spread few of them; None where none of them can be read."""
    looked_at = iter_decoded(source, LOOKED_AT)
    kinds = Counter(kind_of(d.pixels) for _, d in looked_at if not isinstance(d, SampleError))
    return kinds.most_common(1)[0][0] if kinds else None


def resize_to_cover(images: ImageSet, size_hw: tuple[int, int], channels: int, shrink: bool = True) -> ImageSet:
    """Each image as `Cover` makes it, in memory."""
    cover = Cover(size_hw, channels, shrink)
    fitted = [cover(image) for image in images.images]
    return ImageSet(fitted, images.samples, channels, images.bits, images.skipped, images.notes)


def crop_size(synthetic: ImageSet, real: ImageSet, largest: int, small_share: float = SMALL_SHARE) -> tuple[int, int]:
    """Height and width of the training crops: what nearly every image of both sets can give, at most `largest` a side.

    Nearly: `small_share` of a set may be smaller, on each side of them, so that a few tiny images do not decide how
    little is seen of all others. `Batches` does not draw those.
    """
    sides = [nearly_smallest(synthetic, small_share), nearly_smallest(real, small_share), (largest, largest)]
    return min(height for height, _ in sides), min(width for _, width in sides)


def nearly_smallest(images: ImageSet, small_share: float = SMALL_SHARE) -> tuple[int, int]:
    """The height, and the width, that all but this share of the images have at least, in px."""
    height, width = np.quantile(images.sizes_hw, small_share, axis=0, method="lower")
    return int(height), int(width)


def _affordable(source: Source, room_mb: int, fit: Fit | None) -> int | None:
    """How many images there is room for, judged by a spread few of them; None: none can be read."""
    sizes = [
        (fit(decoded.pixels) if fit else decoded.pixels).nbytes
        for _, decoded in iter_decoded(source, LOOKED_AT)
        if not isinstance(decoded, SampleError)
    ]
    return max(FEWEST, int(room_mb * MB / np.mean(sizes))) if sizes else None


def _notes(source: Source, store: PixelStore, name: str, looked_at: int) -> tuple[str, ...]:
    """What a person should know about what was kept and where."""
    notes = []
    if store.path is not None:
        notes.append(f"{name}: {store.bytes // MB:,} MB of decoded images lie on disk while training runs")
    if store.bytes > 0.5 * store.room_mb * MB or looked_at <= FEWEST:
        total = count_samples(source)
        if looked_at < total:
            setting = "cache_mb" if store.cache else "memory_mb"
            notes.append(f"{name}: {looked_at:,} of {total:,} images are used, as many as {setting} has room for")
    return tuple(notes)


def turned_note(name: str, turned: int, total: int) -> list[str]:
    """What to say about images that are stored turned; nothing without any."""
    return [f"{name}: {turned:,} of {total:,} images are stored turned (EXIF orientation): used upright"] * bool(turned)


def _of_one_kind(
    images: Sequence[Pixels],
    samples: list[Sample],
    kinds: list[Kind],
    skipped: list[str],
    notes: tuple[str, ...],
    changed: int,
) -> ImageSet:
    kind, _ = Counter(kinds).most_common(1)[0]
    keep = [i for i, own in enumerate(kinds) if own == kind]
    odd = [sample.image for sample, own in zip(samples, kinds, strict=True) if own != kind]
    skipped += [f"{image}: not {kind[0]} channel(s) of {kind[1]} bits like most images" for image in odd]
    channels = images[keep[0]].shape[2]
    whole = ImageSet(images, samples, channels, kind[1], tuple(skipped), notes, changed)
    return whole.select(keep) if odd else whole


def _resize_plane(plane: Pixels, size_wh: tuple[int, int]) -> Pixels:
    resized = Image.fromarray(plane.astype(np.float32)).resize(size_wh, Image.Resampling.LANCZOS)
    whole: Pixels = np.clip(np.rint(np.asarray(resized)), 0, np.iinfo(plane.dtype).max)
    return whole
