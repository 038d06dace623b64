"""The wheel is the product: built from the sources, installed alone, complete, and nothing in it but the package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from stream import write_refiner

ROOT = Path(__file__).parent.parent
USE = """
import sys, numpy, refinery
assert refinery.__file__.startswith(sys.argv[1]), refinery.__file__
images = numpy.zeros((2, 16, 20, 1), numpy.uint8)
refined = refinery.load(sys.argv[2])(images, seed=0)
assert refined.shape == images.shape
report = refinery.audit(images, refined, [{"center": [8, 8], "radius": 4}] * 2, max_drift="1px")
assert sum(report.verdicts.values()) == 2
from refinery.checks._matcher import VERSION
from refinery import presets
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from what git tracks, so that nothing that happens to lie about can be in it."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file() and name.startswith(("refinery/", "pyproject.toml", "README.md", "LICENSE")):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    subprocess.run(command, cwd=folder / "source", check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {path for path in (ROOT / "refinery").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {path.relative_to(ROOT).as_posix() for path in there}
    assert {"refinery/py.typed", "refinery/cli/__init__.py"} <= names
    assert {Path(name).suffix for name in names} >= {".py", ".onnx", ".toml"}


@pytest.mark.slow
def test_the_wheel_works_alone(wheel, tmp_path) -> None:
    """Installed into a folder of its own, without the sources; what it depends on comes from this environment."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    model = write_refiner(tmp_path)
    alone = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(site), str(model)], cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    helped = subprocess.run(
        [sys.executable, "-m", "refinery", "train", "--help"], cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert "--preset" in helped.stdout
