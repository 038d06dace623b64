"""What all kinds of the fresh split share: scenes of things on a ground, drawn thing by thing in windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from battery._kind import Disc, Edit
from battery._pixels import Image, Plane, bilinear, sub_pixel_grid
from battery.procedural import ground_moved, removed
from refinery.sample import Label

Window = tuple[slice, slice]
SLIDE_PX = 6
"""Margin around the frame in which grounds are painted, so that a ground that slides uncovers more of itself."""


@dataclass(frozen=True)
class Ground:
    """The background: seed of its pattern, mean colour in [0, 1], contrast, how far it is shifted in px."""

    seed: int
    rgb: tuple[float, ...]
    gain: float
    shift_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """All that one image shows; `added` are things that no label speaks of."""

    things: tuple[Any, ...]
    ground: Any
    grain_seed: int
    added: tuple[Any, ...] = ()


class FreshKind:
    """A kind of scene whose things each have a layer; see `Kind`. Kinds say how things look and what they are called.

    A thing has `present`; its layer is (window of sub-pixels, colours (h, w, C), opacity (h, w)).
    """

    name = ""
    size_hw = (96, 96)
    per_pixel = 4
    label_names: tuple[str, ...] = ()
    grain_level = 0.007
    edits: Mapping[str, Edit] = {"remove": removed, "background": ground_moved}

    def layer(self, thing: Any) -> tuple[Window, Image, Plane]:
        """How a thing looks."""
        raise NotImplementedError

    def painted_ground(self, ground: Any) -> Image:
        """Sub-pixels (H * S, W * S, C) with nothing on them."""
        raise NotImplementedError

    def thing_labels(self, thing: Any, item: int) -> tuple[Label, ...]:
        """Labels of one thing."""
        raise NotImplementedError

    def disc(self, thing: Any) -> Disc:
        """A circle around a thing, in px."""
        return Disc(*thing.center, thing.radius)

    def retextured_thing(self, thing: Any, strength: float, rng: np.random.Generator) -> Any:
        """The same thing with other texture."""
        return replace(
            thing, texture_seed=int(rng.integers(2**31)), texture_gain=float(strength * rng.uniform(0.5, 1.0))
        )

    def draw(self, scene: Scene) -> Image:
        """The ground with all that is present on it: (H * S, W * S, C) in [0, 1]."""
        image = self.painted_ground(scene.ground).copy()
        for thing in (*scene.things, *scene.added):
            if thing.present:
                place, colours, cover = self.layer(thing)
                image[place] += (colours - image[place]) * cover[..., None]
        return np.clip(image, 0.0, 1.0)

    def cover(self, thing: Any) -> Plane:
        """Opacity (H * S, W * S) of a thing."""
        whole = np.zeros([side * self.per_pixel for side in self.size_hw], np.float32)
        place, _, cover = self.layer(thing)
        whole[place] = cover
        return whole

    def grain(self, scene: Scene) -> Image:
        """Noise of a good camera: (H, W, C)."""
        rng = np.random.default_rng(scene.grain_seed)
        return rng.normal(0.0, self.grain_level, (*self.size_hw, len(scene.ground.rgb))).astype(np.float32)

    def labels(self, scene: Scene) -> tuple[Label, ...]:
        """Those of each thing, whether it is seen or not."""
        return tuple(label for i, thing in enumerate(scene.things) for label in self.thing_labels(thing, i))

    def discs(self, scene: Scene) -> tuple[Disc, ...]:
        """A circle around each thing."""
        return tuple(self.disc(thing) for thing in scene.things)

    def labels_of(self, scene: Scene, index: int) -> tuple[tuple[str, int], ...]:  # noqa: ARG002
        """All of one thing."""
        return tuple((name, index) for name in self.label_names)

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:
        """All of one thing."""
        names = self.label_names
        return frozenset((sibling, item) for sibling in names) if name in names else frozenset({(name, item)})

    def retextured(self, scene: Scene, strength: float, rng: np.random.Generator) -> Scene:
        """Every thing with another texture."""
        return replace(scene, things=tuple(self.retextured_thing(thing, strength, rng) for thing in scene.things))

    def window(self, low_xy: Any, high_xy: Any) -> Window:
        """Rows and columns of sub-pixels between two points in px, 2 px wider, of one pixel at least."""
        sides, scale = self.size_hw[::-1], self.per_pixel
        low = [min(side - 1, max(0, int(v - 2.0))) * scale for v, side in zip(low_xy, sides, strict=True)]
        high = [max(1, min(side, int(v + 3.0))) * scale for v, side in zip(high_xy, sides, strict=True)]
        high = [max(h, v + scale) for h, v in zip(high, low, strict=True)]
        return slice(low[1], high[1]), slice(low[0], high[0])

    def grid(self, place: Window | None = None) -> tuple[Plane, Plane]:
        """x and y in px of the sub-pixels of a window, or of all."""
        x, y = whole_grid(self.size_hw, self.per_pixel)
        return (x, y) if place is None else (x[place], y[place])


@lru_cache(maxsize=8)
def whole_grid(size_hw: tuple[int, int], per_pixel: int) -> tuple[Plane, Plane]:
    """x and y in px of all sub-pixels of a frame."""
    return sub_pixel_grid(size_hw, per_pixel)


def slid(painted: Image, ground: Ground, per_pixel: int) -> Image:
    """The frame cut out of a ground painted SLIDE_PX wider on all sides, where it lies after its shift."""
    margin = SLIDE_PX * per_pixel
    height, width = painted.shape[0] - 2 * margin, painted.shape[1] - 2 * margin
    if not any(ground.shift_px):
        return painted[margin : margin + height, margin : margin + width]
    rows, columns = np.mgrid[margin : margin + height, margin : margin + width].astype(np.float32)
    across, down = (shift * per_pixel for shift in ground.shift_px)
    return bilinear(painted, columns - across, rows - down)


def looked_up(table: Plane, u: Plane, v: Plane) -> Plane:
    """A square table of random numbers that repeats, read at fractional places with soft steps between them."""
    side = table.shape[0]
    left, top = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    right_share, bottom_share = ((s * s * (3 - 2 * s)) for s in (u - left, v - top))
    upper = table[top % side, left % side] * (1 - right_share) + table[top % side, (left + 1) % side] * right_share
    top = top + 1
    lower = table[top % side, left % side] * (1 - right_share) + table[top % side, (left + 1) % side] * right_share
    return np.asarray(upper * (1 - bottom_share) + lower * bottom_share, dtype=np.float32)
