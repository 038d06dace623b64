"""Signs of the blind split (64 x 64 px, RGB): drawn plates and symbols before grounds that the simulator does not have.

Pose, light and sidecar are those of examples/signs/simulate.py, the sign smaller in its frame and turned further. No
pictogram file is needed. Labels are those of the sidecar. Object 0 is the sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from battery._kind import Edit
from battery._pixels import Image, sub_pixel_grid, warped
from battery._simulators import simulator
from battery.blind_grounds import PAINTERS
from battery.signs import Signs, SignScene, box_of, ground_moved, moved, removed, rotated, scaled

SIZE, PLATE_PX = 64, 360
GROUNDS = ("stripes", "pink", "checks", "clutter", "holes")

MIN_CONTRAST = 0.2
"""Mean difference, over channels, of a sticker's colour from those of its sign."""

Colour = tuple[int, int, int]
BLACK, WHITE, YELLOW, ORANGE = (25, 25, 28), (238, 238, 235), (238, 196, 30), (226, 110, 30)
BROWN, TEAL, GREEN, PURPLE = (120, 72, 40), (20, 128, 128), (38, 120, 60), (110, 50, 130)

CLASSES: tuple[tuple[str, str, str, tuple[Colour, Colour]], ...] = (
    ("diamond_wave", "diamond", "wave", (YELLOW, BLACK)),
    ("diamond_steps", "diamond", "steps", (ORANGE, BLACK)),
    ("octagon_fork", "octagon", "fork", (PURPLE, WHITE)),
    ("octagon_dots", "octagon", "dots", (BROWN, WHITE)),
    ("house_fork", "house", "fork", (TEAL, WHITE)),
    ("house_wave", "house", "wave", (GREEN, WHITE)),
    ("plate_steps", "plate", "steps", (WHITE, GREEN)),
    ("plate_dots", "plate", "dots", (BLACK, YELLOW)),
)
"""(name, plate, symbol, (field, symbol and border))."""

PLATES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "diamond": ((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)),
    "octagon": ((0.29, 0.0), (0.71, 0.0), (1.0, 0.29), (1.0, 0.71), (0.71, 1.0), (0.29, 1.0), (0.0, 0.71), (0.0, 0.29)),
    "house": ((0.5, 0.0), (0.95, 0.35), (0.95, 1.0), (0.05, 1.0), (0.05, 0.35)),
    "plate": ((0.0, 0.12), (1.0, 0.12), (1.0, 0.88), (0.0, 0.88)),
}


@dataclass(frozen=True)
class BlindSign(SignScene):
    """A sign with the stickers on it: x, y, radius in px and colour."""

    stickers: tuple[tuple[float, float, float, tuple[float, ...]], ...] = ()


class BlindSigns(Signs):
    """The kind "signs" of the blind split; see `Kind`."""

    size_hw = (SIZE, SIZE)

    def __init__(self) -> None:
        self.simulate = simulator("signs")
        self.per_pixel = self.simulate.SUPERSAMPLE
        self.edits: Mapping[str, Edit] = {
            "shift": moved, "scale": scaled, "rotate": rotated, "remove": removed, "background": ground_moved,
            "class": swapped, "colour": repainted, "add": with_sticker,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Any:  # noqa: ARG002
        """A sign in a pose of its own."""
        sim = self.simulate
        face = pictogram(int(rng.integers(len(CLASSES))), -1)
        turn = sim.rotation(rng.uniform(-0.75, 0.75), rng.normal(0.0, 0.2), rng.normal(0.0, 0.15))
        pose = np.column_stack([turn[:, 0], turn[:, 1], [0.0, 0.0, rng.uniform(1.6, 4.0)]])
        box = sim.tight_box(sim.project(pose, face.outline()))
        zoom = SIZE * rng.uniform(0.5, 0.72) / max(box[2] - box[0], box[3] - box[1])
        shift = (SIZE - 1) / 2 + SIZE * rng.uniform(-0.09, 0.09, 2) - zoom * (box[:2] + box[2:]) / 2
        homography = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1]]) @ pose
        light = replace(sim.sample_light(rng), exposure=float(rng.uniform(0.6, 1.1)))
        return BlindSign(SIZE, face, homography, light, int(rng.integers(2**32)))

    def draw(self, scene: Any) -> Image:
        """The sign, lit, on its ground, with stickers."""
        light, size = scene.light, scene.size
        x, y = (plane / size - 0.5 for plane in self.simulate.pixel_grid(size))
        sign = self.simulate.warp_sign(scene)
        lit = sign[..., :3] * (0.9 + light.slope[0] * x + light.slope[1] * y)[..., None]
        ground = background(scene.background_seed, size, self.per_pixel)
        if any(scene.ground_shift_px):
            flow = np.broadcast_to(np.array(scene.ground_shift_px, np.float32), (*ground.shape[:2], 2))
            ground = warped(ground, flow, self.per_pixel)
        image = lit + ground * (1 - sign[..., 3:])
        for cx, cy, radius, rgb in scene.stickers:
            cover = np.clip(0.5 - (np.hypot(x * size + size / 2 - cx, y * size + size / 2 - cy) - radius) * 3, 0, 1)
            image = image + (np.array(rgb, np.float32) - image) * cover[..., None]
        image = light.exposure * np.array(light.cast, np.float32) * (image * (1 - light.haze) + 0.6 * light.haze)
        return np.asarray(np.clip(image, 0.0, 1.0), dtype=np.float32)


