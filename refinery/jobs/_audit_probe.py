"""The judge that an audit without a model trains for itself: a label probe, on the labels of the synthetic images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from refinery.checks import CheckContext
from refinery.config import InspectConfig
from refinery.dataset import iter_decoded
from refinery.errors import SampleError
from refinery.formats._source import Source
from refinery.image import Decoded
from refinery.jobs._observer import Observer
from refinery.labels import LabelReader
from refinery.sample import Label, Sample

ONLY_A_PROBE = ("class", "number", "vector")
"""Types of labels without a place in the image."""

LEAST_IMAGES, MOST_IMAGES = 128, 4_000
MOST_VALUES = 200_000_000
"""Pixels times channels that are held in memory to train it."""


def audit_probe(
    source: Source,
    reader: LabelReader,
    labels: Mapping[str, Mapping[str, Any]],
    context: CheckContext,
    config: InspectConfig,
    observer: Observer,
) -> Any:
    """A `LabelProbe` for the labels that nothing else can judge; None where there are none, or too few images.

    labels: of `LabelTable`. It is trained out of fold as at the end of a training, and measured against changes of
    looks at random, not against the refined images: what moved in them would count as looks.
    """
    names = [name for name, entry in labels.items() if entry["type"] in ONLY_A_PROBE]
    if not names or not config.probe:
        return None
    shown = list(_alike(_labelled(source, reader)))
    if len(shown) < LEAST_IMAGES:
        observer.say(f"no label probe for {', '.join(names)}: {len(shown)} labelled images, {LEAST_IMAGES} are needed")
        return None
    from refinery.training.device import share_cores
    from refinery.training.probe import ProbeSettings, train_probe

    observer.say(
        f"training a label probe on {len(shown):,} images for {', '.join(names)}, which takes minutes "
        "(--no-probe leaves them unjudged)"
    )
    share_cores()
    samples, images, known = zip(*shown, strict=True)
    keys = [sample.key for sample in samples]
    pixels = [image.pixels for image in images]
    probe = train_probe(pixels, keys, known, ProbeSettings(), context, config.seed, observer.say)
    for sentence in probe.sentences() if probe else ():
        observer.say(sentence)
    return probe.prober() if probe else None


def _labelled(source: Source, reader: LabelReader) -> Iterator[tuple[Sample, Decoded, tuple[Label, ...]]]:
    """Images spread over the dataset that have labels, as many as memory allows."""
    values = 0
    for sample, decoded in iter_decoded(source, MOST_IMAGES):
        if isinstance(decoded, SampleError):
            continue
        values += decoded.pixels.size
        if values > MOST_VALUES:
            return
        labels, _ = reader.read(sample, decoded.size_hw)
        if labels:
            yield sample, decoded, labels


def _alike(
    shown: Iterator[tuple[Sample, Decoded, tuple[Label, ...]]],
) -> Iterator[tuple[Sample, Decoded, tuple[Label, ...]]]:
    """Those of the commonest kind of pixel: gray or colour, 8 or 16 bits."""
    every = list(shown)
    kinds = Counter((image.pixels.shape[2], image.pixels.dtype) for _, image, _ in every)
    commonest = max(kinds, key=lambda kind: kinds[kind], default=None)
    return (one for one in every if (one[1].pixels.shape[2], one[1].pixels.dtype) == commonest)
