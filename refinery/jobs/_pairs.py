"""Pairs of a synthetic and a refined image, read from two datasets or made on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from refinery.chunk import prepare, refine_chunk
from refinery.dataset import iter_decoded, spread
from refinery.errors import SampleError
from refinery.formats._source import Source
from refinery.image import Decoded, as_channels, to_float
from refinery.labels import LabelReader
from refinery.pipeline import chunked
from refinery.runtime.session import Session
from refinery.sample import FloatArray, Pair, Sample
from refinery.work import RefineOptions

DECOYS = 32
CALIBRATION_PAIRS, MIN_PAIRS = 256, 8
CALIBRATION_VALUES, MOST_VALUES = 4_000_000, 32_000_000
"""Pixels times channels of the pairs that the checks are calibrated on, and what is held of them in memory at most."""


class RefinedImages:
    """The refined dataset beside its source: partners are samples of one name, whatever their file format."""

    def __init__(self, refined: Source) -> None:
        self.refined = refined
        samples = [entry for entry in refined.entries() if isinstance(entry, Sample)]
        self._by_image = {sample.image: sample for sample in samples}
        self._by_name = {_name(sample): sample for sample in samples}
        self._seen: set[str] = set()
        self._converted: set[str] = set()

    @property
    def converted(self) -> int:
        """How many refined images have other channels than their source, as far as they were read."""
        return len(self._converted)

    def decode_like(self, sample: Sample, synthetic: Decoded) -> Decoded:
        """The refined image of a sample, gray or colour as its source is. Raises SampleError."""
        found = self.decode(sample)
        channels = synthetic.pixels.shape[2]
        if found.pixels.shape[2] == channels:
            return found
        self._converted.add(sample.key)
        return replace(found, pixels=as_channels(found.pixels, channels))

    def decode(self, sample: Sample) -> Decoded:
        """The refined image of a sample of the source. Raises SampleError where there is none."""
        partner = self._by_image.get(sample.image) or self._by_name.get(_name(sample))
        if partner is None:
            raise SampleError(f"{sample.image}: missing in the refined dataset {self.refined.root}")
        self._seen.add(partner.image)
        return self.refined.decode(self.refined.read(partner), partner)

    def extra(self) -> list[str]:
        """Images that no sample of the source asked for."""
        return [image for image in self._by_image if image not in self._seen]


def _name(sample: Sample) -> str:
    folder, slash, file = sample.image.rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


def read_pair(sample: Sample, source: Source, refined: RefinedImages, labels: LabelReader) -> Pair:
    """One sample as the synthetic and the refined dataset hold it.

    A refined image of other channels is brought to those of its source. Raises SampleError where one of them is missing
    or cannot be read, or where their sizes differ.
    """
    synthetic = source.decode(source.read(sample), sample)
    return make_pair(sample, synthetic, refined.decode_like(sample, synthetic), labels)


def make_pair(sample: Sample, synthetic: Decoded, found: Decoded, labels: LabelReader) -> Pair:
    """The pair of two decoded images, in colour if one of them is. Raises SampleError as `read_pair` does."""
    if found.size_hw != synthetic.size_hw:
        (height, width), (h, w) = found.size_hw, synthetic.size_hw
        raise SampleError(
            f"{sample.image}: {width}x{height} px in the refined dataset, {w}x{h} px in its source, which its "
            "labels are in; scale it back"
        )
    parsed, _ = labels.read(sample, synthetic.size_hw)
    channels = max(synthetic.pixels.shape[2], found.pixels.shape[2])
    before, after = (to_float(as_channels(each.pixels, channels)) for each in (synthetic, found))
    return Pair(sample, before, after, parsed)


def spread_pairs(source: Source, refined: RefinedImages, labels: LabelReader) -> list[Pair]:
    """At most 256 pairs spread over the dataset, what cannot be read left out: the checks are calibrated on them."""
    pairs: list[Pair] = []
    for sample in spread(source, affordable_pairs(source)):
        try:
            pairs.append(read_pair(sample, source, refined, labels))
        except SampleError:
            continue
        if _values(pairs) > MOST_VALUES:
            break
    return pairs


def refined_pairs(source: Source, session: Session, options: RefineOptions) -> list[Pair]:
    """The same of a dataset that is still to be refined: what the refiner makes of them, quantised as delivered."""
    return pairs_of(spread(source, affordable_pairs(source)), source, session, options)


def pairs_of(samples: Iterable[Sample], source: Source, session: Session, options: RefineOptions) -> list[Pair]:
    """Refine samples without delivering them, what cannot be refined left out; bounded in memory."""
    pairs: list[Pair] = []
    with ThreadPoolExecutor(session.streams, thread_name_prefix="model") as streams:
        for chunk in chunked(samples, options.chunk_samples):
            works = refine_chunk(session, [prepare(source, sample, options) for sample in chunk], options, streams)
            for work in works:
                if work.refined is not None:
                    work.stored = work.quantised(1.0)
                    pairs.append(work.pair())
            if _values(pairs) > MOST_VALUES:
                break
    return pairs


def affordable_pairs(source: Source) -> int:
    """How many pairs of images like the first fit into memory: 8 to 256."""
    for _, decoded in iter_decoded(source, 1):
        if isinstance(decoded, Decoded):
            return max(MIN_PAIRS, min(CALIBRATION_PAIRS, CALIBRATION_VALUES // decoded.pixels.size))
    return CALIBRATION_PAIRS


def read_decoys(source: Source) -> Iterator[tuple[str, FloatArray]]:
    """Synthetic images spread over the dataset, by key, that no refined image should match better than its own."""
    for sample, decoded in iter_decoded(source, DECOYS):
        if not isinstance(decoded, SampleError):
            yield sample.key, to_float(decoded.pixels)


def _values(pairs: list[Pair]) -> int:
    return sum(pair.synthetic.size for pair in pairs)
