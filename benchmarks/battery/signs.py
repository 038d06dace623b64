"""Rendered traffic signs (48 x 48 px, RGB) of examples/signs/simulate.py, edited through its own description.

Labels are those of its sidecar. Object 0 is the sign. The splits share no pictogram.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battery._kind import Disc, Edit
from battery._pixels import Image, warped
from battery._simulators import DATA, simulator
from refinery.annotations import read_labels
from refinery.sample import Label

SIZE = 48
LABELS = (("class_id", 0), ("class_name", 0), *(("corners", i) for i in range(4)), ("box", 0))
PICTOGRAMS = DATA / "signs" / "pictograms"
FIRST_OF_SPLIT = {"tune": 0, "score": 1}


@dataclass(frozen=True)
class SignScene(simulator("signs").Scene):  # type: ignore[misc]
    """The simulator's scene, with how far its background is shifted in px."""

    ground_shift_px: tuple[float, float] = (0.0, 0.0)


class Signs:
    """The kind "signs"; see `Kind`. pictograms: folder of the pictograms, two and more in each split."""

    name = "signs"
    size_hw = (SIZE, SIZE)

    def __init__(self, pictograms: Path = PICTOGRAMS) -> None:
        self.simulate = simulator("signs")
        self.per_pixel: int = self.simulate.SUPERSAMPLE
        every = self.simulate.load_pictograms(pictograms, None, SIZE * self.per_pixel)
        self.pictograms = {split: every[first::2] for split, first in FIRST_OF_SPLIT.items()}
        self.edits: Mapping[str, Edit] = {
            "shift": moved, "scale": scaled, "rotate": rotated, "remove": removed,
            "class": self.swapped, "colour": recoloured, "background": ground_moved,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Any:
        """A sign of this split's pictograms."""
        scene = self.simulate.sample_scene(rng, self.pictograms[split], SIZE)
        return SignScene(**{field.name: getattr(scene, field.name) for field in fields(scene)})

    def draw(self, scene: Any) -> Image:
        """What `simulate.render` averages."""
        light, size = scene.light, scene.size
        x, y = (plane / size - 0.5 for plane in self.simulate.pixel_grid(size))
        sign = self.simulate.warp_sign(scene)
        lit = sign[..., :3] * (0.85 + light.slope[0] * x + light.slope[1] * y)[..., None]
        ground = self.simulate.paint_background(np.random.default_rng(scene.background_seed), size)
        if any(scene.ground_shift_px):
            flow = np.broadcast_to(np.array(scene.ground_shift_px, np.float32), (*ground.shape[:2], 2))
            ground = warped(np.asarray(ground, np.float32), flow, self.per_pixel)
        image = lit + ground * (1 - sign[..., 3:])
        image = light.exposure * np.array(light.cast, np.float32) * (image * (1 - light.haze) + 0.6 * light.haze)
        return np.asarray(np.clip(image, 0.0, 1.0), dtype=np.float32)

    def grain(self, scene: Any) -> float:  # noqa: ARG002
        """None."""
        return 0.0

    def labels(self, scene: Any) -> tuple[Label, ...]:
        """As they are read from the sidecar."""
        return read_labels({"sign.json": json.dumps(self.simulate.labels(scene)).encode()}, self.size_hw)[0]

    def discs(self, scene: Any) -> tuple[Disc, ...]:
        """The sign."""
        left, top, right, bottom = box_of(scene)
        return (Disc((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top) / 2),)

    def labels_of(self, scene: Any, index: int) -> tuple[tuple[str, int], ...]:  # noqa: ARG002
        """All there are."""
        return LABELS

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:  # noqa: ARG002
        """There is but one object."""
        return frozenset(LABELS)

    def retextured(self, scene: Any, strength: float, rng: np.random.Generator) -> Any:
        """Another light across the sign, another haze: its face has no texture of its own."""
        slope = (float(strength * rng.uniform(-1, 1)), float(strength * rng.uniform(-1, 1)))
        return replace(scene, light=replace(scene.light, slope=slope, haze=float(strength * rng.uniform(0, 0.5))))

    def swapped(self, scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG002
        """Another sign of the same split in the same pose."""
        own = scene.pictogram.class_id
        split = next(s for s, group in self.pictograms.items() if own in [p.class_id for p in group])
        others = [pictogram for pictogram in self.pictograms[split] if pictogram.class_id != own]
        return replace(scene, pictogram=others[rng.integers(len(others))])


def box_of(scene: Any) -> list[float]:
    """The sign's tight box, xyxy px."""
    sim = simulator("signs")
    box: list[float] = sim.tight_box(sim.project(scene.homography, scene.pictogram.outline())).tolist()
    return box


def placed(scene: Any, change: NDArray[np.float64]) -> Any:
    """The sign under a further transform (3, 3) of the image plane; the background stays."""
    return replace(scene, homography=change @ scene.homography)


def around_middle(scene: Any, linear: NDArray[np.float64]) -> Any:
    """The sign under a linear map (2, 2) around the middle of its box."""
    left, top, right, bottom = box_of(scene)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    change = np.eye(3)
    change[:2, :2], change[:2, 2] = linear, middle - linear @ middle
    return placed(scene, change)


def moved(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Moved by `amount` px in a random direction before a background that stays."""
    angle, change = rng.uniform(0, 2 * np.pi), np.eye(3)
    change[:2, 2] = amount * np.cos(angle), amount * np.sin(angle)
    return placed(scene, change)


def scaled(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Larger or smaller by `amount` percent."""
    return around_middle(scene, np.eye(2) * (1 + amount / 100) ** rng.choice([-1, 1]))


def rotated(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Turned by `amount` degrees in the image plane, either way."""
    angle = np.radians(amount) * rng.choice([-1, 1])
    cos, sin = np.cos(angle), np.sin(angle)
    return around_middle(scene, np.array([[cos, -sin], [sin, cos]]))


def removed(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Only the background."""
    return replace(scene, pictogram=replace(scene.pictogram, pixels=np.zeros_like(scene.pictogram.pixels)))


def recoloured(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Its colours in another order: red becomes green or blue; a gray sign stays as it is."""
    pixels = scene.pictogram.pixels
    turned = np.concatenate([np.roll(pixels[..., :3], int(rng.integers(1, 3)), axis=-1), pixels[..., 3:]], axis=-1)
    return replace(scene, pictogram=replace(scene.pictogram, pixels=turned))


def ground_moved(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """The background slides by `amount` px behind a sign that stays: no label depends on it."""
    angle = rng.uniform(0, 2 * np.pi)
    return replace(scene, ground_shift_px=(float(amount * np.cos(angle)), float(amount * np.sin(angle))))
