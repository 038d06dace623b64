"""Make pairs for paired training (pix2pix): `OUT/synthetic/00000.png` and `OUT/real/00000.png` show the same.

    --kind map      a label map (gray, one level for each class) and its render in colour
    --kind photo    a clean render in colour and what a poor camera makes of it: soft, dark corners, off tones, grain
    --kind depth    a clean depth image (16-bit gray, hundredths of a millimetre) and a sensor's: coarse, noisy, read
                    short, with shadows that read 0 to the left of what stands out

Every synthetic image has a sidecar `00000.json`:

    things    a list of {"class": name, "center": [x, y], "box": [x0, y0, x1, y1]}, in px

Things do not overlap; a box ends at the frame's edge. Pixel centres are integers, x right, y down: the frame spans
[-0.5, size - 0.5]. Image i depends on the kind, the seed, the size and i alone, never on --count. To train on them:

    python simulate.py pairs --kind photo
    refinery train --method pix2pix --synthetic ./pairs/synthetic --real ./pairs/real
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUPERSAMPLE = 3
KINDS = ("disc", "block", "wedge")
COLOURS = np.array([[0.80, 0.62, 0.22], [0.25, 0.45, 0.75], [0.70, 0.25, 0.25]])
FAR_MM, NEAR_MM = 600.0, 400.0
REACH, GAP_PX = 1.25, 2.0  # of a block's corner from its centre, in radii; between two things
SHORT = 0.88  # what the sensor, badly calibrated, reads of a distance

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Thing:
    """A disc, block or wedge: where it lies (px), how it is turned (radians) and how high it stands (0 to 1)."""

    kind: int
    center: tuple[float, float]
    radius: float
    turn: float
    height: float

    def distance(self, x: Plane, y: Plane) -> Plane:
        """Signed distance of points to its edge in px, negative inside (not exact around outer corners)."""
        dx, dy = x - self.center[0], y - self.center[1]
        along = np.cos(self.turn) * dx + np.sin(self.turn) * dy
        across = np.cos(self.turn) * dy - np.sin(self.turn) * dx
        if self.kind == 0:
            return np.hypot(dx, dy) - self.radius
        if self.kind == 1:
            return np.maximum(np.abs(along) - self.radius, np.abs(across) - 0.7 * self.radius)
        slanted = 0.5 * np.sqrt(3) * np.abs(along) + 0.5 * across
        return np.maximum(slanted, -across) - 0.5 * self.radius


@dataclass(frozen=True)
class Scene:
    """All that one pair shows. light: the direction (x, y) that it comes from."""

    size: int
    things: tuple[Thing, ...]
    light: tuple[float, float]
    texture_seed: int


def sample_thing(rng: np.random.Generator, size: int) -> Thing:
    """Draw a thing with its centre well inside the frame."""
    return Thing(
        kind=int(rng.integers(len(KINDS))),
        center=(rng.uniform(0.15, 0.85) * size, rng.uniform(0.15, 0.85) * size),
        radius=rng.uniform(0.1, 0.2) * size,
        turn=rng.uniform(0, 2 * np.pi),
        height=rng.uniform(0.3, 1.0),
    )


def sample_scene(rng: np.random.Generator, size: int) -> Scene:
    """Throw five things at a board and keep those that fall beside the others; draw a light from above."""
    things: list[Thing] = []
    for thing in (sample_thing(rng, size) for _ in range(5)):
        gaps = [np.subtract(thing.center, t.center) for t in things]
        reaches = [REACH * (thing.radius + t.radius) + GAP_PX for t in things]
        if all(np.hypot(*gap) > reach for gap, reach in zip(gaps, reaches, strict=True)):
            things.append(thing)
    angle = rng.uniform(-0.75, -0.25) * np.pi
    return Scene(size, tuple(things), (np.cos(angle), np.sin(angle)), int(rng.integers(2**32)))


def pixel_grid(size: int) -> tuple[Plane, Plane]:
    """x and y of all sub-pixels: SUPERSAMPLE^2 in each pixel, spread evenly around its integer centre."""
    y, x = np.mgrid[: size * SUPERSAMPLE, : size * SUPERSAMPLE].astype(float)
    return (x + 0.5) / SUPERSAMPLE - 0.5, (y + 0.5) / SUPERSAMPLE - 0.5


def to_pixels(plane: Plane) -> Plane:
    """The mean of each pixel's sub-pixels: (3 H, 3 W[, C]) to (H, W[, C])."""
    side = plane.shape[0] // SUPERSAMPLE
    return plane.reshape(side, SUPERSAMPLE, side, SUPERSAMPLE, *plane.shape[2:]).mean(axis=(1, 3))


def label_map(scene: Scene) -> NDArray[np.uint8]:
    """The class under each pixel's centre, (size, size): 0 is the board, 80, 160 and 240 are the kinds of things."""
    y, x = np.mgrid[: scene.size, : scene.size].astype(float)
    classes = np.zeros((scene.size, scene.size), np.uint8)
    for thing in scene.things:
        classes[thing.distance(x, y) <= 0] = 80 * (thing.kind + 1)
    return classes


