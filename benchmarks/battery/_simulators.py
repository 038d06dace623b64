"""The examples' simulators as modules, and where their data lie."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("REFINERY_DATA", ROOT.parent / "shared" / "data"))


@lru_cache(maxsize=4)
def simulator(example: str) -> Any:
    """examples/EXAMPLE/simulate.py, which is part of no package."""
    name = f"battery_{example}_simulate"
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / example / "simulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
