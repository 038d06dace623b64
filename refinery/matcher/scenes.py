"""Procedural pairs of images in which a thing, what lies over it and what lies behind it move by known amounts.

A scene is a ground, objects on it, the thing, and lids that may cover part of it, each with a texture of its own. The
second image draws them again, moved, in another look (`looks`): other levels and textures. Nothing here resembles any
dataset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from refinery.checks._outlines import OFFSETS_PX, area_offsets
from refinery.matcher.looks import Looks
from refinery.matcher.random_numbers import RandomNumbers
from refinery.matcher.shapes import Shape, linear_of, random_shape

SIDE_PX = 48
MARGIN_PX = 12
MOST_MOVED_PX = 4.5
ON_OUTLINE = OFFSETS_PX.index(0.0)


@dataclass(frozen=True)
class SceneBatch:
    """B pairs and what is true of them.

    source, refined: (B, 3, S, S), values around 0, not normalised. points_xy: (B, L, O, 2) px, the places that are
    compared. normals: (B, L, 2), outward. is_area: (B,) 1 where the points fill a box whose outline is not known.
    mine: (B, L, O) 0 where another label explains what is seen. centre: (B, 2). motion: (B, 6) shift x, y px, growth,
    turn, two stretches. shown, still_shown: (B, L) 1 where the outline is uncovered in the source, in the refined.
    """

    source: Tensor
    refined: Tensor
    points_xy: Tensor
    normals: Tensor
    is_area: Tensor
    mine: Tensor
    centre: Tensor
    motion: Tensor
    shown: Tensor
    still_shown: Tensor


@dataclass(frozen=True)
class _Layers:
    """The shapes of B scenes, from the back to the front, how soft their edges are, and a core inside the thing.

    soft (B,) px. has_core (B,), core_size (B,): share of the thing's radius.
    """

    others: list[Shape]
    thing: Shape
    lids: list[Shape]
    soft: Tensor
    has_core: Tensor
    core_size: Tensor


@dataclass(frozen=True)
class _State:
    """What one image of a pair shows: textures, levels (B, 3, 1, 1), their weights (B, 1, 1, 1), what is there (B,)."""

    textures: list[Tensor]
    ground: Tensor
    ground_weight: Tensor
    thing: Tensor
    thing_weight: Tensor
    core: Tensor
    others: list[Tensor]
    lids: list[Tensor]
    has_thing: Tensor
    has_others: list[Tensor]
    has_lids: list[Tensor]


class SceneDrawer:
    """Draws scenes; deterministic for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = RandomNumbers(seed)
        self.looks = Looks(self.random, SIDE_PX)
        ys, xs = torch.meshgrid(torch.arange(SIDE_PX).float(), torch.arange(SIDE_PX).float(), indexing="ij")
        self.grid = torch.stack((xs, ys), -1)

    def draw(self, count: int, crowded: float = 1.0) -> SceneBatch:
        """A batch of scenes. crowded: 0 to 1, how often lids are there, and how far they and the ground move."""
        random = self.random
        layers = _Layers(
            [random_shape(random, count, SIDE_PX, (2.0, 12.0), 30.0) for _ in range(2)],
            random_shape(random, count, SIDE_PX, (3.0, 20.0), 6.0),
            [random_shape(random, count, SIDE_PX, (8.0, 40.0), 40.0) for _ in range(2)],
            0.35 + random.uniform(count) * 0.8,
            random.chance(0.4, count),
            0.2 + 0.5 * random.uniform(count),
        )
        motion = self._motion(count)
        all_alike = random.chance(0.12, count, 1)
        motion = torch.cat((motion[:, :2], motion[:, 2:] * (1 - all_alike)), 1)
        ground_shift = random.normal(count, 2) * 1.6 * random.chance(0.45, count, 1) * crowded
        lid_shift = random.normal(count, 2) * 1.8 * random.chance(0.6, count, 1) * crowded
        ground_shift, lid_shift = (
            torch.where(all_alike > 0, motion[:, :2], shift) for shift in (ground_shift, lid_shift)
        )
        first = self._first_state(layers, crowded)
        second = self._second_state(first, crowded)
        still = torch.zeros(count, 2)
        source = self._paint(layers, first, torch.zeros(count, 6), still, still)
        drawn_motion, far = self._moved_far(motion)
        refined = self._paint(layers, second, drawn_motion, ground_shift, lid_shift)
        exchanged = random.chance(0.04, count)
        refined = torch.where(exchanged[:, None, None, None] > 0, refined.roll(1, 0), refined)
        found = second.has_thing * (1 - far) * (1 - exchanged)
        points, normals, is_area, centre = self._points(layers.thing)
        moved = _moved_points(points, layers.thing.centre, motion)
        away = (linear_of(motion) @ (centre - layers.thing.centre)[..., None])[..., 0]
        motion = torch.cat((motion[:, :2] + away, motion[:, 2:]), 1)
        shown = _uncovered(points, layers.lids, first.has_lids, still)
        still_shown = _uncovered(moved, layers.lids, second.has_lids, lid_shift) * found[:, None, None]
        is_gray = random.happens(0.4)
        return SceneBatch(
            self.looks.change(source, is_gray, strong=False),
            self.looks.change(refined, is_gray, strong=True),
            points,
            normals,
            is_area,
            self._mine(points, layers.lids, first.has_lids, crowded),
            centre,
            motion,
            shown[:, :, ON_OUTLINE],
            still_shown[:, :, ON_OUTLINE],
        )

    def _motion(self, count: int) -> Tensor:
        """Shifts, growth, turn and stretch; never exactly nothing, which would teach the network identity."""
        random = self.random
        shift = random.normal(count, 2) * 1.6 * random.chance(0.7, count, 1)
        shift = shift.clamp(-MOST_MOVED_PX, MOST_MOVED_PX) + random.normal(count, 2) * 0.06
        linear = random.normal(count, 4) * torch.tensor([0.09, 0.11, 0.04, 0.04]) * random.chance(0.6, count, 1)
        return torch.cat((shift, linear + random.normal(count, 4) * 0.004), 1)

    def _moved_far(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Motions, some of them further than is searched, so that the thing is not found, and which are (B,)."""
        count = len(motion)
        far, turn = self.random.chance(0.05, count), self.random.uniform(count) * 2 * math.pi
        length_px = 7.0 + self.random.uniform(count) * 8
        shift = torch.stack((turn.cos(), turn.sin()), 1) * length_px[:, None]
        return torch.where(far[:, None] > 0, torch.cat((shift, motion[:, 2:]), 1), motion), far

    def _first_state(self, layers: _Layers, crowded: float) -> _State:
        """The source: a thing that differs from the ground by its level, or by its colour or texture alone."""
        random, count = self.random, len(layers.soft)
        ground = self._level(count)
        sign = random.chance(0.5, count, 1, 1, 1) * 2 - 1
        is_textured = random.chance(0.08, count, 1, 1, 1)
        contrast = sign * (0.35 + 0.8 * random.normal(count, 1, 1, 1).abs())
        hue = random.normal(count, 3, 1, 1)
        is_hue = random.chance(0.3, count, 1, 1, 1)
        contrast = torch.where(is_hue > 0, (hue - hue.mean(1, keepdim=True)) * contrast.abs(), contrast + 0.15 * hue)
        thing = ground + contrast * (1 - is_textured)
        return _State(
            [self._texture(count) for _ in range(5)],
            ground,
            self._weight(count),
            thing,
            self._weight(count) + 0.6 * is_textured,
            thing - sign * 1.2,
            [self._level(count) for _ in layers.others],
            [self._level(count) for _ in layers.lids],
            torch.ones(count),
            [random.chance(0.8, count) for _ in layers.others],
            [random.chance(0.6 * crowded, count) for _ in layers.lids],
        )

    def _second_state(self, first: _State, crowded: float) -> _State:
        """The refined image: other levels and textures, an eighth inverted, a tenth without the thing."""
        random, count = self.random, len(first.has_thing)
        spread = 0.3 if random.happens(0.8) else 0.7
        ground = self._changed_level(first.ground, spread)
        flip = 1 - 2 * random.chance(0.12, count, 1, 1, 1)
        contrast = (first.thing - first.ground) * flip * torch.exp(random.normal(count, 1, 1, 1) * 0.4)
        return _State(
            [self._texture(count) for _ in first.textures] if random.happens(0.3) else first.textures,
            ground,
            self._changed_weight(first.ground_weight),
            ground + contrast + random.normal(count, 3, 1, 1) * 0.12,
            self._changed_weight(first.thing_weight),
            self._changed_level(first.core, spread),
            [self._changed_level(level, spread) for level in first.others],
            [self._changed_level(level, spread) for level in first.lids],
            1 - random.chance(0.1, count),
            [self._come_and_gone(there, crowded) for there in first.has_others],
            [self._come_and_gone(there, crowded) for there in first.has_lids],
        )

    def _paint(
        self, layers: _Layers, state: _State, thing_motion: Tensor, ground_shift: Tensor, lid_shift: Tensor
    ) -> Tensor:
        """An image (B, 3, S, S) of the layers, moved: the thing by (B, 6), ground and others, and lids, by (B, 2)."""
        texture = _sampled(state.textures[0], self.grid - ground_shift[:, None, None])
        image = state.ground + state.ground_weight * texture
        for k, other in enumerate(layers.others):
            alpha, at, _ = self._cover(other, _shift_only(ground_shift), layers.soft)
            body = state.others[k] + state.ground_weight * _sampled(state.textures[1 + k], at)
            image = _over(image, body, alpha, state.has_others[k])
        alpha, at, distance = self._cover(layers.thing, thing_motion, layers.soft)
        body = state.thing + state.thing_weight * _sampled(state.textures[3], at)
        inner = distance + (layers.thing.radius * layers.core_size)[:, None, None]
        core = torch.sigmoid(-inner / layers.soft[:, None, None])[:, None]
        image = _over(image, _over(body, state.core.expand_as(body), core, layers.has_core), alpha, state.has_thing)
        for k, lid in enumerate(layers.lids):
            alpha, at, _ = self._cover(lid, _shift_only(lid_shift), layers.soft)
            body = state.lids[k] + state.thing_weight * _sampled(state.textures[4 - k], at)
            image = _over(image, body, alpha, state.has_lids[k])
        return image

    def _cover(self, shape: Shape, motion: Tensor, soft: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How much a moved shape covers each pixel (B, 1, S, S), where that lay before, its distance to the outline."""
        at = _unmoved(self.grid.expand(len(soft), -1, -1, -1), shape.centre, motion)
        distance = shape.distance(at)
        return torch.sigmoid(-distance / soft[:, None, None])[:, None], at, distance

    def _points(self, thing: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Places (B, L, O, 2), normals, whether they fill an area, and their middle (B, 2).

        They lie along the outline as a label says it, a little wrong; in three of ten cases they fill the thing's box,
        or a disc round a place on its edge, as of a bare keypoint, which may see a straight edge only.
        """
        outline, normals = thing.outline()
        count = len(outline)
        error = self.random.normal(count, 1, 2) * 0.25 * self.random.chance(0.5, count, 1, 1)
        deepest = -0.6 * thing.least_radius()[:, None, None, None]
        across = torch.maximum(torch.tensor(OFFSETS_PX)[None, None, :, None], deepest)
        points = (outline + error)[:, :, None] + across * normals[:, :, None]
        is_area, is_bare = self.random.chance(0.3, count), self.random.chance(0.4, count)[:, None] > 0
        filled, around = (torch.tensor(values)[None] for values in area_offsets())
        low, high = outline.amin(1), outline.amax(1)
        middle = torch.where(is_bare, outline[:, 0], (low + high) / 2)
        half = torch.where(is_bare, 5.0 + 4.0 * self.random.uniform(count, 1), (high - low) / 2)
        in_area = middle[:, None, None] + half[:, None, None] * filled
        chosen = is_area[:, None, None] > 0
        centre = torch.where(is_area[:, None] > 0, middle, thing.centre)
        return torch.where(chosen[..., None], in_area, points), torch.where(chosen, around, normals), is_area, centre

    def _mine(self, points: Tensor, lids: list[Shape], has_lids: list[Tensor], crowded: float) -> Tensor:
        """Points (B, L, O) that no labelled lid explains: in half of the scenes, lids have labels."""
        labelled = self.random.chance(0.5 * crowded, len(points))
        mine = torch.ones(points.shape[:-1])
        for lid, is_there in zip(lids, has_lids, strict=True):
            distance = lid.distance(points)
            unexplained = (distance > 0).float() * (1 - torch.exp(-(distance**2)))
            mine = mine * (1 - (labelled * is_there)[:, None, None] * (1 - unexplained))
        return mine

    def _level(self, count: int) -> Tensor:
        """Colours, mostly gray: (B, 3, 1, 1)."""
        return self.random.normal(count, 1, 1, 1) + 0.3 * self.random.normal(count, 3, 1, 1)

    def _changed_level(self, level: Tensor, spread: float) -> Tensor:
        count = len(level)
        return level + self.random.normal(count, 1, 1, 1) * spread + self.random.normal(count, 3, 1, 1) * 0.2

    def _weight(self, count: int) -> Tensor:
        """Of a texture: (B, 1, 1, 1)."""
        return self.random.uniform(count, 1, 1, 1) ** 2 * 0.6

    def _changed_weight(self, weight: Tensor) -> Tensor:
        return weight * torch.exp(self.random.normal(len(weight), 1, 1, 1) * 0.4)

    def _come_and_gone(self, there: Tensor, crowded: float) -> Tensor:
        """What is there in the second image: some come, some go (B,)."""
        came = self.random.chance(0.1 * crowded, len(there))
        return torch.maximum(there, came) * (1 - self.random.chance(0.08, len(there)))

    def _texture(self, count: int) -> Tensor:
        """Noise of four scales, a little coloured, with a margin: (B, 3, S + 2 M, S + 2 M)."""
        side = SIDE_PX + 2 * MARGIN_PX
        total = torch.zeros(count, 1, side, side)
        for cell_px in (1.5, 3.0, 6.0, 16.0):
            cells = round(side / cell_px) + 1
            noise = F.interpolate(self.random.normal(count, 1, cells, cells), (side, side), mode="bilinear")
            total += noise * self.random.uniform(count, 1, 1, 1)
        total = total / (total.std((2, 3), keepdim=True) + 1e-3)
        return total * (1 + 0.3 * self.random.normal(count, 3, 1, 1))


def _over(image: Tensor, body: Tensor, alpha: Tensor, there: Tensor) -> Tensor:
    covered = alpha * there[:, None, None, None]
    return image * (1 - covered) + body * covered


def _shift_only(shift: Tensor) -> Tensor:
    """(B, 2) as a motion (B, 6)."""
    return torch.cat((shift, torch.zeros(len(shift), 4)), 1)


def _uncovered(points: Tensor, lids: list[Shape], has_lids: list[Tensor], shift: Tensor) -> Tensor:
    """1 where a point (B, L, O) lies in the frame and under no lid."""
    free = ((points > -0.5) & (points < SIDE_PX - 0.5)).all(-1).float()
    for lid, is_there in zip(lids, has_lids, strict=True):
        covered = (lid.distance(points - shift[:, None, None]) < 0).float()
        free = free * (1 - covered * is_there[:, None, None])
    return free


def _unmoved(points: Tensor, centre: Tensor, motion: Tensor) -> Tensor:
    """Where points (B, H, W, 2) of the moved image lay before."""
    inverse = torch.linalg.inv(torch.eye(2) + linear_of(motion))
    away = points - (centre + motion[:, :2])[:, None, None]
    before: Tensor = (inverse[:, None, None] @ away[..., None])[..., 0]
    return before + centre[:, None, None]


def _moved_points(points: Tensor, centre: Tensor, motion: Tensor) -> Tensor:
    away = points - centre[:, None, None]
    bent: Tensor = (linear_of(motion)[:, None, None] @ away[..., None])[..., 0]
    return points + motion[:, None, None, :2] + bent


def _sampled(texture: Tensor, at_xy: Tensor) -> Tensor:
    """A texture (B, 3, S + 2 M, S + 2 M) at places (B, S, S, 2) px of the image."""
    side = texture.shape[-1]
    place = (at_xy + MARGIN_PX) / (side - 1) * 2 - 1
    return F.grid_sample(texture, place, align_corners=True, padding_mode="reflection")
