"""Render labelled synthetic traffic signs (RGB): the synthetic side of the signs example.

A pictogram with alpha (`<class_id>_<name>.png`) is turned in space, projected in perspective and set before a
procedural background. It fills the frame but for a margin of about 10%, as photos cut out around a detected sign do.
Every image `00000.png` has a sidecar `00000.json` beside it:

    class_id    number in front of the pictogram's file name
    class_name  the pictogram's file name without its extension
    corners     [x, y] px of the sign's bounding rectangle in perspective: the sign's own top left, top right, bottom
                right and bottom left
    box         [x0, y0, x1, y1] px, tight around the visible sign

Pixel centres are integers, x right, y down: the frame spans [-0.5, size - 0.5]. Image i depends on the seed, the size,
the pictograms and i alone, never on --count.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUPERSAMPLE = 3

Plane = NDArray[np.float32]
Points = NDArray[np.float64]


class PictogramError(Exception):
    """The pictograms cannot be used; the message says why and what is expected."""


@dataclass(frozen=True)
class Pictogram:
    """One sign seen from the front: (H, W, 4) in [0, 1] with premultiplied alpha, cut to its bounding rectangle."""

    class_id: int
    class_name: str
    pixels: Plane

    @property
    def half_size(self) -> tuple[float, float]:
        """Half width and half height; the longer side has length 1."""
        height, width = self.pixels.shape[:2]
        return 0.5 * width / max(height, width), 0.5 * height / max(height, width)

    def rectangle(self) -> Points:
        """Corners (4, 2) on the sign's plane: top left, top right, bottom right, bottom left."""
        x, y = self.half_size
        return np.array([[-x, -y], [x, -y], [x, y], [-x, y]])

    def outline(self) -> Points:
        """Both ends of each opaque row and column, (N, 2) on the sign's plane: what a tight box must hold."""
        alpha = self.pixels[..., 3]
        points = np.concatenate([row_ends(alpha), row_ends(alpha.T)[:, ::-1]])
        return points / max(alpha.shape) - np.array(self.half_size)


@dataclass(frozen=True)
class Light:
    """How the scene is lit: one exposure, a cast of colour and a gradient over the sign."""

    exposure: float
    cast: tuple[float, float, float]
    slope: tuple[float, float]
    haze: float


@dataclass(frozen=True)
class Scene:
    """All that one image shows; `homography` maps the sign's plane to pixels."""

    size: int
    pictogram: Pictogram
    homography: NDArray[np.float64]
    light: Light
    background_seed: int


def row_starts(alpha: Plane) -> NDArray[np.float64]:
    """Where each row turns opaque, in px from the left edge; half-transparent edge pixels count by their share."""
    padded = np.pad(alpha, ((0, 0), (1, 0)))
    rows, first = np.arange(len(alpha)), (alpha > 0.5).argmax(axis=1)
    return first + 1.0 - padded[rows, first + 1] - padded[rows, first]


def row_ends(alpha: Plane) -> Points:
    """Both ends (x, y) of the opaque run of each row, in px from the top left edge."""
    rows = np.flatnonzero((alpha > 0.5).any(axis=1))
    left, right = row_starts(alpha[rows]), alpha.shape[1] - row_starts(alpha[rows, ::-1])
    return np.concatenate([np.stack([end, rows + 0.5], axis=-1) for end in (left, right)])


def load_pictogram(path: Path, side: int) -> Pictogram:
    """Read one pictogram, cut to its visible part and no larger than `side` px."""
    prefix = path.stem.split("_")[0]
    if not prefix.isdecimal():
        raise PictogramError(f"{path}: the name must start with the class id, as in 03_limit_60.png")
    try:
        image = Image.open(path).convert("RGBA")
    except OSError as error:
        raise PictogramError(f"{path}: cannot be read as an image") from error
    visible = image.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()
    if visible is None:
        raise PictogramError(f"{path}: wholly transparent, expected a sign with an alpha channel")
    premultiplied = image.crop(visible).convert("RGBa")
    premultiplied.thumbnail((side, side), Image.Resampling.BOX)
    return Pictogram(int(prefix), path.stem, np.asarray(premultiplied, np.float32) / 255)


