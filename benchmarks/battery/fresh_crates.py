"""Crates of the fresh split: boxes on a floor seen by a pin-hole camera, 128 x 96 px, in colour.

Labels: `crates.CORNER` (keypoints of the seven corners that are seen), `crates.outline` (polygon of the silhouette),
`crates.box`, `crates.shape_class`, `crates.colour_class`. Item i is crate i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from battery._kind import Disc, Edit
from battery._pixels import Image, Plane
from battery.fresh_base import FreshKind, Scene, Window
from battery.fresh_boxes import (
    CORNERS,
    CRATES,
    FACES,
    PATTERNS,
    SEEN,
    SILHOUETTE,
    SIZES,
    Ball,
    Crate,
    Floor,
    box_of,
    clear,
    colour_beside,
    disc_of,
    distance_from_camera,
    seen_corners,
    shadow,
    sides_of,
)  # fmt: skip
from battery.fresh_camera import PER_PIXEL, SIZE_HW, Camera, floor_at, outside
from battery.fresh_crate_edits import floor_moved, pushed, reboxed, repainted, resized, with_ball, yawed
from battery.fresh_faces import ball_surface, face_surface, floor_surface
from battery.procedural import removed
from refinery.sample import Label


class Crates(FreshKind):
    """The kind "crates"; see `Kind`."""

    name, size_hw, per_pixel = "crates", SIZE_HW, PER_PIXEL
    label_names = (*(f"crates.{c}" for c in CORNERS), "crates.outline", "crates.box", "crates.shape_class",
                   "crates.colour_class")  # fmt: skip

    def __init__(self) -> None:
        self.edits: Mapping[str, Edit] = {
            "remove": removed, "shift": pushed, "scale": resized, "rotate": yawed, "class": reboxed,
            "colour": repainted, "background": floor_moved, "add": with_ball,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Scene:  # noqa: ARG002
        """Three crates, fewer where there is no room."""
        camera = Camera(float(rng.uniform(0.56, 0.7)), float(rng.uniform(4.1, 4.8)), float(rng.uniform(135, 160)))
        level = tuple(float(v) for v in rng.uniform(0.35, 0.65) + rng.uniform(-0.04, 0.04, 3))
        floor = Floor(int(rng.integers(2**31)), level, float(rng.uniform(0.07, 0.14)), camera=camera)
        sides = rng.permutation([rng.uniform(0.72, 0.85), rng.uniform(0.5, 0.62)])
        shades = (float(rng.uniform(1.0, 1.1)), float(sides[0]), float(sides[1]))
        crates: list[Crate] = []
        for _ in range(CRATES):
            crates += self._placed(rng, floor, shades, crates)
        return Scene(tuple(crates), floor, int(rng.integers(2**31)))

    def _placed(
        self, rng: np.random.Generator, floor: Floor, shades: tuple[float, float, float], taken: list[Crate]
    ) -> list[Crate]:
        """A crate clear of the frame's edge and, in the image, of those taken; none when there is no room."""
        boxes = [box_of(other) for other in taken]
        for _ in range(100 if taken else 10**4):
            shape, (x, y) = str(rng.choice(list(SIZES))), rng.uniform((15.0, 25.0), (112.0, 85.0))
            if not clear(np.array([x - 5, y - 5, x + 5, y + 5]), boxes):
                continue
            base = floor_at(floor.camera, x, y)
            yaw, sides = np.arctan2(-base[1], -base[0]) - np.radians(rng.uniform(24, 66)), sides_of(rng, shape)
            crate = Crate(base, float(yaw), sides, shape, "", (), "", 0, 0.0, shades, floor.camera)
            if clear(box_of(crate), boxes):
                colour, rgb = colour_beside(rng, floor, "")
                pattern, seed, gain = str(rng.choice(PATTERNS)), int(rng.integers(2**31)), float(rng.uniform(0.1, 0.3))
                return [replace(crate, colour=colour, rgb=rgb, pattern=pattern, texture_seed=seed, texture_gain=gain)]
        return []

    def draw(self, scene: Scene) -> Image:
        """The floor, all shadows on it, then what stands on it, from far to near."""
        image = self.painted_ground(scene.ground).copy()
        shown = [thing for thing in (*scene.things, *scene.added) if thing.present]
        for thing in shown:
            image *= 1.0 - 0.5 * shadow(thing)[..., None]
        for thing in sorted(shown, key=distance_from_camera):
            place, colours, cover = self.layer(thing)
            image[place] += (colours - image[place]) * cover[..., None]
        return np.clip(image, 0.0, 1.0)

    def layer(self, thing: Any) -> tuple[Window, Image, Plane]:
        """The three faces of a crate that are seen, or a ball."""
        box = box_of(thing)
        place = self.window(box[:2], box[2:])
        x, y = self.grid(place)
        if isinstance(thing, Ball):
            disc = disc_of(thing)
            u, v = (x - disc.x) / disc.radius, (y - disc.y) / disc.radius
            cover = np.clip(0.5 - (np.hypot(u, v) - 1) * disc.radius * self.per_pixel, 0, 1)
            return place, ball_surface(u, v, thing.rgb), cover
        points = seen_corners(thing)
        width, depth, height = thing.sides
        spans = {"top": (width, depth), "right": (width, height), "left": (depth, height)}
        colours = np.zeros((*x.shape, 3), np.float32) + 0.5 * np.array(thing.rgb, np.float32)
        for shade, (name, quad) in zip(thing.shades, FACES.items(), strict=True):
            away = outside(points[list(quad)], x, y)
            face = face_surface(thing, name, points[list(quad)], spans[name], x, y) * np.float32(shade)
            colours += (face - colours) * np.clip(0.7 - away * self.per_pixel, 0, 1)[..., None]
        silhouette = outside(points[list(SILHOUETTE)], x, y)
        return place, np.clip(colours, 0, 1), np.clip(0.5 - silhouette * self.per_pixel, 0, 1)

    def painted_ground(self, ground: Floor) -> Image:
        """The floor."""
        return floor_surface(ground.seed, ground.rgb, ground.gain, ground.camera, ground.shift_px)

    def disc(self, thing: Crate) -> Disc:
        """A circle around a crate."""
        return disc_of(thing)

    def thing_labels(self, thing: Crate, item: int) -> tuple[Label, ...]:
        """Labels of one crate."""
        points = seen_corners(thing)
        named = zip(CORNERS, points[list(SEEN)], strict=True)
        return (
            *(Label(f"crates.{name}", "keypoint", point, item=item) for name, point in named),
            Label("crates.outline", "polygon", points[list(SILHOUETTE)], item=item),
            Label("crates.box", "box", box_of(thing), item=item),
            Label("crates.shape_class", "class", np.zeros(0), "flip", item, thing.shape),
            Label("crates.colour_class", "class", np.zeros(0), "flip", item, thing.colour),
        )

    def retextured_thing(self, thing: Crate, strength: float, rng: np.random.Generator) -> Crate:
        """Another pattern on the same faces; stickers stay where they are."""
        changed = super().retextured_thing(thing, strength, rng)
        others = ["sticker"] if thing.pattern == "sticker" else [each for each in PATTERNS if each != "sticker"]
        return replace(changed, pattern=str(rng.choice(others)))
