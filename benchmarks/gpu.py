"""Refining on a GPU: images/s end to end, as a share of the model's own rate, and where the time goes.

    python benchmarks/gpu.py [--provider cuda] [--precision fp16] [--repeats 3] [--share 1] [--only 60x36]

The same jobs as `refine.py` without the plain loops; with `--provider cpu` it runs anywhere. Each stage is timed alone
as in the stream. Of the model alone: a plain run against bound buffers, in ordinary and in page-locked memory; one
stream against two, on images of one size and of two sizes in turn; larger batches. The first batch of a size stands
apart: what it costs, and what coming back to a size costs, on one stream and on two.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _common import interleaved, timed, write
from refine import make_artifact, make_dataset, stages

CASES = {
    "60x36 gray": ((36, 60, 1), 20_000),
    "256x256 RGB": ((256, 256, 3), 2000),
    "1280x720 RGB": ((720, 1280, 3), 100),
}


def contenders(
    work: Path, shape: tuple[int, int, int], count: int, provider: str, precision: str
) -> dict[str, Callable[[], float]]:
    """Whole jobs and each stage alone, in images/s."""
    from refinery.config import RefineConfig
    from refinery.jobs.refine import refine

    make_dataset(work / "synth", shape, count)
    make_artifact(work / "model", shape[2])

    outs = (work / f"out{i}" for i in itertools.count())

    def job(check: bool) -> float:
        paths = (str(work / "synth"), str(next(outs)), str(work / "model"))
        config = RefineConfig(*paths, provider=provider, precision=precision, check=check)
        return count / timed(lambda: refine(config))

    whole = {"refinery": lambda: job(True), "refinery, no checks": lambda: job(False)}
    return whole | stages(work / "synth", work / "model", count, work / "written", provider, precision)


def model_alone(
    model: Path, shape: tuple[int, int, int], batches: int, provider: str, precision: str
) -> dict[str, Callable[[], float]]:
    """Ways to run the model, in images/s: `batches` of the stream's size, half of them of another height in turns."""
    from refinery import artifact
    from refinery.runtime import gpu
    from refinery.runtime.batching import batch_size
    from refinery.runtime.binding import BoundRunner, Lane
    from refinery.runtime.session import _onnxruntime, _OnnxRuntimeRunner, cores, open_session

    height, width, channels = shape
    count = batch_size((height, width), 0)
    one, other = (np.zeros((count, channels, h, width), np.float32) for h in (height, height + 8))

    def rate(run: Callable[[np.ndarray], np.ndarray], given: list[np.ndarray], streams: int = 1) -> float:
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(run, given[:2]))  # what a size costs once is in `first_batch`
            return sum(map(len, given)) / timed(lambda: list(pool.map(run, given)))

    found: dict[str, Callable[[], float]] = {}
    for streams in (1, 2):
        run = open_session(artifact.load(model), provider, precision, streams=streams).run
        given = {"one size": [one] * batches, "two sizes in turn": [one, other] * (batches // 2)}
        if height < 720:
            given["batches 8 times as large"] = [np.concatenate([one] * 8)] * (batches // 2)
        for name, planes in given.items():
            found[f"{streams} stream(s), {name}"] = lambda run=run, planes=planes, n=streams: rate(run, planes, n)
    if provider in ("cpu", "cuda") and precision != "fp16":
        offered = gpu.providers("cuda", half=False) if provider == "cuda" else [("CPUExecutionProvider", {})]
        session = _onnxruntime(artifact.load(model), offered, cores())
        ways = {
            "plain run": _OnnxRuntimeRunner(session),
            "bound buffers": BoundRunner([Lane(session, provider)]),
            "bound buffers, page-locked": BoundRunner([Lane(session, provider, gpu.host_memory()[0])]),
        }
        for name, way in ways.items():
            if provider == "cuda" or "locked" not in name:
                found[name] = lambda way=way: rate(way, [one] * batches)
    return found


def first_batch(
    model: Path, shape: tuple[int, int, int], provider: str, precision: str, streams: int
) -> dict[str, float]:
    """Seconds to open a session, for a batch of a size it has not seen, for the next one, and after another size."""
    from refinery import artifact
    from refinery.runtime.batching import batch_size
    from refinery.runtime.session import open_session

    height, width, channels = shape
    opened = []
    found = {"open": timed(lambda: opened.append(open_session(artifact.load(model), provider, precision, 0, streams)))}
    for what, high in (
        ("first", height),
        ("next", height),
        ("first of another height", height + 8),
        ("next of it", height + 8),
        ("back to the first height", height),
    ):
        planes = np.zeros((batch_size((height, width), 0), channels, high, width), np.float32)
        found[what] = timed(lambda planes=planes: opened[0].run(planes))
    return {f"{streams} stream(s), {what}, s": round(seconds, 4) for what, seconds in found.items()}


def main() -> None:
    """All sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--provider", default="cuda", help="default: %(default)s")
    parser.add_argument("--precision", default="auto", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the images, for a quick look")
    parser.add_argument("--only", default="", help="sizes whose name holds this, for a quick look")
    arguments = parser.parse_args()
    cases: dict[str, object] = {}
    how = (arguments.provider, arguments.precision)
    for name, (shape, count) in CASES.items():
        if arguments.only not in name:
            continue
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            work, images = Path(folder), max(8, round(count * arguments.share))
            whole = contenders(work, shape, images, *how)
            first: dict[str, float] = {}
            for streams in (1, 2):
                first |= first_batch(work / "model", shape, *how, streams)
            batches = 2 * max(1, round(16 * arguments.share))
            rates = interleaved(whole | model_alone(work / "model", shape, batches, *how), arguments.repeats)
        alone = {stage: rate["median"] for stage, rate in rates.items() if stage.endswith(" alone")}
        spent = sum(1 / rate for rate in alone.values())
        ratios = {
            f"{job}/model alone": round(rates[job]["median"] / alone["model alone"], 3)
            for job in ("refinery", "refinery, no checks")
        }
        ratios |= {f"share of the time: {stage}": round(1 / rate / spent, 3) for stage, rate in alone.items()}
        cases[name] = {"rates": rates, "ratios": ratios, "figures": first}
    claim = f"provider {arguments.provider}: the share of the model's own rate, and where the time goes"
    write(f"gpu_{arguments.provider}", claim, "images/s", cases)


if __name__ == "__main__":
    main()
