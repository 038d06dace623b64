"""Render labelled synthetic eye crops (60x36, gray): the synthetic side of the eyes example.

An eyeball with a flat iris disc is turned by the gaze and projected orthographically; lids, lashes, crease and skin are
shaded curves around it. Every image `00000.png` has a sidecar `00000.json` beside it:

    iris_center     [x, y] px: centre of the projected iris (limbus) ellipse
    iris_radius     px: its semi-major axis
    iris_contour    16 points [x, y] on the ellipse, also where a lid covers it
    eyelid_contour  16 points [x, y]: closed polygon around the opening, from the image's left corner over the upper lid
    gaze            [yaw, pitch] rad: yaw > 0 looks to the image's right, pitch > 0 up
    gaze_vector     unit [x, y, z]: x right, y down, z away from the camera, so (0, 0, -1) looks into the camera
    eye             "left" or "right", the person's own: a left eye has the nose on the image's left

Pixel centres are integers, x right, y down. Image i depends on the seed and on i alone, never on --count.
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

WIDTH, HEIGHT = 60, 36
SUPERSAMPLE = 4
IRIS_TO_EYEBALL = 0.5  # an iris of 5.9 mm radius on an eyeball of 12 mm
CONTOUR_POINTS = 16

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Eyeball:
    """Where the eyeball is, where it looks and what its surface looks like; lengths in px, grays in [0, 1]."""

    center: tuple[float, float]
    iris_radius: float
    yaw: float
    pitch: float
    sclera_gray: float
    iris_gray: float
    pupil_ratio: float
    glint_offset: tuple[float, float]
    glint_radius: float
    glint_gray: float

    @property
    def gaze_vector(self) -> NDArray[np.float64]:
        """Unit vector of sight: x right, y down, z away from the camera."""
        x, y = np.sin(self.yaw) * np.cos(self.pitch), -np.sin(self.pitch)
        return np.array([x, y, -np.cos(self.yaw) * np.cos(self.pitch)])

    @property
    def iris_center(self) -> NDArray[np.float64]:
        """Projected centre of the iris disc, which lies a little inside the eyeball's front."""
        eyeball_radius = self.iris_radius / IRIS_TO_EYEBALL
        depth = np.sqrt(eyeball_radius**2 - self.iris_radius**2)
        return np.array(self.center) + depth * self.gaze_vector[:2]


@dataclass(frozen=True)
class Lids:
    """The opening between the lids: a corner-to-corner axis and two curves over t in [-1, 1], inner corner at -1."""

    center: tuple[float, float]
    half_width: float
    roll: float
    upper_height: float
    upper_shape: tuple[float, float]
    lower_height: float
    lower_shape: tuple[float, float]
    crease_gap: float
    crease_depth: float
    lash_gray: float
    lash_thickness: float
    shadow: float


@dataclass(frozen=True)
class Skin:
    """Gray level and shading of the skin around the eye."""

    gray: float
    slope: tuple[float, float]
    socket_depth: float
    nose_depth: float
    lid_gain: float
    fold_gap: float
    fold_depth: float
    brow_edge: float
    brow_slope: float
    brow_depth: float
    grain: float


@dataclass(frozen=True)
class Eye:
    """All that one image shows."""

    side: str
    eyeball: Eyeball
    lids: Lids
    skin: Skin
    texture_seed: int


def sample_eyeball(rng: np.random.Generator) -> Eyeball:
    """Draw an eyeball near the frame's centre with a gaze spread wider than that of a person at a laptop."""
    glint_angle = rng.uniform(0, 2 * np.pi)
    glint_reach = rng.uniform(0.1, 0.6)
    return Eyeball(
        center=(rng.normal(30.0, 0.9), rng.normal(16.0, 0.7)),
        iris_radius=float(np.clip(rng.normal(9.5, 0.55), 7.8, 11.0)),
        yaw=rng.uniform(-0.42, 0.42),
        pitch=rng.uniform(-0.24, 0.3),
        sclera_gray=rng.uniform(0.5, 1.0),
        iris_gray=rng.uniform(0.02, 0.14),
        pupil_ratio=rng.uniform(0.3, 0.48),
        glint_offset=(glint_reach * np.cos(glint_angle), -glint_reach * abs(np.sin(glint_angle))),
        glint_radius=rng.uniform(0.5, 1.2),
        glint_gray=rng.choice([0.0, 1.0]) * rng.uniform(0.3, 0.9),
    )


