"""Render labelled synthetic coins on a dark background (gray): the synthetic side of the coins example.

Every image `00000.png` has a sidecar `00000.json` and an instance mask `00000_mask.png` beside it:

    coins    a list of {"center": [x, y], "radius": r, "box": [x0, y0, x1, y1]}, all in px
    mask     8-bit gray: 0 is background, k is the k-th coin of the list, counted from 1

Coins do not overlap. The border may cut them, their centre is inside; a box is the visible part's, so it ends at the
frame's edge. Pixel centres are integers, x right, y down: the frame spans [-0.5, size - 0.5]. Image i depends on the
seed, the size and i alone, never on --count.

Instead of into a folder, the same files go to standard output as an endless tar stream, which a training reads while it
runs: refinery train --real ./real --synthetic 'python simulate.py - |'
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUPERSAMPLE = 3
RADIUS_PX = (18.0, 31.0)  # of the coins in scikit-image's photograph
GAP_PX = 4.0
COINS_PER_PX = 0.9 / 64**2
MAX_COINS = 255  # ids of an 8-bit mask

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Coin:
    """One coin: where it lies (px), how bright it is and how its relief is struck."""

    center: tuple[float, float]
    radius: float
    gray: float
    rim_width: float
    rim_height: float
    relief: float
    relief_seed: int

    def box(self, size: int) -> list[float]:
        """Box [x0, y0, x1, y1] around the part inside the frame."""
        (x, y), radius = self.center, self.radius
        edges = np.array([x - radius, y - radius, x + radius, y + radius])
        return np.clip(edges, -0.5, size - 0.5).round(4).tolist()


@dataclass(frozen=True)
class Table:
    """What the coins lie on and the light above it: `light` is the direction (x, y) the light comes from."""

    gray: float
    slope: tuple[float, float]
    light: tuple[float, float]
    shadow: float
    grain: float
    texture_seed: int


@dataclass(frozen=True)
class Scene:
    """All that one image shows."""

    size: int
    coins: tuple[Coin, ...]
    table: Table


def sample_coin(rng: np.random.Generator, size: int) -> Coin:
    """Draw a coin with its centre anywhere in the frame."""
    return Coin(
        center=(rng.uniform(0, size - 1), rng.uniform(0, size - 1)),
        radius=RADIUS_PX[0] + (RADIUS_PX[1] - RADIUS_PX[0]) * rng.beta(1.2, 2.0),
        gray=rng.uniform(0.46, 0.74),
        rim_width=rng.uniform(1.0, 2.0),
        rim_height=rng.uniform(0.3, 1.0),
        relief=rng.uniform(0.6, 1.6),
        relief_seed=int(rng.integers(2**32)),
    )


def overlaps(coin: Coin, others: list[Coin]) -> bool:
    """Tell whether a coin comes closer than GAP_PX to another one."""
    return any(
        np.hypot(coin.center[0] - other.center[0], coin.center[1] - other.center[1])
        < coin.radius + other.radius + GAP_PX
        for other in others
    )


def sample_coins(rng: np.random.Generator, size: int) -> tuple[Coin, ...]:
    """Throw coins at the frame, keep those that land beside the others: one, and about 0.9 more per 64x64 px."""
    wanted = min(1 + int(rng.poisson(COINS_PER_PX * size**2)), MAX_COINS)
    coins: list[Coin] = []
    for _ in range(30 * wanted):
        coin = sample_coin(rng, size)
        if len(coins) < wanted and not overlaps(coin, coins):
            coins.append(coin)
    return tuple(coins)


def sample_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a dark uneven table, a light and the coins."""
    light_angle = rng.uniform(0, 2 * np.pi)
    table = Table(
        gray=rng.uniform(0.1, 0.36),
        slope=(rng.normal(0.0, 0.04), rng.normal(0.0, 0.06)),
        light=(np.cos(light_angle), np.sin(light_angle)),
        shadow=rng.uniform(0.1, 0.5),
        grain=rng.uniform(0.0, 0.02),
        texture_seed=int(rng.integers(2**32)),
    )
    return Scene(size, sample_coins(rng, size), table)


def pixel_grid(size: int) -> tuple[Plane, Plane]:
    """Return x and y of all sub-pixels: SUPERSAMPLE^2 in each pixel, spread evenly around its integer centre."""
    y, x = np.mgrid[: size * SUPERSAMPLE, : size * SUPERSAMPLE].astype(np.float32)
    return (x + 0.5) / SUPERSAMPLE - 0.5, (y + 0.5) / SUPERSAMPLE - 0.5


def coverage(signed_distance: Plane) -> Plane:
    """Turn a signed distance (px, negative inside) into opacity with an edge one sub-pixel wide."""
    return np.clip(0.5 - signed_distance * SUPERSAMPLE, 0.0, 1.0)


