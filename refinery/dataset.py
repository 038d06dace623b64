"""Datasets as the rest of refinery sees them: open one, look it over, split it, decode an even part of it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import cast

from refinery import registry
from refinery.errors import DatasetError, PicturesInDoubt, SampleError, UsageError
from refinery.formats._counting import count_samples
from refinery.formats._source import Judged, Skipping, Source
from refinery.image import SUFFIXES, Decoded
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.pictures.rules import answers
from refinery.sample import Sample

FALLBACK = "folder"
"""The layout that is tried last, because it takes any folder with images."""
LOOKED_AT = 200
FILES_NAMED = 100_000
UNREADABLE_NAMED = 10
SHOWN_KINDS = 20


@dataclass(frozen=True)
class ImageSurvey:
    """What the images are like that were looked at, a bounded part spread over the dataset.

    size_common_hw, size_min_hw, size_max_hw: height and width in px, each extreme by itself; (0, 0) without images.
    modes, formats: how many images of each. channels, bits: the values met, sorted.
    """

    looked_at: int = 0
    unreadable: int = 0
    size_common_hw: tuple[int, int] = (0, 0)
    size_min_hw: tuple[int, int] = (0, 0)
    size_max_hw: tuple[int, int] = (0, 0)
    modes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    channels: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Survey:
    """A dataset looked over. samples, loose, sidecars (by suffix): all are counted. problems: lines for a person."""

    layout: str
    samples: int
    loose: int
    images: ImageSurvey
    sidecars: dict[str, int]
    problems: list[str]


def open_dataset(path: Path, layout: str | None = None, choice: Choice = EVERYTHING, asks: bool = False) -> Source:
    """Open a dataset; its layout is found out unless it is named.

    choice: what the user says about which images are pictures. asks: whether a doubt about that is an error; otherwise
    the likeliest answer is taken, and `doubts` tells of it. Raises DatasetError where there is no dataset or not one
    picture in it, ConfigError for an unknown layout, PicturesInDoubt, UsageError for a glob that matches nothing.
    """
    if layout is not None:
        module = registry.find("format", layout)
        _require_path(path)
        source: Source = module.open_source(path)
    else:
        _require_path(path)
        source = _sniff(path)
    source = with_choice(source, choice, path)
    if asks:
        require_no_doubt(source, path)
    if not any(isinstance(entry, Sample) for entry in source.entries()):
        raise DatasetError(_no_images(path, source))
    return source


def with_choice(source: Source, choice: Choice, where: object) -> Source:
    """The dataset with what the user says about its images. Raises UsageError for a glob that matches nothing."""
    if not choice:
        return source
    if not isinstance(source, Judged):
        raise UsageError(f"{where}: --images and --maps are not for a {source.layout}; leave them out")
    chosen = source.chosen(choice)
    paths = [path for verdict in cast(Judged, chosen).verdicts() for path in verdict.family.paths]
    if unmatched := choice.unmatched(paths):
        shown = ", ".join(sorted({verdict.family.glob() for verdict in source.verdicts()})[:SHOWN_KINDS])
        raise UsageError(f"{where}: no image matches {unmatched[0]!r}; there are {shown}")
    return chosen


def require_no_doubt(source: Source, where: object) -> None:
    """Raises PicturesInDoubt where a person has to say which images are pictures."""
    verdicts = source.verdicts() if isinstance(source, Judged) else ()
    if any(verdict.kind == "doubt" for verdict in verdicts):
        lines = tuple(verdict.line() for verdict in verdicts if verdict.kind == "doubt")
        raise PicturesInDoubt(str(where), lines, tuple((each.images, each.maps) for each in answers(verdicts)))


def doubts(source: Source) -> list[str]:
    """What is in doubt about the images of a dataset, and what they were taken for; a line each."""
    verdicts = source.verdicts() if isinstance(source, Judged) else ()
    taken = {"picture": "taken for pictures (--maps says otherwise)", "map": "carried (--images says otherwise)"}
    return [f"{verdict.line()}: {taken[verdict.likely]}" for verdict in verdicts if verdict.kind == "doubt"]


def kinds(source: Source) -> dict[str, str]:
    """What the images of a dataset were taken for and why, by glob; the first ones, pictures before maps."""
    verdicts = source.verdicts() if isinstance(source, Judged) else ()
    order = sorted(verdicts, key=lambda verdict: ("picture", "doubt", "map").index(verdict.kind))
    lines = [verdict.line().partition(": ") for verdict in order]
    shown = {glob: text for glob, _, text in lines[:SHOWN_KINDS]}
    return shown | ({"...": f"{len(lines) - SHOWN_KINDS} more kinds"} if len(lines) > SHOWN_KINDS else {})


def survey(source: Source, limit: int = LOOKED_AT) -> Survey:
    """Count all samples and sidecars, and decode at most `limit` images spread over the dataset."""
    samples = loose = 0
    sidecars: Counter[str] = Counter()
    for entry in source.entries():
        if isinstance(entry, Sample):
            samples += 1
            sidecars.update(PurePosixPath(path).suffix.lower() or "(none)" for path in entry.sidecars)
        else:
            loose += 1
    images, unreadable = _survey_images(source, limit)
    return Survey(
        source.layout, samples, loose, images, dict(sorted(sidecars.items())), [*source.problems(), *unreadable]
    )


def split(key: str, fraction: float, seed: int = 0) -> bool:
    """True if a sample falls into the held-out part, which has about `fraction` of all keys.

    Depends on key, fraction and seed only, so it is the same whatever else the dataset holds; a larger fraction holds
    out everything that a smaller one does.
    """
    digest = hashlib.blake2b(f"{seed}:{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def spread(source: Source, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
    """All samples, or `limit` of them spread evenly over the dataset; the seed shifts which. Order is kept."""
    samples = (entry for entry in source.entries() if isinstance(entry, Sample))
    if limit is None:
        yield from samples
        return
    indices = _even_indices(count_samples(source), limit, seed)
    if isinstance(source, Skipping) and not source.endless:
        yield from source.samples_at(indices)
        return
    chosen = iter(indices)
    wanted = next(chosen, None)
    for index, sample in enumerate(samples):
        if wanted is None:
            return
        if index == wanted:
            yield sample
            wanted = next(chosen, None)


def iter_decoded(
    source: Source, limit: int | None = None, seed: int = 0
) -> Iterator[tuple[Sample, Decoded | SampleError]]:
    """Decode all samples, or `limit` of them as `spread` chooses; one that cannot be decoded comes as its error."""
    for sample in spread(source, limit, seed):
        try:
            yield sample, source.decode(source.read(sample), sample)
        except SampleError as error:
            yield sample, error


def _even_indices(total: int, limit: int, seed: int) -> list[int]:
    """`limit` increasing indices below `total`, one in each of `limit` equal stretches."""
    if limit >= total:
        return list(range(total))
    digest = hashlib.blake2b(str(seed).encode(), digest_size=4).digest()
    shift = int.from_bytes(digest, "big") / 2**32
    return [int((i + shift) * total / limit) for i in range(limit)]


def _survey_images(source: Source, limit: int) -> tuple[ImageSurvey, list[str]]:
    sizes: Counter[tuple[int, int]] = Counter()
    kinds: Counter[tuple[str, str, int, int]] = Counter()
    errors: list[str] = []
    for _, result in iter_decoded(source, limit):
        if isinstance(result, SampleError):
            errors.append(str(result))
        else:
            sizes[result.size_hw] += 1
            kinds[result.mode, result.format, result.pixels.shape[2], result.bits] += 1
    looked_at = sizes.total() + len(errors)
    found = ImageSurvey(
        looked_at=looked_at,
        unreadable=len(errors),
        size_common_hw=min(sizes, key=lambda size: (-sizes[size], size), default=(0, 0)),
        size_min_hw=(min((h for h, _ in sizes), default=0), min((w for _, w in sizes), default=0)),
        size_max_hw=(max((h for h, _ in sizes), default=0), max((w for _, w in sizes), default=0)),
        modes=_sums(kinds, 0),
        formats=_sums(kinds, 1),
        channels=tuple(sorted({kind[2] for kind in kinds})),
        bits=tuple(sorted({kind[3] for kind in kinds})),
    )
    more = len(errors) - UNREADABLE_NAMED
    rest = [f"{more} more of {looked_at} images looked at cannot be used"] if more > 0 else []
    return found, errors[:UNREADABLE_NAMED] + rest


def _sums(kinds: Counter[tuple[str, str, int, int]], place: int) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for kind, count in sorted(kinds.items()):
        sums[str(kind[place])] += count
    return dict(sums)


def _sniff(path: Path) -> Source:
    known = registry.names("format")
    for name in sorted(known, key=lambda name: (name == FALLBACK, name)):
        module = registry.find("format", name)
        if module.sniff(path):
            source: Source = module.open_source(path)
            return source
    raise DatasetError(_no_images(path) if path.is_dir() else _not_a_dataset(path))


def _require_path(path: Path) -> None:
    try:
        path.stat()
        if path.is_dir():
            with os.scandir(path):
                pass
    except FileNotFoundError as error:
        todo = "addresses are for refine; copy it to this machine first" if ":/" in str(path) else "check the path"
        raise DatasetError(f"{path}: no such file or folder; {todo}") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _not_a_dataset(path: Path) -> str:
    if path.suffix.lower() in SUFFIXES:
        return f"{path}: a single image; give the folder that holds it"
    return f"{path}: not a dataset; expected a folder of images, tar archives or an HDF5 file"


def _no_images(path: Path, source: Source | None = None) -> str:
    """One line that says what was found instead of samples."""
    if source and source.layout == "tar":
        why = "".join(f" ({line})" for line in source.problems()[:1])
        return f"{path}: no images in it{why}; expected tar archives of images ({', '.join(SUFFIXES)})"
    if path.is_file():
        return f"{path}: no images in it; expected a group of (H, W) or (H, W, 3) datasets, or one stacked dataset"
    below = (name for _, _, names in os.walk(path) for name in names)
    counts = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in islice(below, FILES_NAMED))
    if not counts:
        return f"{path}: the folder is empty; expected images ({', '.join(SUFFIXES)})"
    found = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common(4))
    if source and any(suffix in SUFFIXES for suffix in counts):
        return (
            f"{path}: no images to refine (found {found}); all of them look like masks, depth or label images; "
            "--images GLOB says otherwise"
        )
    return f"{path}: no images in it (found {found}); expected {', '.join(SUFFIXES)}, or HDF5 files"
