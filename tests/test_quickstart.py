"""The notebook runs from its first cell to its last, as a reader of it would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_the_quickstart_runs_cell_by_cell(tmp_path) -> None:
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shutil.copytree(EXAMPLES / "coins", tmp_path / "coins", ignore=shutil.ignore_patterns("demo"))
    script = tmp_path / "quickstart.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "STEPS": "4"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    work = tmp_path / "quickstart"
    for name in ("labels.png", "before-after.png", "refined/.refinery/report.html", "run/artifact/refiner.onnx"):
        assert (work / name).stat().st_size > 1000, name
    assert "80 samples: {'pass'" in done.stdout
    moved = next(line for line in done.stdout.splitlines() if "'coins.box'" in line)
    assert int(moved.split("'fail': ")[1].split(",")[0]) >= 60
