"""Group images of one shape into batches, and give the results back in the order they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from refinery.errors import ModelError, RefineryError
from refinery.runtime.fit import Fit
from refinery.runtime.room import Room, out_of_memory
from refinery.runtime.runner import Runner
from refinery.runtime.tiling import Tiles, refine_tiled
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
    run: Runner,
    images: Sequence[FloatArray],
    asked: int = 0,
    pool: ThreadPoolExecutor | None = None,
    latents: Sequence[FloatArray] | None = None,
    fit: Fit | None = None,
    room: Room | None = None,
) -> list[FloatArray]:
    """Refine images (H, W, C) float32 in [-1, 1] of any mix of shapes, in order.

    pool: runs batches side by side, one in each of its threads. latents: (Z,) for each image, if the refiner has noise.
    fit: images of sizes it does not take are padded by reflection, and what comes out is cut back; large ones are
    refined in tiles. room: how much goes in at once; where it fails, batches are halved and images cut smaller.
    The last batch of a shape is filled up with copies, so that every image goes through a batch of the same size and
    its result does not depend on how many others came with it.
    """
    batches = list(by_shape([image.shape for image in images], asked))
    takes, own = fit or Fit(), room or Room()

    def refine(chosen: list[int]) -> Sequence[FloatArray]:
        shape = images[chosen[0]].shape
        while True:
            tiles = own.tiles(shape, takes)
            try:
                if tiles is not None:
                    return [in_tiles(i, tiles) for i in chosen]
                filled = chosen + chosen[-1:] * (batch_size(shape[:2], asked) - len(chosen))
                noise = None if latents is None else np.stack([latents[i] for i in filled])
                return list(_refine_batch(run, np.stack([images[i] for i in filled]), noise, takes, own))
            except RefineryError:
                raise
            except Exception as error:  # each provider raises its own classes
                if not (out_of_memory(error) and own.shrink(shape, takes, tiles)):
                    raise

    def in_tiles(index: int, tiles: Tiles) -> FloatArray:
        noise = None if latents is None else latents[index][None]
        return refine_tiled(lambda tile: _refine_batch(run, tile[None], noise, takes, own)[0], images[index], tiles)

    refined: list[FloatArray | None] = [None] * len(images)
    for chosen, results in zip(batches, (pool.map if pool else map)(refine, batches), strict=True):
        for index, result in zip(chosen, results, strict=False):
            refined[index] = result
    return [result for result in refined if result is not None]


def _refine_batch(
    run: Runner, batch: NDArray[np.float32], latent: NDArray[np.float32] | None, fit: Fit, room: Room
) -> NDArray[np.float32]:
    """(B, H, W, C) through a network that takes (B, C, H, W)."""
    height, width = batch.shape[1:3]
    high, wide = fit.padded((height, width))
    if (high, wide) != (height, width):
        batch = np.pad(batch, ((0, 0), (0, high - height), (0, wide - width), (0, 0)), mode="reflect")
    planes = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    refined = room.run(run, planes, latent)
    if (refined.shape[0], *refined.shape[2:]) != (planes.shape[0], *planes.shape[2:]):
        raise ModelError(
            f"the model turns a batch of shape {planes.shape} into {refined.shape}; a refiner keeps height and width"
        )
    return refined.transpose(0, 2, 3, 1)[:, :height, :width]
