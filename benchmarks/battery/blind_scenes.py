"""Scenes of the blind split: colour scenes of 160 x 112 px, and gray industrial parts of 192 x 192 px.

Both are the same code with other shapes, grounds and sizes. Labels are named as those of `procedural`; parts have no
colour class. No shape, colour or ground of the other splits is among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from battery._kind import Disc, Edit
from battery._pixels import Image, Plane, averaged, bilinear, smooth_noise, sub_pixel_grid
from battery.blind_grounds import PAINTERS
from battery.blind_shapes import SHAPES, outline
from battery.procedural import edited, ground_moved, moved, removed, rotated, scaled
from refinery.sample import Label

MARGIN_PX, GAP_PX = 4.0, 3.0
MIN_CONTRAST = 0.18
"""Mean difference, over channels, of an object's colour from its ground's."""


@dataclass(frozen=True)
class World:
    """What scenes of one kind are made of.

    colours: by class; with none, gray levels without a label. Classes differ in hue or chroma, and each is drawn darker
    and lighter, so that no look that turns or bends luminance makes one into another.
    """

    name: str
    size_hw: tuple[int, int]
    per_pixel: int
    shapes: tuple[str, ...]
    added_shapes: tuple[str, ...]
    colours: tuple[tuple[str, tuple[float, float, float]], ...]
    grounds: tuple[str, ...]
    radius_px: tuple[float, float]
    objects: int

    @property
    def label_names(self) -> tuple[str, ...]:
        """Labels of each object."""
        names = ("objects.center", "objects.box", "objects.mask", "objects.shape_class")
        return (*names, "objects.colour_class") if self.colours else names


SCENES = World(
    "scenes", (112, 160), 3, ("arrow", "leaf", "moon", "gear", "letter_e", "bolt"), ("key", "blob"),
    (
        ("brick", (0.72, 0.27, 0.18)), ("mustard", (0.82, 0.66, 0.14)), ("navy", (0.17, 0.24, 0.62)),
        ("rose", (0.88, 0.36, 0.62)), ("teal", (0.10, 0.52, 0.49)), ("slate", (0.45, 0.45, 0.45)),
    ),
    ("clutter", "stripes", "pink", "checks"), (8.0, 14.5), 6,
)  # fmt: skip
PARTS = World(
    "parts", (192, 192), 2, ("keyed_washer", "bracket", "plate", "clip", "tee"), ("key", "bolt"), (),
    ("brushed", "clutter", "pink", "holes"), (13.0, 24.0), 6,
)  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One object; lengths in px, angle in rad, colour in [0, 1]."""

    center: tuple[float, float]
    radius: float
    angle: float
    shape: str
    colour: str
    rgb: tuple[float, ...]
    finish: str
    texture_seed: int
    texture_gain: float
    present: bool = True


@dataclass(frozen=True)
class Ground:
    """The background: how it is painted, in which colour, how strongly, how far it is shifted in px."""

    painter: str
    rgb: tuple[float, ...]
    seed: int
    gain: float
    shift_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """All that one image shows; `added` are objects that no label speaks of."""

    things: tuple[Thing, ...]
    ground: Ground
    grain_seed: int
    added: tuple[Thing, ...] = ()


FINISHES = ("speckle", "rings", "gloss")


