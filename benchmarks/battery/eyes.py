"""Rendered eyes (60 x 36 px, gray) of examples/eyes/simulate.py, edited through its own description of an eye.

Labels are those of its sidecar. Object 0 is the iris.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from battery._kind import Disc, Edit
from battery._pixels import Image
from battery._simulators import simulator
from refinery.annotations import read_labels
from refinery.sample import Label

IRIS_LABELS = ("iris_center", "iris_contour", "iris_radius", "gaze", "gaze_vector")
SPLIT_GRAYS = {"tune": (0.02, 0.1), "score": (0.08, 0.22)}


class Eyes:
    """The kind "eyes"; see `Kind`."""

    name = "eyes"

    def __init__(self) -> None:
        self.simulate = simulator("eyes")
        self.size_hw = (self.simulate.HEIGHT, self.simulate.WIDTH)
        self.per_pixel: int = self.simulate.SUPERSAMPLE
        self.edits: Mapping[str, Edit] = {
            "shift": moved, "scale": scaled, "remove": closed, "gaze": turned, "background": lids_moved,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Any:
        """An eye; the splits differ in how dark the iris is."""
        eye = self.simulate.sample_eye(rng)
        return replace(eye, eyeball=replace(eye.eyeball, iris_gray=float(rng.uniform(*SPLIT_GRAYS[split]))))

    def draw(self, scene: Any) -> Image:
        """What `simulate.render` averages."""
        sim = self.simulate
        x, y = sim.pixel_grid()
        t, v = sim.to_lid_frame(scene, x, y)
        upper, lower = sim.lid_distances(scene, t, v)
        skin = sim.shade_skin(scene, x, y, t, v, upper, lower) + sim.draw_mottle(scene)
        skin = skin * (1.0 - sim.draw_brow(scene, x, y))
        waterline = 0.12 * sim.ridge(lower - 0.6, 0.5) * sim.ridge(t, 0.7)
        opening = sim.coverage(np.maximum(upper, lower))
        image = skin + waterline + (sim.shade_eyeball(scene, x, y, t, upper) - skin) * opening
        image = image + (scene.lids.lash_gray - image) * sim.draw_lashes(scene, t, upper)
        return np.asarray(image[..., None], dtype=np.float32)

    def grain(self, scene: Any) -> Image:
        """As `simulate.render` adds it."""
        rng = np.random.default_rng([scene.texture_seed, 1])
        return rng.normal(0.0, scene.skin.grain, (*self.size_hw, 1)).astype(np.float32)

    def labels(self, scene: Any) -> tuple[Label, ...]:
        """As they are read from the sidecar."""
        return read_labels({"eye.json": json.dumps(self.simulate.labels(scene)).encode()}, self.size_hw)[0]

    def discs(self, scene: Any) -> tuple[Disc, ...]:
        """The iris."""
        return (Disc(*scene.eyeball.iris_center, scene.eyeball.iris_radius),)

    def labels_of(self, scene: Any, index: int) -> tuple[tuple[str, int], ...]:  # noqa: ARG002
        """Those of the iris."""
        return tuple((name, 0) for name in IRIS_LABELS)

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:
        """Those of the iris are of one object, the lids are another."""
        return frozenset((sibling, 0) for sibling in IRIS_LABELS) if name in IRIS_LABELS else frozenset({(name, item)})

    def retextured(self, scene: Any, strength: float, rng: np.random.Generator) -> Any:
        """Another iris, sclera and glint, on other skin; nothing moves."""
        ball = scene.eyeball
        changed = replace(
            ball,
            iris_gray=float(ball.iris_gray + strength * rng.uniform(-0.2, 0.6)),
            sclera_gray=float(ball.sclera_gray * (1 - strength * rng.uniform(0, 0.8))),
            glint_gray=float(rng.uniform(0, 0.9)),
        )
        skin = replace(scene.skin, gray=float(scene.skin.gray * (1 - strength * rng.uniform(0, 0.8))))
        return replace(scene, eyeball=changed, skin=skin, texture_seed=int(rng.integers(2**32)))


def moved(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """The eyeball moved by `amount` px in a random direction, between lids that stay."""
    angle, (x, y) = rng.uniform(0, 2 * np.pi), scene.eyeball.center
    center = (float(x + amount * np.cos(angle)), float(y + amount * np.sin(angle)))
    return replace(scene, eyeball=replace(scene.eyeball, center=center))


def scaled(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """An iris larger or smaller by `amount` percent around the same centre."""
    ball = scene.eyeball
    larger = replace(ball, iris_radius=float(ball.iris_radius * (1 + amount / 100) ** rng.choice([-1, 1])))
    off = ball.iris_center - larger.iris_center
    return replace(scene, eyeball=replace(larger, center=(larger.center[0] + off[0], larger.center[1] + off[1])))


def closed(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Lids shut over the iris: the upper one comes down to the lower."""
    lids = scene.lids
    shut = replace(lids, upper_height=-0.97 * lids.lower_height, upper_shape=lids.lower_shape)
    return replace(scene, lids=shut)


def turned(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """The eyeball turned by `amount` degrees in a random direction, between lids that stay."""
    return rotated_gaze(scene, amount, float(rng.uniform(0, 2 * np.pi)))


def rotated_gaze(scene: Any, degrees: float, direction_rad: float) -> Any:
    """The gaze vector turned by an exact angle towards a direction around it."""
    ball = scene.eyeball
    gaze = ball.gaze_vector
    right = np.cross(gaze, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    toward = np.cos(direction_rad) * right + np.sin(direction_rad) * np.cross(right, gaze)
    x, y, z = np.cos(np.radians(degrees)) * gaze + np.sin(np.radians(degrees)) * toward
    yaw, pitch = float(np.arctan2(x, -z)), float(-np.arcsin(y))
    return replace(scene, eyeball=replace(ball, yaw=yaw, pitch=pitch))


def lids_moved(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Lids opened or closed by up to `amount` px around an eyeball that stays: neither iris nor gaze depends on it."""
    lids = scene.lids
    raised = float(rng.choice([-1, 1]) * amount)
    return replace(scene, lids=replace(lids, upper_height=max(3.0, lids.upper_height + raised)))