def render(scene: Scene) -> Plane:
    """The scene in colour, (size, size, 3) in [0, 1]: a grained board, soft shadows, rounded and lit things."""
    x, y = pixel_grid(scene.size)
    phase = np.random.default_rng(scene.texture_seed).uniform(0, 2 * np.pi, 3)
    rings = 0.05 * np.sin(0.55 * y + 1.5 * np.sin(0.11 * x + phase[0]) + phase[1]) + 0.03 * np.sin(1.7 * y + phase[2])
    image = np.array([0.62, 0.55, 0.45]) * (1 + rings)[..., None]
    for thing in scene.things:
        reach = 4 * thing.height
        cast = thing.distance(x + reach * scene.light[0], y + reach * scene.light[1])
        image = image * (1 - 0.5 / (1 + np.exp(2 * cast)))[..., None]
        distance = thing.distance(x, y)
        bevel = np.exp(-((distance / (0.25 * thing.radius)) ** 2))
        down, right = np.gradient(distance, 1 / SUPERSAMPLE)
        facing = bevel * (right * scene.light[0] + down * scene.light[1])
        lit = COLOURS[thing.kind] * (0.85 + 0.35 * facing)[..., None]
        image = image + (lit - image) * np.clip(0.5 - distance * SUPERSAMPLE, 0, 1)[..., None]
    return np.clip(to_pixels(image), 0, 1)


def depth_mm(scene: Scene) -> Plane:
    """Distance of each pixel from a camera above, (size, size): the board is far, things stand out of it."""
    x, y = pixel_grid(scene.size)
    depth = FAR_MM - 0.1 * x
    for thing in scene.things:
        depth = np.where(thing.distance(x, y) <= 0, FAR_MM - thing.height * (FAR_MM - NEAR_MM), depth)
    return to_pixels(depth)


def blur(image: Plane, sigma_px: float) -> Plane:
    """Gaussian blur of (H, W[, C]), the border repeated."""
    reach = int(np.ceil(3 * sigma_px))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    weights = weights / weights.sum()
    for axis in (0, 1):
        pads = [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, pads, mode="edge")
        image = sum(w * np.take(padded, np.arange(image.shape[axis]) + k, axis) for k, w in enumerate(weights))
    return image


def photograph(image: Plane, rng: np.random.Generator) -> Plane:
    """What a poor camera makes of (H, W, 3) in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    soft = blur(image, 0.8) * (1 - 0.25 * (x**2 + y**2))[..., None] * np.array([1.08, 1.0, 0.85])
    toned = np.clip(soft, 0, 1) ** 1.4 * 0.85 + 0.06
    return np.clip(toned + rng.normal(0, 0.025, image.shape), 0, 1)


def sense(depth: Plane, rng: np.random.Generator) -> Plane:
    """What a structured-light sensor measures of a depth image in mm; 0 where its light does not fall."""
    reach = np.rint((FAR_MM - depth) / 80).astype(int)
    columns = np.arange(depth.shape[1])
    shadow = np.zeros(depth.shape, bool)
    for shift in range(1, reach.max() + 1):
        ahead = np.minimum(columns + shift, depth.shape[1] - 1)
        shadow |= reach[:, ahead] >= shift + reach
    noisy = SHORT * blur(depth, 0.6) + rng.normal(0, 1, depth.shape) * (depth / FAR_MM) ** 2
    return np.where(shadow, 0, np.rint(noisy / 2) * 2)


def make_map(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.generic], NDArray[np.generic]]:  # noqa: ARG001
    """A label map and its render."""
    return label_map(scene), eight_bits(render(scene))


def make_photo(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """A render and its photograph."""
    clean = render(scene)
    return eight_bits(clean), eight_bits(photograph(clean, rng))


def make_depth(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """A depth image and a sensor's, 16 bits in hundredths of a millimetre."""
    clean = depth_mm(scene)
    return tuple(np.rint(100 * depth).astype(np.uint16) for depth in (clean, sense(clean, rng)))


def eight_bits(image: Plane) -> NDArray[np.uint8]:
    """[0, 1] to 0 to 255."""
    return np.rint(255 * image).astype(np.uint8)


MAKERS: dict[str, Callable[[Scene, np.random.Generator], tuple[NDArray[np.generic], NDArray[np.generic]]]] = {
    "map": make_map,
    "photo": make_photo,
    "depth": make_depth,
}


def labels(scene: Scene) -> dict[str, object]:
    """The sidecar's content; the module's docstring explains each entry."""
    x, y = pixel_grid(scene.size)
    things = []
    for thing in scene.things:
        inside = thing.distance(x, y) <= 0
        box = [x[inside].min(), y[inside].min(), x[inside].max(), y[inside].max()]
        things.append(
            {"class": KINDS[thing.kind], "center": np.round(thing.center, 4).tolist(), "box": np.round(box, 4).tolist()}
        )
    return {"things": things}


def simulate(out: Path, kind: str, count: int, size: int, seed: int) -> None:
    """Write `count` pairs, and the sidecars of the synthetic side, into `out`."""
    for side in ("synthetic", "real"):
        (out / side).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        scene = sample_scene(rng, size)
        for side, pixels in zip(("synthetic", "real"), MAKERS[kind](scene, rng), strict=True):
            Image.fromarray(pixels).save(out / side / f"{index:05d}.png")
        sidecar = out / "synthetic" / f"{index:05d}.json"
        sidecar.write_text(json.dumps(labels(scene)) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and simulate."""
    parser = argparse.ArgumentParser(description="Make pairs of images for paired training.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for synthetic/ and real/")
    parser.add_argument("--kind", choices=MAKERS, default="map", help="what the pairs are (default: %(default)s)")
    parser.add_argument("--count", type=int, default=400, help="how many pairs (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="side of an image in px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same images (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.size < 16:
        parser.error(f"--size {options.size}: the things need at least 16 px")
    try:
        simulate(options.out, options.kind, options.count, options.size, options.seed)
    except OSError as error:
        sys.exit(f"cannot write to {options.out}: {error.strerror or error}")


if __name__ == "__main__":
    main()
