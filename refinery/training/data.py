"""Images for training, and the batches of random crops that are drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from refinery.errors import DatasetError
from refinery.image import to_float
from refinery.sample import Sample
from refinery.training.cache import MappedImages
from refinery.training.cache import Pixels as Pixels
from refinery.training.prefetch import Ahead
from refinery.training.sampling import Chance, Groups, uniform

Kind = tuple[int, int]
"""Channels and bits of an image."""


@dataclass(frozen=True)
class ImageSet:
    """Decoded images of one kind of pixel.

    images: (H, W, C) uint8 or uint16 each, sizes may differ. skipped: one line for each that could not be used. notes:
    lines about the whole. changed: how many were scaled on their way here.
    """

    images: Sequence[Pixels] = field(repr=False)
    samples: Sequence[Sample] = field(repr=False)
    channels: int
    bits: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: int = 0

    @cached_property
    def sizes_hw(self) -> NDArray[np.int64]:
        """(N, 2) px."""
        if isinstance(self.images, MappedImages):
            return self.images.places[:, 1:3]
        return np.array([image.shape[:2] for image in self.images], np.int64).reshape(-1, 2)

    @property
    def size_hw(self) -> tuple[int, int]:
        """The median height and width in px."""
        height, width = np.median(self.sizes_hw, axis=0)
        return int(height), int(width)

    @property
    def smallest_hw(self) -> tuple[int, int]:
        """The smallest height and the smallest width in px."""
        height, width = self.sizes_hw.min(axis=0)
        return int(height), int(width)

    def select(self, indices: Sequence[int]) -> ImageSet:
        """A subset, in the given order; pixels are not copied."""
        mapped = isinstance(self.images, MappedImages)
        images = self.images.select(indices) if mapped else [self.images[i] for i in indices]  # type: ignore[attr-defined]
        return replace(self, images=images, samples=[self.samples[i] for i in indices])


class Batches:
    """Random crops of random images: batch number n depends on `chance`, n and the images alone.

    So a run goes on from the number of its next batch, and batches are made ahead of their use without a change.
    groups: drawn equally often, and the images in each alike; None: all images are. Images smaller than the crop are
    not drawn; `too_small` counts them. ahead: how many batches a thread makes before they are asked for; `close` ends
    it. Raises DatasetError where no image is large enough.
    """

    def __init__(
        self,
        images: ImageSet,
        crop_hw: tuple[int, int],
        batch_size: int,
        chance: Chance,
        device: torch.device,
        groups: Groups | None = None,
        ahead: int = 0,
    ) -> None:
        large: NDArray[np.bool_] = np.all(images.sizes_hw >= np.array(crop_hw), axis=1)
        if not large.any():
            raise DatasetError(f"no image is as large as the crops of {crop_hw[1]}x{crop_hw[0]} px; set a smaller crop")
        self.images = images.images
        self.groups = (groups or uniform(len(large))).only(large)
        self.too_small = int((~large).sum())
        self.crop_hw, self.batch_size, self.chance, self.device, self.ahead = crop_hw, batch_size, chance, device, ahead
        self.number = 0
        self._maker: Ahead[Tensor] | None = None

    def draw(self) -> Tensor:
        """(B, C, h, w) float32 in [-1, 1], channels last, on the device."""
        if self.ahead and self._maker is None:
            self._maker = Ahead(self._make, self.number, self.ahead)
        batch = self._maker.take() if self._maker else self._make(self.number)
        self.number += 1
        return _placed(batch, self.device)

    def draw_like(self, wanted: Tensor, candidates: int) -> Tensor:
        """Like `draw`, but for each image of `wanted` (B, C, h, w) the nearest in layout of `candidates` drawn crops.

        A discriminator that meets as many dark discs on the left among the real crops as among the refined ones cannot
        use where they lie, so the refiner has no reason to move them.
        """
        drawn = torch.stack([self.draw() for _ in range(candidates)])
        layouts = torch.stack([layout(images) for images in drawn])
        distances = (layouts - layout(wanted)).square().sum(2)
        return drawn[distances.argmin(0), torch.arange(self.batch_size, device=drawn.device)]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the number of the next batch."""
        return {"number": self.number}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        self.close()
        self.number = int(state["number"])

    def close(self) -> None:
        """End the thread that makes batches ahead; drawing again starts another."""
        if self._maker is not None:
            self._maker.close()
            self._maker = None

    def choose(self, numbers: NDArray[np.float64]) -> Sequence[Pixels]:
        """B images by (B, 2) random numbers in [0, 1)."""
        return [self.images[i] for i in self.groups.pick(numbers).tolist()]

    def _make(self, number: int) -> Tensor:
        numbers = self.chance.numbers(number, self.batch_size)
        chosen = self.choose(numbers[:, :2])
        crops = [crop(image, place, self.crop_hw) for image, place in zip(chosen, numbers[:, 2:].tolist(), strict=True)]
        return _on_host(np.stack(crops), self.device)


def crop(image: Pixels, place: Sequence[float], crop_hw: tuple[int, int]) -> Pixels:
    """The piece (h, w, C) of an image at `place`, two numbers in [0, 1): 0 is the top or left."""
    height, width = crop_hw
    top = int(place[0] * (image.shape[0] - height + 1))
    left = int(place[1] * (image.shape[1] - width + 1))
    return image[top : top + height, left : left + width]


def layout(images: Tensor) -> Tensor:
    """Where images (B, C, h, w) are bright and dark, coarsely: (B, 48), without mean and contrast."""
    coarse = functional.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), (6, 8)).flatten(1)
    centred = coarse - coarse.mean(1, keepdim=True)
    return functional.normalize(centred, dim=1, eps=1e-6)


def as_tensor(images: Pixels, device: torch.device) -> Tensor:
    """(B, H, W, C) uint8 or uint16 to (B, C, H, W) float32 in [-1, 1] in channels-last memory."""
    return _placed(_on_host(images, device), device)


def kind_of(image: Pixels) -> Kind:
    """Channels and bits of (H, W, C) uint8 or uint16."""
    return image.shape[2], 8 * image.dtype.itemsize


def _on_host(images: Pixels, device: torch.device) -> Tensor:
    """Ready for the device: in [-1, 1] for a CPU; for a GPU, which scales them itself, as they are in pinned memory."""
    if device.type == "cpu":
        return torch.from_numpy(to_float(images)).permute(0, 3, 1, 2)
    plain = torch.from_numpy(np.ascontiguousarray(images))
    return (plain.pin_memory() if device.type == "cuda" else plain).permute(0, 3, 1, 2)


def _placed(batch: Tensor, device: torch.device) -> Tensor:
    """What `_on_host` gave, on the device and in [-1, 1]."""
    if device.type == "cpu":
        return batch
    half = torch.iinfo(batch.dtype).max / 2
    return batch.to(device, non_blocking=True).float().div_(half).sub_(1)
