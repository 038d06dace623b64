"""What is done with a chunk of samples before it is checked and written: read, decode, parse labels, refine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from refinery.errors import ModelError, RefineryError, SampleError
from refinery.formats._parts import Packed
from refinery.formats._source import Source, require_input
from refinery.formats._stamp import Stamp
from refinery.image import to_float
from refinery.journal import Line
from refinery.runtime import tiling
from refinery.runtime.batching import refine_images
from refinery.runtime.fit import Fit
from refinery.runtime.latent import latents_of
from refinery.runtime.room import out_of_memory
from refinery.runtime.session import Session
from refinery.sample import FloatArray, Sample
from refinery.work import NOT_FINITE, RefineOptions, Work

CHUNK_PIXELS = 4_000_000
CHUNK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Done:
    """A sample that an earlier run has done, with its line, which is to be taken over when the stream comes to it."""

    sample: Sample
    line: Line


ChunkItem = Sample | Done


def prepare_part(source: Source, chunk: list[ChunkItem], options: RefineOptions) -> tuple[list[Work], list[ChunkItem]]:
    """Prepare samples until they hold CHUNK_PIXELS or CHUNK_BYTES, and say which are left.

    After a small one may come huge ones.
    """
    works: list[Work] = []
    pixels = 0
    for item in chunk:
        if isinstance(item, Done):
            works.append(Work(item.sample, line=item.line))
            continue
        if pixels >= CHUNK_PIXELS or sum(len(work.data or b"") for work in works) >= CHUNK_BYTES:
            break
        works.append(prepare(source, item, options))
        pixels += 0 if (synthetic := works[-1].synthetic) is None else synthetic.shape[0] * synthetic.shape[1]
    return works, chunk[len(works) :]


def whole_chunks(
    source: Source, parts: Iterable[tuple[list[Work], list[ChunkItem]]], options: RefineOptions
) -> Iterator[list[Work]]:
    """Prepared parts, each followed by what was left of its chunk."""
    for works, left in parts:
        yield works
        while left:
            works, left = prepare_part(source, left, options)
            yield works


def prepare(source: Source, sample: Sample, options: RefineOptions) -> Work:
    """Read and decode one sample, and parse its labels if they are to be checked."""
    work = Work(sample, stamps=_stamps_of(source, sample))
    try:
        work.data = source.read(sample)
        work.decoded = source.decode(work.data, sample)
        if work.decoded.pixels.shape[2] != options.channels:
            kinds = {1: "gray", 3: "colour"}
            raise SampleError(
                f"{sample.image}: is {kinds[work.decoded.pixels.shape[2]]}, but the refiner was trained on "
                f"{kinds[options.channels]} images; convert it, or train on such images"
            )
        work.synthetic = to_float(work.decoded.pixels)
    except SampleError as error:
        require_input(source)
        work.error = str(error)
    if options.labels is not None and work.decoded is not None and not work.error:
        work.labels, work.problems = options.labels.read(sample, work.decoded.size_hw)
        work.labels_digest = options.labels.shared_digest(sample, work.decoded.size_hw)
        if work.problems:
            require_input(source)
    return work


def refine_chunk(
    session: Session, chunk: list[Work], options: RefineOptions, streams: ThreadPoolExecutor | None = None
) -> list[Work]:
    """Run the model on all images of a chunk that could be read; what it makes no image of is an error.

    Raises ModelError when the model does not run, not even on one image alone.
    """
    _refuse_other_sizes(chunk, session.fit)
    _refuse_too_large(chunk, session.fit)
    usable = [work for work in chunk if not work.error and work.line is None]
    images = [work.synthetic for work in usable if work.synthetic is not None]
    keys, variants = [work.sample.origin.key for work in usable], [work.sample.variant for work in usable]
    latents = latents_of(keys, session.latent, options.seed, variants) if session.latent else None
    try:
        refined_images = refine_images(
            session.run, images, session.batch or options.batch_size, streams, latents, session.fit, session.room
        )
    except RefineryError:
        raise
    except Exception as error:  # each provider raises its own classes
        if out_of_memory(error):
            raise ModelError(
                f"the model ran out of memory on a single image ({usable[0].sample.image}, or one soon after it); "
                "close other programs, use --workers 1, or refine smaller images"
            ) from error
        failing = _first_failing(session, images, options, latents)
        height, width = images[failing].shape[:2]
        raise ModelError(
            f"the model failed on {usable[failing].sample.image}, {width}x{height} px "
            f"({' '.join(str(error).split())[:200]}); try --provider cpu, or export it again"
        ) from error
    for work, refined in zip(usable, refined_images, strict=True):
        if np.isfinite(refined).all():
            work.take(refined)
        else:
            work.error = f"{work.sample.image}: {NOT_FINITE}; train or export it again"
    return chunk


def _first_failing(
    session: Session, images: list[FloatArray], options: RefineOptions, latents: list[FloatArray] | None
) -> int:
    """Which of some images, refined each by itself, is the first that the model fails on; 0 where none is."""
    for index, image in enumerate(images):
        latent, size = latents and latents[index : index + 1], session.batch or options.batch_size
        try:
            refine_images(session.run, [image], size, latents=latent, fit=session.fit)
        except Exception:  # each provider raises its own classes
            return index
    return 0


def _refuse_other_sizes(chunk: list[Work], fit: Fit) -> None:
    for work in chunk:
        if work.synthetic is not None and not work.error and not fit.takes(work.synthetic.shape[:2]):
            height, width = work.synthetic.shape[:2]
            only = "x".join(str(side or "any") for side in reversed(fit.fixed_hw))
            work.error = (
                f"{work.sample.image}: {width}x{height} px; the model takes {only} px only, which its ONNX file fixes; "
                "export it with free height and width, or resize the image with its labels"
            )


def _refuse_too_large(chunk: list[Work], fit: Fit) -> None:
    for work in chunk:
        if work.synthetic is not None and not work.error and not tiling.takes(work.synthetic.shape[:2], fit):
            height, width = work.synthetic.shape[:2]
            work.error = (
                f"{work.sample.image}: {width}x{height} px; more than {tiling.WHOLE_PX:,} pixels are refined in tiles, "
                "which takes a manifest.json beside the model that says how far it sees (receptive_field_px); export "
                "it with `refinery export`, or cut the image into tiles first"
            )


def _stamps_of(source: Source, sample: Sample) -> tuple[Stamp | None, ...]:
    """States of a sample's own files; none where files hold many samples."""
    if isinstance(source, Packed) or source.endless:
        return ()
    return tuple(source.stamp(path) for path in (sample.origin.image, *sample.origin.sidecars))
