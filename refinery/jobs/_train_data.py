"""What a training run learns from: both sides decoded, compared and fitted to each other, some samples held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery.config import TrainConfig
from refinery.dataset import open_dataset
from refinery.errors import DatasetError, UsageError
from refinery.formats._source import Source
from refinery.jobs._held import Held

HELD_OUT_PIXELS = 8_000_000
"""Refining this many pixels in fp32 takes seconds on two cores; larger images are held out in smaller number."""
MIN_HELD_OUT, MIN_REAL = 4, 8
"""What realism needs to compare two sets: two halves of the real images are compared too."""
NAMED = 5


@dataclass(frozen=True)
class TrainingData:
    """Both sides of the training, decoded.

    targets: the real partners of `held_out`, where images are paired; then image i of `real` is that of `synthetic`.
    """

    source: Source
    real_source: Source
    synthetic: Any
    held_out: Any
    real: Any
    targets: Any
    crop_hw: tuple[int, int]
    channels: int
    real_channels: int
    bits: int
    real_fit: str
    problems: tuple[str, ...]

    def provenance(self) -> dict[str, Any]:
        """Where the refiner comes from, for checkpoint and manifest."""
        return {
            "synthetic": {"samples": len(self.synthetic.images), "fingerprint": _fingerprint(self.synthetic)},
            "real": {"samples": len(self.real.images), "fingerprint": _fingerprint(self.real)},
        }


def load_data(config: TrainConfig, paired: bool, held: Held) -> TrainingData:
    """Decode both sides, fit the real one to the synthetic one, or match partners where images are paired.

    Raises DatasetError or UsageError for what cannot be trained on.
    """
    from refinery.training.load_pairs import load_pairs
    from refinery.training.loading import crop_size, load

    for name, path in (("--real", config.real), ("--synthetic", config.synthetic)):
        if not path:
            raise UsageError(f"{name} is missing: give the folder of {name[2:]} images")
    real_source = open_dataset(Path(config.real))
    source = held.open_synthetic(2 * MIN_HELD_OUT, paired)
    if paired:
        pairs = load_pairs(source, real_source, config.memory_mb, held.cache)
        synthetic, real, fit, lines = pairs.synthetic, pairs.real, "partners by path", list(pairs.notes)
    else:
        synthetic = load(source, config.memory_mb, "synthetic dataset", held.cache)
        real, fit, lines = _load_real(real_source, synthetic, config, held.cache)
    problems = [line for images in (synthetic, real) for line in (*_left_out(images.skipped), *images.notes)]
    for images, path, least in ((synthetic, config.synthetic, 2 * MIN_HELD_OUT), (real, config.real, MIN_REAL)):
        if len(images.images) < least:
            raise DatasetError(
                f"{path}: {len(images.images)} usable image(s); training needs {least}, and hundreds to do well"
            )
    if real.bits != synthetic.bits:
        lines.append(f"real images have {real.bits} bits, synthetic ones {synthetic.bits}: both are used as [-1, 1]")
    crop_hw = crop_size(synthetic, real, config.crop, 0.0) if paired else crop_size(synthetic, real, config.crop)
    lines += [*_too_small(synthetic, crop_hw, "synthetic"), *_too_small(real, crop_hw, "real")]
    aside = _held_out(synthetic, config.validation)
    kept = [i for i in range(len(synthetic.images)) if i not in aside]
    return TrainingData(
        source=source,
        real_source=real_source,
        synthetic=synthetic.select(kept),
        held_out=synthetic.select(sorted(aside)),
        real=real.select(kept) if paired else real,
        targets=real.select(sorted(aside)) if paired else None,
        crop_hw=crop_hw,
        channels=synthetic.channels,
        real_channels=real.channels,
        bits=synthetic.bits,
        real_fit=fit,
        problems=(*problems, *lines),
    )


def _load_real(source: Source, synthetic: Any, config: TrainConfig, cache: Any) -> tuple[Any, str, list[str]]:
    """The real images in the channels and about the size of the synthetic ones; how that was done, and what to say."""
    from refinery.training.loading import Cover, kind_of_dataset, load, nearly_smallest

    channels = (kind_of_dataset(source) or (synthetic.channels, 0))[0]
    if channels < synthetic.channels:
        raise DatasetError(
            f"the real images in {config.real} are gray, the synthetic ones in {config.synthetic} are colour: a "
            "refiner cannot learn colours from gray; convert the synthetic images to gray, or give colour photos"
        )
    lines = []
    if channels > synthetic.channels:
        lines.append("real images are colour, synthetic ones gray: the real images are used as gray")
    smallest, resize = min(nearly_smallest(synthetic)), config.real_fit == "resize"
    size_hw = synthetic.size_hw if resize else (smallest, smallest)
    cover = Cover(size_hw, synthetic.channels, shrink=resize)
    real = load(source, config.memory_mb, "real dataset", cache, cover)
    return real, f"scaled to cover {size_hw[1]}x{size_hw[0]} px" if resize and real.changed else "cropped", lines


def _left_out(skipped: tuple[str, ...]) -> list[str]:
    """What to say about images that cannot be used: the first few, and how many more."""
    lines = [f"left out: {line}" for line in skipped[:NAMED]]
    return lines + ([f"left out: {len(skipped) - NAMED:,} more images"] if len(skipped) > NAMED else [])


def _too_small(images: Any, crop_hw: tuple[int, int], side: str) -> list[str]:
    """What to say about images that no crop fits into."""
    small = sum(height < crop_hw[0] or width < crop_hw[1] for height, width in images.sizes_hw.tolist())
    size, total = f"{crop_hw[1]}x{crop_hw[0]}", len(images.images)
    return [f"{small:,} of {total:,} {side} images are smaller than the crops of {size} px: not trained on"] * bool(
        small
    )


def _held_out(synthetic: Any, most: int) -> set[int]:
    """Evenly spread images that are held out of training: at most a fifth, but enough to compare with real ones."""
    total = len(synthetic.images)
    affordable = HELD_OUT_PIXELS // (synthetic.size_hw[0] * synthetic.size_hw[1])
    count = max(MIN_HELD_OUT, min(most, total // 5, affordable))
    return {i * total // count for i in range(count)}


def _fingerprint(images: Any) -> str:
    """SHA-256 over keys and pixels, in order."""
    digest = hashlib.sha256()
    for sample, image in zip(images.samples, images.images, strict=True):
        digest.update(sample.key.encode("utf-8", "surrogateescape"))
        digest.update(image.tobytes())
    return digest.hexdigest()
