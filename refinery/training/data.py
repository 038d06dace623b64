"""Images for training: decoded once, cropped at random, never resized where a label could care."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from refinery.dataset import iter_decoded
from refinery.errors import DatasetError, SampleError
from refinery.formats._source import Source
from refinery.image import as_channels, to_float
from refinery.sample import Sample

Pixels = NDArray[Any]


@dataclass(frozen=True)
class ImageSet:
    """Decoded images of one kind of pixel.

    images: (H, W, C) uint8 or uint16 each, sizes may differ. skipped: one line for each that could not be used.
    """

    images: Sequence[Pixels] = field(repr=False)
    samples: Sequence[Sample] = field(repr=False)
    channels: int
    bits: int
    skipped: tuple[str, ...] = ()

    @property
    def size_hw(self) -> tuple[int, int]:
        """The median height and width in px."""
        sizes = np.array([image.shape[:2] for image in self.images])
        height, width = np.median(sizes, axis=0)
        return int(height), int(width)

    @property
    def smallest_hw(self) -> tuple[int, int]:
        """The smallest height and the smallest width in px."""
        sizes = np.array([image.shape[:2] for image in self.images])
        height, width = sizes.min(axis=0)
        return int(height), int(width)

    def select(self, indices: Sequence[int]) -> ImageSet:
        """A subset, in the given order."""
        return ImageSet([self.images[i] for i in indices], [self.samples[i] for i in indices], self.channels, self.bits)


def load(source: Source, memory_mb: int, name: str) -> ImageSet:
    """Decode a dataset into memory, an evenly spread part of it if it is larger than `memory_mb`.

    The most frequent number of channels and of bits wins; other images are skipped and named.
    Raises DatasetError if nothing is left. name: what errors call the dataset.
    """
    images: list[Pixels] = []
    samples: list[Sample] = []
    skipped: list[str] = []
    for sample, decoded in iter_decoded(source, _affordable(source, memory_mb)):
        if isinstance(decoded, SampleError):
            skipped.append(str(decoded))
        else:
            images.append(decoded.pixels)
            samples.append(sample)
    if not images:
        reason = skipped[0] if skipped else "it has no images"
        raise DatasetError(f"{name} {source.root}: no usable image; {reason}")
    return _of_one_kind(images, samples, skipped)


def resize_to_cover(images: ImageSet, size_hw: tuple[int, int], channels: int, shrink: bool = True) -> ImageSet:
    """Scale each image, keeping its proportions, to the smallest size that covers `size_hw`; match the channels.

    shrink: whether larger images are made smaller too. Only for real images: they carry no labels that a change of
    size could falsify.
    """
    fitted = [_cover(as_channels(image, channels), size_hw, shrink) for image in images.images]
    return ImageSet(fitted, images.samples, channels, images.bits, images.skipped)


class Batches:
    """Random crops of random images, uniformly with replacement; all chance comes from `generator`."""

    def __init__(
        self,
        images: ImageSet,
        crop_hw: tuple[int, int],
        batch_size: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.crop_hw = crop_hw
        self.batch_size = batch_size
        self.generator = generator
        self.device = device
        self.images: Sequence[Pixels] = images.images
        if len({image.shape for image in images.images}) == 1:
            self.images = np.stack(list(images.images))  # type: ignore[assignment]

    def draw(self) -> Tensor:
        """(B, C, h, w) float32 in [-1, 1], channels last, on the device."""
        chosen = torch.randint(len(self.images), (self.batch_size,), generator=self.generator).tolist()
        places = torch.rand(self.batch_size, 2, generator=self.generator).tolist()
        batch = np.stack([self._crop(self.images[i], place) for i, place in zip(chosen, places, strict=True)])
        return as_tensor(batch, self.device)

    def draw_like(self, wanted: Tensor, candidates: int) -> Tensor:
        """Like `draw`, but for each image of `wanted` (B, C, h, w) the nearest in layout of `candidates` drawn crops.

        A discriminator that meets as many dark discs on the left among the real crops as among the refined ones cannot
        use where they lie, so the refiner has no reason to move them.
        """
        drawn = torch.stack([self.draw() for _ in range(candidates)])
        layouts = torch.stack([layout(images) for images in drawn])
        distances = (layouts - layout(wanted)).square().sum(2)
        return drawn[distances.argmin(0), torch.arange(self.batch_size, device=drawn.device)]

    def _crop(self, image: Pixels, place: Sequence[float]) -> Pixels:
        (height, width), (crop_height, crop_width) = image.shape[:2], self.crop_hw
        top = int(place[0] * (height - crop_height + 1))
        left = int(place[1] * (width - crop_width + 1))
        return image[top : top + crop_height, left : left + crop_width]


def layout(images: Tensor) -> Tensor:
    """Where images (B, C, h, w) are bright and dark, coarsely: (B, 48), without mean and contrast."""
    coarse = functional.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), (6, 8)).flatten(1)
    centred = coarse - coarse.mean(1, keepdim=True)
    return functional.normalize(centred, dim=1, eps=1e-6)


def as_tensor(images: Pixels, device: torch.device) -> Tensor:
    """(B, H, W, C) uint8 or uint16 to (B, C, H, W) float32 in [-1, 1] in channels-last memory."""
    return torch.from_numpy(to_float(images)).permute(0, 3, 1, 2).to(device, non_blocking=True)


def crop_size(synthetic: ImageSet, real: ImageSet, largest: int) -> tuple[int, int]:
    """Height and width of the training crops: what every image of both sets can give, at most `largest` a side."""
    height = min(synthetic.smallest_hw[0], real.smallest_hw[0], largest)
    width = min(synthetic.smallest_hw[1], real.smallest_hw[1], largest)
    return height, width


def _affordable(source: Source, memory_mb: int) -> int | None:
    """How many images fit into the memory, judged by the first few; None: no limit is near."""
    sizes = [d.pixels.nbytes for _, d in iter_decoded(source, 16) if not isinstance(d, SampleError)]
    return max(16, memory_mb * 2**20 // max(sizes)) if sizes else None


def _of_one_kind(images: list[Pixels], samples: list[Sample], skipped: list[str]) -> ImageSet:
    kinds = Counter((image.shape[2], image.dtype.itemsize * 8) for image in images)
    (channels, bits), _ = kinds.most_common(1)[0]
    keep = [i for i, image in enumerate(images) if (image.shape[2], image.dtype.itemsize * 8) == (channels, bits)]
    odd = set(range(len(images))) - set(keep)
    skipped += [f"{samples[i].image}: not {channels} channel(s) of {bits} bits like most images" for i in sorted(odd)]
    return ImageSet([images[i] for i in keep], [samples[i] for i in keep], channels, bits, tuple(skipped))


def _cover(image: Pixels, size_hw: tuple[int, int], shrink: bool) -> Pixels:
    height, width = image.shape[:2]
    scale = max(size_hw[0] / height, size_hw[1] / width)
    if scale <= 1 and not shrink:
        return image
    target = (max(size_hw[1], round(width * scale)), max(size_hw[0], round(height * scale)))
    if target == (width, height):
        return image
    planes = [_resize_plane(image[:, :, c], target) for c in range(image.shape[2])]
    return np.stack(planes, axis=2).astype(image.dtype)


def _resize_plane(plane: Pixels, size_wh: tuple[int, int]) -> Pixels:
    resized = Image.fromarray(plane.astype(np.float32)).resize(size_wh, Image.Resampling.LANCZOS)
    whole: Pixels = np.clip(np.rint(np.asarray(resized)), 0, np.iinfo(plane.dtype).max)
    return whole
