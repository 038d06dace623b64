"""What each part of a method is worth: trainings that differ in one setting, with several seeds and intervals.

The parts are those that the papers take away: the history buffer, the local adversarial loss, psi, lambda (SimGAN, on
eyes), the rotation loss (SSGAN, on signs), the losses, the size of the patches and the skip connections (pix2pix, on
pairs of a label map and its render). Every arm trains with the same steps and is measured on the same held-out images:
realism by every measure, as the share of the distance to the real images that is left (1 as synthetic, 0 as real as
real), drift by the label checks, and for pairs the L1 distance to the partner.

    python benchmarks/ablations.py simgan --synthetic EYES/synth --real EYES/real --work work --minutes 40
    python benchmarks/ablations.py pix2pix --synthetic MAP96/synthetic --real MAP96/real --crop 96 --batch-size 8
    python benchmarks/ablations.py simgan --table

Seeds are the outer loop, so that a budget of minutes that ends early leaves every arm with equally many seeds or one
less. What is in the results already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import RESULTS, write

from refinery.config import TrainConfig
from refinery.errors import TrainingError
from refinery.jobs.train import train

CLAIM = "What each part of a method is worth: one setting changed at a time, several seeds"
UNTOLD = ("best_step", "target_l1_left")
"""In the results, not in the tables."""
STUDENT_T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
SMALL = {"width": 32, "lambda_reg": 2.0, "history_size": 1280}
"""Half as wide as the default, at a fixed lambda: what is compared is the setting, not the best picture."""

Settings = dict[str, Any]
ARMS: dict[str, dict[str, dict[str, Settings]]] = {
    "simgan": {
        "history": {"buffer": {}, "none": {"history_size": 0}},
        "adversarial loss": {
            "local": {"discriminator": "resnet_discriminator", "discriminator_width": 32},
            "global": {
                "discriminator": "resnet_discriminator",
                "discriminator_width": 32,
                "discriminator_head": "global",
            },
        },
        "psi": {
            "identity": {},
            "gradient": {"feature_transform": "gradient"},
            "low_pass": {"feature_transform": "low_pass"},
            "contrast_normalized": {"feature_transform": "contrast_normalized"},
            "convolutional": {"feature_transform": "convolutional"},
        },
        "lambda": {
            "0.2": {"lambda_reg": 0.2},
            "1": {"lambda_reg": 1.0},
            "2": {},
            "10": {"lambda_reg": 10.0},
        },
    },
    "ssgan": {
        "rotation": {"on": {}, "off": {"rotation_alpha": 0.0, "rotation_beta": 0.0}},
        "latent": {"4 numbers": {}, "none": {"latent": 0}},
    },
    "pix2pix": {
        "loss": {"both": {}, "L1": {"adversarial": 0.0}, "cGAN": {"lambda_l1": 0.0}},
        "patch": {"1": {"patch_px": 1}, "16": {"patch_px": 16}, "70": {}},
        "patch of 96 px crops": {"70": {"patch_px": 70}, "286": {"patch_px": 286}},
        "skips": {"U-Net": {}, "none": {"skips": False}},
    },
}
OWN_CROPS_PX = {"patch of 96 px crops": 96}
"""Parts that are trained on other crops than the rest, and so on images of their own: only with `--crop` of this."""
CROP_PX = 64
BASE: dict[str, Settings] = {
    "simgan": SMALL,
    "ssgan": {**SMALL, "lambda_reg": 1.0},
    "pix2pix": {"width": 32, "discriminator_width": 32, "patch_px": 70},
}


def run(arguments: argparse.Namespace, settings: Settings, seed: int) -> dict[str, float]:
    """Train one arm with one seed; its figures. The run's folder is removed."""
    folder = arguments.work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    config = TrainConfig(
        real=str(arguments.real),
        synthetic=str(arguments.synthetic),
        out=str(folder),
        method=arguments.method,
        steps=arguments.steps,
        eval_every=max(1, arguments.steps // 3),
        batch_size=arguments.batch_size,
        crop=arguments.crop,
        patience=0,
        probe=False,
        seed=seed,
    )
    summary = train(config, {**BASE[arguments.method], **settings})
    figures = {"best_step": float(summary["best_step"]), "failed": summary["failed"]}
    for name, measure in summary["realism"].items():
        left = (measure["refined"] - measure["floor"]) / max(measure["synthetic"] - measure["floor"], 1e-9)
        figures[f"{name}_left"] = left
    if "target_l1" in summary["realism"]:
        figures["target_l1"] = summary["realism"]["target_l1"]["refined"]
    medians = [drift["median"] for drift in summary["drift"].values() if drift["unit"] == "px" and drift["median"]]
    p95s = [drift["p95"] for drift in summary["drift"].values() if drift["unit"] == "px" and drift["p95"]]
    figures |= {"drift_median_px": float(np.mean(medians or [0])), "drift_p95_px": float(max(p95s, default=0.0))}
    return {name: round(value, 4) for name, value in figures.items()}


def with_interval(values: list[float]) -> str:
    """Mean and half of its 95% interval by Student's t over the seeds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    half = STUDENT_T_95[len(values) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{mean:.3f} ± {half:.3f}"


def table(method: str, cases: dict[str, Any]) -> str:
    """One Markdown table a part, an arm a row."""
    lines: list[str] = []
    for part, arms in ARMS[method].items():
        rows = {arm: found for arm in arms if (found := _seeds(cases, key(method, part, arm)))}
        if len(rows) < 2:
            continue
        names = [name for name in next(iter(rows.values()))[0] if name not in UNTOLD]
        lines += [f"| {part} | seeds | " + " | ".join(names) + " |", "| --- " * (len(names) + 2) + "|"]
        for arm, found in rows.items():
            told = [with_interval([figures[name] for figures in found]) for name in names]
            lines.append(f"| {arm} | {len(found)} | " + " | ".join(told) + " |")
        lines.append("")
    return "\n".join(lines)


def key(method: str, part: str, arm: str) -> str:
    """Name of an arm in the results; arms of one method with the same settings are one."""
    settings = ARMS[method][part][arm]
    return f"{method} default" if not settings else f"{method} {part}: {arm}"


def _seeds(cases: dict[str, Any], name: str) -> list[dict[str, float]]:
    return [case["figures"] for case_name, case in sorted(cases.items()) if case_name.startswith(f"{name}, seed ")]


def train_all(arguments: argparse.Namespace, cases: dict[str, Any]) -> None:
    """All arms that are not there yet, seed by seed, until the minutes are over."""
    started = time.monotonic()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arms = {
        key(arguments.method, part, arm): settings
        for part, settings_by_arm in ARMS[arguments.method].items()
        for arm, settings in settings_by_arm.items()
        if OWN_CROPS_PX.get(part, CROP_PX) == arguments.crop
    }
    for seed in range(arguments.seeds):
        for name, settings in arms.items():
            if f"{name}, seed {seed}" in cases:
                continue
            if time.monotonic() - started > 60 * arguments.minutes:
                print("the minutes are over; run it again to go on", flush=True)
                return
            try:
                figures = run(arguments, settings, seed)
            except TrainingError as error:
                print(f"{name}: not with these images: {error}", flush=True)
                continue
            print(f"{name}, seed {seed}: {figures}", flush=True)
            cases[f"{name}, seed {seed}"] = {"figures": figures}
            write("ablations", CLAIM, "share of the distance to the real images; px", cases)


def main() -> None:
    """Train the arms of one method, or print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=sorted(ARMS))
    for name in ("--real", "--synthetic"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=32)
    crops = sorted({CROP_PX, *OWN_CROPS_PX.values()})
    parser.add_argument("--crop", type=int, default=CROP_PX, choices=crops, help="largest training crop, px")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--table", action="store_true", help="print what is there, train nothing")
    arguments = parser.parse_args()
    path = RESULTS / "ablations.json"
    cases = json.loads(path.read_text())["cases"] if path.exists() else {}
    if not arguments.table:
        train_all(arguments, cases)
    print(table(arguments.method, cases))


if __name__ == "__main__":
    main()
