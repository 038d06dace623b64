"""New content, colour and presence: a look is no object, and an object is found whatever the look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from refinery.checks import CheckContext, calibrate, colour, new_content, presence
from refinery.checks._appearance import blurred, smooth_noise
from refinery.checks._batch import CheckBatch
from refinery.checks._content import content_lost
from refinery.checks._measured import measured_labels
from refinery.sample import FloatArray, Label, Pair, Sample

SIZE = 96
Look = Callable[[FloatArray, np.random.Generator], FloatArray]
Y, X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def disc(x: float, y: float, radius: float) -> FloatArray:
    """What a disc with a soft edge covers of each pixel: (H, W, 1)."""
    return np.clip(radius + 0.5 - np.hypot(X - x, Y - y), 0, 1)[..., None].astype(np.float32)


def ground(seed: int) -> FloatArray:
    """A cloudy coloured ground with two things on it: (H, W, 3)."""
    rng = np.random.default_rng(seed)
    clouds = 0.12 * smooth_noise((SIZE, SIZE), 12, rng) + 0.06 * smooth_noise((SIZE, SIZE), 4, rng)
    image = clouds + rng.uniform(-0.2, 0.2, 3)
    for x, hue in ((24.0, (0.5, -0.5, -0.4)), (60.0, (-0.5, 0.4, -0.3))):
        cover = disc(x, float(rng.uniform(20, 36)), 9.0)
        image = image * (1 - cover) + np.array(hue) * cover
    return image.astype(np.float32)


def of_pairs(seeds: range, change: Look) -> list[Pair]:
    """Grounds and what `change` makes of them."""
    sources = [ground(seed) for seed in seeds]
    changed = [np.clip(change(image, np.random.default_rng(seed)), -1, 1) for seed, image in enumerate(sources)]
    return [
        Pair(Sample("g", "g.png"), *both) for both in zip(sources, [c.astype(np.float32) for c in changed], strict=True)
    ]


def turned_round(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Light and dark exchanged within a large region; colours stay."""
    x, y = rng.uniform(0.3, 0.7, 2) * SIZE
    inside = 1 / (1 + np.exp(np.clip((np.hypot(X - x, Y - y) - 30) / 4, -30, 30)))
    level = image.mean(axis=2)
    middle = (level * inside).sum() / inside.sum()
    return image + (2 * inside * (middle - level))[..., None]


