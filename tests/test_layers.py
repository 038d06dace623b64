"""The house: imports point down, and refining never loads torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_import_contracts_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    result = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    "modules",
    [
        "refinery.jobs.refine, refinery.jobs.inspect, refinery.jobs, refinery.pipeline, refinery.dataset",
        "refinery.cli, refinery.registry, refinery.config",
    ],
)
def test_the_refining_half_and_the_help_load_no_torch(modules):
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
