"""Procedural colour scenes: about six labelled shapes on a textured ground, 128 x 128 px.

Labels: `objects.center` (keypoint with extent), `objects.box`, `objects.mask`, `objects.shape_class`,
`objects.colour_class`; item i is object i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from battery._kind import Disc, Edit
from battery._pixels import Image, Plane, averaged, bilinear, rgb, smooth_noise, sub_pixel_grid
from refinery.sample import Label

SIZE, PER_PIXEL, MARGIN_PX = 128, 3, 5.0
LABELS = ("objects.center", "objects.box", "objects.mask", "objects.shape_class", "objects.colour_class")
SHAPES = {"tune": ("disc", "square", "triangle", "cross"), "score": ("star", "hexagon", "ring", "drop")}
HUES = {
    "tune": {"red": 0.0, "green": 0.33, "blue": 0.62, "yellow": 0.15},
    "score": {"orange": 0.07, "cyan": 0.5, "violet": 0.76, "lime": 0.25},
}


@dataclass(frozen=True)
class Thing:
    """One object; lengths in px, angle in rad, tone is the brightness of its colour."""

    center: tuple[float, float]
    radius: float
    angle: float
    shape: str
    colour: str
    tone: float
    saturation: float
    texture_seed: int
    texture_gain: float
    present: bool = True


@dataclass(frozen=True)
class Ground:
    """The background: seed of its texture, gains of it, how far it is shifted in px."""

    seed: int
    split: str
    gain: float
    shift_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """All that one image shows; `added` are objects that no label speaks of."""

    split: str
    things: tuple[Thing, ...]
    ground: Ground
    grain_seed: int
    added: tuple[Thing, ...] = ()


def sample_thing(rng: np.random.Generator, split: str, taken: list[Thing]) -> Thing | None:
    """An object clear of the frame's edge and of those taken; None when there is no room."""
    for _ in range(40):
        radius = rng.uniform(8.0, 15.0)
        low, high = radius + MARGIN_PX, SIZE - 1 - radius - MARGIN_PX
        x, y = rng.uniform(low, high, 2)
        gap = 3.0
        if all(np.hypot(x - o.center[0], y - o.center[1]) > radius + o.radius + gap for o in taken):
            return Thing(
                (float(x), float(y)),
                float(radius),
                float(rng.uniform(0, 2 * np.pi)),
                str(rng.choice(SHAPES[split])),
                str(rng.choice(list(HUES[split]))),
                float(rng.uniform(0.45, 1.0)),
                float(rng.uniform(0.55, 0.95)),
                int(rng.integers(2**31)),
                float(rng.uniform(0.05, 0.25)),
            )
    return None


def outline(shape: str) -> NDArray[np.float64]:
    """Vertices (N, 2) of a shape of unit size that is drawn as a polygon."""
    turn = {"square": 4, "triangle": 3, "hexagon": 6}
    if shape in turn:
        angle = np.arange(turn[shape]) * (2 * np.pi / turn[shape])
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    if shape == "star":
        angle, reach = np.arange(10) * (np.pi / 5), np.where(np.arange(10) % 2, 0.45, 1.0)
        return np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=-1)
    if shape == "cross":
        w = 0.33
        corners = [(1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w), (-w, -1), (w, -1)]
        return np.array([*corners, (w, -w)]) * 0.95
    angle = np.linspace(0.6, 2 * np.pi - 0.6, 24)
    return np.concatenate([[(1.0, 0.0)], np.stack([0.62 * np.cos(angle) - 0.35, 0.62 * np.sin(angle)], axis=-1)])


def signed_distance(shape: str, x: Plane, y: Plane) -> Plane:
    """Distance to the outline of a shape of unit size, negative inside."""
    if shape == "disc":
        return np.hypot(x, y) - 1.0
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.75) - 0.25
    corners = outline(shape).astype(np.float32)
    squared, inside = np.full(x.shape, np.inf, np.float32), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
        squared = np.minimum(squared, (px - ex * along) ** 2 + (py - ey * along) ** 2)
        crosses = (ay > y) != (by > y)
        inside ^= crosses & (px < ex * (y - ay) / np.where(ey == 0, 1e-9, ey))
    return np.where(inside, -1.0, 1.0).astype(np.float32) * np.sqrt(squared)


def window(thing: Thing) -> tuple[slice, slice]:
    """Rows and columns of sub-pixels around a thing."""
    reach = thing.radius + 2.0
    low = [max(0, int((v - reach) * PER_PIXEL)) for v in thing.center]
    high = [max(1, min(SIZE, int(v + reach) + 1)) * PER_PIXEL for v in thing.center]
    return slice(low[1], high[1]), slice(low[0], high[0])


