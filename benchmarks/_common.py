"""What the benchmarks share: medians over interleaved repeats, the machine in words, results with a schema."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import refinery

RESULTS = Path(__file__).parent / "results"


def interleaved(contenders: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, dict[str, Any]]:
    """Run every contender once, then all again, `repeats` times: a slow spell of the machine hits them all.

    A contender returns its rate. Returns {NAME: {"median", "values"}}.
    """
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            values[name].append(round(run(), 2))
            print(f"  {name}: {values[name][-1]}", flush=True)
    return {name: {"median": statistics.median(found), "values": found} for name, found in values.items()}


def timed(function: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import onnxruntime
    import torch

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next(
        (line.split(":")[1].strip() for line in flags.splitlines() if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "avx2": "avx2" in flags,
        "avx512": "avx512f" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "amx_bf16": "amx_bf16" in flags,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "load_average": os.getloadavg()[0],
    }


def write(name: str, claim: str, unit: str, tables: Mapping[str, Any]) -> None:
    """Write results/NAME.json and print it.

    tables: {CASE: {"rates": ..., "ratios": {NAME: number}}} for speeds, {CASE: {"figures": {...}}} for all else.
    """
    result = {
        "benchmark": name,
        "claim": claim,
        "unit": unit,
        "date": date.today().isoformat(),
        "refinery": refinery.__version__,
        "machine": machine(),
        "cases": tables,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for case, table in tables.items():
        print(case, json.dumps(table.get("ratios") or table.get("figures")))