def load_pictograms(folder: Path, classes: list[int] | None, side: int) -> list[Pictogram]:
    """Read all pictograms of a folder, or those of the named classes."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise PictogramError(f"no pictograms in {folder}: expected PNG files with alpha, named <class_id>_<name>.png")
    pictograms = [load_pictogram(path, side) for path in paths]
    known = {pictogram.class_id for pictogram in pictograms}
    missing = sorted(set(classes or []) - known)
    if missing:
        raise PictogramError(f"{folder} has no class {missing}; it has {sorted(known)}")
    return [pictogram for pictogram in pictograms if classes is None or pictogram.class_id in classes]


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation matrix: first roll about the line of sight, then pitch about x, then yaw about y."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return about_y @ about_x @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])


def project(homography: NDArray[np.float64], points: Points) -> Points:
    """Apply a homography to points (N, 2)."""
    x, y, w = homography @ np.column_stack([points, np.ones(len(points))]).T
    return np.stack([x / w, y / w], axis=-1)


def tight_box(points: Points) -> NDArray[np.float64]:
    """Box [x0, y0, x1, y1] around points."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def sample_homography(rng: np.random.Generator, pictogram: Pictogram, size: int) -> NDArray[np.float64]:
    """Draw a pose of the sign in space, then zoom and shift it to fill the frame but for a margin."""
    turn = rotation(rng.normal(0.0, 0.28), rng.normal(0.0, 0.12), rng.normal(0.0, 0.06))
    distance = rng.uniform(2.0, 6.0)
    pose = np.column_stack([turn[:, 0], turn[:, 1], [0.0, 0.0, distance]])
    box = tight_box(project(pose, pictogram.outline()))
    zoom = size * rng.uniform(0.68, 0.89) / max(box[2] - box[0], box[3] - box[1])
    middle = (size - 1) / 2 + size * rng.uniform(-0.04, 0.04, 2)
    shift = middle - zoom * (box[:2] + box[2:]) / 2
    return np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1]]) @ pose


def sample_light(rng: np.random.Generator) -> Light:
    """Draw mild lighting; photographs go much darker and brighter."""
    red, green, blue = 1.0 + rng.normal(0.0, 0.04, 3)
    return Light(
        exposure=float(np.exp(rng.uniform(np.log(0.35), np.log(1.05)))),
        cast=(red, green, blue),
        slope=(rng.normal(0.0, 0.1), rng.normal(0.0, 0.1)),
        haze=rng.uniform(0.0, 0.12),
    )


def sample_scene(rng: np.random.Generator, pictograms: list[Pictogram], size: int) -> Scene:
    """Draw everything one image shows."""
    pictogram = pictograms[rng.integers(len(pictograms))]
    homography = sample_homography(rng, pictogram, size)
    return Scene(size, pictogram, homography, sample_light(rng), int(rng.integers(2**32)))


def pixel_grid(size: int) -> tuple[Plane, Plane]:
    """Return x and y of all sub-pixels: SUPERSAMPLE^2 in each pixel, spread evenly around its integer centre."""
    y, x = np.mgrid[: size * SUPERSAMPLE, : size * SUPERSAMPLE].astype(np.float32)
    return (x + 0.5) / SUPERSAMPLE - 0.5, (y + 0.5) / SUPERSAMPLE - 0.5


