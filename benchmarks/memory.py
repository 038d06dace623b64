"""Peak memory of refine: whether it grows with the dataset, folders, one flat folder and tar shards.

    python benchmarks/memory.py [--counts 1000 100000]

Images of 60x36 px with a JSON each, checks on; the refiner is a small ONNX file, since the network's memory does not
depend on the dataset. Each job is a process of its own, whose peak resident size the operating system tells.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from _common import write
from refine import make_artifact, make_dataset

DIFFERENT = 200
"""Different images; the rest are links to them, so that the disk holds them."""
EACH = 1000
LAYOUTS = ("folders of 1,000", "one folder", "tar shards of 1,000")


def build(layout: str, images: list[Path], count: int, root: Path) -> Path:
    """A dataset of so many images."""
    for start in range(0, count, EACH):
        numbers = range(start, min(start + EACH, count))
        if layout.startswith("tar"):
            root.mkdir(parents=True, exist_ok=True)
            with tarfile.open(root / f"{start // EACH:04d}.tar", "w") as archive:
                for i in numbers:
                    for path in (images[i % DIFFERENT], images[i % DIFFERENT].with_suffix(".json")):
                        archive.add(path, f"{i:06d}{path.suffix}")
            continue
        folder = root if layout == "one folder" else root / f"{start // EACH:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in numbers:
            for path in (images[i % DIFFERENT], images[i % DIFFERENT].with_suffix(".json")):
                os.link(path, folder / f"{i:06d}{path.suffix}")
    return root


def peak_mb(source: Path, out: Path, model: Path) -> tuple[float, dict[str, object]]:
    """Largest resident size of the process, in MB, and what refine said. Linux only."""
    # VmHWM, since ru_maxrss of a new process begins with what the one that started it had.
    code = (
        "import sys; from pathlib import Path; from refinery.cli import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "finally: print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    command = ["refine", str(source), "--out", str(out), "--model", str(model), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return round(int(done.stderr.splitlines()[-1]) / 1024, 1), json.loads(done.stdout)


def main() -> None:
    """Every layout at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 100_000])
    arguments = parser.parse_args()
    cases: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_dataset(work / "images", (36, 60, 1), DIFFERENT)
        make_artifact(work / "model", 1, width=8, blocks=1)
        images = sorted((work / "images").glob("*.png"))
        for layout in LAYOUTS:
            figures: dict[str, object] = {}
            for count in arguments.counts:
                source = build(layout, images, count, work / "in")
                peak, result = peak_mb(source, work / "out", work / "model")
                figures |= {f"peak MB, {count:,} images": peak, f"images/s, {count:,}": result["images_per_s"]}
                print(layout, count, peak, result["images_per_s"], flush=True)
                shutil.rmtree(work / "in")
                shutil.rmtree(work / "out")
            first, last = (
                figures[f"peak MB, {count:,} images"] for count in arguments.counts[:: len(arguments.counts) - 1]
            )
            cases[layout] = {"figures": figures | {"growth": round(last / first - 1, 3)}}
    write("memory", "peak memory within 5% for 1,000 and for 100,000 images", "MB", cases)


if __name__ == "__main__":
    main()
