"""Datasets for timing the label checks: discs with points, boxes, outlines and masks; a refiner that is calibrated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

OUTLINE = np.linspace(0, 2 * np.pi, 16, endpoint=False)


def make_labelled(folder: Path, size_hw: tuple[int, int], discs: int, count: int) -> None:
    """Gray scenes with discs in a row: center, radius, box and contour of each in the sidecar, and a mask beside it."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    folder.mkdir(parents=True)
    for i in range(count):
        random = np.random.default_rng(i)
        ramp = (x * random.uniform(-1, 1) / width + y * random.uniform(-1, 1) / height) * 60
        image, mask, found = 130 + ramp + random.normal(0, 4, size_hw), np.zeros(size_hw, np.uint8), []
        cell = width / discs
        for k in range(discs):
            radius = min(cell, height) * random.uniform(0.2, 0.3)
            middle = (cell * (k + random.uniform(0.45, 0.55)), height * random.uniform(0.35, 0.65))
            away = np.hypot(x - middle[0], y - middle[1])
            image -= random.uniform(40, 110) / (1 + np.exp(away - radius))
            mask[away < radius] = k + 1
            outline = np.add(middle, radius * np.stack((np.cos(OUTLINE), np.sin(OUTLINE)), 1))
            box = [middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius]
            found.append({"center": list(middle), "radius": radius, "box": box, "contour": outline.round(3).tolist()})
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{i:05d}.png")
        Image.fromarray(mask).save(folder / f"{i:05d}_mask.png")
        (folder / f"{i:05d}.json").write_text(json.dumps({"discs": found}))


def with_thresholds(model: Path, out: Path) -> None:
    """Write the thresholds that a finished job has measured into the artifact, as training does."""
    from refinery import artifact

    measured = json.loads((out / ".refinery" / "calibration.json").read_text())["thresholds"]
    artifact.write_manifest(model, replace(artifact.load(model).manifest, check_thresholds=measured))
