"""Refine images/s, end to end: refinery against plain Pillow + torch loops, and as a share of its slowest stage alone.

    python benchmarks/refine.py [--repeats 3] [--only 60x36]
    python benchmarks/refine.py --sustained [--repeats 3] [--only 60x36]
    python benchmarks/refine.py --checks [--repeats 3] [--dataset SYNTHETIC MODEL]

Folders of PNGs and JPEGs with a JSON sidecar each, tar shards and an HDF5 file of the same images; the refiner is the
default's with random weights. The plain loops, torch eager with SimGAN's eye network as published and ONNX Runtime with
the same refiner as ours, read, refine and save one PNG after the other, in batches of 1
and of 16, and the better one counts. They get a twelfth of the images, since their rate does not depend on the number;
what refinery does once a job (calibration, power, the picture of the worst) counts. Each stage is timed alone on all
cores, which in the stream the stages share: the sum of their times, one after the other, is what a stream without idle
cores would take.

How fast a long job runs (--sustained): a job, and one of a third of its images after it; the images that they differ by
over the seconds that they differ by. What is done once a job falls out.

What the checks cost (--checks): the same jobs with and without label checks, softening and power included, thresholds
in the artifact; on discs with a point, a radius, a box, an outline and a mask each, or on a dataset and a trained run
of yours, whose probe then counts. Beside the rates stand CPU seconds, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
from _common import interleaved, timed, write
from _labelled import make_labelled, with_thresholds
from PIL import Image

CASES = {"60x36 gray": ((36, 60, 1), 6000), "256x256 RGB": ((256, 256, 3), 300), "1280x720 RGB": ((720, 1280, 3), 24)}
LAYOUTS = ("PNG folder", "JPEG folder", "PNG tar", "HDF5")
"""All four at 60x36; of larger images the first three at 256x256, the first at 1280x720."""
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
    """The default refiner, exported, which changes the image a little; or SimGAN's, where settings are given.

    Returns the torch module as well.
    """
    import torch

    from refinery.artifact import Manifest, write_manifest
    from refinery.networks.multiscale_refiner import MultiscaleRefiner
    from refinery.networks.resnet_refiner import ResnetRefiner
    from refinery.onnx_export import to_onnx

    torch.manual_seed(0)
    refiner = ResnetRefiner(channels, **settings) if settings else MultiscaleRefiner(channels, latent=4, tone=True)
    torch.nn.init.normal_(refiner.last.weight, 0, 0.05)
    folder.mkdir(parents=True)
    (folder / "refiner.onnx").write_bytes(to_onnx(refiner.eval(), channels, "simgan"))
    names = ("size_multiple", "min_side_px", "receptive_field_px", "cell_px", "latent")
    about = {"out_channels": channels, **{name: getattr(refiner, name) for name in names}}
    write_manifest(folder, Manifest(method="simgan", channels=channels, **about))
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


def repack(folder: Path, work: Path) -> dict[str, Path]:
    """The same images as JPEGs, as tar shards of 1,000 samples, and as an HDF5 file."""
    (work / "jpeg").mkdir()
    (work / "tar").mkdir()
    names = sorted(folder.glob("*.png"))
    with h5py.File(work / "images.h5", "w") as file:
        for name in names:
            with Image.open(name) as image:
                image.save(work / "jpeg" / f"{name.stem}.jpg", quality=95)
                file[f"image/{name.stem}"] = np.asarray(image)
            shutil.copy(name.with_suffix(".json"), work / "jpeg")
            file[f"center/{name.stem}"] = json.loads(name.with_suffix(".json").read_text())["disc"]["center"]
    for start in range(0, len(names), 1000):
        with tarfile.open(work / "tar" / f"{start // 1000:04d}.tar", "w") as archive:
            for name in names[start : start + 1000]:
                for path in (name, name.with_suffix(".json")):
                    archive.add(path, path.name)
    return {"PNG folder": folder, "JPEG folder": work / "jpeg", "PNG tar": work / "tar", "HDF5": work / "images.h5"}


def contenders(work: Path, shape: tuple[int, int, int], count: int) -> dict[str, Callable[[], float]]:
    """Everything that is timed, each giving images/s."""
    import onnxruntime
    import torch

    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine
    from refinery.networks.resnet_refiner import ResnetRefiner

    source, model = work / "synth", work / "model"
    make_dataset(source, shape, count)
    make_artifact(model, shape[2])
    papers = ResnetRefiner(shape[2], padding="zeros", head="tanh").eval()
    ort = onnxruntime.InferenceSession(str(model / "refiner.onnx"), providers=["CPUExecutionProvider"])

    def torch_run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return papers(torch.from_numpy(images)).numpy()

    def ort_run(images: np.ndarray) -> np.ndarray:
        return ort.run(None, {"synthetic": images, "latent": np.zeros((len(images), 4), np.float32)})[0]

    outs = (work / f"out{i}" for i in itertools.count())

    def fresh(run: Callable[[Path], object], images: int = count) -> float:
        """Into a new folder: for seconds after files were deleted, ext4 is slow to create some (1 ms each)."""
        out = next(outs)
        return images / timed(lambda: run(out))

    def ours(dataset: Path, check: bool) -> float:
        return fresh(lambda out: refine(RefineConfig(str(dataset), str(out), str(model), check=check)))

    few = max(2, count // 12)
    batches = (1, 16) if shape[0] < 720 else (1,)
    loops = {"torch": torch_run, "onnxruntime": ort_run}
    timings: dict[str, Callable[[], float]] = {
        f"{name} loop, batch {batch}": lambda run=run, batch=batch: fresh(
            lambda out: plain_loop(run, source, out, batch, few), few
        )
        for name, run in loops.items()
        for batch in batches
    }
    for name, dataset in repack(source, work).items():
        if name not in LAYOUTS[: 4 - shape[0] // 200]:
            continue
        for job, check in ((name, True), (f"{name}, no checks", False)):
            timings[job] = lambda dataset=dataset, check=check: ours(dataset, check)
    return timings | stages(source, model, count, work / "written")


def sustained(work: Path, shape: tuple[int, int, int], count: int) -> dict[str, Callable[[], float]]:
    """Images/s of a PNG folder without what is done once a job, and of each stage alone."""
    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine

    few = count // 3
    make_dataset(work / "few", shape, few)
    make_dataset(work / "many", shape, count)
    make_artifact(work / "model", shape[2])
    outs = (work / f"out{i}" for i in itertools.count())

    def seconds(dataset: str, check: bool) -> float:
        config = RefineConfig(str(work / dataset), str(next(outs)), str(work / "model"), check=check)
        return timed(lambda: refine(config))

    def rate(check: bool) -> float:
        return (count - few) / (seconds("many", check) - seconds("few", check))

    jobs = {"PNG folder": lambda: rate(True), "PNG folder, no checks": lambda: rate(False)}
    return jobs | stages(work / "few", work / "model", few, work / "written")


def stages(
    source: Path, model: Path, count: int, out: Path, provider: str = "auto", precision: str = "auto"
) -> dict[str, Callable[[], float]]:
    """Each stage of the stream by itself, on the threads that it has there."""
    from refinery import artifact
    from refinery.checks import CheckContext, run_checks
    from refinery.chunk import prepare
    from refinery.dataset import open_dataset
    from refinery.image import from_float
    from refinery.labels import open_labels
    from refinery.runtime.batching import refine_images
    from refinery.runtime.session import cores, open_session
    from refinery.sample import Pair
    from refinery.work import RefineOptions

    session = open_session(artifact.load(model), provider, precision, streams=cores())
    data = open_dataset(source)
    samples = list(data.entries())[: min(count, 256)]
    options = RefineOptions(artifact.load(model).manifest.channels, labels=open_labels(data))
    works = [prepare(data, sample, options) for sample in samples]
    arrays = [work.synthetic for work in works]
    pairs = [Pair(work.sample, work.synthetic, work.synthetic, work.labels) for work in works]
    pixels = [from_float(array, 8) for array in arrays]
    latents = [np.zeros(session.latent, np.float32)] * len(arrays) if session.latent else None
    context, sinks = CheckContext(), (data.sink(out / str(i)) for i in itertools.count())

    def on_threads(function: Callable[[int], object]) -> float:
        with ThreadPoolExecutor(cores()) as pool:
            return len(samples) / timed(lambda: list(pool.map(function, range(len(samples)))))

    def write_all() -> float:
        sink = next(sinks)

        def write(i: int) -> None:
            sink.write_image(samples[i], data.encode(pixels[i], works[i].decoded))
            sink.carry(samples[i].sidecars[0])

        return on_threads(write)

    def refine_all() -> None:
        with ThreadPoolExecutor(session.streams) as pool:
            refine_images(session.run, arrays, 0, pool, latents, session.fit)

    return {
        "read, decode and parse alone": lambda: on_threads(lambda i: prepare(data, samples[i], options)),
        "model alone": lambda: len(arrays) / timed(refine_all),
        "checks alone": lambda: len(pairs) / timed(lambda: run_checks(pairs, context)),
        "encode and write alone": write_all,
    }


def cost_of_checks(source: Path, model: Path, out: Path, repeats: int) -> dict[str, object]:
    """One case: rates with and without checks, in turn, and the CPU time of each."""
    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine

    cpu_s: dict[str, list[float]] = {"with checks": [], "without": []}
    last: dict[str, object] = {}

    outs = (out / str(i) for i in itertools.count())

    def job(name: str) -> float:
        started = time.process_time()
        config = RefineConfig(str(source), str(next(outs)), str(model), check=name == "with checks")
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
    parser.add_argument("--only", default="", help="sizes whose name holds this, for a quick look")
    parser.add_argument("--sustained", action="store_true", help="how fast a long job runs, and nothing else")
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
    elif arguments.sustained:
        claim = "a long job runs at 90% of the slowest stage alone"
        write("refine_sustained", claim, "images/s", measured(sustained, arguments.repeats, arguments.only))
    else:
        claim = "end to end 15 (60x36), 25 (256x256) and 30 (1280x720) times a torch loop of the paper's network"
        write("refine", claim, "images/s", measured(contenders, arguments.repeats, arguments.only))


def measured(
    timings: Callable[[Path, tuple[int, int, int], int], dict[str, Callable[[], float]]], repeats: int, only: str
) -> dict[str, object]:
    """Rates and ratios of every size whose name holds `only`."""
    cases: dict[str, object] = {}
    for name, (shape, count) in CASES.items():
        if only not in name:
            continue
        print(name)
        with tempfile.TemporaryDirectory() as work:
            rates = interleaved(timings(Path(work), shape, count), repeats)
        cases[name] = {"rates": rates, "ratios": ratios_of({key: value["median"] for key, value in rates.items()})}
    return cases


def ratios_of(median: dict[str, float]) -> dict[str, float]:
    """Every job over the better torch and ONNX Runtime loop and over the slowest stage, which shares the cores."""
    alone = {name: rate for name, rate in median.items() if name.endswith(" alone")}
    loops = {
        kind: max((rate for name, rate in median.items() if name.startswith(kind)), default=None)
        for kind in ("torch", "onnxruntime")
    }
    found: dict[str, float] = {}
    for name, rate in median.items():
        if name in alone or " loop" in name:
            continue
        stages = [value for stage, value in alone.items() if "no checks" not in name or "checks" not in stage]
        found |= {f"{name}/{kind} loop": rate / best for kind, best in loops.items() if best}
        found[f"{name}/slowest stage"] = rate / min(stages)
        found[f"{name}/all stages one after the other"] = rate * sum(1 / value for value in stages)
    return {name: round(value, 3) for name, value in found.items()}


if __name__ == "__main__":
    main()