def half_lit(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A soft shadow across the frame."""
    angle = rng.uniform(0, 2 * np.pi)
    along = (X - SIZE / 2) * np.cos(angle) + (Y - SIZE / 2) * np.sin(angle)
    return (image + 1) * (0.75 + 0.25 * np.tanh(along / 6))[..., None] - 1


def textured(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Clouds of 5 px over everything."""
    return image + 0.12 * smooth_noise((SIZE, SIZE), 5, rng)


def with_object(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One more disc."""
    cover = disc(float(rng.uniform(20, 76)), float(rng.uniform(58, 78)), 8.0)
    return image * (1 - cover) + np.array([0.6, 0.5, -0.6]) * cover


def failing(pairs: list[Pair]) -> float:
    found = [
        next(f for f in one if f.label == "content") for one in new_content.check(CheckBatch(pairs), CheckContext())
    ]
    return float(np.mean([f.verdict == "fail" for f in found]))


@pytest.mark.parametrize("look", [turned_round, half_lit, textured])
def test_a_look_is_nothing_new(look: Look) -> None:
    assert failing(of_pairs(range(20), look)) == 0.0


def test_an_object_is_new_also_under_a_look() -> None:
    assert failing(of_pairs(range(20), with_object)) >= 0.9
    shaded = of_pairs(range(20), lambda image, rng: half_lit(with_object(image, rng), rng))
    assert failing(shaded) >= 0.6


def test_an_object_is_found_where_it_is() -> None:
    pairs = of_pairs(range(4), lambda image, _: np.where(disc(70, 70, 8) > 0.5, np.float32(0.8), image))
    for found in new_content.check(CheckBatch(pairs), CheckContext()):
        x, y = map(int, found[0].reason[len("something new at (") : -len(") px")].split(", "))
        assert np.hypot(x - 70, y - 70) < 12


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 200), (8, 9), (36, 60)])
def test_any_frame_can_be_looked_at(size_hw: tuple[int, int]) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, *size_hw, 3)).astype(np.float32)
    found = new_content.check(CheckBatch([Pair(Sample("f", "f.png"), images[0], images[1])]), CheckContext())
    assert len(found[0]) == 1


def sign(seed: int, turn_rad: float = 0.0) -> Pair:
    """A ring of one hue round a white face that nearly fills a gray frame, and the same with its hue turned."""
    rng = np.random.default_rng(seed)
    centre, radius = 24 + rng.uniform(-1, 1, 2), rng.uniform(19, 21)
    away = np.hypot(X[:48, :48] - centre[0], Y[:48, :48] - centre[1])
    ring = np.clip(np.minimum(radius - away, away - 0.75 * radius) + 0.5, 0, 1)[..., None]
    face = np.clip(0.75 * radius - away + 0.5, 0, 1)[..., None]
    around = 0.1 * smooth_noise((48, 48), 8, rng) - 0.1 + np.zeros(3)
    hue = 2.1 * (seed % 2) + np.array([0.0, turn_rad])
    images = [
        (around * (1 - ring - face) + 0.6 * face + ring * (0.6 * np.cos(h - np.array([0, 2.09, 4.19])) - 0.1)).astype(
            np.float32
        )
        for h in hue
    ]
    label = Label("box", "box", np.concatenate((centre - radius, centre + radius)))
    return Pair(Sample(f"s{seed}", "s.png"), images[0], images[1], (label,))


def refined_sign(pair: Pair, seed: int) -> Pair:
    """Duller, under a cast of its own."""
    rng = np.random.default_rng([seed, 3])
    image = rng.uniform(0.6, 1.0) * blurred(pair.refined, 0.6) + rng.uniform(-0.06, 0.06, 3)
    return replace(pair, refined=(image + rng.normal(0, 0.02, image.shape)).astype(np.float32))


def test_a_hue_that_fills_the_frame_is_seen_to_turn() -> None:
    context = calibrate([refined_sign(sign(seed), seed) for seed in range(24)], CheckContext())
    turned = [refined_sign(sign(seed, 2.0), seed) for seed in range(100, 120)]
    kept = [refined_sign(sign(seed), seed) for seed in range(100, 120)]
    found, quiet = (colour.check(CheckBatch(pairs), context) for pairs in (turned, kept))
    assert sum(map(bool, found)) >= 18
    assert not any(quiet)
    assert "its hue by 1" in found[0][0].reason


def test_what_can_still_be_read_off_the_colours_is_not_gone() -> None:
    """Edges of a strong new pattern drown the object's own, but its colours are all there."""
    label = Label("thing", "keypoint", np.array([48.0, 48.0]), extent_px=12.0)
    patterned, replaced = [], []
    for seed in range(8):
        source = (ground(seed) * (1 - disc(48, 48, 12)) + disc(48, 48, 12) * np.float32([0.5, 0.4, -0.5])).astype(
            np.float32
        )
        waves = (0.25 * np.sin(X * 1.1 + seed) * np.sin(Y * 1.1))[..., None]
        patterned.append(Pair(Sample("t", "t.png"), source, (0.8 * source + waves).astype(np.float32), (label,)))
        replaced.append(
            Pair(Sample("t", "t.png"), source, (0.8 * ground(seed + 50) + waves).astype(np.float32), (label,))
        )
    kept, gone = (presence.check(CheckBatch(pairs), CheckContext()) for pairs in (patterned, replaced))
    assert sum(map(bool, gone)) >= 7
    assert not any(kept)


def test_content_is_lost_by_what_replaces_it_and_by_no_map_of_colours() -> None:
    label = Label("thing", "keypoint", np.array([30.0, 30.0]), extent_px=20.0)
    mixed = np.float32([[-0.5, 0.3, 0.0], [0.2, 0.6, 0.1], [0.0, -0.4, 0.7]])
    after = (ground(0) @ mixed + 0.2, ground(50), np.zeros_like(ground(0)))
    batch = CheckBatch([Pair(Sample("t", "t.png"), ground(0), image, (label,)) for image in after])
    lost = content_lost(batch, measured_labels(batch, 4)[0])
    assert lost[0] < 0.05
    assert lost[1] > 0.3
    assert lost[2] > 0.9
