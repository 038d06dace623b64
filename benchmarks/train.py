"""Training images/s: refinery's SimGAN step against a plain fp32 NCHW loop of the same two networks.

    python benchmarks/train.py [--steps 12] [--repeats 5]

Each measurement is a process of its own, since the allocator's settings hold for a whole process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from _common import interleaved, write

BATCH, SIZES = 64, {"60x36 gray": (1, 36, 60), "48x48 RGB": (3, 48, 48)}


def plain(shape: tuple[int, int, int], steps: int) -> float:
    """What a straightforward implementation does: fp32, NCHW, refine again for the discriminator's step."""
    import torch
    from torch.nn import functional

    from refinery.networks.patch_discriminator import PatchDiscriminator
    from refinery.networks.resnet_refiner import ResnetRefiner

    refiner, discriminator = ResnetRefiner(shape[0]), PatchDiscriminator(shape[0])
    optimizers = [torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (refiner, discriminator)]
    synthetic, real = torch.rand(BATCH, *shape) * 2 - 1, torch.rand(BATCH, *shape) * 2 - 1

    def loss(images: torch.Tensor, target: int) -> torch.Tensor:
        logits = discriminator(images)
        return functional.cross_entropy(logits, torch.full(logits[:, 0].shape, target))

    def step() -> None:
        refined = refiner(synthetic)
        total = loss(refined, 0) + 2 * (refined - synthetic).abs().mean()
        optimizers[0].zero_grad()
        total.backward()
        optimizers[0].step()
        with torch.no_grad():
            refined = refiner(synthetic)
        total = loss(refined, 1) + loss(real, 0)
        optimizers[1].zero_grad()
        total.backward()
        optimizers[1].step()

    return _rate(step, steps)


def ours(shape: tuple[int, int, int], steps: int) -> float:
    """refinery's own step, batches and history included."""
    import numpy as np
    import torch

    from refinery.sample import Sample
    from refinery.training.data import Batches, ImageSet
    from refinery.training.device import place
    from refinery.training.methods import simgan
    from refinery.training.sampling import Chance

    placement, generator = place("cpu", "auto"), torch.Generator().manual_seed(0)
    random = np.random.default_rng(0)
    channels, height, width = shape
    pixels = [random.integers(0, 256, (height, width, channels), np.uint8) for _ in range(256)]
    images = ImageSet(pixels, [Sample(str(i), str(i)) for i in range(256)], channels, 8)
    batches = Batches(images, (height, width), BATCH, Chance(0, "synthetic"), placement.device)
    settings = simgan.scale(simgan.Settings(discriminator_pretrain=0), (height, width))
    method = simgan.create(channels, channels, settings, 1000, placement, generator)
    count = iter(range(1000))
    return _rate(lambda: method.step(next(count), batches.draw, batches.draw), steps)


def _rate(step: object, steps: int) -> float:
    """Images/s over the steps after two to warm up."""
    assert callable(step)
    for _ in range(2):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return BATCH * steps / (time.perf_counter() - start)


def _in_own_process(kind: str, size: str, steps: int) -> float:
    command = [sys.executable, __file__, "--one", kind, "--size", size, "--steps", str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """All sizes, both contenders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", choices=("plain", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print({"plain": plain, "ours": ours}[arguments.one](SIZES[arguments.size], arguments.steps))
        return
    cases = {}
    for size in SIZES:
        print(size)
        rates = interleaved(
            {kind: lambda k=kind, s=size: _in_own_process(k, s, arguments.steps) for kind in ("plain", "ours")},
            arguments.repeats,
        )
        cases[size] = {
            "rates": rates,
            "ratios": {"ours/plain": round(rates["ours"]["median"] / rates["plain"]["median"], 2)},
        }
    write("train", "a SimGAN step is 4 times as fast as a plain fp32 NCHW loop", "images/s", cases)


if __name__ == "__main__":
    main()
