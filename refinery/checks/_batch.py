"""What all checks of a batch share: the pairs, and their orientation fields, computed once when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._orientation import ComplexArray, orientation_field
from refinery.sample import FloatArray, Pair

CLIPPED = 0.985
"""An 8-bit value within two of black or white is taken for clipped."""


class CheckBatch:
    """Pairs of one image shape.

    like: a batch of the same synthetic images and labels, whose source side serves this one as well.
    synthetic_field, refined_field: (N, H, W) complex64, see `orientation_field`.
    sources: what `measured_labels` knows of the labels before it looks at a refined image.
    measured: what it found, by its search radius. moved: what the check `motion` found, likewise.
    """

    def __init__(self, pairs: Sequence[Pair], like: CheckBatch | None = None) -> None:
        self.pairs = tuple(pairs)
        self._like = None if like is None else like.origin
        self.sources: Any = None
        self.measured: dict[int, Any] = {}
        self.moved: dict[int, Any] = {}
        self._source_features: dict[int, FloatArray] = {}

    @property
    def origin(self) -> CheckBatch:
        """The batch whose source side serves this one: itself, unless it is like another.

        No attribute: a batch that refers to itself would keep its arrays until the garbage collector comes by.
        """
        return self if self._like is None else self._like

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of every image of the batch, in px."""
        height, width = self.pairs[0].synthetic.shape[:2]
        return height, width

    @cached_property
    def synthetic_images(self) -> FloatArray:
        """The synthetic images: (N, H, W, C)."""
        return self.origin.synthetic_images if self.origin is not self else np.stack([p.synthetic for p in self.pairs])

    @cached_property
    def refined_images(self) -> FloatArray:
        """The refined images: (N, H, W, C)."""
        return np.stack([pair.refined for pair in self.pairs])

    @cached_property
    def synthetic_field(self) -> ComplexArray:
        """Fields of the synthetic images."""
        if self.origin is not self:
            return self.origin.synthetic_field
        return orientation_field(self.synthetic_images)

    @cached_property
    def blurred_field(self) -> ComplexArray:
        """Fields of the synthetic images blurred by 1 px."""
        if self.origin is not self:
            return self.origin.blurred_field
        images = self.synthetic_images
        for _ in range(2):
            images = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
            images = images[:, :-2] + 2 * images[:, 1:-1] + images[:, 2:]
            images = (images[:, :, :-2] + 2 * images[:, :, 1:-1] + images[:, :, 2:]) / np.float32(16)
        return orientation_field(images)

    @cached_property
    def refined_field(self) -> ComplexArray:
        """Fields of the refined images."""
        return orientation_field(self.refined_images)

    def source_features(self, scale: int, features_of: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """What the matcher sees in the synthetic images, made smaller by a scale."""
        if self.origin is not self:
            return self.origin.source_features(scale, features_of)
        if scale not in self._source_features:
            self._source_features[scale] = features_of(shrunk(self.synthetic_images, scale))
        return self._source_features[scale]

    @cached_property
    def synthetic_smoothed(self) -> FloatArray:
        """Means over 3 x 3 px of the synthetic images: (N, H, W, C)."""
        if self.origin is not self:
            return self.origin.synthetic_smoothed
        return _smoothed(self.synthetic_images)

    @cached_property
    def refined_smoothed(self) -> FloatArray:
        """The same of the refined images."""
        return _smoothed(self.refined_images)

    @cached_property
    def newly_clipped(self) -> NDArray[np.bool_]:
        """Pixels that are black or white in all channels of the refined image and not in its source: (N, H, W)."""
        found = self._clipped(self.refined_images)
        return found & ~self._clipped(self.synthetic_images) if found.any() else found

    @staticmethod
    def _clipped(images: FloatArray) -> NDArray[np.bool_]:
        values = np.abs(images)
        clipped = values[..., 0] >= CLIPPED
        for channel in range(1, values.shape[3]):
            clipped &= values[..., channel] >= CLIPPED
        return np.asarray(clipped)


def shrunk(images: FloatArray, scale: int) -> FloatArray:
    """Means of scale x scale px; rows and columns left over are repeated."""
    if scale == 1:
        return images
    n, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (0, -height % scale), (0, -width % scale), (0, 0)), mode="edge")
    cells = padded.reshape(n, padded.shape[1] // scale, scale, padded.shape[2] // scale, scale, channels)
    return np.asarray(cells.mean(axis=(2, 4)), np.float32)


def _smoothed(images: FloatArray) -> FloatArray:
    """Means over 3 x 3 px: (N, H, W, C)."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down = padded[:, :-2] + padded[:, 1:-1]
    down += padded[:, 2:]
    means = down[:, :, :-2] + down[:, :, 1:-1]
    means += down[:, :, 2:]
    means /= np.float32(9)
    return np.asarray(means)
