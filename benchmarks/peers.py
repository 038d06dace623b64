"""Training steps and inference of two public implementations, at their own settings, beside ours in the same run.

    git clone https://github.com/daniel-merrick/<the SimGAN repository> simgan
    git clone https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix pix2pix
    python benchmarks/peers.py --simgan simgan --pix2pix pix2pix [--repeats 5]

Their networks come from these folders, of which nothing is copied; what they do in a step is theirs as well: SimGAN two
updates of the refiner and one of the discriminator with SGD on 32 gray images of 55x35 px, pix2pix one of each with
Adam on one image of 256x256 px (U-Net, 64 features, batch norm). Ours are the defaults of `train`, on as many images of
the same size, and `refine`'s own session. Images a step are those of one batch, whatever is drawn in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from _common import interleaved, timed, write
from refine import make_artifact
from train import Size, descend, our_pix2pix, our_simgan, rate

if TYPE_CHECKING:
    import torch

CLAIM = "a training step and inference of the default are faster than public implementations' at their own settings"
EYES, SQUARE = Size(32, 1, 35, 55), Size(1, 3, 256, 256)
INFERRED = {"SimGAN 55x35 gray": (Size(32, 1, 35, 55), 40), "ResNet-9 256x256 RGB": (Size(1, 3, 256, 256), 12)}


def module_of(path: Path) -> ModuleType:
    """A file of theirs."""
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: is not there; see `--help` for what to clone")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def their_simgan(networks: ModuleType, size: Size, steps: int) -> float:
    """k_r = 2, k_d = 1, lambda 0.5, SGD with momentum 0.9, images drawn anew for each update; buffer left out."""
    import torch
    from torch import nn

    refiner, discriminator = networks.Refiner(), networks.Discriminator()
    optimizers = [torch.optim.SGD(n.parameters(), 1e-5, momentum=0.9) for n in (refiner, discriminator)]
    cross_entropy, l1 = nn.CrossEntropyLoss(), nn.L1Loss()

    def judged(images: torch.Tensor, label: int) -> torch.Tensor:
        answers = discriminator(images)
        return cross_entropy(answers, torch.full((len(answers),), label))

    def step() -> None:
        for network in (refiner, discriminator):
            network.train_mode(network is refiner)
        for _ in range(2):
            synthetic = size.random_batch()
            refined = refiner(synthetic)
            descend(optimizers[0], 0.5 * l1(refined, synthetic) + judged(refined, 1))
        for network in (refiner, discriminator):
            network.train_mode(network is discriminator)
        descend(optimizers[1], (judged(refiner(size.random_batch()).detach(), 0) + judged(size.random_batch(), 1)) / 2)

    return rate(step, size, steps)


def their_pix2pix(networks: ModuleType, size: Size, steps: int) -> float:
    """One update of the discriminator, one of the refiner; Adam at 2e-4, L1 times 100, dropout on."""
    import torch
    from torch import nn

    norm = networks.get_norm_layer("batch")
    refiner = networks.UnetGenerator(3, 3, 8, 64, norm_layer=norm, use_dropout=True)
    discriminator = networks.NLayerDiscriminator(6, 64, n_layers=3, norm_layer=norm)
    optimizers = [torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (refiner, discriminator)]
    loss, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()

    def judged(first: torch.Tensor, second: torch.Tensor, target: float) -> torch.Tensor:
        answers = discriminator(torch.cat((first, second), 1))
        return loss(answers, torch.full_like(answers, target))

    def step() -> None:
        first, second = size.random_batch(), size.random_batch()
        made = refiner(first)
        discriminator.requires_grad_(True)
        descend(optimizers[1], 0.5 * (judged(first, made.detach(), 0.0) + judged(first, second, 1.0)))
        discriminator.requires_grad_(False)
        descend(optimizers[0], judged(first, made, 1.0) + 100 * l1(made, second))

    return rate(step, size, steps)


def eager(network: torch.nn.Module, size: Size, batches: int) -> float:
    """Images/s of a network as their test scripts run it: torch eager, fp32."""
    import torch

    network.eval()
    batch = size.random_batch()

    def run() -> None:
        with torch.inference_mode():
            network(batch)

    return rate(run, size, batches)


def our_session(work: Path, size: Size, batches: int) -> float:
    """Images/s of the default refiner in `refine`'s session, tiles and batches as `refine` makes them."""
    from concurrent.futures import ThreadPoolExecutor

    from refinery import artifact
    from refinery.runtime.batching import refine_images
    from refinery.runtime.session import cores, open_session

    session = open_session(artifact.load(work), "auto", "auto", streams=cores())
    images = [np.random.default_rng(0).uniform(-1, 1, (*size.hw, size.channels)).astype(np.float32)] * (
        size.batch * batches
    )
    latents = [np.zeros(session.latent, np.float32)] * len(images)
    with ThreadPoolExecutor(session.streams) as pool:
        refine_images(session.run, images[: 2 * size.batch], 0, pool, latents[: 2 * size.batch], session.fit)
        return len(images) / timed(lambda: refine_images(session.run, images, 0, pool, latents, session.fit))


def measured(contenders: dict[str, Callable[[], float]], repeats: int) -> dict[str, object]:
    """Rates, and ours over theirs."""
    rates = interleaved(contenders, repeats)
    return {"rates": rates, "ratios": {"ours/theirs": round(rates["ours"]["median"] / rates["theirs"]["median"], 2)}}


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simgan", type=Path, required=True, help="checkout of daniel-merrick's SimGAN")
    parser.add_argument("--pix2pix", type=Path, required=True, help="checkout of junyanz' pytorch-CycleGAN-and-pix2pix")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    simgan = module_of(arguments.simgan / "simgan" / "lib" / "simgan_network.py")
    pix2pix = module_of(arguments.pix2pix / "models" / "networks.py")
    steps, repeats = arguments.steps, arguments.repeats
    norm = pix2pix.get_norm_layer("instance")
    theirs = {
        "SimGAN 55x35 gray": simgan.Refiner,
        "ResNet-9 256x256 RGB": lambda: pix2pix.ResnetGenerator(3, 3, 64, norm_layer=norm, n_blocks=9),
    }
    cases = {
        "a step of SimGAN, 55x35 gray, batch 32": measured(
            {"theirs": lambda: their_simgan(simgan, EYES, steps), "ours": lambda: our_simgan(EYES, steps)}, repeats
        ),
        "a step of pix2pix, 256x256 RGB, batch 1": measured(
            {"theirs": lambda: their_pix2pix(pix2pix, SQUARE, steps), "ours": lambda: our_pix2pix(SQUARE, steps)},
            repeats,
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        for name, (size, batches) in INFERRED.items():
            work = Path(folder) / str(next(numbers))
            make_artifact(work, size.channels)
            cases[f"inference, {name}"] = measured(
                {
                    "theirs": lambda name=name, size=size, batches=batches: eager(theirs[name](), size, batches),
                    "ours": lambda work=work, size=size, batches=batches: our_session(work, size, batches),
                },
                repeats,
            )
    write("peers", CLAIM, "images/s", cases)


if __name__ == "__main__":
    main()
