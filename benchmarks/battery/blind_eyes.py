"""Eyes of the blind split (60 x 36 px, gray): the simulator's geometry under other proportions, lids, skin and glints.

Smaller, lighter irises with spokes and a dark limbus; round or narrow lids with single hairs for lashes; darker skin
with freckles; window-shaped and double glints. Labels are those of the simulator's sidecar. Object 0 is the iris.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from battery._kind import Edit
from battery._pixels import Image, Plane
from battery._simulators import simulator
from battery.eyes import Eyes, moved, scaled, turned


@dataclass(frozen=True)
class BlindEye(simulator("eyes").Eye):  # type: ignore[misc]
    """The simulator's eye, and what only these have: spokes and limbus of the iris, freckles, hairs, spectacles."""

    spokes: float = 0.0
    limbus_depth: float = 0.0
    freckles: float = 0.0
    window_glint: float = 0.0
    hairs: int = 0
    rim_gray: float = 0.0
    rim_y: float | None = None
    rim_tilt: float = 0.0


class BlindEyes(Eyes):
    """The kind "eyes" of the blind split; see `Kind`."""

    def __init__(self) -> None:
        super().__init__()
        self.edits: Mapping[str, Edit] = {
            "shift": moved, "scale": scaled, "remove": squeezed, "gaze": turned, "background": skin_moved,
            "add": with_spectacles,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Any:  # noqa: ARG002
        """An eye of other proportions than the simulator draws."""
        sim = self.simulate
        eye = sim.sample_eye(rng)
        ball = replace(
            eye.eyeball,
            center=(float(rng.normal(30.0, 1.6)), float(rng.normal(17.5, 1.0))),
            iris_radius=float(rng.uniform(6.2, 8.2)),
            yaw=float(rng.uniform(-0.5, 0.5)),
            pitch=float(rng.uniform(-0.3, 0.3)),
            sclera_gray=float(rng.uniform(0.6, 0.95)),
            iris_gray=float(rng.uniform(0.2, 0.42)),
            pupil_ratio=float(rng.uniform(0.22, 0.42)),
            glint_radius=float(rng.uniform(0.5, 0.9)),
            glint_gray=float(rng.uniform(0.5, 0.95)),
        )
        lids = replace(
            sim.sample_lids(rng, ball),
            half_width=float(rng.uniform(17.0, 22.0)),
            roll=float(rng.normal(0.0, 0.12)),
            upper_shape=(float(rng.uniform(-0.1, 0.35)), float(rng.uniform(-0.3, 0.3))),
            lower_shape=(float(rng.uniform(-0.2, 0.3)), float(rng.uniform(-0.2, 0.2))),
            crease_depth=float(rng.choice([0.0, 1.0]) * rng.uniform(0.1, 0.3)),
            lash_thickness=float(rng.uniform(0.5, 0.9)),
        )
        skin = replace(
            eye.skin,
            gray=float(rng.uniform(0.42, 0.62)),
            socket_depth=float(rng.uniform(0.05, 0.2)),
            nose_depth=float(rng.uniform(0.0, 0.2)),
            brow_edge=float(rng.uniform(2.0, 5.0)),
            brow_depth=float(rng.choice([0.0, 1.0]) * rng.uniform(0.3, 0.6)),
            fold_depth=float(rng.uniform(0.05, 0.25)),
        )
        drawn = {field.name: getattr(eye, field.name) for field in fields(eye)}
        return BlindEye(
            **(drawn | {"eyeball": ball, "lids": lids, "skin": skin}),
            spokes=float(rng.uniform(0.1, 0.35)),
            limbus_depth=float(rng.uniform(0.3, 0.8)),
            freckles=float(rng.choice([0.0, 1.0]) * rng.uniform(0.05, 0.2)),
            window_glint=float(rng.choice([0.0, 1.0]) * rng.uniform(0.4, 0.9)),
            hairs=int(rng.integers(9, 22)),
        )

    def draw(self, scene: Any) -> Image:
        """Sub-pixels as the simulator shades them, with spokes, freckles, hairs, glints and a rim of its own."""
        sim = self.simulate
        x, y = sim.pixel_grid()
        t, v = sim.to_lid_frame(scene, x, y)
        upper, lower = sim.lid_distances(scene, t, v)
        skin = sim.shade_skin(scene, x, y, t, v, upper, lower) + 1.6 * sim.draw_mottle(scene) - freckles(scene, x, y)
        skin = skin * (1.0 - sim.draw_brow(scene, x, y))
        opening = sim.coverage(np.maximum(upper, lower))
        ball = self._iris(scene, sim.shade_eyeball(scene, x, y, t, upper), x, y)
        image = skin + (ball - skin) * opening
        image = image + (scene.lids.lash_gray - image) * sim.draw_lashes(scene, t, upper)
        image = image + (scene.lids.lash_gray - image) * hairs(scene, t, upper)
        if scene.rim_y is not None:
            image = image + (scene.rim_gray - image) * rim(scene, x, y)
        return np.asarray(image[..., None], dtype=np.float32)

    def _iris(self, scene: Any, surface: Plane, x: Plane, y: Plane) -> Plane:
        """Spokes, a dark limbus and a window-shaped glint, all fixed to the iris."""
        sim, ball = self.simulate, scene.eyeball
        rho, limbus = sim.iris_distance(ball, x, y)
        angle = np.arctan2(y - ball.iris_center[1], x - ball.iris_center[0])
        phase = np.random.default_rng([scene.texture_seed, 2]).uniform(0, 6, 2)
        pattern = np.sin(17 * angle + phase[0]) + np.sin(29 * angle + phase[1] + 2 * rho)
        on_iris = sim.coverage(limbus) * np.clip((rho - ball.pupil_ratio) * 6, 0, 1)
        surface = surface * (1 + 0.5 * scene.spokes * pattern * on_iris)
        surface = surface * (1 - scene.limbus_depth * sim.ridge(limbus + 0.7, 0.8) * sim.coverage(limbus))
        gx, gy = ball.iris_center - np.array(ball.glint_offset) * ball.iris_radius * (0.6, -0.8)
        square = sim.coverage(np.maximum(np.abs(x - gx) - 0.9, np.abs(y - gy) - 1.2))
        bars = 1 - 0.6 * (np.abs(x - gx) < 0.2)
        return np.asarray(surface + scene.window_glint * square * bars * (1 - surface), dtype=np.float32)

    def retextured(self, scene: Any, strength: float, rng: np.random.Generator) -> Any:
        """Another iris pattern, pupil and glints, other freckles and tone; nothing moves."""
        changed = super().retextured(scene, strength, rng)
        return replace(
            changed,
            spokes=float(scene.spokes * (1 + 2 * strength * rng.uniform(-1, 1))),
            freckles=float(0.6 * strength * rng.uniform()),
            window_glint=float(rng.uniform(0, 0.9)),
        )


def freckles(scene: Any, x: Plane, y: Plane) -> Plane:
    """How much darker the skin is under some twenty soft spots."""
    rng, dark = np.random.default_rng([scene.texture_seed, 3]), np.zeros_like(x)
    for cx, cy, radius in zip(rng.uniform(0, 60, 20), rng.uniform(0, 36, 20), rng.uniform(0.5, 1.3, 20), strict=True):
        dark = np.maximum(dark, np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2))
    return np.asarray(scene.freckles * dark, dtype=np.float32)


