"""A refiner under training, used as refining would use it: sizes padded, and noise by the key of the sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refinery.runtime.batching import refine_images
from refinery.runtime.fit import Fit
from refinery.runtime.latent import latents_of
from refinery.runtime.runner import Runner
from refinery.sample import FloatArray

AT_ONCE = 64


def fit_of(refiner: nn.Module) -> Fit:
    """What sizes a refiner takes, and how far it sees."""
    return Fit(
        int(getattr(refiner, "size_multiple", 1)),
        int(getattr(refiner, "min_side_px", 1)),
        int(getattr(refiner, "receptive_field_px", 0)),
        int(getattr(refiner, "cell_px", 0)),
    )


def latent_of(refiner: nn.Module) -> int:
    """How many latent numbers a refiner takes beside each image; 0: it has no noise."""
    return int(getattr(refiner, "latent", 0))


def refine_arrays(
    refiner: nn.Module, images: Sequence[FloatArray], keys: Sequence[str], device: torch.device, seed: int = 0
) -> list[FloatArray]:
    """Refine images (H, W, C) float32 in [-1, 1] of any mix of shapes; a module that is training is so again after."""
    count = latent_of(refiner)
    latents = latents_of(keys, count, seed) if count else None
    was_training = refiner.training
    refiner.eval()
    try:
        with torch.inference_mode():
            return refine_images(_runner(refiner, device), images, latents=latents, fit=fit_of(refiner))
    finally:
        refiner.train(was_training)


def refine_batch(refiner: nn.Module, batch: Tensor, latents: Tensor | None) -> Tensor:
    """(N, C, H, W) of a size that the refiner takes, in parts, without gradients. latents: (N, Z), if it has noise."""
    was_training = refiner.training
    refiner.eval()
    try:
        with torch.inference_mode():
            parts = [torch.split(given, AT_ONCE) for given in ([batch] if latents is None else [batch, latents])]
            return torch.cat([refiner(*part).float() for part in zip(*parts, strict=True)])
    finally:
        refiner.train(was_training)


def toned_batch(refiner: nn.Module, batch: Tensor, latents: Tensor | None) -> Tensor | None:
    """What a refiner with a tone begins with: (N, C, H, W); None without one."""
    if getattr(refiner, "tone", None) is None or latents is None:
        return None
    with torch.inference_mode():
        toned: Tensor = cast("Any", refiner).toned(batch, latents).float()
        return toned


def _runner(refiner: nn.Module, device: torch.device) -> Runner:
    def run(images: NDArray[np.float32], latent: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        batch = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        noise = [] if latent is None else [torch.from_numpy(latent).to(device)]
        result: NDArray[np.float32] = refiner(batch, *noise).float().cpu().numpy()
        return result

    return run
