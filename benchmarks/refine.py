"""Refine images/s, end to end: refinery against a plain Pillow + torch loop, and as a share of the model's own rate.

    python benchmarks/refine.py [--repeats 3]

Folders of PNGs with a JSON sidecar each; the refiner is SimGAN's eye network with random weights. The plain loops read,
refine and save one file after the other; each is run with batches of 1 and of 16, and the better one counts. They get
an eighth of the images, since their rate does not depend on the number; what refinery does once a job counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import interleaved, timed, write
from PIL import Image

CASES = {"60x36 gray": ((36, 60, 1), 4000), "256x256 RGB": ((256, 256, 3), 160)}


def make_dataset(folder: Path, shape: tuple[int, int, int], count: int) -> None:
    """Smooth scenes with a disc each, its centre in the sidecar."""
    height, width, channels = shape
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    folder.mkdir(parents=True)
    for i in range(count):
        centre = random.uniform((width * 0.3, height * 0.3), (width * 0.7, height * 0.7))
        radius = height * random.uniform(0.15, 0.25)
        disc = 1 / (1 + np.exp(np.hypot(x - centre[0], y - centre[1]) - radius))
        ramp = (x * random.uniform(-1, 1) / width + y * random.uniform(-1, 1) / height) * 60
        planes = [
            130 + ramp - disc * random.uniform(40, 110) + random.normal(0, 4, (height, width)) for _ in range(channels)
        ]
        pixels = np.clip(np.stack(planes, 2), 0, 255).astype(np.uint8)
        Image.fromarray(pixels.squeeze()).save(folder / f"{i:05d}.png")
        sidecar = {"disc": {"center": centre.tolist(), "radius": radius}}
        (folder / f"{i:05d}.json").write_text(json.dumps(sidecar))


def make_artifact(folder: Path, channels: int) -> object:
    """An exported eye refiner that changes the image a little; returns the torch module as well."""
    import torch

    from refinery.artifact import Manifest, write_manifest
    from refinery.export import to_onnx
    from refinery.networks.resnet_refiner import ResnetRefiner

    torch.manual_seed(0)
    refiner = ResnetRefiner(channels)
    torch.nn.init.normal_(refiner.last.weight, 0, 0.05)
    folder.mkdir(parents=True)
    (folder / "refiner.onnx").write_bytes(to_onnx(refiner.eval(), channels, "simgan"))
    write_manifest(folder, Manifest(method="simgan", channels=channels))
    return refiner


def plain_loop(run: Callable[[np.ndarray], np.ndarray], source: Path, out: Path, batch: int, count: int) -> None:
    """Read, refine, save: the loop everybody writes first."""
    out.mkdir()
    names = sorted(source.glob("*.png"))[:count]
    for start in range(0, len(names), batch):
        chosen = names[start : start + batch]
        images = np.stack([np.atleast_3d(np.asarray(Image.open(name))) for name in chosen])
        refined = run(images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
        stored = np.clip(np.rint((refined + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
        for name, pixels in zip(chosen, stored, strict=True):
            Image.fromarray(pixels.squeeze()).save(out / name.name)
            shutil.copy(name.with_suffix(".json"), out)


def contenders(work: Path, shape: tuple[int, int, int], count: int) -> dict[str, Callable[[], float]]:
    """Everything that is timed, each giving images/s."""
    import onnxruntime
    import torch

    from refinery import artifact
    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine
    from refinery.runtime.batching import refine_images
    from refinery.runtime.session import open_session

    source, model = work / "synth", work / "model"
    make_dataset(source, shape, count)
    refiner = make_artifact(model, shape[2])
    session = open_session(artifact.load(model), "auto", "auto")
    ort = onnxruntime.InferenceSession(str(model / "refiner.onnx"), providers=["CPUExecutionProvider"])
    arrays = [np.random.default_rng(i).uniform(-1, 1, shape).astype(np.float32) for i in range(64)]

    def torch_run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return refiner(torch.from_numpy(images)).numpy()

    def ort_run(images: np.ndarray) -> np.ndarray:
        return ort.run(None, {"synthetic": images})[0]

    def fresh(run: Callable[[Path], object], images: int = count) -> float:
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        return images / timed(lambda: run(out))

    def ours(check: bool) -> Callable[[Path], object]:
        return lambda out: refine(RefineConfig(str(source), str(out), str(model), check=check))

    few = count // 8
    rounds = max(1, count // 4 // len(arrays))
    return {
        "torch loop, batch 1": lambda: fresh(lambda out: plain_loop(torch_run, source, out, 1, few), few),
        "torch loop, batch 16": lambda: fresh(lambda out: plain_loop(torch_run, source, out, 16, few), few),
        "onnxruntime loop, batch 16": lambda: fresh(lambda out: plain_loop(ort_run, source, out, 16, few), few),
        "refinery": lambda: fresh(ours(True)),
        "refinery, no checks": lambda: fresh(ours(False)),
        "model alone": lambda: len(arrays) * rounds / timed(
            lambda: [refine_images(session.run, arrays) for _ in range(rounds)]
        ),
    }  # fmt: skip


def main() -> None:
    """All sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cases = {}
    for name, (shape, count) in CASES.items():
        print(name)
        with tempfile.TemporaryDirectory() as work:
            rates = interleaved(contenders(Path(work), shape, count), arguments.repeats)
        median = {key: value["median"] for key, value in rates.items()}
        torch_loop = max(median["torch loop, batch 1"], median["torch loop, batch 16"])
        ratios = {
            "refinery/torch loop": median["refinery"] / torch_loop,
            "refinery/onnxruntime loop": median["refinery"] / median["onnxruntime loop, batch 16"],
            "refinery/model alone": median["refinery"] / median["model alone"],
            "no checks/model alone": median["refinery, no checks"] / median["model alone"],
        }
        cases[name] = {"rates": rates, "ratios": {key: round(value, 3) for key, value in ratios.items()}}
    write(
        "refine",
        "end to end 8 (60x36) and 7 (256x256) times a torch loop, 85% of the model's own rate",
        "images/s",
        cases,
    )


if __name__ == "__main__":
    main()