@lru_cache(maxsize=1)
def grid() -> tuple[Plane, Plane]:
    """x and y of all sub-pixels."""
    return sub_pixel_grid((SIZE, SIZE), PER_PIXEL)


def own_frame(thing: Thing, place: tuple[slice, slice]) -> tuple[Plane, Plane]:
    """Sub-pixels in units of the thing's radius, turned with it."""
    x, y = (plane[place] for plane in grid())
    dx, dy = (x - thing.center[0]) / thing.radius, (y - thing.center[1]) / thing.radius
    cos, sin = np.float32(np.cos(thing.angle)), np.float32(np.sin(thing.angle))
    return dx * cos + dy * sin, dy * cos - dx * sin


def opacity(thing: Thing, u: Plane, v: Plane) -> Plane:
    """Coverage of sub-pixels by a thing, with an edge one sub-pixel wide."""
    return np.clip(0.5 - signed_distance(thing.shape, u, v) * (thing.radius * PER_PIXEL), 0, 1)


def surface(thing: Thing, split: str, u: Plane, v: Plane) -> Image:
    """Colours of a thing: its own, shaded, under stripes (tune) or spots (score)."""
    rng = np.random.default_rng(thing.texture_seed)
    frequency, phase, tilt = rng.uniform(4.0, 8.0), rng.uniform(0, 6.0), rng.uniform(0, np.pi)
    along, across = u * np.cos(tilt) + v * np.sin(tilt), v * np.cos(tilt) - u * np.sin(tilt)
    pattern = np.sin(frequency * along + phase)
    if split == "score":
        pattern = pattern * np.sin(frequency * 0.8 * across + 2.0 * phase)
    shade = 1.0 + thing.texture_gain * pattern + rng.uniform(-0.2, 0.2) * along
    return (shade[..., None] * rgb(HUES[split][thing.colour], thing.saturation, thing.tone)).astype(np.float32)


@lru_cache(maxsize=64)
def ground_texture(seed: int, split: str, gain: float) -> Image:
    """Cloudy ground with soft patches (tune), or tiles and scratches (score): (H * S, W * S, 3)."""
    rng = np.random.default_rng([seed, 7])
    size = (SIZE * PER_PIXEL, SIZE * PER_PIXEL)
    base = rgb(float(rng.uniform()), float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.3, 0.75)))
    octaves = sum(g * smooth_noise(rng, size, c * PER_PIXEL) for c, g in ((40, 1.0), (14, 0.6), (5, 0.5)))
    x, y = grid()
    if split == "tune":
        detail = octaves[..., 0] + 0.8 * np.tanh(3.0 * smooth_noise(rng, size, 30 * PER_PIXEL)[..., 0])
    else:
        pitch, tilt = rng.uniform(14, 26), rng.uniform(0, np.pi)
        across, along = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
        tile = (np.floor(across / pitch) * 7 + np.floor(along / pitch) * 13) % 5 / 2.0 - 1.0
        scratches = np.sin(across * 1.3 + 2.0 * np.sin(along * 0.11))
        detail = 0.6 * octaves[..., 0] + 0.9 * tile + 0.4 * scratches
    return np.asarray(base * (1.0 + gain * detail)[..., None], dtype=np.float32)


