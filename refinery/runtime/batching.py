"""Group images of one shape into batches, and give the results back in the order they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from refinery.errors import ModelError
from refinery.runtime.session import Runner
from refinery.sample import FloatArray

PIXELS_AT_ONCE = 16 * 36 * 60
"""On a CPU small batches are best: 8 to 32 images at 60x36, 1 at 256x256 (measured)."""


def batch_size(size_hw: tuple[int, int], asked: int) -> int:
    """Images per inference for one image size; `asked` of 0 leaves the choice to the size."""
    return asked or max(1, PIXELS_AT_ONCE // (size_hw[0] * size_hw[1]))


def by_shape(shapes: Sequence[tuple[int, ...]], asked: int = 0) -> Iterator[list[int]]:
    """Indices of images of equal (H, W, C) shape, at most a batch at once; every index appears exactly once."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(index)
    for shape, members in groups.items():
        size = batch_size((shape[0], shape[1]), asked)
        yield from (members[start : start + size] for start in range(0, len(members), size))


def refine_images(
    run: Runner, images: Sequence[FloatArray], asked: int = 0, pool: ThreadPoolExecutor | None = None
) -> list[FloatArray]:
    """Refine images (H, W, C) float32 in [-1, 1] of any mix of shapes, in order.

    pool: runs batches side by side, one in each of its threads.
    The last batch of a shape is filled up with copies, so that every image goes through a batch of the same size and
    its result does not depend on how many others came with it.
    """
    batches = list(by_shape([image.shape for image in images], asked))

    def refine(chosen: list[int]) -> NDArray[np.float32]:
        size = batch_size(images[chosen[0]].shape[:2], asked)
        return _refine_batch(run, np.stack([images[i] for i in chosen + chosen[-1:] * (size - len(chosen))]))

    refined: list[FloatArray | None] = [None] * len(images)
    for chosen, results in zip(batches, (pool.map if pool else map)(refine, batches), strict=True):
        for index, result in zip(chosen, results, strict=False):
            refined[index] = result
    return [result for result in refined if result is not None]


def _refine_batch(run: Runner, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, H, W, C) through a network that takes (B, C, H, W)."""
    planes = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    refined = run(planes)
    if refined.shape != planes.shape:
        raise ModelError(
            f"the model turns a batch of shape {planes.shape} into {refined.shape}; a refiner keeps the shape"
        )
    return refined.transpose(0, 2, 3, 1)
