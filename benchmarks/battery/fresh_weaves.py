"""Weaves of the fresh split: patches told from their ground by texture alone, 96 x 96 px, in colour.

Ground and patches have one mean colour and one contrast; direction, scale or grain differ. Labels: `patches.mask`,
`patches.box`, `patches.weave_class`. Item i is patch i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from battery._kind import Edit
from battery._pixels import Image, Plane, averaged
from battery.fresh_base import FreshKind, Ground, Scene, Window, looked_up
from battery.fresh_strokes import Points, placed
from battery.procedural import edited, moved, rotated, scaled
from refinery.sample import Label

WEAVES = ("ribs", "checks", "herringbone", "grain", "clouds", "hairs")
ADDED_WEAVES = ("scales",)
PERIODS = {
    "ribs": (3.2, 5.5), "checks": (4.0, 6.5), "herringbone": (3.6, 5.5), "grain": (1.3, 1.8), "clouds": (4.0, 6.0),
    "hairs": (1.0, 1.3), "scales": (5.0, 7.0),
}  # fmt: skip
"""Range of the period, or of the size of a grain, in px."""
PATCHES, MARGIN_PX, GAP_PX = 3, 5.0, 3.0
RADIUS_PX, ADDED_RADIUS_PX = (11.0, 16.0), (8.0, 11.0)


@dataclass(frozen=True)
class Weave:
    """A texture: its class, direction in rad, period in px, and the seed of what is random in it."""

    name: str
    angle: float
    period: float
    seed: int


@dataclass(frozen=True)
class Cloth(Ground):
    """The ground: a weave, and the colour (3,) along which it and all patches vary."""

    weave: Weave = Weave("ribs", 0.0, 4.0, 0)
    along: tuple[float, ...] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Patch:
    """One patch: mean radius in px, angle in rad, waves of its outline; its weave is turned and scaled with it."""

    center: tuple[float, float]
    radius: float
    angle: float
    waves: tuple[tuple[float, float], ...]
    weave: Weave
    woven_at: float
    rgb: tuple[float, ...]
    along: tuple[float, ...]
    gain: float
    present: bool = True


def woven(weave: Weave, u: Plane, v: Plane) -> Plane:
    """Texture at places in px, of mean 0 and deviation 1 over a large area."""
    rng = np.random.default_rng([weave.seed, 43])
    cos, sin = np.cos(weave.angle), np.sin(weave.angle)
    along, across = (u * cos + v * sin) / weave.period, (v * cos - u * sin) / weave.period
    turn = 2 * np.pi
    if weave.name == "ribs":
        return np.sqrt(2) * np.sin(turn * (across + rng.uniform()))
    if weave.name == "checks":
        return 2 * np.sin(turn * (across + rng.uniform())) * np.sin(turn * (along + rng.uniform()))
    if weave.name == "herringbone":
        bent = np.abs((along / 3 + rng.uniform()) % 1.0 - 0.5) * 3.0
        return np.sqrt(2) * np.sin(turn * (across + bent + rng.uniform()))
    if weave.name == "scales":
        row = np.floor(across)
        away = np.hypot((along + 0.5 * (row % 2)) % 1.0 - 0.5, across - row)
        return np.sqrt(2) * np.cos(turn * away * 1.5)
    table = rng.normal(0, 1, (64, 64)).astype(np.float32)
    table = (table - table.mean()) / table.std()
    stretch = 6.0 if weave.name == "hairs" else 1.0
    return 1.37 * looked_up(table, along / stretch + 500.3, across + 500.7)


def outline(patch: Patch) -> Points:
    """Points (180, 2) px of a patch's edge."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    reach = reach_at(patch, angle)
    return placed(np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=-1), patch.center, 1.0, patch.angle)


def reach_at(patch: Patch, angle: Plane) -> Plane:
    """Distance in px from a patch's centre to its edge, at angles of its own frame."""
    waves = [gain * np.cos((k + 2) * angle + phase) for k, (gain, phase) in enumerate(patch.waves)]
    return patch.radius * (1.0 + np.sum(waves, axis=0))