class BlindScenes:
    """A kind of scene made of a `World`; see `Kind`."""

    def __init__(self, world: World) -> None:
        self.world, self.name = world, world.name
        self.size_hw, self.per_pixel = world.size_hw, world.per_pixel
        self.edits: Mapping[str, Edit] = {
            "shift": moved, "scale": scaled, "rotate": rotated, "remove": removed, "background": ground_moved,
            "add": self.with_added, "class": self.reshaped, **({"colour": self.repainted} if world.colours else {}),
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Scene:  # noqa: ARG002
        """Six objects, fewer where there is no room."""
        painter = str(rng.choice(self.world.grounds))
        tint = rng.uniform(-0.08, 0.08, 3) if self.world.colours else np.zeros(1)
        base = tuple(float(v) for v in rng.uniform(0.3, 0.7) + tint)
        ground = Ground(painter, base, int(rng.integers(2**31)), float(rng.uniform(0.06, 0.16)))
        things: list[Thing] = []
        for _ in range(self.world.objects):
            things += self._placed(rng, self.world.shapes, ground, things)
        return Scene(tuple(things), ground, int(rng.integers(2**31)))

    def _placed(
        self, rng: np.random.Generator, shapes: tuple[str, ...], ground: Ground, taken: list[Thing]
    ) -> list[Thing]:
        """An object clear of the frame's edge and of those taken, or none when there is no room."""
        height, width = self.size_hw
        for _ in range(40):
            radius = rng.uniform(*self.world.radius_px)
            inset = radius + MARGIN_PX
            x, y = rng.uniform(inset, width - 1 - inset), rng.uniform(inset, height - 1 - inset)
            if all(np.hypot(x - o.center[0], y - o.center[1]) > radius + o.radius + GAP_PX for o in taken):
                colour, rgb = self._colour(rng, ground, "")
                turn, shape, finish = rng.uniform(0, 2 * np.pi), str(rng.choice(shapes)), str(rng.choice(FINISHES))
                seed, gain = int(rng.integers(2**31)), float(rng.uniform(0.05, 0.2))
                where = (float(x), float(y))
                return [Thing(where, float(radius), float(turn), shape, colour, rgb, finish, seed, gain)]
        return []

    def _colour(self, rng: np.random.Generator, ground: Ground, current: str) -> tuple[str, tuple[float, ...]]:
        """A class other than `current`, and a tone of it, that stand out from the ground."""
        while True:
            if self.world.colours:
                name, pure = self.world.colours[rng.integers(len(self.world.colours))]
                rgb = np.array(pure) * rng.uniform(0.65, 1.15)
            else:
                name, rgb = "gray", rng.uniform(0.08, 0.92, 1)
            if name != current and np.abs(rgb - np.array(ground.rgb)).mean() >= MIN_CONTRAST:
                return name, tuple(float(v) for v in rgb)

    def draw(self, scene: Scene) -> Image:
        """The ground with all that is present on it."""
        ground = scene.ground
        image = ground_texture(self.world, replace(ground, shift_px=(0.0, 0.0)))
        if any(ground.shift_px):
            rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
            across, down = (shift * self.per_pixel for shift in ground.shift_px)
            image = bilinear(image, columns - across, rows - down)
        image = image.copy()
        for thing in (*scene.things, *scene.added):
            if thing.present:
                place = window(self.world, thing)
                u, v = own_frame(self.world, thing, place)
                away = SHAPES[thing.shape](u, v) * thing.radius
                cover = np.clip(0.5 - away * self.per_pixel, 0, 1)[..., None]
                image[place] += (surface(thing, u, v, away) - image[place]) * cover
        return np.clip(image, 0.0, 1.0)

    def grain(self, scene: Scene) -> Image:
        """Noise of a good camera."""
        rng = np.random.default_rng(scene.grain_seed)
        return rng.normal(0.0, 0.008, (*self.size_hw, len(scene.ground.rgb))).astype(np.float32)

    def labels(self, scene: Scene) -> tuple[Label, ...]:
        """Those of each object, whether it is seen or not."""
        return tuple(label for i, thing in enumerate(scene.things) for label in thing_labels(self.world, thing, i))

    def discs(self, scene: Scene) -> tuple[Disc, ...]:
        """A circle around each object."""
        return tuple(Disc(*thing.center, thing.radius) for thing in scene.things)

    def labels_of(self, scene: Scene, index: int) -> tuple[tuple[str, int], ...]:  # noqa: ARG002
        """All of the object."""
        return tuple((name, index) for name in self.world.label_names)

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:
        """All of one object."""
        names = self.world.label_names
        return frozenset((sibling, item) for sibling in names) if name in names else frozenset({(name, item)})

    def retextured(self, scene: Scene, strength: float, rng: np.random.Generator) -> Scene:
        """Every object with another finish; its colour stays."""
        gains = (float(strength * rng.uniform(0.5, 1.0)) for _ in scene.things)
        things = (
            replace(t, finish=str(rng.choice(FINISHES)), texture_seed=int(rng.integers(2**31)), texture_gain=gain)
            for t, gain in zip(scene.things, gains, strict=True)
        )
        return replace(scene, things=tuple(things))

    def with_added(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """One more object, of a family that no label knows; it may lie on a labelled one when there is no room."""
        things, found = list(scene.things), []
        while not found:
            found = self._placed(rng, self.world.added_shapes, scene.ground, things)
            things = things[:-1]
        return replace(scene, added=tuple(found))

    def reshaped(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """Another shape of the same size and colour in the same place."""
        others = [shape for shape in self.world.shapes if shape != scene.things[index].shape]
        return edited(scene, index, shape=str(rng.choice(others)))

    def repainted(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """Another colour class, in a tone of its own, or gray: no hue is merely turned."""
        colour, rgb = self._colour(rng, scene.ground, scene.things[index].colour)
        return edited(scene, index, colour=colour, rgb=rgb)


@lru_cache(maxsize=4)
def grid(world: World) -> tuple[Plane, Plane]:
    """x and y of all sub-pixels."""
    return sub_pixel_grid(world.size_hw, world.per_pixel)


@lru_cache(maxsize=32)
def ground_texture(world: World, ground: Ground) -> Image:
    """(H * S, W * S, C) of a ground that has not been moved."""
    rng = np.random.default_rng([ground.seed, 17])
    detail = PAINTERS[ground.painter](rng, *grid(world), world.per_pixel)
    return np.asarray(np.array(ground.rgb) * (1.0 + ground.gain * detail)[..., None], dtype=np.float32)


def window(world: World, thing: Thing) -> tuple[slice, slice]:
    """Rows and columns of sub-pixels around a thing."""
    reach, scale = thing.radius * 1.1 + 2.0, world.per_pixel
    low = [max(0, int(v - reach)) * scale for v in thing.center]
    high = [
        max(1, min(side, int(v + reach) + 1)) * scale for v, side in zip(thing.center, world.size_hw[::-1], strict=True)
    ]
    return slice(low[1], high[1]), slice(low[0], high[0])


def own_frame(world: World, thing: Thing, place: tuple[slice, slice]) -> tuple[Plane, Plane]:
    """Sub-pixels in units of the thing's radius, turned with it."""
    x, y = (plane[place] for plane in grid(world))
    dx, dy = (x - np.float32(thing.center[0])) / thing.radius, (y - np.float32(thing.center[1])) / thing.radius
    cos, sin = np.float32(np.cos(thing.angle)), np.float32(np.sin(thing.angle))
    return dx * cos + dy * sin, dy * cos - dx * sin


def surface(thing: Thing, u: Plane, v: Plane, away_px: Plane) -> Image:
    """Colours of a thing: its own under speckles, rings or a gloss, with a dark rim of 1.2 px."""
    rng = np.random.default_rng(thing.texture_seed)
    if thing.finish == "speckle":
        cells = (2 * thing.radius) / rng.uniform(3.0, 7.0)
        side = int(2.4 * thing.radius * 3)
        pattern = bilinear(
            smooth_noise(rng, (side, side), side / max(cells, 2)), (u + 1.2) * side / 2.4, (v + 1.2) * side / 2.4
        )[..., 0]
    elif thing.finish == "rings":
        pattern = np.sin(rng.uniform(6, 14) * np.hypot(u - rng.uniform(-0.6, 0.6), v - rng.uniform(-0.6, 0.6)))
    else:
        tilt = rng.uniform(0, 2 * np.pi)
        pattern = 2 * np.exp(-((3.0 * (u * np.cos(tilt) + v * np.sin(tilt) - rng.uniform(0, 0.5))) ** 2)) - 0.7
    shade = (1.0 + thing.texture_gain * pattern) * (1.0 - 0.3 * np.clip(away_px + 1.7, 0, 1))
    return (shade[..., None] * np.array(thing.rgb)).astype(np.float32)


@lru_cache(maxsize=512)
def cover_of(world: World, thing: Thing) -> Plane:
    """Share of each pixel that a thing covers: (H, W)."""
    place = window(world, thing)
    away = SHAPES[thing.shape](*own_frame(world, thing, place)) * thing.radius
    cover = averaged(np.clip(0.5 - away * world.per_pixel, 0, 1)[..., None].astype(np.float32), world.per_pixel)
    whole, scale = np.zeros(world.size_hw, np.float32), world.per_pixel
    whole[place[0].start // scale : place[0].stop // scale, place[1].start // scale : place[1].stop // scale] = cover[
        ..., 0
    ]
    return whole


def thing_labels(world: World, thing: Thing, item: int) -> tuple[Label, ...]:
    """Labels of one object; the box is tight around it."""
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    placed = outline(thing.shape) @ np.array([[cos, sin], [-sin, cos]]) * thing.radius + np.array(thing.center)
    box = np.concatenate([placed.min(axis=0), placed.max(axis=0)])
    every = (
        Label("objects.center", "keypoint", np.array(thing.center), item=item, extent_px=thing.radius),
        Label("objects.box", "box", box, item=item),
        Label("objects.mask", "instance_mask", cover_of(world, thing) >= 0.5, item=item),
        Label("objects.shape_class", "class", np.zeros(0), "flip", item, thing.shape),
        Label("objects.colour_class", "class", np.zeros(0), "flip", item, thing.colour),
    )
    return every[: len(world.label_names)]