class Procedural:
    """The kind "scenes"; see `Kind`."""

    name = "scenes"
    size_hw = (SIZE, SIZE)
    per_pixel = PER_PIXEL

    def __init__(self) -> None:
        self.edits: Mapping[str, Edit] = {
            "shift": moved, "scale": scaled, "rotate": rotated, "remove": removed, "add": with_added,
            "class": reshaped, "colour": recoloured, "background": ground_moved,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Scene:
        """Six objects, fewer where there is no room."""
        things: list[Thing] = []
        for _ in range(6):
            thing = sample_thing(rng, split, things)
            if thing is not None:
                things.append(thing)
        ground = Ground(int(rng.integers(2**31)), split, float(rng.uniform(0.06, 0.16)))
        return Scene(split, tuple(things), ground, int(rng.integers(2**31)))

    def draw(self, scene: Scene) -> Image:
        """The ground with all that is present on it."""
        ground = scene.ground
        image = ground_texture(ground.seed, ground.split, ground.gain)
        if any(ground.shift_px):
            rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
            image = bilinear(image, columns - ground.shift_px[0] * PER_PIXEL, rows - ground.shift_px[1] * PER_PIXEL)
        image = image.copy()
        for thing in (*scene.things, *scene.added):
            if thing.present:
                place = window(thing)
                u, v = own_frame(thing, place)
                cover = opacity(thing, u, v)[..., None]
                image[place] += (surface(thing, scene.split, u, v) - image[place]) * cover
        return np.clip(image, 0.0, 1.0)

    def grain(self, scene: Scene) -> Image:
        """Noise of a good camera."""
        rng = np.random.default_rng(scene.grain_seed)
        return rng.normal(0.0, 0.006, (SIZE, SIZE, 3)).astype(np.float32)

    def labels(self, scene: Scene) -> tuple[Label, ...]:
        """Five labels for each object, whether it is seen or not."""
        return tuple(label for i, thing in enumerate(scene.things) for label in thing_labels(thing, i))

    def discs(self, scene: Scene) -> tuple[Disc, ...]:
        """A circle around each object."""
        return tuple(Disc(*thing.center, thing.radius) for thing in scene.things)

    def labels_of(self, scene: Scene, index: int) -> tuple[tuple[str, int], ...]:  # noqa: ARG002
        """All five."""
        return tuple((name, index) for name in LABELS)

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:
        """The five of one object."""
        return frozenset((sibling, item) for sibling in LABELS) if name in LABELS else frozenset({(name, item)})

    def retextured(self, scene: Scene, strength: float, rng: np.random.Generator) -> Scene:
        """Every object with another pattern and shading; its colour stays."""
        things = (
            replace(t, texture_seed=int(rng.integers(2**31)), texture_gain=float(strength * rng.uniform(0.5, 1.0)))
            for t in scene.things
        )
        return replace(scene, things=tuple(things))


@lru_cache(maxsize=512)
def cover_of(thing: Thing) -> Plane:
    """Share of each pixel that a thing covers: (H, W)."""
    fine = np.zeros((SIZE * PER_PIXEL, SIZE * PER_PIXEL, 1), np.float32)
    place = window(thing)
    fine[place] = opacity(thing, *own_frame(thing, place))[..., None]
    return averaged(fine, PER_PIXEL)[..., 0]


def thing_labels(thing: Thing, item: int) -> tuple[Label, ...]:
    """Labels of one object; the box is tight around it."""
    round_ones = thing.shape in ("disc", "ring")
    corners = np.array([[-1.0, -1.0], [1.0, 1.0]]) if round_ones else outline(thing.shape)
    cos, sin = (1.0, 0.0) if round_ones else (np.cos(thing.angle), np.sin(thing.angle))
    placed = corners @ np.array([[cos, sin], [-sin, cos]]) * thing.radius + np.array(thing.center)
    box = np.concatenate([placed.min(axis=0), placed.max(axis=0)])
    return (
        Label("objects.center", "keypoint", np.array(thing.center), item=item, extent_px=thing.radius),
        Label("objects.box", "box", box, item=item),
        Label("objects.mask", "instance_mask", cover_of(thing) >= 0.5, item=item),
        Label("objects.shape_class", "class", np.zeros(0), "flip", item, thing.shape),
        Label("objects.colour_class", "class", np.zeros(0), "flip", item, thing.colour),
    )


def edited(scene: Scene, index: int, **changes: object) -> Scene:
    """The scene with one object changed."""
    things = list(scene.things)
    things[index] = replace(things[index], **changes)  # type: ignore[arg-type]
    return replace(scene, things=tuple(things))


def moved(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:
    """Moved by `amount` px in a random direction."""
    angle, (x, y) = rng.uniform(0, 2 * np.pi), scene.things[index].center
    return edited(scene, index, center=(float(x + amount * np.cos(angle)), float(y + amount * np.sin(angle))))


def scaled(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:
    """Larger or smaller by `amount` percent."""
    factor = float((1 + amount / 100) ** rng.choice([-1, 1]))
    return edited(scene, index, radius=scene.things[index].radius * factor)


def rotated(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:
    """Turned by `amount` degrees, either way."""
    turn = float(np.radians(amount) * rng.choice([-1, 1]))
    return edited(scene, index, angle=scene.things[index].angle + turn)


def removed(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """No longer drawn."""
    return edited(scene, index, present=False)


def reshaped(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """Another shape of the same size and colour in the same place."""
    others = [shape for shape in SHAPES[scene.split] if shape != scene.things[index].shape]
    return edited(scene, index, shape=str(rng.choice(others)))


def recoloured(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """Another colour class, drawn as bright as before."""
    others = [colour for colour in HUES[scene.split] if colour != scene.things[index].colour]
    return edited(scene, index, colour=str(rng.choice(others)))


def with_added(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """One more object, which no label speaks of."""
    thing = sample_thing(rng, scene.split, list(scene.things))
    smaller = list(scene.things)
    while thing is None and smaller:
        smaller = smaller[:-1]
        thing = sample_thing(rng, scene.split, smaller)
    return replace(scene, added=(thing,) if thing else ())


def ground_moved(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """The ground slides by `amount` px under objects that stay: no label depends on it."""
    angle = rng.uniform(0, 2 * np.pi)
    shift = (float(amount * np.cos(angle)), float(amount * np.sin(angle)))
    return replace(scene, ground=replace(scene.ground, shift_px=shift))