class Weaves(FreshKind):
    """The kind "weaves"; see `Kind`."""

    name, size_hw, per_pixel = "weaves", (96, 96), 3
    label_names = ("patches.mask", "patches.box", "patches.weave_class")

    def __init__(self) -> None:
        self.edits: Mapping[str, Edit] = {
            **FreshKind.edits, "shift": moved, "scale": scaled, "rotate": rotated, "class": self.rewoven,
            "add": self.with_added,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Scene:  # noqa: ARG002
        """Three patches, fewer where there is no room."""
        base = tuple(float(v) for v in rng.uniform(0.38, 0.62) + rng.uniform(-0.12, 0.12, 3))
        along = np.exp(rng.uniform(-0.5, 0.5, 3))
        along = tuple(float(v) for v in along / np.sqrt((along**2).mean()))
        gain = float(rng.uniform(0.10, 0.15))
        weave = any_weave(rng, WEAVES)
        ground = Cloth(int(rng.integers(2**31)), base, gain, weave=weave, along=along)
        patches: list[Patch] = []
        for _ in range(PATCHES):
            patches += self._placed(rng, WEAVES, RADIUS_PX, ground, patches)
        return Scene(tuple(patches), ground, int(rng.integers(2**31)))

    def _placed(
        self,
        rng: np.random.Generator,
        weaves: tuple[str, ...],
        radius_px: tuple[float, float],
        ground: Cloth,
        taken: list[Patch],
    ) -> list[Patch]:
        """A patch clear of the frame's edge and of those taken, or none when there is no room."""
        height, width = self.size_hw
        for _ in range(60):
            radius = float(rng.uniform(*radius_px))
            gains, phases = rng.uniform(0.03, 0.13, 3) / (1.0, 1.3, 2.0), rng.uniform(0, 2 * np.pi, 3)
            inset = 1.2 * radius + MARGIN_PX
            x, y = rng.uniform(inset, width - 1 - inset), rng.uniform(inset, height - 1 - inset)
            if all(np.hypot(x - o.center[0], y - o.center[1]) > 1.15 * (radius + o.radius) + GAP_PX for o in taken):
                waves = tuple((float(g), float(p)) for g, p in zip(gains, phases, strict=True))
                weave, turn = weave_unlike(rng, weaves, ground.weave), float(rng.uniform(0, 2 * np.pi))
                weave = replace(weave, angle=weave.angle - turn)
                where = (float(x), float(y))
                return [Patch(where, radius, turn, waves, weave, radius, ground.rgb, ground.along, ground.gain)]
        return []

    def layer(self, thing: Patch) -> tuple[Window, Image, Plane]:
        """A patch in its own frame."""
        edge = outline(thing)
        place = self.window(edge.min(axis=0), edge.max(axis=0))
        x, y = self.grid(place)
        dx, dy = x - np.float32(thing.center[0]), y - np.float32(thing.center[1])
        cos, sin = np.float32(np.cos(thing.angle)), np.float32(np.sin(thing.angle))
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        angle = np.arctan2(v, u)
        waves = [-(k + 2) * gain * np.sin((k + 2) * angle + phase) for k, (gain, phase) in enumerate(thing.waves)]
        reach = reach_at(thing, angle)
        slope = thing.radius * np.sum(waves, axis=0) / reach
        away = (np.hypot(u, v) - reach) / np.sqrt(1 + slope**2)
        cover = np.clip(0.5 - away * self.per_pixel, 0, 1)
        grown = np.float32(thing.woven_at / thing.radius)
        texture = woven(thing.weave, u * grown, v * grown)
        weight = cover / cover.sum()
        texture = texture - (texture * weight).sum()
        texture = texture / np.sqrt((texture**2 * weight).sum())
        return place, tinted(texture, thing.rgb, thing.along, thing.gain), cover

    def painted_ground(self, ground: Cloth) -> Image:
        """One weave all over the frame."""
        x, y = self.grid()
        texture = woven(ground.weave, x - np.float32(ground.shift_px[0]), y - np.float32(ground.shift_px[1]))
        return tinted(texture / texture.std(), ground.rgb, ground.along, ground.gain)

    def thing_labels(self, thing: Patch, item: int) -> tuple[Label, ...]:
        """Labels of one patch; the box is tight around its edge."""
        edge = outline(thing)
        mask = averaged(self.cover(thing)[..., None], self.per_pixel)[..., 0] >= 0.5
        return (
            Label("patches.mask", "instance_mask", mask, item=item),
            Label("patches.box", "box", np.concatenate([edge.min(axis=0), edge.max(axis=0)]), item=item),
            Label("patches.weave_class", "class", np.zeros(0), "flip", item, thing.weave.name),
        )

    def retextured_thing(self, thing: Patch, strength: float, rng: np.random.Generator) -> Patch:
        """Another piece of the same weave, woven a little looser or tighter and with more or less contrast."""
        period = thing.weave.period * float(1 + 0.3 * strength * rng.uniform(-1, 1))
        weave = replace(thing.weave, seed=int(rng.integers(2**31)), period=period)
        return replace(thing, weave=weave, gain=thing.gain * float(1 + strength * rng.uniform(-1, 1)))

    def with_added(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """One more patch, of a weave that no label knows; it may lie on a labelled one when there is no room."""
        taken, found = list(scene.things), []
        while not found:
            found = self._placed(rng, ADDED_WEAVES, ADDED_RADIUS_PX, scene.ground, taken)
            taken = taken[:-1]
        return replace(scene, added=tuple(found))

    def rewoven(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """The same patch of another weave."""
        patch = scene.things[index]
        others = tuple(name for name in WEAVES if name != patch.weave.name)
        weave = weave_unlike(rng, others, scene.ground.weave)
        return edited(scene, index, weave=replace(weave, angle=weave.angle - patch.angle))


def any_weave(rng: np.random.Generator, names: tuple[str, ...]) -> Weave:
    """A weave of one of these classes."""
    name = str(rng.choice(names))
    return Weave(name, float(rng.uniform(0, np.pi)), float(rng.uniform(*PERIODS[name])), int(rng.integers(2**31)))


def weave_unlike(rng: np.random.Generator, names: tuple[str, ...], ground: Weave) -> Weave:
    """A weave that differs from the ground's in class, or is turned by 55 to 90 degrees where it has a direction."""
    while True:
        weave = any_weave(rng, names)
        if weave.name != ground.name:
            return weave
        if weave.name in ("ribs", "herringbone", "hairs"):
            turn = float(np.radians(rng.uniform(55, 90)) * rng.choice([-1, 1]))
            return replace(weave, angle=ground.angle + turn, period=ground.period)


def tinted(texture: Plane, rgb: tuple[float, ...], along: tuple[float, ...], gain: float) -> Image:
    """A texture as variation (h, w, 3) of a colour along another."""
    return (np.array(rgb) + gain * texture[..., None] * np.array(along)).astype(np.float32)