def sample_lids(rng: np.random.Generator, eyeball: Eyeball) -> Lids:
    """Draw lids that follow the gaze: the upper one hides the top of the iris, the lower one just touches it."""
    center = (eyeball.center[0] + rng.normal(0.0, 0.8), eyeball.center[1] + rng.normal(2.2, 0.6))
    iris_y, radius = eyeball.iris_center[1], eyeball.iris_radius
    upper_y = 0.7 * (iris_y - radius * rng.uniform(0.35, 0.85)) + 0.3 * 8.5
    lower_y = 0.65 * (iris_y + radius * rng.uniform(0.85, 1.1)) + 0.35 * 23.8
    return Lids(
        center=center,
        half_width=rng.uniform(24.0, 28.0),
        roll=rng.normal(0.0, 0.05),
        upper_height=max(center[1] - upper_y, 5.0),
        upper_shape=(rng.uniform(-0.6, -0.1), rng.uniform(-0.2, 0.2)),
        lower_height=max(lower_y - center[1], 3.0),
        lower_shape=(rng.uniform(-0.8, -0.2), rng.uniform(-0.1, 0.3)),
        crease_gap=rng.uniform(3.0, 8.0),
        crease_depth=rng.uniform(0.1, 0.45),
        lash_gray=rng.uniform(0.05, 0.25),
        lash_thickness=rng.uniform(0.8, 2.0),
        shadow=rng.uniform(0.2, 0.7),
    )


def sample_skin(rng: np.random.Generator) -> Skin:
    """Draw skin lit from a random side; below the eye it is the brightest, towards the nose the darkest."""
    has_brow = rng.random() < 0.12
    return Skin(
        gray=rng.uniform(0.7, 0.9),
        slope=(rng.normal(0.0, 0.14), rng.uniform(-0.05, 0.25)),
        socket_depth=rng.uniform(0.25, 0.6),
        nose_depth=rng.uniform(0.15, 0.5),
        lid_gain=rng.uniform(-0.15, 0.15),
        fold_gap=rng.uniform(2.5, 5.0),
        fold_depth=rng.uniform(0.0, 0.2),
        brow_edge=rng.uniform(0.0, 4.0),
        brow_slope=rng.normal(0.0, 0.12),
        brow_depth=rng.uniform(0.4, 0.8) if has_brow else 0.0,
        grain=rng.uniform(0.0, 0.025),
    )


def sample_eye(rng: np.random.Generator) -> Eye:
    """Draw everything one image shows; left and right eyes are equally frequent."""
    side = "left" if rng.random() < 0.5 else "right"
    eyeball = sample_eyeball(rng)
    return Eye(side, eyeball, sample_lids(rng, eyeball), sample_skin(rng), int(rng.integers(2**32)))


def pixel_grid() -> tuple[Plane, Plane]:
    """Return x and y of all sub-pixels: SUPERSAMPLE^2 in each pixel, spread evenly around its integer centre."""
    y, x = np.mgrid[: HEIGHT * SUPERSAMPLE, : WIDTH * SUPERSAMPLE].astype(np.float32)
    return (x + 0.5) / SUPERSAMPLE - 0.5, (y + 0.5) / SUPERSAMPLE - 0.5


def coverage(signed_distance: Plane) -> Plane:
    """Turn a signed distance (px, negative inside) into opacity with an edge one sub-pixel wide."""
    return np.clip(0.5 - signed_distance * SUPERSAMPLE, 0.0, 1.0)


