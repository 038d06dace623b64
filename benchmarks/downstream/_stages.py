"""Rendered images, refiners and refined images of a set: each made once and kept in the work folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _task import EXAMPLES, Task
from torch import Tensor

from refinery import artifact
from refinery.config import RefineConfig, TrainConfig, load_toml
from refinery.dataset import iter_decoded, open_dataset
from refinery.image import Decoded, as_channels, to_float
from refinery.jobs.refine import refine
from refinery.jobs.train import train
from refinery.labels import open_labels
from refinery.training.probe_targets import ProbePlan, Targets, plan_probe
from refinery.utility.datasets import canvases, read_labelled, targets_on
from refinery.utility.transfers import fourier, histogram_matching

TRANSFERS = {"histogram matching": histogram_matching.transfer, "FDA": fourier.transfer}
VARIANTS = 3
PAPER_STEPS = 20
PAPER = EXAMPLES / "paper" / "eyes.toml"
SHORT: dict[str, Any] = {"steps": 4, "eval_every": 4, "batch_size": 8, "validation": 16, "control": 8, "guide_steps": 6}
"""Of trainings that only show that all of it works."""


@dataclass(frozen=True)
class Rendered:
    """The synthetic images (N, C, h, w) with their targets and keys."""

    keys: list[str]
    images: Tensor
    plan: ProbePlan
    targets: Targets


class Stages:
    """What arms are mixed from. short: few images and steps. threads: for what runs here."""

    def __init__(self, task: Task, short: bool, threads: int) -> None:
        self.task, self.short, self.threads = task, short, threads
        self.work = task.work
        self.work.mkdir(parents=True, exist_ok=True)
        self._kept: dict[str, Any] = {}

    def rendered(self) -> Rendered:
        """The synthetic images, rendered if they are not there."""

        def make() -> Rendered:
            folder = self.work / "synthetic"
            found = read_labelled(open_dataset(folder), open_labels(open_dataset(folder)), None)
            found = replace(found, labels=[self.task.labels_of(labels) for labels in found.labels])
            plan = plan_probe(found.labels, self.task.canvas_hw)
            images = canvases(found.images, self.task.canvas_hw)
            return Rendered(list(found.keys), images, plan, targets_on(plan, found)[0])

        self._once("synthetic", self._render)
        return self._tensor("synthetic", make)

    def looks(self, kind: str, many: bool) -> list[Tensor]:
        """Images of one kind, as the synthetic ones in order; `many`: in all variants, one if they are all alike."""
        if kind == "synthetic":
            return [self.rendered().images]
        if kind in TRANSFERS:
            return [self._tensor(f"transfer {kind}", lambda: self._transferred(kind))]
        count = VARIANTS if many and self.variants(kind) > 1 else 1
        return [self._refined(kind, seed) for seed in range(count)]

    def variants(self, kind: str) -> int:
        """How many looks of an image there are."""
        latent = artifact.load(self.refiner(kind)).manifest.latent
        return VARIANTS if latent else 1

    def real_images(self) -> Tensor:
        """Unlabelled photos on the canvas (M, C, h, w)."""
        return self._tensor("real", lambda: self._on_canvas(self.task.real_folder())[1])

    def refiner(self, kind: str) -> Path:
        """Its run, trained if it is not there."""
        run = self.work / "refiners" / kind
        self._once(f"train {kind}", lambda: self._train(kind, run))
        return run

    def seconds(self) -> dict[str, float]:
        """What each stage took."""
        path = self.work / "seconds.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def forget(self, kind: str) -> None:
        """Remove a refiner and what it refined, so that both are made again."""
        mine = (f"train {kind}", *(f"refine {kind} {seed}" for seed in range(VARIANTS)))
        kept = {name: seconds for name, seconds in self.seconds().items() if name not in mine}
        (self.work / "seconds.json").write_text(json.dumps(kept, indent=2) + "\n")
        for seed in range(VARIANTS):
            (self.work / "tensors" / f"refined {kind} {seed}.pt").unlink(missing_ok=True)
            shutil.rmtree(self.work / "refined" / f"{kind} {seed}", ignore_errors=True)

    def _render(self) -> None:
        out = self.work / "synthetic"
        shutil.rmtree(out, ignore_errors=True)
        count = 120 if self.short else self.task.count
        command = [
            sys.executable,
            *self.task.simulator(),
            str(out),
            "--count",
            str(count),
            "--seed",
            str(self.task.seed),
        ]
        subprocess.run(command, check=True)

    def _train(self, kind: str, run: Path) -> None:
        """`ours` and `ssgan` are the defaults of refinery train; `plain` and `plain 512` are SimGAN's paper."""
        shutil.rmtree(run, ignore_errors=True)
        settings, table = self._settings(kind)
        common = {"real": str(self.task.real_folder()), "synthetic": str(self.work / "synthetic"), "out": str(run)}
        train(TrainConfig(**{"probe": False, **settings, **(SHORT if self.short else {}), **common}), table)

    def _settings(self, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of `refinery train`, and the method's table.

        `plain 512` is the paper but for the steps (pretraining in proportion). In the time that the defaults take these
        are some twenty, in which SGD does not even learn to repeat an image. `plain` is what can be learnt in this time
        with Adam and batches of 32, and with the history buffer that goes with these; all else is as published:
        networks, losses, K_g = 2, tanh, zero padding, psi = identity, no running mean.
        """
        if not kind.startswith("plain"):
            return {"method": "ssgan" if kind == "ssgan" else "simgan"}, {}
        paper = load_toml(PAPER)
        settings, table = dict(paper["train"]), dict(paper["simgan"])
        steps = self.task.plain_steps
        if kind == "plain 512":
            steps = PAPER_STEPS
        else:
            settings |= {"batch_size": 32, "precision": "auto"}
            table |= {"optimizer": "adam", "refiner_lr": 2e-4, "discriminator_lr": 2e-4, "history_size": 2560}
        steps = 4 if self.short else steps
        scale = steps / table.pop("steps")
        for name in ("refiner_pretrain", "discriminator_pretrain"):
            table[name] = max(1, round(table[name] * scale))
        return {**settings, "method": "simgan", "steps": steps, "patience": 0}, table

    def _refined(self, kind: str, seed: int) -> Tensor:
        out = self.work / "refined" / f"{kind} {seed}"

        def make() -> Tensor:
            keys, images = self._on_canvas(out)
            if keys != self.rendered().keys:
                raise SystemExit(f"{out}: not the images of {self.work / 'synthetic'}; remove it and run this again")
            return images

        run = self.refiner(kind)
        source = str(self.work / "synthetic")
        config = RefineConfig(source, str(out), str(run / "artifact"), check=False, seed=seed, workers=self.threads)
        self._once(f"refine {kind} {seed}", lambda: refine(config))
        return self._tensor(f"refined {kind} {seed}", make)

    def _transferred(self, kind: str) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        real = self.real_images()
        parts = self.rendered().images.split(500)
        return torch.cat([TRANSFERS[kind](part, real, generator) for part in parts])

    def _on_canvas(self, folder: Path) -> tuple[list[str], Tensor]:
        """Keys and images of a folder, with as many channels as the rendered ones."""
        channels = self.rendered().images.shape[1]
        found = [(s.key, d.pixels) for s, d in iter_decoded(open_dataset(folder)) if isinstance(d, Decoded)]
        images = [as_channels(to_float(pixels), channels) for _, pixels in found]
        return [key for key, _ in found], canvases(images, self.task.canvas_hw)

    def _once(self, name: str, make: Callable[[], Any]) -> None:
        """Do what `seconds.json` does not have yet, and note there how long it took."""
        seconds = self.seconds()
        if name in seconds:
            return
        print(f"{self.task.name}: {name}", flush=True)
        started = time.perf_counter()
        make()
        seconds[name] = round(time.perf_counter() - started, 1)
        (self.work / "seconds.json").write_text(json.dumps(seconds, indent=2) + "\n")

    def _tensor(self, name: str, make: Callable[[], Any]) -> Any:
        """In memory, or else from WORK/tensors, or else made."""
        if name not in self._kept:
            path = self.work / "tensors" / f"{name}.pt"
            if path.exists():
                self._kept[name] = torch.load(path, weights_only=False)
            else:
                self._kept[name] = make()
                path.parent.mkdir(exist_ok=True)
                unfinished = path.with_suffix(".unfinished")
                torch.save(self._kept[name], unfinished)
                unfinished.replace(path)
        return self._kept[name]
