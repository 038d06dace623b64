"""Tiny datasets, settings and runs, so that a training takes a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from refinery.config import TrainConfig
from refinery.jobs._observer import Silent

torch.set_num_threads(1)  # faster than handing such small work around

SIMGAN = {
    "refiner": "resnet_refiner",
    "width": 8,
    "blocks": 2,
    "kernel": 3,
    "discriminator_variant": "small",
    "discriminator_pretrain": 2,
    "history_size": 6,
    "lambda_reg": 0.1,
    "warmup": 0,
    "tone": False,
    "gradient_penalty": 0.0,
    "shading": 0.0,
    "discriminator_shift": 0,
}
"""Settings of the smallest SimGAN that trains on 16x8 px; without the tone, which takes seconds (`test_tone`)."""


class Recorder(Silent):
    """Remembers what it was told; asks to stop at step `stop_at`, or dies there."""

    def __init__(self, stop_at: int = 0, die_at: int = 0) -> None:
        self.stop_at, self.die_at = stop_at, die_at
        self.said: list[str] = []
        self.tables: dict[str, dict[str, str]] = {}
        self.records: list[dict] = []
        self.asked = 0

    def table(self, title, rows):
        self.tables[title] = dict(rows)

    def say(self, sentence):
        self.said.append(sentence)

    def progress(self, record, total):  # noqa: ARG002
        self.records.append(record)
        if record["done"] == self.die_at:
            raise KeyboardInterrupt

    def interrupted(self):
        self.asked += 1
        return self.asked == self.stop_at


def write_images(
    folder: Path, count: int, size_hw=(8, 16), channels=1, bits=8, seed=0, labels=False, contrast=1.0
) -> Path:
    """Smooth random images as PNG, each with a box in a JSON sidecar if asked."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for i in range(count):
        coarse = generator.uniform(0.5 - contrast / 2, 0.5 + contrast / 2, (4, 4, channels))
        planes = [Image.fromarray(coarse[:, :, c].astype(np.float32)) for c in range(channels)]
        fine = [plane.resize(size_hw[::-1], Image.Resampling.BICUBIC) for plane in planes]
        top, kind = (65535, np.uint16) if bits == 16 else (255, np.uint8)
        pixels = (np.stack([np.asarray(plane) for plane in fine], axis=2).clip(0, 1) * top).astype(kind)
        Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(folder / f"{i:03d}.png")
        if labels:
            (folder / f"{i:03d}.json").write_text(json.dumps({"box": [2, 2, 12, 6]}))
    return folder


def datasets(root: Path, **options) -> dict[str, str]:
    """40 synthetic images with labels and 16 duller real ones: the paths that TrainConfig takes."""
    if not (root / "synthetic").exists():
        write_images(root / "synthetic", 40, labels=True, **options)
        write_images(root / "real", 16, seed=1, contrast=0.3, **options)
    return {"synthetic": str(root / "synthetic"), "real": str(root / "real")}


def train_config(root: Path, out: str = "run", **changes) -> TrainConfig:
    """10 adversarial steps after 2 of pretraining, all in fp32 on the CPU."""
    settings = {
        "steps": 10,
        "batch_size": 4,
        "crop": 64,
        "log_every": 1,
        "eval_every": 4,
        "checkpoint_every": 4,
        "device": "cpu",
    }
    return TrainConfig(**{**datasets(root), "out": str(root / out), "precision": "fp32", **settings, **changes})
