"""Edits of the fresh split's crates: pushed, resized and turned on the floor, exchanged, painted, joined by a ball."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from battery.fresh_base import Scene
from battery.fresh_boxes import SEEN, SIZES, Ball, box_of, clear, colour_beside, seen_corners, sides_of
from battery.fresh_camera import depth_of, floor_at
from battery.procedural import edited


def pushed(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:
    """Pushed over the floor in a random direction, so far that its seen corners move by `amount` px on average."""
    crate, angle = scene.things[index], rng.uniform(0, 2 * np.pi)
    before, way = seen_corners(crate)[list(SEEN)], np.array([np.cos(angle), np.sin(angle)])
    step = amount * depth_of(crate.camera, np.array([crate.base[0], 0.0, crate.base[1]])) / crate.camera.focal
    for _ in range(12):
        x, z = np.array(crate.base) + step * way
        after = seen_corners(replace(crate, base=(float(x), float(z))))[list(SEEN)]
        step *= amount / float(np.hypot(*(after - before).T).mean())
    x, z = np.array(crate.base) + step * way
    return edited(scene, index, base=(float(x), float(z)))


def resized(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:
    """Larger or smaller by `amount` percent, on the same place of the floor."""
    factor = float((1 + amount / 100) ** rng.choice([-1, 1]))
    return edited(scene, index, sides=tuple(factor * side for side in scene.things[index].sides))


def yawed(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:
    """Turned on the floor by `amount` degrees, either way."""
    return edited(scene, index, yaw=scene.things[index].yaw + float(np.radians(amount) * rng.choice([-1, 1])))


def reboxed(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """A box of another class in the same place and colours."""
    shape = str(rng.choice([each for each in SIZES if each != scene.things[index].shape]))
    return edited(scene, index, shape=shape, sides=sides_of(rng, shape))


def repainted(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """The same box in another colour class."""
    colour, rgb = colour_beside(rng, scene.ground, scene.things[index].colour)
    return edited(scene, index, colour=colour, rgb=rgb)


def floor_moved(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """The floor slides under crates that stay, by `amount` px in the middle of the frame."""
    camera, angle = scene.ground.camera, rng.uniform(0, 2 * np.pi)
    step = amount * camera.height / np.sin(camera.pitch) / camera.focal
    up = step / np.sin(camera.pitch)
    return replace(
        scene, ground=replace(scene.ground, shift_px=(float(step * np.cos(angle)), float(up * np.sin(angle))))
    )


def with_ball(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """A ball on the floor; it may hide part of a crate when there is no room."""
    taken, camera = [box_of(crate) for crate in scene.things], scene.ground.camera
    while True:
        for _ in range(60):
            base, radius = floor_at(camera, *rng.uniform((10.0, 20.0), (117.0, 90.0))), float(rng.uniform(0.3, 0.5))
            _, rgb = colour_beside(rng, scene.ground, "")
            ball = Ball(base, radius, rgb, camera)
            if clear(box_of(ball), taken):
                return replace(scene, added=(ball,))
        taken = taken[:-1]