def smooth_noise(rng: np.random.Generator, cells: int, side: int) -> Plane:
    """Random (side, side) field that varies over `cells` bumps a side, standard deviation about 0.6."""
    coarse = Image.fromarray(rng.normal(0.0, 1.0, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def paint_sky(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Sky from overcast to blue, lighter towards the horizon, with soft clouds."""
    top, bottom = rng.uniform(0.35, 0.9) + np.array([0.0, 0.04, 0.12]), rng.uniform(0.7, 1.0)
    share = np.clip(y + 0.15 * smooth_noise(rng, 4, x.shape[0]), 0, 1)[..., None]
    return (top * (1 - share) + bottom * share).astype(np.float32)


def paint_foliage(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Leaves and undergrowth: green to brown noise of several scales, darker towards the ground."""
    tone = rng.uniform(0.08, 0.3) * np.array([rng.uniform(0.7, 1.3), rng.uniform(0.9, 1.2), rng.uniform(0.4, 0.8)])
    octaves = zip((5, 12, 30), (0.35, 0.35, 0.4), strict=True)
    texture = sum(gain * smooth_noise(rng, cells, x.shape[0]) for cells, gain in octaves)
    return (tone * (np.exp(1.1 * texture) * (1.2 - 0.4 * y))[..., None]).astype(np.float32)


def paint_building(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """A plastered wall with a grid of dark windows, a little out of plumb."""
    lean, pitch_x, pitch_y = rng.normal(0.0, 0.08), rng.uniform(0.25, 0.7), rng.uniform(0.3, 0.8)
    across, up = x + lean * y + rng.uniform(), y - lean * x + rng.uniform()
    is_window = ((across % pitch_x) < 0.45 * pitch_x) & ((up % pitch_y) < 0.6 * pitch_y)
    wall = rng.uniform(0.3, 0.85) * (1.0 + rng.uniform([-0.05, -0.1, -0.25], [0.15, 0.05, 0.05]))
    window = rng.uniform(0.05, 0.4) * np.array([0.9, 1.0, 1.1])
    shade = 1.0 + 0.08 * smooth_noise(rng, 6, x.shape[0])
    return (np.where(is_window[..., None], window, wall) * shade[..., None]).astype(np.float32)


def paint_background(rng: np.random.Generator, size: int) -> Plane:
    """Two painted halves that meet at a rough skyline, or one that fills the frame, with the sign's pole."""
    x, y = (plane / size for plane in pixel_grid(size))
    painters = (paint_sky, paint_foliage, paint_building)
    above, below = rng.choice(3, p=[0.5, 0.35, 0.15]), rng.choice(3, p=[0.1, 0.6, 0.3])
    skyline = rng.uniform(-0.3, 1.3) + rng.normal(0.0, 0.5) * (x - 0.5) + 0.08 * smooth_noise(rng, 16, x.shape[0])
    is_below = np.clip((y - skyline) * size, 0, 1)[..., None]
    image = painters[above](rng, x, y) * (1 - is_below) + painters[below](rng, x, y) * is_below
    if rng.random() < 0.6:
        off_axis = (x - 0.5 - rng.normal(0.0, 0.02)) / rng.uniform(0.02, 0.05)
        is_pole = np.clip((1.0 - np.abs(off_axis)) * 4.0, 0, 1) * (y > 0.5)
        pole = rng.uniform(0.25, 0.7) * np.sqrt(np.clip(1.0 - 0.7 * (off_axis - 0.3) ** 2, 0.1, 1))
        image = image + (pole - image.mean(axis=2))[..., None] * is_pole[..., None]
    return image * np.exp(rng.normal(0.0, 0.3))


def bilinear(pixels: Plane, x: Plane, y: Plane) -> Plane:
    """Sample (H, W, C) at fractional pixel positions; beyond the edge everything is zero."""
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    x = np.clip(x + 1, 0, padded.shape[1] - 1.001)
    y = np.clip(y + 1, 0, padded.shape[0] - 1.001)
    left, top = x.astype(int), y.astype(int)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    upper = padded[top, left] * (1 - right_share) + padded[top, left + 1] * right_share
    lower = padded[top + 1, left] * (1 - right_share) + padded[top + 1, left + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


def warp_sign(scene: Scene) -> Plane:
    """The sign in perspective at sub-pixel resolution, RGBA with premultiplied alpha."""
    x, y = pixel_grid(scene.size)
    pixels, points = scene.pictogram.pixels, np.column_stack([x.ravel(), y.ravel()])
    on_plane = project(np.linalg.inv(scene.homography), points) + np.array(scene.pictogram.half_size)
    position = on_plane * max(pixels.shape[:2]) - 0.5
    return bilinear(pixels, position[:, 0].reshape(x.shape), position[:, 1].reshape(x.shape)).astype(np.float32)


def render(scene: Scene) -> NDArray[np.uint8]:
    """Render one scene to (size, size, 3) uint8."""
    light, size = scene.light, scene.size
    x, y = (plane / size - 0.5 for plane in pixel_grid(size))
    sign = warp_sign(scene)
    lit = sign[..., :3] * (0.85 + light.slope[0] * x + light.slope[1] * y)[..., None]
    image = lit + paint_background(np.random.default_rng(scene.background_seed), size) * (1 - sign[..., 3:])
    image = light.exposure * np.array(light.cast, np.float32) * (image * (1 - light.haze) + 0.6 * light.haze)
    pixels = image.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, 3).mean(axis=(1, 3))
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)


def labels(scene: Scene) -> dict[str, object]:
    """The sidecar's content; the module's docstring explains each entry."""
    pictogram = scene.pictogram
    return {
        "class_id": pictogram.class_id,
        "class_name": pictogram.class_name,
        "corners": project(scene.homography, pictogram.rectangle()).round(4).tolist(),
        "box": tight_box(project(scene.homography, pictogram.outline())).round(4).tolist(),
    }


def simulate(out: Path, pictograms: list[Pictogram], count: int, size: int, seed: int) -> None:
    """Write `count` images with their sidecars into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        scene = sample_scene(np.random.default_rng([seed, index]), pictograms, size)
        Image.fromarray(render(scene)).save(out / f"{index:05d}.png")
        (out / f"{index:05d}.json").write_text(json.dumps(labels(scene)) + "\n", encoding="utf-8")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Render labelled synthetic traffic signs (RGB PNG + JSON).")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write 00000.png, 00000.json, ... into")
    parser.add_argument(
        "--pictograms", type=Path, required=True, metavar="FOLDER", help="PNG files <class_id>_<name>.png with alpha"
    )
    parser.add_argument("--classes", type=int, nargs="+", metavar="ID", help="only these class ids (default: all)")
    parser.add_argument("--count", type=int, default=3000, help="how many images (default: %(default)s)")
    parser.add_argument("--size", type=int, default=48, help="side of an image in px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same images (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.size < 8:
        parser.error(f"--size {options.size}: a sign needs at least 8 px")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and simulate."""
    options = parse(arguments)
    try:
        pictograms = load_pictograms(options.pictograms, options.classes, options.size * SUPERSAMPLE)
        simulate(options.out, pictograms, options.count, options.size, options.seed)
    except PictogramError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"cannot write to {options.out}: {error.strerror or error}")


if __name__ == "__main__":
    main()
