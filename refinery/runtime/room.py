"""How much goes into the model at once: where it fails there is half of it, and that is remembered for the shape.

Each image still goes through batches of one size, so what an image becomes depends on that size alone. On the CPU
provider and on OpenVINO with one thread a stream, batches of every size gave the same bits (measured with every
network); OpenVINO with more threads, and CUDA, may differ in last bits: then a run that was short of memory does too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from refinery.errors import RefineryError
from refinery.runtime.fit import Fit
from refinery.runtime.runner import Runner
from refinery.runtime.tiling import Tiles, plan

_MEMORY_WORDS = ("memory", "alloc")


class Room:
    """What has been found out in one run; used from several threads.

    say: told of every reduction, in a sentence for the user.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._batch: dict[tuple[int, ...], int] = {}
        self._tile_px: dict[tuple[int, ...], int] = {}
        self._lock = threading.Lock()

    def run(self, run: Runner, images: NDArray[np.float32], latent: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """One batch (B, C, H, W) through a runner, in parts of B/2, B/4, ... where it fails.

        Raises what the runner raised for one image alone, and a RefineryError at once.
        """
        shape = images.shape[1:]
        size, failed, reason = min(len(images), self._batch.get(shape, len(images))), 0, ""
        while True:
            try:
                refined = _in_parts(run, images, latent, size)
            except RefineryError:
                raise
            except Exception as error:  # each provider raises its own classes
                if size == 1:
                    raise
                failed = failed or size
                reason = "ran out of memory" if out_of_memory(error) else f"failed ({_one_line(error)})"
                size //= 2
                continue
            if failed:
                self._remember(shape, size, f"the model {reason} at batches of {failed}; going on with {size}")
            return refined

    def tiles(self, shape: tuple[int, ...], fit: Fit) -> Tiles | None:
        """How images (H, W, C) of a shape are cut; None: not at all."""
        return plan((shape[0], shape[1]), fit, self._tile_px.get(shape, 0))

    def shrink(self, shape: tuple[int, ...], fit: Fit, tried: Tiles | None) -> bool:
        """Cut images of a shape (smaller), since what was tried ran out of memory; False where that cannot be done."""
        height, width = shape[:2]
        with self._lock:
            if self.tiles(shape, fit) != tried:
                return True  # another thread was first
            before = height * width if tried is None else tried.tile_hw[0] * tried.tile_hw[1]
            smaller = plan((height, width), fit, before // 4)
            if smaller is None:
                return False
            self._tile_px[shape] = before // 4
        high, wide = smaller.tile_hw
        where = f"an image of {width}x{height} px" if tried is None else "tiles of {1}x{0} px".format(*tried.tile_hw)
        self._say(f"the model ran out of memory at {where}; going on with tiles of {wide}x{high}")
        return True

    def _remember(self, shape: tuple[int, ...], size: int, sentence: str) -> None:
        with self._lock:
            if size >= self._batch.get(shape, size + 1):
                return
            self._batch[shape] = size
        self._say(sentence)


def out_of_memory(error: Exception) -> bool:
    """True if a provider's error speaks of memory: they have no class for it."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS)


def _in_parts(
    run: Runner, images: NDArray[np.float32], latent: NDArray[np.float32] | None, size: int
) -> NDArray[np.float32]:
    """Parts of `size` images, the last one filled up with copies of its last image."""
    if size == len(images):
        return run(images) if latent is None else run(images, latent)
    refined = []
    for start in range(0, len(images), size):
        chosen = np.minimum(np.arange(start, start + size), len(images) - 1)
        part = run(images[chosen]) if latent is None else run(images[chosen], latent[chosen])
        refined.append(part[: len(images) - start])
    return np.concatenate(refined)


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
