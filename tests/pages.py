"""Results and galleries that the tests of the HTML page are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refinery.checks import CheckContext, DriftSummary
from refinery.report.gallery import Gallery
from refinery.sample import Finding, Label, Pair, Sample, Verdict

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'"
POWER = {"iris": {"detects": 0.5, "unit": "px", "power": 0.9, "coverage": 0.92}}
VERDICTS: tuple[Verdict, ...] = ("pass", "pass", "pass", "fail", "abstain")


def findings_of(number: int) -> tuple[Finding, ...]:
    """A point that moved by 0.1 px for each sample before it, up to 2 px, and a class that nothing can judge."""
    moved = 0.1 * (number % 20)
    verdict = VERDICTS[number % len(VERDICTS)]
    point = Finding("iris", "keypoint", verdict, moved, "px", shift_px=(moved, 0.0), lower=0.5 * moved, upper=2 * moved)
    return point, Finding("kind", "class", "not_checkable", unit="flip", reason="no probe")


def samples(count: int, key: str = "sample") -> Iterator[tuple[str, tuple[Finding, ...]]]:
    """Keys and findings."""
    for number in range(count):
        yield f"{key} {number:06d}", findings_of(number)


def pair_of(key: str, size_hw: tuple[int, int] = (36, 60), channels: int = 3) -> Pair:
    """Noise that is brighter in the refined image, with a point and a class."""
    generator = np.random.default_rng(int(key[-6:]) if key[-6:].isdigit() else 0)
    synthetic = generator.uniform(-0.9, 0.5, (*size_hw, channels)).astype(np.float32)
    middle = np.array([size_hw[1] / 2, size_hw[0] / 2])
    labels = (
        Label("iris", "keypoint", middle, extent_px=6.0),
        Label("kind", "class", np.zeros(0), text=("left", "right")[int(generator.integers(2))]),
    )
    return Pair(Sample(key, f"{key}.png"), synthetic, synthetic + np.float32(0.3), labels)


def filled(count: int, key: str = "sample", size_hw: tuple[int, int] = (36, 60)) -> Gallery:
    """A gallery of so many samples, all that it chose drawn."""
    gallery = Gallery(CheckContext())
    for name, findings in samples(count, key):
        gallery.add(name, f"{name}.png", findings, findings[0].verdict, "refined", 1.0)
    for entry in gallery.chosen():
        gallery.draw(entry, pair_of(entry.key, size_hw))
    return gallery


def result_of(count: int, key: str = "sample", label: str = "iris") -> dict[str, Any]:
    """What refine knows when it writes its page."""
    drift = DriftSummary()
    verdicts = dict.fromkeys(("pass", "fail", "abstain", "not_checkable"), 0)
    for name, findings in samples(count, key):
        drift.add((replace(findings[0], label=label), findings[1]), name)
        verdicts[findings[0].verdict] += 1
    worst = {"key": key, "label": label, "item": 2, "verdict": "fail", "drift": 1.6, "lower": 1.2, "unit": "px"}
    summary = {
        "samples": count,
        "refined": count,
        "rejected": 0,
        "quarantined": 0,
        "softened": 0,
        "verdicts": verdicts,
        "drift": drift.as_dict({label: 0.5}),
        "power": {label: POWER["iris"]},
        "worst": [worst | {"reason": "moved by more than 1 px", "type": "keypoint"}],
    }
    summary["worst"][0]["image"] = f"{key}.png"
    return {"kind": "report", "source": f"/data/{key.replace('/', ' ')}", "out": "", "finished": True} | summary
