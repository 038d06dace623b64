"""An audit without a model trains its own judge for classes, numbers and directions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stream import refinery

SIDE = 28
Y, X = np.mgrid[:SIDE, :SIDE]


def drawn(kind: str, seed: int) -> np.ndarray:
    """A bright disc or bar on an uneven ground: (H, W) uint8."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(11, 16, 2)
    inside = np.hypot(X - x, Y - y) < 7 if kind == "disc" else (abs(X - x) < 10) & (abs(Y - y) < 3)
    return (90 + 20 * np.sin(X / 5 + seed) + 100 * inside + rng.normal(0, 3, X.shape)).clip(0, 255).astype(np.uint8)


def write(root: Path, count: int, exchanged: int = 0) -> Path:
    """Images of two kinds with a JSON each; the first `exchanged` of them show the other kind, all a bit darker."""
    root.mkdir()
    for i in range(count):
        kind = ("disc", "bar")[i % 2]
        shown = ("bar", "disc")[i % 2] if i < exchanged else kind
        pixels = drawn(shown, i) if root.name == "synth" else (0.8 * drawn(shown, i) + 10).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{i:04d}.png")
        (root / f"{i:04d}.json").write_text(json.dumps({"class": kind}))
    return root


def test_too_few_images_for_a_probe_are_said(tmp_path):
    synth = write(tmp_path / "synth", 12)
    done = refinery("inspect", synth, write(tmp_path / "refined", 12), "--json")
    assert "no label probe for class: 12 labelled images, 128 are needed" in done.stderr
    assert json.loads(done.stdout)["drift"]["class"]["coverage"] == 0.0


def test_nobody_trains_a_probe_who_does_not_want_one(tmp_path):
    synth = write(tmp_path / "synth", 12)
    done = refinery("inspect", synth, write(tmp_path / "refined", 12), "--json", "--no-probe")
    assert done.exit_code == 0
    assert "label probe for" not in done.stderr


@pytest.mark.slow
def test_classes_that_another_tool_exchanged_fail_and_the_others_pass(tmp_path):
    synth = write(tmp_path / "synth", 240)
    done = refinery("inspect", synth, write(tmp_path / "refined", 240, exchanged=12), "--json")
    assert "training a label probe on 240 images for class" in done.stderr
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    failed = {key for key, verdict in found["verdicts"].items() if verdict == "fail"}
    assert failed <= {f"{i:04d}" for i in range(12)}
    assert len(failed) >= 10
    assert sum(verdict == "pass" for verdict in found["verdicts"].values()) >= 200
