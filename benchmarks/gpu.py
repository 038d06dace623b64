"""Refining on a GPU: images/s end to end, as a share of the model's own rate, and where the time goes.

    python benchmarks/gpu.py [--provider cuda] [--precision fp16] [--repeats 3] [--share 1]

The same jobs as `refine.py` without the plain loops; with `--provider cpu` it runs anywhere. Each stage is timed alone
as in the stream. The first batch of a shape stands apart: it is what each new size of image costs.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
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


def first_batch(model: Path, shape: tuple[int, int, int], provider: str, precision: str) -> dict[str, float]:
    """Seconds for one image of a shape that the session has not seen, and for the next one."""
    from refinery import artifact
    from refinery.runtime.session import open_session

    session = open_session(artifact.load(model), provider, precision)
    found: dict[str, float] = {}
    for height in (shape[0], shape[0] + 8):
        planes = np.zeros((1, shape[2], height, shape[1]), np.float32)
        found[f"first of {height}x{shape[1]}, s"] = round(timed(lambda planes=planes: session.run(planes)), 4)
        found[f"next of {height}x{shape[1]}, s"] = round(timed(lambda planes=planes: session.run(planes)), 4)
    return found


def main() -> None:
    """All sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--provider", default="cuda", help="default: %(default)s")
    parser.add_argument("--precision", default="auto", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the images, for a quick look")
    arguments = parser.parse_args()
    cases: dict[str, object] = {}
    how = (arguments.provider, arguments.precision)
    for name, (shape, count) in CASES.items():
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            work, images = Path(folder), max(8, round(count * arguments.share))
            rates = interleaved(contenders(work, shape, images, *how), arguments.repeats)
            first = first_batch(work / "model", shape, *how)
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
