"""Can the audit tell an honest refiner from a sabotaged one, without being told which is which?

Three refiners are trained on the same images: `honest` with the defaults; `shifted`, whose self-regularization pulls
towards the synthetic image moved by 2 px; `unbound`, with next to no self-regularization and no label budget. Each
refines the same samples into a folder with a meaningless name, and `refinery inspect SYNTH REFINED` audits the folders
without a probe that came from the run. Only then are the names looked up.

    python benchmarks/sabotage.py --real EYES/real --synthetic synth --work work [--steps 1000] [--samples 1000]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from _common import write
from torch import Tensor, nn

from refinery.config import InspectConfig, RefineConfig, TrainConfig
from refinery.jobs.inspect import inspect
from refinery.jobs.refine import refine
from refinery.jobs.train import train
from refinery.losses.self_regularization import self_regularization
from refinery.training.methods import _adversarial

SHIFT_PX = 2
UNBOUND = {"lambda_reg": 0.02}
KINDS = ("honest", "shifted", "unbound")


def towards_shifted(refined: Tensor, synthetic: Tensor, psi: nn.Module) -> Tensor:
    """Self-regularization towards the synthetic image moved SHIFT_PX to the right."""
    return self_regularization(refined, torch.roll(synthetic, SHIFT_PX, dims=3), psi)


def train_one(kind: str, arguments: argparse.Namespace, run: Path) -> None:
    """Train one refiner, unless it is there."""
    if (run / "summary.json").exists():
        return
    config = TrainConfig(
        real=str(arguments.real),
        synthetic=str(arguments.synthetic),
        out=str(run),
        steps=arguments.steps,
        probe=False,
    )
    settings: dict[str, Any] = {"honest": {}, "shifted": {"lambda_reg": 10.0}, "unbound": UNBOUND}[kind]
    if kind == "shifted":
        with mock.patch.object(_adversarial, "self_regularization", towards_shifted):
            train(config, settings)
    else:
        train(config, settings)


def part_of(source: Path, folder: Path, count: int) -> Path:
    """A folder with the first samples of a dataset."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for image in sorted(source.glob("*.png"))[:count]:
            for path in source.glob(f"{image.stem}.*"):
                shutil.copy(path, folder / path.name)
    return folder


def audit(synthetic: Path, refined: Path) -> dict[str, Any]:
    """What `refinery inspect SYNTH REFINED --json` says, summed up."""
    found = inspect(InspectConfig(path=str(refined), synthetic=str(synthetic)))
    verdicts = list(found["verdicts"].values())
    shares = {v: round(verdicts.count(v) / len(verdicts), 4) for v in ("pass", "fail", "abstain", "not_checkable")}
    columns = ("unit", "median", "p95", "mean", "ci95", "mean_shift_px", "coverage")
    return {"verdicts": shares, "drift": {n: {c: d[c] for c in columns} for n, d in found["drift"].items()}}


def main() -> None:
    """Train, refine under meaningless names, audit, and only then look the names up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--real", "--synthetic", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parser.parse_args()
    started = time.monotonic()
    for kind in KINDS:
        train_one(kind, arguments, arguments.work / f"run_{kind}")
    synthetic = part_of(arguments.synthetic, arguments.work / "part", arguments.samples)
    order = random.Random(int(time.time())).sample(KINDS, len(KINDS))
    for letter, kind in zip("abc", order, strict=True):
        out = arguments.work / letter
        shutil.rmtree(out, ignore_errors=True)
        refine(
            RefineConfig(source=str(synthetic), out=str(out), model=str(arguments.work / f"run_{kind}"), check=False)
        )
        shutil.rmtree(out / ".refinery")  # what refine itself knows
    reports = {letter: audit(synthetic, arguments.work / letter) for letter in "abc"}
    for letter, report in reports.items():
        print(letter, json.dumps(report), flush=True)
    names = dict(zip("abc", order, strict=True))
    print("the names:", names, file=sys.stderr)
    claim = "an audit tells a refiner that moves labels from one that does not, without being told which is which"
    setting = {"samples": arguments.samples, "seconds": round(time.monotonic() - started)}
    cases = {}
    for letter, report in reports.items():
        summary = json.loads((arguments.work / f"run_{names[letter]}" / "summary.json").read_text())
        cases[names[letter]] = {"figures": report | setting | {"steps": summary["steps"]}}
    write("sabotage", claim, "share of samples; px", {kind: cases[kind] for kind in KINDS})


if __name__ == "__main__":
    main()
