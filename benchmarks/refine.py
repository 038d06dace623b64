"""Refine images/s, end to end: refinery against a plain Pillow + torch loop, and as a share of the model's own rate.

    python benchmarks/refine.py [--repeats 3]
    python benchmarks/refine.py --checks [--repeats 3] [--dataset SYNTHETIC MODEL]

Folders of PNGs with a JSON sidecar each; the refiner is SimGAN's eye network with random weights. The plain loops read,
refine and save one file after the other; each is run with batches of 1 and of 16, and the better one counts. They get
an eighth of the images, since their rate does not depend on the number; what refinery does once a job counts.

What the checks cost (--checks): the same jobs with and without label checks, softening and power included, thresholds
in the artifact; on discs with a point, a radius, a box, an outline and a mask each, or on a dataset and a trained run
of yours, whose probe then counts. Beside the rates stand CPU seconds, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import interleaved, timed, write
from _labelled import make_labelled, with_thresholds
from PIL import Image

CASES = {"60x36 gray": ((36, 60, 1), 4000), "256x256 RGB": ((256, 256, 3), 160)}
CHECKED = {"60x36 gray, 1 disc": ((36, 60), 1, 2000), "256x256 gray, 4 discs": ((256, 256), 4, 400)}


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


def make_artifact(folder: Path, channels: int, **settings: int) -> object:
    """An exported eye refiner that changes the image a little; returns the torch module as well."""
    import torch

    from refinery.artifact import Manifest, write_manifest
    from refinery.export import to_onnx
    from refinery.networks.resnet_refiner import ResnetRefiner

    torch.manual_seed(0)
    refiner = ResnetRefiner(channels, **settings)
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


def cost_of_checks(source: Path, model: Path, out: Path, repeats: int) -> dict[str, object]:
    """One case: rates with and without checks, in turn, and the CPU time of each."""
    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine

    cpu_s: dict[str, list[float]] = {"with checks": [], "without": []}
    last: dict[str, object] = {}

    def job(name: str) -> float:
        shutil.rmtree(out, ignore_errors=True)
        started = time.process_time()
        config = RefineConfig(str(source), str(out), str(model), check=name == "with checks")
        wall_s = timed(lambda: last.update({name: refine(config)}))
        cpu_s[name].append(round(time.process_time() - started, 2))
        return last[name]["samples"] / wall_s

    rates = interleaved({name: lambda name=name: job(name) for name in cpu_s}, repeats)
    kept = rates["with checks"]["median"] / rates["without"]["median"]
    cpu = {name: float(np.median(values)) for name, values in cpu_s.items()}
    checked = last["with checks"]
    figures = {
        "images": checked["samples"],
        "labels": {name: found["verdicts"] for name, found in checked["drift"].items()},
        "softened": checked["softened"],
        "cpu_s": cpu_s,
    }
    ratios = {"with/without": round(kept, 3), "share of the time": round(1 - kept, 3)}
    ratios["share of the CPU time"] = round(1 - cpu["without"] / cpu["with checks"], 3)
    return {"rates": rates, "ratios": ratios, "figures": figures}


def what_checks_cost(dataset: list[str] | None, repeats: int, share: float) -> dict[str, object]:
    """All cases by name."""
    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine

    cases: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if dataset:
            return {Path(dataset[0]).name: cost_of_checks(Path(dataset[0]), Path(dataset[1]), work / "out", repeats)}
        for name, (size_hw, discs, count) in CHECKED.items():
            print(name)
            source, model = work / name / "synth", work / name / "model"
            make_labelled(source, size_hw, discs, max(8, round(count * share)))
            make_artifact(model, 1)
            refine(RefineConfig(str(source), str(work / name / "first"), str(model)))
            with_thresholds(model, work / name / "first")
            cases[name] = cost_of_checks(source, model, work / name / "out", repeats)
    return cases


def main() -> None:
    """All sizes, or what the checks cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--checks", action="store_true", help="what the label checks cost, and nothing else")
    parser.add_argument("--dataset", nargs=2, metavar=("SYNTHETIC", "MODEL"), help="measure --checks on these")
    parser.add_argument("--share", type=float, default=1.0, help="of the images of --checks, for a quick look")
    parser.add_argument("--name", default="refine_checks", help="of the result of --checks (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.checks:
        claim = "label checks, probe, softening and power cost less than 25% of the time at 60x36 and at 256x256"
        write(
            arguments.name, claim, "images/s", what_checks_cost(arguments.dataset, arguments.repeats, arguments.share)
        )
    else:
        compare(arguments.repeats)


def compare(repeats: int) -> None:
    """Against the plain loops."""
    cases = {}
    for name, (shape, count) in CASES.items():
        print(name)
        with tempfile.TemporaryDirectory() as work:
            rates = interleaved(contenders(Path(work), shape, count), repeats)
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
