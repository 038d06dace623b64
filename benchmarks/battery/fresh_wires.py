"""Wires of the fresh split: thin bent cables, needles, hooks, zigzags, crossings, 1.5 to 3 px wide, 96 x 96 px, gray.

Labels: `wires.outline` (polygon), `wires.box`, `wires.start` and `wires.end` (keypoints at the tips' middles, of a
crossing those of its longer bar), `wires.shape_class`. Item i is wire i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from battery._kind import Edit
from battery._pixels import Image, Plane, blurred, smooth_noise
from battery.fresh_base import SLIDE_PX, FreshKind, Ground, Scene, Window, looked_up, slid
from battery.fresh_strokes import Points, Stroke, arc, box_of, crossed, distance, placed, ribbon
from battery.procedural import edited, moved, rotated, scaled
from refinery.sample import Label

SHAPES = ("cable", "needle", "hook", "zigzag", "crossing")
ADDED_SHAPES = ("ring", "spiral")
WIRES, MARGIN_PX, GAP_PX, MIN_SIDE_PX, MIN_CONTRAST = 5, 6.0, 4.0, 8.0, 0.25


@dataclass(frozen=True)
class Wire:
    """One wire: half its length in px, angle in rad, width as share of the radius, how far it bends, tone in [0, 1]."""

    center: tuple[float, float]
    radius: float
    angle: float
    shape: str
    width: float
    bend: float
    tone: float
    texture_seed: int
    texture_gain: float
    present: bool = True


def unit_lines(shape: str, bend: float) -> list[Points]:
    """Lines of a shape of half length 1; its bend is from .4 to 1, either way."""
    t = np.linspace(-1, 1, 21)
    if shape == "cable":
        return [np.stack([t, 0.5 * bend * np.sin(np.pi * t * (0.7 + 0.3 * abs(bend)))], axis=-1)]
    if shape == "needle":
        return [np.stack([t[::4], 0 * t[::4]], axis=-1)]
    if shape == "hook":
        bow = arc((0.35, 0.0), (0.4, 0.4 * np.sign(bend)), -90, 60 + 60 * abs(bend), 12)
        return [np.vstack([[(-0.95, -0.4 * np.sign(bend)), (-0.3, -0.4 * np.sign(bend))], bow])]
    if shape == "zigzag":
        return [np.array([(-1, 0), (-0.55, 0.45), (-0.1, -0.4), (0.4, 0.45), (0.9, -0.2)]) * (1, bend)]
    if shape == "crossing":
        return [np.array([(-1.0, 0.1 * bend), (1.0, -0.1 * bend)]), np.array([(-0.1, -0.6), (0.3 * bend, 0.75)])]
    if shape == "ring":
        return [arc((0, 0), (0.45, 0.3 + 0.15 * abs(bend)), 0, 360, 25)]
    turn = np.linspace(0, 4.2 * np.pi, 40)
    return [np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=-1) * (0.5 / turn[-1])]


@lru_cache(maxsize=256)
def strokes_of(wire: Wire) -> tuple[Stroke, ...]:
    """A wire's strokes in px; a needle narrows towards its end."""
    strokes = []
    for line in unit_lines(wire.shape, wire.bend):
        points = placed(line, wire.center, wire.radius, wire.angle)
        narrow = np.linspace(1.0, 0.55, len(points)) if wire.shape == "needle" else np.ones(len(points))
        strokes.append(Stroke(points, 0.5 * wire.width * wire.radius * narrow))
    return tuple(strokes)