def ridge(distance: Plane, width: float | Plane) -> Plane:
    """Bell of height 1 around distance 0: a soft line."""
    return np.exp(-((distance / width) ** 2))


def to_lid_frame(eye: Eye, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Map image points to (t, v): t along the corner axis, -1 at the inner corner, +1 at the outer; v px downwards."""
    lids, mirror = eye.lids, 1.0 if eye.side == "left" else -1.0
    dx, dy = x - lids.center[0], y - lids.center[1]
    cos, sin = np.cos(lids.roll), np.sin(lids.roll)
    return (dx * cos + dy * sin) * (mirror / lids.half_width), dy * cos - dx * sin


def from_lid_frame(eye: Eye, t: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map (t, v) of the lid frame to image points, (N, 2)."""
    lids, mirror = eye.lids, 1.0 if eye.side == "left" else -1.0
    along = t * (mirror * lids.half_width)
    cos, sin = np.cos(lids.roll), np.sin(lids.roll)
    return np.stack([lids.center[0] + along * cos - v * sin, lids.center[1] + along * sin + v * cos], axis=-1)


def arc(t: Plane, shape: tuple[float, float]) -> Plane:
    """Height of a lid curve in units of its middle: 1 at t = 0, 0 at the corners, (bluntness, skew) in between."""
    bluntness, skew = shape
    return (1.0 - t**2) * (1.0 + bluntness * t**2 + skew * t)


def arc_slope(t: Plane, shape: tuple[float, float]) -> Plane:
    """Derivative of `arc` by t."""
    bluntness, skew = shape
    return -2.0 * t * (1.0 + bluntness * t**2 + skew * t) + (1.0 - t**2) * (2.0 * bluntness * t + skew)


def lid_distances(eye: Eye, t: Plane, v: Plane) -> tuple[Plane, Plane]:
    """Signed distance (px, first order) to the upper and to the lower lid, positive on the skin's side."""
    lids = eye.lids
    upper = -lids.upper_height * arc(t, lids.upper_shape) - v
    lower = v - lids.lower_height * arc(t, lids.lower_shape)
    upper_slope = arc_slope(t, lids.upper_shape) * (lids.upper_height / lids.half_width)
    lower_slope = arc_slope(t, lids.lower_shape) * (lids.lower_height / lids.half_width)
    return upper / np.sqrt(1.0 + upper_slope**2), lower / np.sqrt(1.0 + lower_slope**2)


def iris_distance(eyeball: Eyeball, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the iris coordinate (0 centre, 1 limbus) and the signed distance (px, first order) to the limbus."""
    gaze = eyeball.gaze_vector
    foreshortening, tilt = abs(gaze[2]), np.arctan2(gaze[1], gaze[0])
    dx, dy = x - np.float32(eyeball.iris_center[0]), y - np.float32(eyeball.iris_center[1])
    along = (dx * np.cos(tilt) + dy * np.sin(tilt)) / foreshortening
    across = dy * np.cos(tilt) - dx * np.sin(tilt)
    rho = np.hypot(along, across) + 1e-6
    gradient = np.hypot(along / foreshortening, across) / rho
    return rho / eyeball.iris_radius, (rho - eyeball.iris_radius) / np.maximum(gradient, 1.0)


def shade_eyeball(eye: Eye, x: Plane, y: Plane, t: Plane, upper: Plane) -> Plane:
    """Shade sclera, iris, pupil and glint, under the upper lid's shadow."""
    ball = eye.eyeball
    eyeball_radius = ball.iris_radius / IRIS_TO_EYEBALL
    from_center = np.hypot(x - ball.center[0], y - ball.center[1]) / eyeball_radius
    sclera = ball.sclera_gray * (1.0 - 0.35 * np.clip(from_center, 0, 1.5) ** 2)
    sclera = sclera * (1.0 - 0.6 * np.clip(np.abs(t), 0, 1) ** 4)
    rho, limbus = iris_distance(ball, x, y)
    iris = ball.iris_gray * (1.0 - 0.55 * np.clip(rho, 0, 1) ** 6)
    iris = iris * (1.0 - 0.8 * coverage((rho - ball.pupil_ratio) * ball.iris_radius))
    surface = sclera + (iris - sclera) * coverage(limbus)
    surface = surface * (1.0 - eye.lids.shadow * np.exp(np.minimum(upper, 0.0) / 3.0))
    glint_x, glint_y = ball.iris_center + np.array(ball.glint_offset) * ball.iris_radius
    glint = coverage(np.hypot(x - glint_x, y - glint_y) - ball.glint_radius)
    return surface + ball.glint_gray * glint * (1.0 - surface)


def shade_skin(eye: Eye, x: Plane, y: Plane, t: Plane, v: Plane, upper: Plane, lower: Plane) -> Plane:
    """Shade the skin: light from one side, the socket, the nose's side, the upper lid's crease and the lower fold."""
    lids, skin = eye.lids, eye.skin
    sway = skin.slope[0] * (x / WIDTH - 0.5) * 2.0 + skin.slope[1] * (y / HEIGHT - 0.5) * 2.0
    outside = np.maximum(np.maximum(upper, lower), 0.0)
    shade = skin.gray + sway - skin.socket_depth * np.exp(-outside / 4.5)
    shade = shade - skin.nose_depth * ridge(np.hypot((t + 1.1) * 0.8 * lids.half_width, v + 3.0), 11.0)
    crease = -(lids.upper_height + lids.crease_gap) * arc(t / 1.12, (-0.1, 0.1)) - v
    above_crease = np.where(crease > 0, ridge(crease, 3.0), ridge(crease, 0.8))
    inside_ends = np.clip((1.12 - np.abs(t)) * 6.0, 0.0, 1.0)
    shade = shade - lids.crease_depth * above_crease * inside_ends
    shade = shade + skin.lid_gain * coverage(crease) * coverage(-upper)
    fold = lower - skin.fold_gap * (1.0 - 0.3 * t)
    return shade - skin.fold_depth * ridge(fold, 1.0) * ridge(t, 0.8)


def draw_brow(eye: Eye, x: Plane, y: Plane) -> Plane:
    """Opacity of an eyebrow fragment that reaches into the frame from above, made of slanted hairs."""
    skin, mirror = eye.skin, 1.0 if eye.side == "left" else -1.0
    edge = skin.brow_edge + skin.brow_slope * (x - WIDTH / 2)
    slant = (x * mirror + 0.7 * y) * 1.7
    hairs = 0.85 + 0.15 * np.sin(slant + 2.0 * np.sin(0.31 * slant))
    return skin.brow_depth * hairs * np.clip((edge - y) / 2.5 + 0.5, 0.0, 1.0)


def draw_lashes(eye: Eye, t: Plane, upper: Plane) -> Plane:
    """Opacity of the dark band of lashes along the upper lid, thicker outwards and tapering past the corners."""
    thickness = eye.lids.lash_thickness * (1.0 + 0.35 * np.clip(t, -1, 1))
    band = np.where(upper > 0, ridge(upper, thickness), ridge(upper, 0.6))
    return 0.9 * band * np.clip((1.15 - np.abs(t)) * 5.0, 0.0, 1.0)


def draw_mottle(eye: Eye) -> Plane:
    """Smooth uneven skin tone, zero mean."""
    rng = np.random.default_rng(eye.texture_seed)
    coarse = Image.fromarray(rng.normal(0.0, 0.03, (7, 12)).astype(np.float32))
    return np.asarray(coarse.resize((WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE), Image.Resampling.BICUBIC))


def render(eye: Eye) -> NDArray[np.uint8]:
    """Render one eye to (36, 60) uint8."""
    x, y = pixel_grid()
    t, v = to_lid_frame(eye, x, y)
    upper, lower = lid_distances(eye, t, v)
    skin = shade_skin(eye, x, y, t, v, upper, lower) + draw_mottle(eye)
    skin = skin * (1.0 - draw_brow(eye, x, y))
    waterline = 0.12 * ridge(lower - 0.6, 0.5) * ridge(t, 0.7)
    opening = coverage(np.maximum(upper, lower))
    image = skin + waterline + (shade_eyeball(eye, x, y, t, upper) - skin) * opening
    image = image + (eye.lids.lash_gray - image) * draw_lashes(eye, t, upper)
    pixels = image.reshape(HEIGHT, SUPERSAMPLE, WIDTH, SUPERSAMPLE).mean(axis=(1, 3))
    grain = np.random.default_rng([eye.texture_seed, 1]).normal(0.0, eye.skin.grain, pixels.shape)
    return np.rint(np.clip(pixels + grain, 0.0, 1.0) * 255).astype(np.uint8)


def iris_contour(eyeball: Eyeball) -> NDArray[np.float64]:
    """Points (16, 2) on the projected limbus."""
    gaze = eyeball.gaze_vector
    tilt, angle = np.arctan2(gaze[1], gaze[0]), np.arange(CONTOUR_POINTS) * (2 * np.pi / CONTOUR_POINTS)
    along = eyeball.iris_radius * abs(gaze[2]) * np.cos(angle)
    across = eyeball.iris_radius * np.sin(angle)
    dx, dy = along * np.cos(tilt) - across * np.sin(tilt), along * np.sin(tilt) + across * np.cos(tilt)
    return eyeball.iris_center + np.stack([dx, dy], axis=-1)


def eyelid_contour(eye: Eye) -> NDArray[np.float64]:
    """Points (16, 2) around the opening: from the image's left corner over the upper lid, back along the lower."""
    lids, rightwards = eye.lids, 1.0 if eye.side == "left" else -1.0
    half = CONTOUR_POINTS // 2
    t_upper = rightwards * np.linspace(-1.0, 1.0, half + 1)[:-1]
    upper = from_lid_frame(eye, t_upper, -lids.upper_height * arc(t_upper, lids.upper_shape))
    lower = from_lid_frame(eye, -t_upper, lids.lower_height * arc(-t_upper, lids.lower_shape))
    return np.concatenate([upper, lower])


def labels(eye: Eye) -> dict[str, object]:
    """The sidecar's content; the module's docstring explains each entry."""
    return {
        "iris_center": eye.eyeball.iris_center.round(4).tolist(),
        "iris_radius": round(eye.eyeball.iris_radius, 4),
        "iris_contour": iris_contour(eye.eyeball).round(4).tolist(),
        "eyelid_contour": eyelid_contour(eye).round(4).tolist(),
        "gaze": [round(eye.eyeball.yaw, 6), round(eye.eyeball.pitch, 6)],
        "gaze_vector": eye.eyeball.gaze_vector.round(6).tolist(),
        "eye": eye.side,
    }


def simulate(out: Path, count: int, seed: int) -> None:
    """Write `count` images with their sidecars into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        eye = sample_eye(np.random.default_rng([seed, index]))
        Image.fromarray(render(eye)).save(out / f"{index:05d}.png")
        (out / f"{index:05d}.json").write_text(json.dumps(labels(eye)) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and simulate."""
    parser = argparse.ArgumentParser(description="Render labelled synthetic eye crops (60x36 gray PNG + JSON).")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write 00000.png, 00000.json, ... into")
    parser.add_argument("--count", type=int, default=5000, help="how many images (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same images (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        simulate(options.out, options.count, options.seed)
    except OSError as error:
        sys.exit(f"cannot write to {options.out}: {error.strerror or error}")


if __name__ == "__main__":
    main()