def smooth_noise(rng: np.random.Generator, bump_px: float, side: int) -> Plane:
    """Random field over (side, side) sub-pixels with bumps of about `bump_px`, standard deviation about 0.6."""
    cells = max(2, round(side / SUPERSAMPLE / bump_px))
    coarse = Image.fromarray(rng.normal(0.0, 1.0, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def strike_relief(coin: Coin, dx: Plane, dy: Plane) -> Plane:
    """Height field of a coin's face in px: a head of a few ellipses, worn detail, a rim and a ring of beads."""
    rng, radius = np.random.default_rng(coin.relief_seed), coin.radius
    height = 0.6 * smooth_noise(rng, 2.0, dx.shape[0]) + 0.4 * smooth_noise(rng, 4.0, dx.shape[0])
    for x, y, half_x, half_y in rng.uniform([-0.35, -0.4, 0.1, 0.1], [0.35, 0.4, 0.4, 0.4], (5, 4)):
        rho = np.hypot((dx / radius - x) / half_x, (dy / radius - y) / half_y)
        height = height + np.clip((1.0 - rho) * min(half_x, half_y) * 16.0, 0.0, 2.5)
    from_center = np.hypot(dx, dy)
    beads = 0.5 + 0.5 * np.cos(np.arctan2(dy, dx) * round(radius * 1.5))
    ring = np.exp(-(((from_center - 0.84 * radius) / 0.7) ** 2)) * rng.choice([0.0, 0.8]) * beads
    rim = np.exp(-(((from_center - radius + coin.rim_width) / coin.rim_width) ** 2))
    face = np.clip((0.88 * radius - from_center) / 2.0, 0.0, 1.0)
    return coin.relief * (height * face + ring) + 2.0 * coin.rim_height * rim


def shade_coin(coin: Coin, light: tuple[float, float], dx: Plane, dy: Plane) -> Plane:
    """Gray levels of a coin's face: brighter where its relief slopes towards the light."""
    down, right = np.gradient(strike_relief(coin, dx, dy), 1.0 / SUPERSAMPLE)
    facing = -(right * light[0] + down * light[1])
    return coin.gray * (1.0 + 0.36 * np.tanh(0.7 * facing)) - 0.1 * np.tanh(np.hypot(right, down) - 0.6)


def shade_table(scene: Scene, x: Plane, y: Plane) -> Plane:
    """Gray levels of the empty table."""
    table, side = scene.table, x.shape[0]
    middle = (scene.size - 1) / 2
    tilt = (table.slope[0] * (x - middle) + table.slope[1] * (y - middle)) / 32.0
    return table.gray + tilt + 0.02 * smooth_noise(np.random.default_rng(table.texture_seed), 8.0, side)


def render(scene: Scene) -> NDArray[np.uint8]:
    """Render one scene to (size, size) uint8."""
    x, y = pixel_grid(scene.size)
    light, image = scene.table.light, shade_table(scene, x, y)
    for coin in scene.coins:
        dx, dy = x - np.float32(coin.center[0]), y - np.float32(coin.center[1])
        cast = np.hypot(dx + 1.2 * light[0], dy + 1.2 * light[1]) - coin.radius
        image = image * (1.0 - scene.table.shadow * np.exp(-np.maximum(cast, 0.0)))
        image = image + (shade_coin(coin, light, dx, dy) - image) * coverage(np.hypot(dx, dy) - coin.radius)
    pixels = image.reshape(scene.size, SUPERSAMPLE, scene.size, SUPERSAMPLE).mean(axis=(1, 3))
    grain = np.random.default_rng([scene.table.texture_seed, 1]).normal(0.0, scene.table.grain, pixels.shape)
    return np.rint(np.clip(pixels + grain, 0.0, 1.0) * 255).astype(np.uint8)


def instance_mask(scene: Scene) -> NDArray[np.uint8]:
    """Id of the coin under each pixel centre, (size, size) uint8; 0 is background."""
    y, x = np.mgrid[: scene.size, : scene.size]
    mask = np.zeros((scene.size, scene.size), np.uint8)
    for identity, coin in enumerate(scene.coins, start=1):
        mask[np.hypot(x - coin.center[0], y - coin.center[1]) <= coin.radius] = identity
    return mask


def labels(scene: Scene) -> dict[str, object]:
    """The sidecar's content; the module's docstring explains each entry."""
    return {
        "coins": [
            {
                "center": [round(coin.center[0], 4), round(coin.center[1], 4)],
                "radius": round(coin.radius, 4),
                "box": coin.box(scene.size),
            }
            for coin in scene.coins
        ]
    }


def files(index: int, size: int, seed: int) -> dict[str, bytes]:
    """Image, mask and labels of image number `index`, by file name."""
    scene = sample_scene(np.random.default_rng([seed, index]), size)
    return {
        f"{index:05d}.png": png(render(scene)),
        f"{index:05d}_mask.png": png(instance_mask(scene)),
        f"{index:05d}.json": (json.dumps(labels(scene)) + "\n").encode(),
    }


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W) as the bytes of a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def simulate(out: Path, count: int, size: int, seed: int) -> None:
    """Write `count` images with their sidecars and masks into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        for name, data in files(index, size, seed).items():
            (out / name).write_bytes(data)


def stream(out: BinaryIO, indices: Iterable[int], size: int, seed: int) -> None:
    """Write the files of these images as a tar archive, those of one image behind each other."""
    with tarfile.open(fileobj=out, mode="w|") as archive:
        for index in indices:
            for name, data in files(index, size, seed).items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
            archive.members.clear()  # it remembers every file otherwise


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and simulate."""
    parser = argparse.ArgumentParser(description="Render labelled synthetic coins (gray PNG + JSON + instance mask).")
    parser.add_argument("out", metavar="OUT", help="folder to write 00000.png, 00000.json, ... into; -: a tar stream")
    parser.add_argument("--count", type=int, help="how many images (default: 1000; of a stream, without end)")
    parser.add_argument("--size", type=int, default=64, help="side of an image in px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same images (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.size < 1:
        parser.error(f"--size {options.size}: an image is at least 1 px wide")
    try:
        if options.out == "-":
            indices = itertools.count() if options.count is None else range(options.count)
            stream(sys.stdout.buffer, indices, options.size, options.seed)
        else:
            simulate(Path(options.out), 1000 if options.count is None else options.count, options.size, options.seed)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who read has enough
    except OSError as error:
        sys.exit(f"cannot write to {options.out}: {error.strerror or error}")


if __name__ == "__main__":
    main()
