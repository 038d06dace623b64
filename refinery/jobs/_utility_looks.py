"""Several looks of each refined sample: the dataset's variants, or made in memory by a refiner that has noise."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refinery import artifact as artifacts
from refinery.artifact import MODEL_FILE, Artifact
from refinery.chunk import prepare, refine_chunk
from refinery.config import InspectConfig
from refinery.errors import ModelError, SampleError
from refinery.formats._source import Source
from refinery.formats._variants import variant_of
from refinery.jobs._observer import Observer
from refinery.jobs._pairs import RefinedImages
from refinery.jobs._utility_data import Canvas, Rendered
from refinery.jobs._variants import known_variants
from refinery.pipeline import chunk_size, chunked, streams_for
from refinery.runtime.session import open_session
from refinery.work import RefineOptions

VARIANTS = 3


def more_looks(
    config: InspectConfig,
    job: Mapping[str, Any] | None,
    found: Rendered,
    source: Source,
    refined: Source,
    canvas: Canvas,
    observer: Observer,
) -> tuple[list[Tensor], str]:
    """Two looks beside the first, (N, C, h, w) each; none, and why, without a refiner that has noise.

    The variants of the refined dataset, where it has some; else what `refine --variants 3` would make, before anything
    is checked. job: that made the dataset.
    """
    count, mark = known_variants(job or {})
    if count > 1:
        partners = RefinedImages(refined)
        return [_stored(found, partners, i, mark, canvas) for i in range(1, min(count, VARIANTS))], ""
    model, why = the_model(config, job)
    if model is None:
        return [], why
    observer.say(f"making {VARIANTS - 1} more looks of each sample with {model.path}")
    seed = job.get("seed") if job else None
    seed = seed if isinstance(seed, int) else config.seed
    return [_look(found, source, model, seed, i, canvas) for i in range(1, VARIANTS)], ""


def the_model(config: InspectConfig, job: Mapping[str, Any] | None) -> tuple[Artifact | None, str]:
    """The refiner that made the dataset, if it has noise and is at hand, else why there is one look only."""
    wanted = str(job.get("model_sha256", "")) if job else ""
    model = artifacts.load(config.model) if config.model else _found(Path("runs"), wanted)
    if model is None:
        return None, f"one look of each sample: the model {wanted[:12]} is not under ./runs (--model)" if wanted else ""
    if wanted not in ("", model.sha256):
        return None, f"one look of each sample: {model.path} is not the model that refined them"
    return (model, "") if model.manifest.latent else (None, "")


def _found(runs: Path, sha256: str) -> Artifact | None:
    """The artifact of a finished run with this model."""
    for file in sorted(runs.glob(f"*/artifact/{MODEL_FILE}")) if sha256 else ():
        try:
            model = artifacts.load(file)
        except ModelError:
            continue
        if model.sha256 == sha256:
            return model
    return None


def _stored(found: Rendered, refined: RefinedImages, variant: int, mark: str, canvas: Canvas) -> Tensor:
    """A variant of each sample as it was delivered, (N, C, h, w); where it is missing, the first one."""
    looks: list[Tensor] = []
    for i, sample in enumerate(found.samples):
        try:
            looks.append(canvas.show(refined.decode(variant_of(sample, variant, mark))))
        except SampleError:
            looks.append(found.refined[i][None])
    return torch.cat(looks)


def _look(found: Rendered, source: Source, model: Artifact, seed: int, variant: int, canvas: Canvas) -> Tensor:
    """What the refiner makes of the same samples with the noise of a variant: (N, C, h, w).

    Of a sample that it makes nothing of, the look that is there.
    """
    options = RefineOptions(model.manifest.channels, chunk_samples=chunk_size(source), seed=seed)
    session = open_session(model, "auto", "auto", streams=streams_for(options.chunk_samples))
    looks: list[Tensor] = []
    with ThreadPoolExecutor(session.streams, thread_name_prefix="model") as streams:
        for chunk in chunked(found.samples, options.chunk_samples):
            works = [prepare(source, sample, options) for sample in chunk]
            for work in works:
                work.sample = replace(work.sample, variant=variant)
            for work in refine_chunk(session, works, options, streams):
                if work.refined is None or work.decoded is None:
                    looks.append(found.refined[len(looks)][None])
                else:
                    looks.append(canvas.show(replace(work.decoded, pixels=work.quantised(1.0))))
    return torch.cat(looks)