def hairs(scene: Any, t: Plane, upper: Plane) -> Plane:
    """Opacity of single lashes that rise from the upper lid."""
    rng, cover = np.random.default_rng([scene.texture_seed, 4]), np.zeros_like(t)
    for root in np.linspace(-0.85, 0.95, scene.hairs):
        lean, length = 0.05 * root + rng.normal(0, 0.01), rng.uniform(2.0, 4.5)
        across = (t - root - lean * np.clip(upper, 0, length)) * scene.lids.half_width
        along = np.clip(1 - upper / length, 0, 1) * (upper > -0.3)
        cover = np.maximum(cover, np.clip(0.9 - np.abs(across) * 2.2, 0, 1) * along)
    return 0.8 * cover


def rim(scene: Any, x: Plane, y: Plane) -> Plane:
    """Opacity of the lower rim of spectacles: a bent bar, 2 px thick, across the frame."""
    height = scene.rim_y + scene.rim_tilt * (x - 30.0) - 0.004 * (x - 30.0) ** 2
    return np.clip(0.5 - (np.abs(y - height) - 1.0) * 4.0, 0, 1)


def squeezed(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Both lids meet somewhere between where they were: the iris is covered, from below as well."""
    lids, share = scene.lids, rng.uniform(0.3, 0.8)
    line = (1 - share) * lids.upper_height - share * lids.lower_height
    shut = replace(
        lids, upper_height=float(line), lower_height=float(-line), upper_shape=(0.0, 0.0), lower_shape=(0.0, 0.0)
    )
    return replace(scene, lids=shut)


def skin_moved(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """Brow, crease and fold move by up to `amount` px around an eye that stays: no label depends on them."""
    up, skin, lids = float(rng.choice([-1, 1]) * amount), scene.skin, scene.lids
    moved_skin = replace(skin, brow_edge=skin.brow_edge + up, fold_gap=skin.fold_gap + 0.5 * abs(up))
    moved_lids = replace(lids, crease_gap=lids.crease_gap + abs(up))
    return replace(scene, skin=moved_skin, lids=moved_lids)


def with_spectacles(scene: Any, index: int, amount: float, rng: np.random.Generator) -> Any:  # noqa: ARG001
    """The lower rim of spectacles on the cheek, which no label speaks of."""
    return replace(
        scene,
        rim_y=float(rng.uniform(29.0, 34.0)),
        rim_tilt=float(rng.normal(0, 0.05)),
        rim_gray=float(rng.choice([rng.uniform(0.0, 0.15), rng.uniform(0.85, 1.0)])),
    )
