"""Jobs with several refined images of each sample: what they need, what they say, and what an output remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refinery.artifact import Artifact
from refinery.errors import LabelError, UsageError
from refinery.formats._counting import count_samples
from refinery.formats._names import VARIANT_MARKS
from refinery.formats._source import Source
from refinery.formats._variants import free_mark, with_variants
from refinery.labels import LabelReader, open_labels


def mark_of(count: int, source: Source, model: Artifact) -> str:
    """What the names of further variants are marked with, empty for one. Raises UsageError where there can be none."""
    if count > 1 and not model.manifest.latent:
        raise UsageError(
            f"--variants {count}: the refiner {model.path} has no noise, so every variant would be the same; leave "
            "--variants out, or train a refiner with noise (simgan and ssgan have it; pix2pix: refine_noise = true)"
        )
    return free_mark(source, count)


def about_indices(source: Source, labels: LabelReader | None) -> str:
    """A note on files about many images (COCO, tables): they know no variants. Empty where there are none."""
    try:
        files = (labels or open_labels(source)).index_files()
    except LabelError:  # too large to be read, and nobody asked to check labels
        return ""
    if not files:
        return ""
    return (
        f"{', '.join(files)}: carried as it is, so it names the first variant of each sample only; the labels of the "
        'others are the same (manifest: "variant_of")'
    )


def in_variants(synthetic: Source, refined: Source, job: Mapping[str, Any]) -> Source:
    """The source of a refined dataset with each sample as often as the job that made it has refined it."""
    count, mark = known_variants(job)
    images = count_samples(refined) if count > 1 else 1
    return with_variants(synthetic, min(count, images), mark)


def known_variants(job: Mapping[str, Any]) -> tuple[int, str]:
    """How many variants a job made of each sample, and the mark of their names; 1 where it does not say."""
    count, mark = job.get("variants"), job.get("variant_mark")
    return (count, mark) if isinstance(count, int) and mark in VARIANT_MARKS else (1, "")
