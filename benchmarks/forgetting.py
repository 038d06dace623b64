"""Does a network that learns one task after another keep the old ones, with and without telling rotations?

After Chen et al. 2019 (arXiv:1811.11212), Fig. 3: a discriminator's task changes all the time, and it forgets. Here
SimGAN's or SSGAN's discriminator network learns which of two classes an image shows, pair after pair of classes, in a
cycle. Before a pair comes again, after all the others, its accuracy on held-out images says what was kept. The rotation
loss is learned on the images of the pair of the moment, a quarter of them turned four ways, as SSGAN's discriminator
learns it.

    python examples/signs/simulate.py ...          # or photos with a labels.csv: file,class_id,track
    python benchmarks/forgetting.py --images FOLDER [--network resnet_discriminator] [--seeds 5]
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import write
from PIL import Image
from torch import Tensor
from torch.nn import functional

from refinery.losses.rotation import rotation
from refinery.networks._discriminator import Discriminator
from refinery.registry import find
from refinery.training.device import keep_freed_memory
from refinery.training.methods._rotations import judge
from refinery.training.optimizing import make_optimizer, update

SIDE_PX, BATCH, EVERY_TEST, EARLY = 32, 32, 4, 10
ARMS = {"without": 0.0, "rotation": 1.0}
STUDENT_T_95 = {2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""By degrees of freedom, seeds - 1."""
Split = tuple[Tensor, Tensor]
"""Images and classes (0 or 1) of a pair."""


def labelled(folder: Path) -> list[tuple[Path, str, str]]:
    """(image, class, group) of every image: from labels.csv, or from `class_id` in the sidecars."""
    if (folder / "labels.csv").exists():
        rows = list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))
        return [(folder / row["file"], row["class_id"], row["track"]) for row in rows]
    paths = sorted(folder.glob("*.json"))
    return [(p.with_suffix(".png"), str(json.loads(p.read_text())["class_id"]), p.stem) for p in paths]


def pairs_of_classes(folder: Path, count: int) -> list[tuple[Split, Split]]:
    """For each task its training and its test images; every fourth group (physical sign) of a class is for the test."""
    by_class: dict[str, dict[str, list[Path]]] = {}
    for path, kind, group in labelled(folder):
        by_class.setdefault(kind, {}).setdefault(group, []).append(path)
    chosen = sorted(by_class, key=lambda kind: (-len(by_class[kind]), kind))[: 2 * count]
    if len(chosen) < 2 * count or len(by_class[chosen[-1]]) < EVERY_TEST:
        raise SystemExit(f"{folder}: {len(by_class)} classes with too few signs each for {count} pairs; try --tasks 2")
    tasks = []
    for pair in zip(chosen[::2], chosen[1::2], strict=True):
        parts = []
        for test in (False, True):
            groups = [[g for i, g in enumerate(sorted(by_class[k])) if (i % EVERY_TEST == 0) == test] for k in pair]
            paths = [[p for g in own for p in by_class[k][g]] for k, own in zip(pair, groups, strict=True)]
            images = torch.from_numpy(np.stack([_read(path) for own in paths for path in own]))
            parts.append(
                (images.permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor([0] * len(paths[0]) + [1] * len(paths[1])))
            )
        tasks.append((parts[0], parts[1]))
    return tasks


def _read(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(Image.open(path).convert("RGB").resize((SIDE_PX, SIDE_PX)), np.float32)


def learn(
    network: Discriminator, task: Split, beta: float, iterations: int, optimizer: Any, generator: torch.Generator
) -> None:
    """Some iterations on one pair of classes; both classes are drawn equally often."""
    images, classes = task
    of_class = [torch.nonzero(classes == kind)[:, 0] for kind in (0, 1)]
    targets = torch.arange(BATCH) % 2
    for _ in range(iterations):
        drawn = [own[torch.randint(len(own), (BATCH // 2,), generator=generator)] for own in of_class]
        batch = images[torch.stack(drawn, 1).flatten()]
        if beta:
            judged = judge(network, batch, slice(0, BATCH), generator)
            assert judged.rotations is not None
            loss = functional.cross_entropy(judged.patches.mean((2, 3)), targets)
            loss = loss + beta * rotation(judged.rotations, judged.quarter_turns)
        else:
            loss = functional.cross_entropy(network(batch).mean((2, 3)), targets)
        update(optimizer, loss)


def accuracy(network: Discriminator, task: Split) -> float:
    """Mean of both classes' shares of held-out images told right."""
    network.eval()
    with torch.no_grad():
        right = network(task[0]).mean((2, 3)).argmax(1) == task[1]
    network.train()
    return float(np.mean([right[task[1] == kind].float().mean() for kind in (0, 1)]))


def run(tasks: list[tuple[Split, Split]], beta: float, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Accuracies on held-out images of a pair, means over pairs and cycles.

    `soon`: after EARLY iterations of its first time; `learned`: at the end of each time; `kept`: just before it comes
    again; `soon_again`: after EARLY iterations of a later time; `all`: of all pairs at the end of the last.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    settings = {"variant": "eyes", "width": 16, "padding": "zeros", "spectral_norm": options.spectral_norm}
    network: Discriminator = find("network", options.network).build(3, rotation=beta > 0, **settings)
    optimizer = make_optimizer("adam", network, options.rate)
    found: dict[str, list[float]] = {"soon": [], "learned": [], "kept": [], "soon_again": []}
    for cycle in range(options.cycles):
        for train, test in tasks:
            if cycle:
                found["kept"].append(accuracy(network, test))
            learn(network, train, beta, EARLY, optimizer, generator)
            found["soon_again" if cycle else "soon"].append(accuracy(network, test))
            learn(network, train, beta, options.iterations - EARLY, optimizer, generator)
            found["learned"].append(accuracy(network, test))
    found["all"] = [accuracy(network, test) for _, test in tasks]
    return {name: float(np.mean(values)) for name, values in found.items()}


def summed_up(values: list[float]) -> dict[str, Any]:
    """Mean over the seeds with its 95% interval."""
    mean, count = float(np.mean(values)), len(values)
    slack = STUDENT_T_95[count - 1] * float(np.std(values, ddof=1)) / count**0.5
    return {"mean": round(mean, 4), "ci95": [round(mean - slack, 4), round(mean + slack, 4)]}


def main() -> None:
    """Both arms for every seed, and what the rotations changed, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--network", default="patch_discriminator")
    parser.add_argument("--spectral-norm", action="store_true")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=150, help="of each pair, each time")
    parser.add_argument("--cycles", type=int, default=3, choices=range(2, 11))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=5, choices=range(3, 11))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    started = time.monotonic()
    tasks = pairs_of_classes(options.images, options.tasks)
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        for arm, beta in ARMS.items():
            found[arm].append(run(tasks, beta, seed, options))
            print(seed, arm, {name: round(value, 3) for name, value in found[arm][-1].items()}, flush=True)
    cases: dict[str, Any] = {
        arm: {"figures": {name: summed_up([one[name] for one in runs]) for name in runs[0]}}
        for arm, runs in found.items()
    }
    gains = {
        name: summed_up([b[name] - a[name] for a, b in zip(found["without"], found["rotation"], strict=True)])
        for name in found["without"][0]
    }
    setting = {key: value for key, value in vars(options).items() if key != "images"}
    cases["rotation - without"] = {"figures": gains | setting | {"seconds": round(time.monotonic() - started)}}
    claim = "a network that also tells rotations is sooner back at a task it had learned before"
    write("forgetting", claim, "accuracy on held-out images of a pair of classes; chance is 0.5", cases)


if __name__ == "__main__":
    main()