class Wires(FreshKind):
    """The kind "wires"; see `Kind`."""

    name, size_hw, per_pixel = "wires", (96, 96), 4
    label_names = ("wires.outline", "wires.box", "wires.start", "wires.end", "wires.shape_class")

    def __init__(self) -> None:
        self.edits: Mapping[str, Edit] = {
            **FreshKind.edits, "shift": moved, "scale": scaled, "rotate": rotated, "class": rebent,
            "add": self.with_added,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Scene:  # noqa: ARG002
        """Five wires, fewer where there is no room."""
        ground = Ground(int(rng.integers(2**31)), (float(rng.uniform(0.25, 0.75)),), float(rng.uniform(0.05, 0.09)))
        wires: list[Wire] = []
        for _ in range(WIRES):
            wires += self._placed(rng, SHAPES, ground, wires)
        return Scene(tuple(wires), ground, int(rng.integers(2**31)))

    def _placed(
        self, rng: np.random.Generator, shapes: tuple[str, ...], ground: Ground, taken: list[Wire]
    ) -> list[Wire]:
        """A wire clear of the frame's edge and of those taken, or none when there is no room."""
        high = np.array(self.size_hw[::-1]) - 1 - MARGIN_PX
        for _ in range(60):
            radius, angle = float(rng.uniform(11.0, 24.0)), float(rng.uniform(0, 2 * np.pi))
            x, y = rng.uniform(MARGIN_PX, high)
            width, bend = float(rng.uniform(1.5, 3.0) / radius), float(rng.choice([-1, 1]) * rng.uniform(0.4, 1.0))
            shape, seed = str(rng.choice(shapes)), int(rng.integers(2**31))
            tone, gain = tone_beside(rng, ground.rgb[0]), float(rng.uniform(0.05, 0.2))
            wire = Wire((float(x), float(y)), radius, angle, shape, width, bend, tone, seed, gain)
            box = box_of(strokes_of(wire))
            inside = (box[:2] >= MARGIN_PX).all() and (box[2:] <= high).all()
            if inside and (box[2:] - box[:2]).min() >= MIN_SIDE_PX and all(gap(wire, o) > GAP_PX for o in taken):
                return [wire]
        return []

    def layer(self, thing: Wire) -> tuple[Window, Image, Plane]:
        """A wire with a light line along its middle, in places darker."""
        strokes = strokes_of(thing)
        box = box_of(strokes)
        place = self.window(box[:2], box[2:])
        x, y = self.grid(place)
        away = distance(strokes, x, y)
        rng = np.random.default_rng(thing.texture_seed)
        mottle = looked_up(
            rng.normal(0, 1, (16, 16)).astype(np.float32), (x - thing.center[0]) / 4, (y - thing.center[1]) / 4
        )
        depth = np.clip(-2 * away / (thing.width * thing.radius), 0, 1)
        tone = thing.tone * (1.0 + thing.texture_gain * (1.2 * depth - 0.6 + 0.5 * mottle))
        return place, tone[..., None], np.clip(0.5 - away * self.per_pixel, 0, 1)

    def painted_ground(self, ground: Ground) -> Image:
        """Soft light and broad soft spots."""
        return slid(
            soft_ground(replace(ground, shift_px=(0.0, 0.0)), self.size_hw, self.per_pixel), ground, self.per_pixel
        )

    def thing_labels(self, thing: Wire, item: int) -> tuple[Label, ...]:
        """Labels of one wire; box and outline are tight around it."""
        strokes = strokes_of(thing)
        outline = crossed(*strokes) if len(strokes) == 2 else ribbon(strokes[0])
        ends = strokes[0].points[[0, -1]]
        return (
            Label("wires.outline", "polygon", outline, item=item),
            Label("wires.box", "box", box_of(strokes), item=item),
            Label("wires.start", "keypoint", ends[0], item=item),
            Label("wires.end", "keypoint", ends[1], item=item),
            Label("wires.shape_class", "class", np.zeros(0), "flip", item, thing.shape),
        )

    def with_added(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """A ring or spiral of wire, which no label knows; it may cross another wire when there is no room."""
        taken, found = list(scene.things), []
        while not found:
            found = self._placed(rng, ADDED_SHAPES, scene.ground, taken)
            taken = taken[:-1]
        return replace(scene, added=tuple(found))


def tone_beside(rng: np.random.Generator, level: float) -> float:
    """A gray that stands out from a ground of this level."""
    tone = level
    while abs(tone - level) < MIN_CONTRAST:
        tone = float(rng.uniform(0.03, 0.97))
    return tone


def gap(first: Wire, second: Wire) -> float:
    """Smallest distance in px between the edges of two wires, from points along them."""
    one, two = (np.vstack([_dense(s) for s in strokes_of(wire)]) for wire in (first, second))
    away = np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1)).min()
    return float(away) - 0.5 * (first.width * first.radius + second.width * second.radius)


def _dense(stroke: Stroke) -> Points:
    """A stroke's points and three between each two."""
    a, b = stroke.points[:-1], stroke.points[1:]
    return np.vstack([stroke.points, *(a + (b - a) * share for share in (0.25, 0.5, 0.75))])


@lru_cache(maxsize=32)
def soft_ground(ground: Ground, size_hw: tuple[int, int], per_pixel: int) -> Image:
    """A slope of light with broad spots and a faint cloth over it: wider than the frame by SLIDE_PX on all sides."""
    rng = np.random.default_rng([ground.seed, 41])
    height, width = (side + 2 * SLIDE_PX for side in size_hw)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = rng.normal() * (x / width - 0.5) + rng.normal() * (y / height - 0.5)
    for _ in range(7):
        cx, cy, spread = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(5, 16)
        light = light + rng.normal(0, 1.2) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2))
    cloth = blurred(smooth_noise(rng, (height, width), 2.0), 0.8)[..., 0]
    painted = ground.rgb[0] + ground.gain * (light + 0.35 * cloth)
    return (
        np.clip(painted, 0.02, 0.98).repeat(per_pixel, axis=0).repeat(per_pixel, axis=1)[..., None].astype(np.float32)
    )


def rebent(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """Another shape of the same length, width and tone in the same place."""
    others = [shape for shape in SHAPES if shape != scene.things[index].shape]
    return edited(scene, index, shape=str(rng.choice(others)))
