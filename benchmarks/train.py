"""Training images/s: refinery's own steps against plain fp32 NCHW loops of the papers' networks.

    python benchmarks/train.py [--cases NAME ...] [--steps 12] [--repeats 5]

Each measurement is a process of its own, since the allocator's settings hold for a whole process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from _common import interleaved, write

if TYPE_CHECKING:
    import torch

    from refinery.training.data import ImageSet

CLAIM = "a step is 15 times (SimGAN) and 1.7 times (pix2pix) as fast as a plain fp32 NCHW loop of the paper's network"
IMAGES, TOTAL_STEPS, BETAS = 256, 1000, (0.5, 0.999)


@dataclass(frozen=True)
class Size:
    """Of a batch: how many images, of what shape."""

    batch: int
    channels: int
    height: int
    width: int

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of an image in px."""
        return self.height, self.width

    def random_batch(self) -> torch.Tensor:
        """(B, C, H, W) float32 in [-1, 1]."""
        import torch

        return torch.rand(self.batch, self.channels, self.height, self.width) * 2 - 1

    def random_images(self, seed: int) -> ImageSet:
        """Decoded images as a run holds them."""
        import numpy as np

        from refinery.sample import Sample
        from refinery.training.data import ImageSet

        random, shape = np.random.default_rng(seed), (*self.hw, self.channels)
        pixels = [random.integers(0, 256, shape, np.uint8) for _ in range(IMAGES)]
        return ImageSet(pixels, [Sample(str(i), str(i)) for i in range(IMAGES)], self.channels, 8)


def plain_simgan(size: Size, steps: int) -> float:
    """What a straightforward implementation does: fp32, NCHW, refine again for the discriminator's step."""
    import torch
    from torch.nn import functional

    from refinery.networks.patch_discriminator import PatchDiscriminator
    from refinery.networks.resnet_refiner import ResnetRefiner

    refiner, discriminator = ResnetRefiner(size.channels), PatchDiscriminator(size.channels)
    optimizers = [torch.optim.Adam(n.parameters(), 2e-4, BETAS) for n in (refiner, discriminator)]
    synthetic, real = size.random_batch(), size.random_batch()

    def loss(images: torch.Tensor, target: int) -> torch.Tensor:
        logits = discriminator(images)
        return functional.cross_entropy(logits, torch.full(logits[:, 0].shape, target))

    def step() -> None:
        refined = refiner(synthetic)
        descend(optimizers[0], loss(refined, 0) + 2 * (refined - synthetic).abs().mean())
        with torch.no_grad():
            refined = refiner(synthetic)
        descend(optimizers[1], loss(refined, 1) + loss(real, 0))

    return rate(step, size, steps)


def our_simgan(size: Size, steps: int) -> float:
    """refinery's own step, batches and history included."""
    from refinery.training.data import Batches
    from refinery.training.device import place
    from refinery.training.methods import simgan
    from refinery.training.sampling import Chance

    placement = place("cpu", "auto")
    batches = Batches(size.random_images(0), size.hw, size.batch, Chance(0, "synthetic"), placement.device)
    method = _method(simgan, size, simgan.Settings(discriminator_pretrain=0, latent=0, shift=0.0), placement)
    count = iter(range(TOTAL_STEPS))
    return rate(lambda: method.step(next(count), batches.draw, batches.draw), size, steps)


def plain_pix2pix(size: Size, steps: int) -> float:
    """What usual implementations do: fp32, NCHW, one refiner pass, then the discriminator's step and the refiner's."""
    import torch
    from torch.nn import functional

    from refinery.networks.patchgan import PatchGAN
    from refinery.networks.unet import UNet, levels_for

    channels = size.channels
    refiner, discriminator = UNet(channels, levels=levels_for(min(size.hw))), PatchGAN(2 * channels, patch_px=70)
    optimizers = [torch.optim.Adam(n.parameters(), 2e-4, BETAS) for n in (refiner, discriminator)]
    synthetic, real = size.random_batch(), size.random_batch()

    def loss(images: torch.Tensor, target: float) -> torch.Tensor:
        logits = discriminator(torch.cat([synthetic, images], 1))
        return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def step() -> None:
        refined = refiner(synthetic)
        discriminator.requires_grad_(True)
        descend(optimizers[1], 0.5 * (loss(refined.detach(), 0) + loss(real, 1)))
        discriminator.requires_grad_(False)
        descend(optimizers[0], loss(refined, 1) + 100 * functional.l1_loss(refined, real))

    return rate(step, size, steps)


def our_pix2pix(size: Size, steps: int) -> float:
    """refinery's own step, batches of pairs included."""
    from refinery.training.device import place
    from refinery.training.methods import pix2pix
    from refinery.training.pairs import PairedBatches
    from refinery.training.sampling import Chance

    placement = place("cpu", "auto")
    images = size.random_images(0), size.random_images(1)
    batches = PairedBatches(*images, size.hw, size.batch, Chance(0, "synthetic"), placement.device)
    method = _method(pix2pix, size, pix2pix.Settings(patch_px=70), placement)
    count = iter(range(TOTAL_STEPS))
    return rate(lambda: method.step(next(count), batches.draw_synthetic, batches.draw_real), size, steps)


Contender = Callable[[Size, int], float]
SIMGAN: dict[str, Contender] = {"plain": plain_simgan, "ours": our_simgan}
PIX2PIX: dict[str, Contender] = {"plain": plain_pix2pix, "ours": our_pix2pix}
CASES: dict[str, tuple[Size, dict[str, Contender]]] = {
    "60x36 gray": (Size(64, 1, 36, 60), SIMGAN),
    "48x48 RGB": (Size(64, 3, 48, 48), SIMGAN),
    "pix2pix 256x256 RGB, batch 1": (Size(1, 3, 256, 256), PIX2PIX),
    "pix2pix 64x64 RGB, batch 8": (Size(8, 3, 64, 64), PIX2PIX),
}


def _method(module: Any, size: Size, settings: Any, placement: Any) -> Any:
    """A training run of a method about to begin."""
    import torch

    settings, generator = module.scale(settings, size.hw), torch.Generator().manual_seed(0)
    return module.create(size.channels, size.channels, settings, TOTAL_STEPS, placement, generator)


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One update."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def rate(step: Callable[[], object], size: Size, steps: int) -> float:
    """Images/s over the steps after two to warm up."""
    for _ in range(2):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return size.batch * steps / (time.perf_counter() - start)


def _in_own_process(contender: str, case: str, steps: int) -> float:
    command = [sys.executable, __file__, "--one", contender, "--cases", case, "--steps", str(steps)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def measured(case: str, steps: int, repeats: int) -> dict[str, Any]:
    """Rates of both contenders and their ratio, as the results hold them."""
    print(case, flush=True)
    contenders = {name: lambda n=name: _in_own_process(n, case, steps) for name in CASES[case][1]}
    rates = interleaved(contenders, repeats)
    return {"rates": rates, "ratios": {"ours/plain": round(rates["ours"]["median"] / rates["plain"]["median"], 2)}}


def main() -> None:
    """All cases, both contenders of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="measure, and keep, these alone")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", choices=("plain", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        size, contenders = CASES[arguments.cases[0]]
        print(contenders[arguments.one](size, arguments.steps))
        return
    cases = {case: measured(case, arguments.steps, arguments.repeats) for case in arguments.cases}
    write("train", CLAIM, "images/s", cases)


if __name__ == "__main__":
    main()