@lru_cache(maxsize=64)
def pictogram(class_id: int, scheme: int) -> Any:
    """The face of a class, in its own colours, or in those of class `scheme` when that is not negative."""
    name, plate, symbol, own = CLASSES[class_id]
    field, ink = CLASSES[scheme][3] if scheme >= 0 else own
    held = PillowImage.new("RGBA", (PLATE_PX, PLATE_PX), (0, 0, 0, 0))
    pen = ImageDraw.Draw(held)
    corners = np.array(PLATES[plate]) * (PLATE_PX - 1)
    middle = corners.mean(axis=0)
    for share, paint in ((1.0, field), (0.9, ink), (0.83, field)):
        pen.polygon([tuple(p) for p in middle + (corners - middle) * share], fill=(*paint, 255))
    draw_symbol(pen, symbol, ink, middle)
    side = SIZE * simulator("signs").SUPERSAMPLE
    visible = held.crop(held.getbbox()).convert("RGBa")
    visible.thumbnail((side, side), PillowImage.Resampling.BOX)
    return simulator("signs").Pictogram(class_id, name, np.asarray(visible, np.float32) / 255)


def draw_symbol(pen: ImageDraw.ImageDraw, symbol: str, ink: Colour, middle: Any) -> None:
    """A symbol of a third of the plate's size around its middle."""
    unit = PLATE_PX / 6
    paint = (*ink, 255)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(float(middle[0] + unit * px), float(middle[1] + unit * py)) for px, py in points]

    if symbol == "wave":
        for down in (-0.55, 0.45):
            places = np.linspace(-1.2, 1.2, 40)
            pen.line(at(*[(p, down + 0.35 * np.sin(4.0 * p)) for p in places]), paint, width=int(0.38 * unit))
    elif symbol == "steps":
        pen.polygon(at((-1, 1), (-1, 0.4), (-0.3, 0.4), (-0.3, -0.3), (0.4, -0.3), (0.4, -1), (1, -1), (1, 1)), paint)
    elif symbol == "dots":
        for px, py in ((-0.8, -0.5), (0.75, -0.6), (-0.1, 0.75)):
            pen.ellipse(at((px - 0.45, py - 0.45), (px + 0.45, py + 0.45)), fill=paint)
    else:
        pen.rectangle(at((-0.22, -0.2), (0.22, 1.2)), fill=paint)
        pen.line(at((-0.9, -1.1), (0.0, 0.0), (0.9, -0.7)), paint, width=int(0.42 * unit))


@lru_cache(maxsize=64)
def background(seed: int, size: int, per_pixel: int) -> Image:
    """(H * S, W * S, 3): one of the blind grounds in some colour."""
    rng = np.random.default_rng([seed, 23])
    name = str(rng.choice(GROUNDS))
    base = np.clip(rng.uniform(0.2, 0.75) + rng.uniform(-0.12, 0.12, 3), 0.05, 1)
    x, y = sub_pixel_grid((size, size), per_pixel)
    detail = PAINTERS[name](rng, x, y, per_pixel)
    return np.asarray(np.clip(base * (1 + rng.uniform(0.1, 0.3) * detail)[..., None], 0, 1), dtype=np.float32)


def swapped(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Another sign in the same pose; every other time only the symbol on the same plate in the same colours."""
    own = scene.pictogram.class_id
    others = [i for i in range(len(CLASSES)) if i != own]
    alike = [i for i in others if CLASSES[i][1] == CLASSES[own][1]]
    if rng.random() < 0.5:
        return replace(scene, pictogram=pictogram(int(rng.choice(alike)), own))
    return replace(scene, pictogram=pictogram(int(rng.choice(others)), -1))


def repainted(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """The same plate and symbol in the colours of another class."""
    own = scene.pictogram.class_id
    return replace(scene, pictogram=pictogram(own, int(rng.choice([i for i in range(len(CLASSES)) if i != own]))))


def with_sticker(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """A round sticker on the sign, a sixth to a quarter of its width, which no label speaks of."""
    left, top, right, bottom = box_of(scene)
    reach, angle, share = min(right - left, bottom - top) / 2, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6)
    x, y = (left + right) / 2 + reach * share * np.cos(angle), (top + bottom) / 2 + reach * share * np.sin(angle)
    own = np.array(CLASSES[scene.pictogram.class_id][3]) / 255
    rgb = own[0]
    while np.abs(own - rgb).mean(axis=1).min() < MIN_CONTRAST:
        rgb = rng.uniform(0.05, 0.95, 3)
    sticker = (float(x), float(y), float(reach * rng.uniform(0.17, 0.26)), tuple(float(v) for v in rgb))
    return replace(scene, stickers=(sticker,))
