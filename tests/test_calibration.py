"""Calibration: thresholds from the user's own images, which keep false alarms rare and travel as plain numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from refinery.checks import (
    CheckContext,
    calibrate,
    describe_power,
    geometry,
    new_content,
    power_sentence,
    presence,
    run_checks,
)
from refinery.checks._appearance import blurred, fit_look, null_pairs
from refinery.checks._calibration import SCALE_LIMITS, within_limits
from refinery.sample import Label, Pair, Sample

SIZE = 48


def scene(seed: int, colour: int = 0, move_xy: tuple[float, float] = (0.0, 0.0)) -> Pair:
    """A coloured disc on a soft ground, (48, 48, 3), and the same once more: refined is synthetic."""
    rng = np.random.default_rng(seed)
    centre, radius = rng.uniform(16, 32, 2), rng.uniform(7, 10)
    hue = np.roll(np.array([0.8, -0.4, -0.5]), (seed + colour) % 3)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    cover = np.clip(radius + 0.5 - np.hypot(x - centre[0] - move_xy[0], y - centre[1] - move_xy[1]), 0, 1)[..., None]
    ground = 0.2 * blurred(rng.standard_normal((SIZE, SIZE, 3)).astype(np.float32), 2.0) + 0.1 * rng.standard_normal(3)
    image = (ground * (1 - cover) + hue * cover).astype(np.float32)
    labels = (
        Label("disc", "keypoint", centre, extent_px=float(radius)),
        Label("box", "box", np.concatenate((centre - radius, centre + radius))),
    )
    return Pair(Sample(f"s{seed}", f"s{seed}.png"), image, image, labels)


def refined(pair: Pair, seed: int) -> Pair:
    """The pair with a bent tone, a cast, blur and noise; nothing moves."""
    rng = np.random.default_rng([seed, 5])
    toned = 0.8 * pair.refined + 0.1 * pair.refined**2 + rng.uniform(-0.1, 0.1, 3)
    grainy = blurred(toned.astype(np.float32), 0.7) + rng.normal(0, 0.02, pair.refined.shape)
    return replace(pair, refined=grainy.clip(-1, 1).astype(np.float32))


@pytest.fixture(scope="module")
def calibrated() -> CheckContext:
    return calibrate([refined(scene(seed), seed) for seed in range(60)], CheckContext({"": 0.0}))


def fails(pairs: list[Pair], context: CheckContext) -> list[bool]:
    return [any(f.verdict == "fail" for f in found) for found in run_checks(pairs, context)]


def test_thresholds_from_elsewhere_blind_no_check() -> None:
    given = {
        "geometry.fail_sigmas:disc": 1e6,
        "geometry.scale": 0.0,
        "new_content.blob": 99.0,
        "calibration.pairs": 9.0,
    }
    kept = within_limits({**given, "presence.gone:a.b:c": -1.0, "colour.map.0": 7.0, "unknown": 5.0})
    assert kept == {
        "geometry.fail_sigmas:disc": geometry.LIMITS["fail_sigmas"][1],
        "geometry.scale": SCALE_LIMITS[0],
        "new_content.blob": new_content.LIMITS["blob"][1],
        "presence.gone:a.b:c": presence.LIMITS["gone"][0],
        "calibration.pairs": 9.0,
        "colour.map.0": 7.0,
        "unknown": 5.0,
    }


def test_own_thresholds_are_within_limits(calibrated: CheckContext) -> None:
    assert within_limits(calibrated.thresholds) == dict(calibrated.thresholds)


def test_thresholds_are_plain_numbers_that_travel(calibrated: CheckContext) -> None:
    carried = json.loads(json.dumps(dict(calibrated.thresholds)))
    assert carried == dict(calibrated.thresholds)
    assert carried["calibration.pairs"] == 60
    assert carried["calibration.false_alarms"] == 0.01
    assert "geometry.fail_sigmas:disc" in carried
    pairs = [refined(scene(99), 99)]
    assert run_checks(pairs, replace(calibrated, thresholds=carried)) == run_checks(pairs, calibrated)


def test_the_same_pairs_give_the_same_thresholds() -> None:
    pairs = [refined(scene(seed), seed) for seed in range(16)]
    assert calibrate(pairs, CheckContext(), 3).thresholds == calibrate(pairs, CheckContext(), 3).thresholds


def test_too_few_pairs_leave_the_defaults_and_few_objects_are_admitted() -> None:
    pairs = [refined(scene(seed), seed) for seed in range(12)]
    assert calibrate(pairs[:4], CheckContext()) == CheckContext()
    few = calibrate(pairs, CheckContext(false_alarms=0.001)).thresholds
    assert few["calibration.false_alarms"] > 0.01


def test_what_did_not_move_seldom_fails_and_what_did_is_found(calibrated: CheckContext) -> None:
    still = [refined(scene(seed), seed) for seed in range(100, 150)]
    assert np.mean(fails(still, calibrated)) <= 0.06
    moved = [
        replace(scene(seed), refined=refined(scene(seed, move_xy=(1.4, 1.4)), seed).refined) for seed in range(100, 125)
    ]
    assert np.mean(fails(moved, calibrated)) > 0.9


def test_a_colour_of_its_own_fails_and_a_cast_does_not(calibrated: CheckContext) -> None:
    recoloured = [
        replace(scene(seed), refined=refined(scene(seed, colour=1), seed).refined) for seed in range(200, 220)
    ]
    found = run_checks(recoloured, calibrated)
    assert np.mean([any(f.check == "colour" and f.verdict == "fail" for f in one) for one in found]) > 0.8
    cast = [refined(scene(seed), seed) for seed in range(200, 220)]
    cast = [replace(p, refined=(p.refined * np.array([1.1, 0.95, 0.85], np.float32) - 0.03)) for p in cast]
    assert not any(f.check == "colour" for one in run_checks(cast, calibrated) for f in one)


def test_without_calibration_or_without_colour_colour_says_nothing(calibrated: CheckContext) -> None:
    changed = replace(scene(1), refined=scene(1, colour=1).refined)
    assert not any(f.check == "colour" for f in run_checks([changed], CheckContext())[0])
    gray = replace(changed, synthetic=changed.synthetic[..., :1], refined=changed.refined[..., :1])
    assert not any(f.check == "colour" for f in run_checks([gray], calibrated)[0])


def test_a_look_is_found_again() -> None:
    pair = scene(7)
    soft = 0.7 * blurred(pair.synthetic, 1.0) - 0.1
    noisy = (soft + np.random.default_rng(0).normal(0, 0.05, soft.shape)).astype(np.float32)
    look = fit_look(replace(pair, refined=noisy))
    assert look.blur_px == 1.0
    assert look.noise == pytest.approx(0.05, rel=0.15)
    assert np.allclose(look.toned(np.float32([0.0])), -0.1, atol=0.03)


def test_null_edits_leave_the_inputs_alone_and_keep_their_range() -> None:
    pairs = [refined(scene(seed), seed) for seed in range(9)]
    before = [pair.refined.copy() for pair in pairs]
    kinds = dict(null_pairs(pairs, np.random.default_rng(0)))
    assert len(kinds) == 5
    for edited in kinds.values():
        assert all(p.refined.dtype == np.float32 and np.abs(p.refined).max() <= 1 for p in edited)
        assert all(np.array_equal(p.synthetic, q.synthetic) for p, q in zip(edited, pairs, strict=True))
    assert all(np.array_equal(p.refined, old) for p, old in zip(pairs, before, strict=True))


def test_power_is_told_in_one_line(calibrated: CheckContext) -> None:
    found = describe_power([refined(scene(seed), seed) for seed in range(300, 312)], calibrated)
    assert set(found) == {"disc", "box"}
    assert all(row["unit"] == "px" and row["power"] == 0.9 for row in found.values())
    assert power_sentence(found).startswith("detects moves of")
    assert power_sentence({}) == ""
