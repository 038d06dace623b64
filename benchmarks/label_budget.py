"""One label budget on one dataset: train, refine, and find the labels again by networks that had no part in it.

Two finders of points are trained on *other* renders; they share no weights, data or seed with the refiner, its guides
or the label checks, and are of two kinds, each with its own network and its own changes in looks: two of one kind err
alike (their errors correlated by 0.8 on refined eyes), which would pass for drift. Both are asked for the points in
every synthetic image and in its refined one. `p95` is the 95% quantile of how far their mean answer moved, and holds
their noise; `p95_noise` is that of half the difference between them, `p95_corrected` the root of p95^2 - p95_noise^2.
Realism is the share of the distance to the real images that is left: 1 as synthetic, 0 as real as real.

    python benchmarks/label_budget.py eyes --budget 0.5px --real EYES/real --synthetic synth --other other --work work
    python benchmarks/label_budget.py --draw docs/evidence/label-budget.png
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RESULTS, write
from iris_probe import Probe, augment
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional

from refinery import realism
from refinery.networks import label_probe
from refinery.realism import equalise
from refinery.training import appearance

CLAIM = "The label budget holds the labels of a refiner within it, and realism rises with the budget"
POINTS = {"eyes": "iris_center", "signs": "box"}
FINDER_STEPS = {"eyes": 900, "signs": 1800}
COMPARED = 1000


def load(folder: Path, label: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) in [-1, 1] and points (N, K, 2) px, by name."""
    names = sorted(path for path in folder.glob("*.png"))[:limit]
    arrays = [np.atleast_3d(np.asarray(Image.open(path))) for path in names]
    points = [json.loads(path.with_suffix(".json").read_text())[label] for path in names]
    images = torch.from_numpy(np.stack(arrays).astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    return images.contiguous(), torch.tensor(points).reshape(len(names), -1, 2)


class Finder(nn.Module):
    """`iris_probe.Probe` with a heat map for each of K points: (B, C, H, W) to (B, K, 2) px."""

    def __init__(self, channels: int, points: int) -> None:
        super().__init__()
        layers = list(Probe().layers)
        first, last = layers[0], layers[-1]
        layers[0] = nn.Conv2d(channels, first.out_channels, 5, 1, 2)
        layers[-1] = nn.Conv2d(last.in_channels, points, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Points (x, y) px."""
        heat = self.layers(images)
        height, width = heat.shape[2:]
        weights = heat.flatten(2).softmax(2).unflatten(2, (height, width))
        x = (weights.sum(2) * torch.arange(width) * 2).sum(2)
        y = (weights.sum(3) * torch.arange(height) * 2).sum(2)
        return torch.stack([x, y], 2)


def find_all(finder: nn.Module, images: Tensor) -> Tensor:
    """Points of any number of images: (N, K, 2) px."""
    with torch.inference_mode():
        return torch.cat([finder(part).reshape(len(part), -1, 2) for part in images.split(256)])


def train_finder(images: Tensor, points: Tensor, steps: int, kind: int) -> nn.Module:
    """A finder trained from scratch: kind 0 is `Finder`, kind 1 a label probe."""
    torch.manual_seed(100 + kind)
    generator = torch.Generator().manual_seed(100 + kind)
    finder = new_finder(images.shape[1], points.shape[1], kind)
    optimizer = torch.optim.Adam(finder.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,), generator=generator)
        batch = (appearance.augment if kind else augment)(images[chosen], generator)
        loss = functional.smooth_l1_loss(finder(batch).view(-1, points.shape[1], 2), points[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return finder.eval()


def new_finder(channels: int, points: int, kind: int) -> nn.Module:
    """An untrained finder of this kind."""
    return label_probe.build(channels, points=points, width=24) if kind else Finder(channels, points)


def finders(arguments: argparse.Namespace) -> list[nn.Module]:
    """One of each kind, trained once for all budgets."""
    images, points = load(arguments.other, POINTS[arguments.dataset])
    found = []
    for kind in (0, 1):
        kept = arguments.work / f"{arguments.dataset}-finder-{kind}.pt"
        if kept.exists():
            finder = new_finder(images.shape[1], points.shape[1], kind).eval()
            finder.load_state_dict(torch.load(kept, weights_only=True))
        else:
            finder = train_finder(images, points, FINDER_STEPS[arguments.dataset], kind)
            torch.save(finder.state_dict(), kept)
        found.append(finder)
    return found


def measure_drift(networks: list[nn.Module], synthetic: Tensor, refined: Tensor, truth: Tensor) -> dict[str, float]:
    """Drift of all points in px, its noise, and the finders' error on the synthetic images."""
    before = [find_all(network, synthetic) for network in networks]
    first, second = (find_all(network, refined) - b for network, b in zip(networks, before, strict=True))
    moves, apart = (first + second) / 2, (first - second) / 2

    def quantile(vectors: Tensor, share: float) -> float:
        return float(torch.quantile(vectors.norm(dim=2).flatten(), share))

    p95, noise = quantile(moves, 0.95), quantile(apart, 0.95)
    return {
        "median": quantile(moves, 0.5),
        "p95": p95,
        "p95_noise": noise,
        "p95_corrected": max(0.0, p95**2 - noise**2) ** 0.5,
        "mean_shift_x": float(moves[:, :, 0].mean()),
        "mean_shift_y": float(moves[:, :, 1].mean()),
        "finder_error_median": quantile(sum(before) / 2 - truth, 0.5),
        "finder_error_p95": quantile(sum(before) / 2 - truth, 0.95),
    }


def measure_realism(synthetic: Tensor, refined: Tensor, real: Path, size_hw: tuple[int, int]) -> dict[str, float]:
    """By measure: synthetic, refined, floor, and the share of the distance that is left."""
    channels = synthetic.shape[1]
    photos = sorted(path for path in real.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".ppm"))
    chosen = photos[:: max(1, len(photos) // (2 * COMPARED))]
    pixels = (np.asarray(Image.open(p).convert("L" if channels == 1 else "RGB"), np.float32) for p in chosen)
    floats = [np.atleast_3d(p) / 127.5 - 1 for p in pixels]
    reals = equalise(floats, size_hw, len(floats), channels)
    sides = [images[:COMPARED].permute(0, 2, 3, 1).numpy() for images in (synthetic, refined)]
    found = realism.compare(*sides, reals, 0)
    figures = {}
    for name, numbers in found.items():
        figures |= {f"{name}_{key}": numbers[key] for key in ("synthetic", "refined", "floor")}
        figures[f"{name}_left"] = (numbers["refined"] - numbers["floor"]) / (numbers["synthetic"] - numbers["floor"])
    return figures


def _allowed(arguments: argparse.Namespace) -> str:
    """`--max-drift` as it is given to training."""
    return ",".join(filter(None, (arguments.budget, arguments.others)))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and refine by the command line, as a user would, and measure."""
    allowed = _allowed(arguments)
    name = f"{arguments.dataset}-{allowed}"
    trained, refined = arguments.work / name, arguments.work / f"{name}-refined"
    refinery = [sys.executable, "-m", "refinery"]
    settings = arguments.work / "as-is.toml"
    settings.write_text('[train]\nprobe = false\n[refine]\ncheck = false\non_drift = "keep"\n')
    if not (trained / "summary.json").exists():
        command = [*refinery, "train", "--real", arguments.real, "--synthetic", arguments.synthetic, "--out", trained]
        command += ["--steps", arguments.steps, "--max-drift", allowed]
        command += [] if arguments.probe else ["--config", settings]
        subprocess.run([str(part) for part in command], check=True)
    if not refined.exists():
        command = [*refinery, "refine", arguments.synthetic, "--out", refined, "--model", trained, "--config", settings]
        subprocess.run([str(part) for part in command], check=True)
    label = POINTS[arguments.dataset]
    (before, truth), (after, _) = load(arguments.synthetic, label), load(refined, label)
    summary = json.loads((trained / "summary.json").read_text())
    drift = measure_drift(finders(arguments), before, after, truth)
    figures = {f"drift_{key}_px": value for key, value in drift.items()}
    size_hw = (before.shape[2], before.shape[3])
    figures |= measure_realism(before, after, arguments.real, size_hw)
    left = [value for key, value in figures.items() if key.endswith("_left")]
    figures |= {"budget_px": float(arguments.budget.removesuffix("px")), "steps": summary["steps"]}
    figures |= {"best_step": summary["best_step"], "distance_left": float(np.mean(left)), "images": len(before)}
    return {"figures": {key: round(float(value), 4) for key, value in figures.items()}}


def draw(cases: dict[str, Any]) -> Image.Image:
    """Above: budget against re-detected drift, with the line they must stay under. Below: against realism."""
    picture = Image.new("RGB", (760, 620), "white")
    rows = (
        ("95% drift found again, px (line: the budget)", "drift_p95_corrected_px"),
        ("distance left", "distance_left"),
    )
    for row, (title, key) in enumerate(rows):
        _panel(ImageDraw.Draw(picture), 310 * row, title, key, cases)
    return picture


def _panel(pen: ImageDraw.ImageDraw, top: int, title: str, key: str, cases: dict[str, Any]) -> None:
    font = ImageFont.load_default(14)
    budgets = sorted({case["figures"]["budget_px"] for case in cases.values()})
    is_drift = key.startswith("drift")
    values = [case["figures"][key] for case in cases.values()]
    high = max(*values, 1.0 if not is_drift else budgets[-1]) * 1.05

    def place(budget: float, value: float) -> tuple[float, float]:
        return 70 + 640 * budget / budgets[-1], top + 270 - 220 * value / high

    pen.text((70, top + 12), title, fill="black", font=font)
    for i in range(5):
        _, y = place(0, high * i / 4)
        pen.line([(70, y), (710, y)], fill="#dddddd")
        pen.text((24, y - 8), f"{high * i / 4:.2f}", fill="black", font=font)
    for budget in budgets:
        x, _ = place(budget, 0)
        pen.text((x - 10, top + 276), f"{budget:g}", fill="black", font=font)
    if is_drift:
        pen.line([place(0, 0), place(budgets[-1], budgets[-1])], fill="#888888", width=1)
    for k, (dataset, colour) in enumerate(zip(POINTS, ("#1f77b4", "#d62728"), strict=True)):
        own = [c["figures"] for name, c in cases.items() if name.startswith(dataset)]
        line = [place(f["budget_px"], f[key]) for f in sorted(own, key=lambda f: f["budget_px"])]
        if line:
            pen.line(line if len(line) > 1 else line * 2, fill=colour, width=3)
            for x, y in line:
                pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
        pen.text((560 + 70 * k, top + 12), dataset, fill=colour, font=font)


def main() -> None:
    """Measure one budget and add it to the results, or draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", choices=sorted(POINTS))
    parser.add_argument("--budget", default="1px")
    parser.add_argument("--others", default="", help="how far labels in other units may move, such as 10deg")
    for name in ("--real", "--synthetic", "--other", "--draw"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--probe", action="store_true", help="train the label probe, too, which shapes no refiner")
    arguments = parser.parse_args()
    path = RESULTS / "label_budget.json"
    cases = json.loads(path.read_text())["cases"] if path.exists() else {}
    if arguments.dataset:
        arguments.work.mkdir(parents=True, exist_ok=True)
        cases[f"{arguments.dataset} {_allowed(arguments)}"] = run(arguments)
        write("label_budget", CLAIM, "px; share of the distance to the real images", dict(sorted(cases.items())))
    if arguments.draw:
        draw({name: case for name, case in cases.items() if "," not in name}).save(arguments.draw)


if __name__ == "__main__":
    main()
