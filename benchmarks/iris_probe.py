"""How far did the irises move, by a measure of its own: a small network that finds iris centres.

It is trained on other synthetic eyes with heavy appearance augmentation, shares nothing with the refiner or the label
checks, and is asked for the centre in each synthetic image and in its refined one. Its own error on synthetic images is
printed beside the drift.

    python benchmarks/iris_probe.py --train synth_other --synthetic synth --refined refined --json out.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional


def load(folder: Path, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) in [-1, 1] and iris centres (N, 2) px, by name."""
    names = sorted(path for path in folder.glob("*.png"))[:limit]
    images = np.stack([np.asarray(Image.open(path).convert("L")) for path in names]).astype(np.float32) / 127.5 - 1
    centres = [json.loads(path.with_suffix(".json").read_text())["iris_center"] for path in names]
    return torch.from_numpy(images)[:, None], torch.tensor(centres)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random gamma, contrast, brightness, shading, blur and noise; nothing moves."""
    count, _, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    unit = (images + 1) / 2
    unit = unit.clamp(1e-3, 1) ** torch.exp(uniform(-0.8, 0.8))
    ramp_x, ramp_y = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)[:, None]
    unit = unit * uniform(0.5, 1.5) + uniform(-0.25, 0.25) + uniform(-0.3, 0.3) * ramp_x + uniform(-0.3, 0.3) * ramp_y
    coarse = torch.randn(count, 1, 6, 8, generator=generator) * uniform(0, 0.2)
    unit = unit + functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    blurred = functional.avg_pool2d(functional.pad(unit, (1, 1, 1, 1), mode="replicate"), 3, 1)
    unit = torch.lerp(unit, blurred, uniform(0, 1)) + torch.randn(images.shape, generator=generator) * uniform(0, 0.08)
    return unit.clamp(0, 1) * 2 - 1


class Probe(nn.Module):
    """Heat map over the image, then its centre of mass: (B, 1, H, W) to (B, 2) px."""

    def __init__(self) -> None:
        super().__init__()
        widths, strides = (24, 48, 48, 48), (1, 2, 1, 1)
        layers: list[nn.Module] = []
        before = 1
        for width, stride in zip(widths, strides, strict=True):
            layers += [nn.Conv2d(before, width, 5, stride, 2), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Iris centres (x, y) px."""
        heat = self.layers(images)
        _, _, height, width = heat.shape
        weights = heat.flatten(1).softmax(1).view(-1, height, width)
        x = (weights.sum(1) * torch.arange(width) * 2).sum(1)
        y = (weights.sum(2) * torch.arange(height) * 2).sum(1)
        return torch.stack([x, y], 1)


def train(images: Tensor, centres: Tensor, steps: int, seed: int) -> Probe:
    """A probe trained from scratch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    probe = Probe()
    optimizer = torch.optim.Adam(probe.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (96,), generator=generator)
        loss = functional.smooth_l1_loss(probe(augment(images[chosen], generator)), centres[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


def main() -> None:
    """Train, predict on both datasets, print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--train", "--synthetic", "--refined"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    probe = train(*load(arguments.train), arguments.steps, seed=0)
    (synthetic, centres), (refined, _) = load(arguments.synthetic), load(arguments.refined)
    with torch.inference_mode():
        before, after = (torch.cat([probe(b) for b in images.split(256)]) for images in (synthetic, refined))
    own_error = (before - centres).norm(dim=1)
    drift = (after - before).norm(dim=1)
    result = {
        "images": len(centres),
        "probe_error_px": {"median": float(own_error.median()), "p95": float(own_error.quantile(0.95))},
        "drift_px": {
            "mean": float(drift.mean()),
            "median": float(drift.median()),
            "p95": float(drift.quantile(0.95)),
            "mean_shift": (after - before).mean(0).tolist(),
        },
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
