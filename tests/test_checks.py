"""Label checks on pairs whose truth is known: what must pass, what must not, and how exactly moves are measured."""

from __future__ import annotations

import gc
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from refinery import registry
from refinery.checks import CheckContext, DriftSummary, _run, measure_power, overall, run_checks
from refinery.checks._batch import CheckBatch
from refinery.checks._moved import shifted
from refinery.checks._overlap import moved_iou
from refinery.checks._uncertainty import covariance, lower_bound_px, principal_sigmas, upper_bound_px
from refinery.checks._windows import contour_windows, mask_windows
from refinery.config import parse_max_drift
from refinery.errors import SampleError
from refinery.sample import Finding, Label, Pair, Sample

HEIGHT, WIDTH = 36, 60


def scene(seed: int, move_xy: tuple[float, float] = (0.0, 0.0)) -> tuple[np.ndarray, tuple[Label, ...]]:
    """A disc with a darker core on a wavy ground, drawn at four times the size; the disc alone is moved."""
    rng = np.random.default_rng(seed)
    centre = np.array([WIDTH / 2, HEIGHT / 2]) + rng.uniform(-6, 6, 2)
    radius = rng.uniform(7, 9)
    y, x = ((np.mgrid[0 : HEIGHT * 4, 0 : WIDTH * 4] + 0.5) / 4 - 0.5).astype(np.float64)
    waves = rng.uniform(0.1, 0.5, (5, 2)) * rng.choice([-1, 1], (5, 2))
    ground = 0.6 + 0.03 * sum(np.sin(a * x + b * y + 9 * a) for a, b in waves)
    distance = np.hypot(x - centre[0] - move_xy[0], y - centre[1] - move_xy[1])
    drawn = np.where(distance < radius, np.where(distance < radius * 0.4, 0.05, 0.3 + 0.01 * x / WIDTH), ground)
    image = drawn.reshape(HEIGHT, 4, WIDTH, 4).mean(axis=(1, 3))[..., None] * 2 - 1
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    outline = centre + radius * np.stack((np.cos(turn), np.sin(turn)), axis=-1)
    grid_y, grid_x = np.mgrid[0:HEIGHT, 0:WIDTH]
    labels = (
        Label("center", "keypoint", centre, extent_px=float(radius)),
        Label("box", "box", np.concatenate((centre - radius, centre + radius))),
        Label("outline", "polygon", outline),
        Label("mask", "instance_mask", np.hypot(grid_x - centre[0], grid_y - centre[1]) < radius),
    )
    return image.astype(np.float32), labels


def pair(seed: int, refined: np.ndarray | None = None, labels: tuple[Label, ...] | None = None) -> Pair:
    image, own = scene(seed)
    return Pair(
        Sample(f"s{seed}", f"s{seed}.png"),
        image,
        image if refined is None else refined,
        own if labels is None else labels,
    )


def geometry(findings: list[list[Finding]]) -> list[Finding]:
    return [finding for found in findings for finding in found if finding.check in ("geometry", "motion")]


def pairing(findings: list[list[Finding]]) -> list[str]:
    return [finding.verdict for found in findings for finding in found if finding.check == "pairing"]


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(((image[..., 0] + 1) * 127.5).round().astype(np.uint8)).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer), np.float32)[..., None] / 127.5 - 1


def blurred(image: np.ndarray) -> np.ndarray:
    for _ in range(2):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        image = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
        image = (image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:]) / 4
    return image.astype(np.float32)


APPEARANCE = {
    "gamma": lambda image: (((image + 1) / 2).clip(0, 1) ** 1.7 * 2 - 1).astype(np.float32),
    "inversion": lambda image: -image,
    "contrast": lambda image: image * 0.5 + 0.1,
    "blur": blurred,
    "noise": lambda image: (image + np.random.default_rng(0).normal(0, 0.08, image.shape)).astype(np.float32),
    "jpeg": jpeg,
}


def refined_look(image: np.ndarray, seed: int) -> np.ndarray:
    """What a refiner does to an image, all at once: a bent tone curve, blur, a smooth texture and noise."""
    rng = np.random.default_rng([seed, 1])
    toned = 2 * ((image + 1) / 2).clip(0, 1) ** rng.uniform(0.6, 1.6) - 1
    texture = blurred(blurred(rng.normal(0, 1, image.shape)))
    grainy = blurred(0.7 * toned + 0.1) + 0.05 * texture / texture.std() + rng.normal(0, 0.02, image.shape)
    return grainy.clip(-1, 1).astype(np.float32)


def verdicts(findings: list[list[Finding]]) -> list[str]:
    return [finding.verdict for finding in geometry(findings)]


def test_what_a_check_made_goes_away_without_the_garbage_collector() -> None:
    """Arrays that wait for it made the peak memory of long jobs twice as large."""
    gc.collect()
    gc.disable()
    try:
        context = CheckContext()
        run_checks([pair(seed) for seed in range(4)], context)
        assert [each for each in gc.get_objects() if type(each) is CheckBatch] == []  # isinstance would ask proxies
    finally:
        gc.enable()


def test_identical_pairs_pass_with_almost_no_drift() -> None:
    findings = run_checks([pair(seed) for seed in range(12)], CheckContext())
    drifts = [finding.drift for finding in geometry(findings)]
    assert {finding.verdict for finding in geometry(findings)} == {"pass"}
    assert np.median(drifts) < 0.1
    assert max(drifts) < 0.25
    assert set(pairing(findings)) <= {"pass", "not_checkable"}


@pytest.mark.parametrize("kind", APPEARANCE)
def test_a_change_of_appearance_is_no_drift(kind: str) -> None:
    changed = [pair(seed, APPEARANCE[kind](scene(seed)[0])) for seed in range(24)]
    verdicts = [finding.verdict for found in run_checks(changed, CheckContext()) for finding in found]
    assert "fail" not in verdicts
    assert verdicts.count("pass") >= 0.85 * len(verdicts)


@pytest.mark.parametrize("move", [(1.0, 0.0), (0.0, -2.0), (1.5, 1.5), (0.5, 0.0)])
def test_a_move_of_the_object_is_measured_and_never_passed(move: tuple[float, float]) -> None:
    findings = geometry(run_checks([pair(seed, scene(seed, move)[0]) for seed in range(12)], CheckContext({"": 0.45})))
    errors = [np.hypot(*np.subtract(finding.shift_px, move)) for finding in findings]
    assert np.median(errors) < 0.2
    assert "pass" not in {finding.verdict for finding in findings}


@pytest.mark.parametrize("move_px", [1.0, 2.0])
def test_a_whole_shift_is_measured_within_a_fifth_of_a_pixel(move_px: float) -> None:
    moved = [pair(seed, shifted(scene(seed)[0], (move_px, 0.0)), labels=()) for seed in range(8)]
    for finding in geometry(run_checks(moved, CheckContext())):
        assert finding.label == "image"
        assert np.allclose(finding.shift_px, (move_px, 0.0), atol=0.2)


def test_two_pixels_fail_at_a_tolerance_of_one() -> None:
    moved = geometry(run_checks([pair(seed, scene(seed, (0.0, 2.0))[0]) for seed in range(12)], CheckContext()))
    assert np.mean([finding.verdict == "fail" for finding in moved]) > 0.9


def test_a_refined_look_passes_where_nothing_moved() -> None:
    found = verdicts(run_checks([pair(seed, refined_look(scene(seed)[0], seed)) for seed in range(48)], CheckContext()))
    assert found.count("pass") >= 0.85 * len(found)
    assert "fail" not in found


def test_a_residual_from_another_image_is_no_drift() -> None:
    residuals = [refined_look(scene(seed)[0], seed) - scene(seed)[0] for seed in range(100, 148)]
    changed = [pair(seed, (scene(seed)[0] + residuals[seed]).astype(np.float32)) for seed in range(48)]
    found = verdicts(run_checks(changed, CheckContext()))
    assert found.count("pass") >= 0.6 * len(found)
    assert found.count("fail") <= 0.02 * len(found)


@pytest.mark.parametrize("move", [(2.0, 0.0), (-1.4, 1.4)])
def test_two_pixels_under_a_refined_look_are_never_passed(move: tuple[float, float]) -> None:
    moved = [pair(seed, refined_look(scene(seed, move)[0], seed)) for seed in range(48)]
    found = verdicts(run_checks(moved, CheckContext()))
    assert "pass" not in found
    assert found.count("fail") >= 0.8 * len(found)


def test_a_move_beyond_the_tolerance_is_passed_in_few_cases() -> None:
    moved = [pair(seed, refined_look(scene(seed, (0.6, -0.3))[0], seed)) for seed in range(48)]
    found = verdicts(run_checks(moved, CheckContext({"": 0.6})))
    assert found.count("pass") <= 0.08 * len(found)


def test_the_bounds_hold_for_known_errors() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([[0.09, 0.03], [0.03, 0.02]])
    for true in ((0.0, 0.0), (0.8, 0.3), (-0.4, 1.5)):
        shift = rng.multivariate_normal(true, spread, 4000)
        spreads = np.broadcast_to(spread, (4000, 2, 2))
        assert np.mean(upper_bound_px(shift, spreads) >= np.hypot(*true)) > 0.93
        sigmas, axes = principal_sigmas(spreads)
        assert np.mean(lower_bound_px(shift, axes, 2.24 * sigmas) <= np.hypot(*true)) > 0.94


def test_parts_that_disagree_make_a_measurement_less_certain() -> None:
    curvature = np.array([np.diag([0.2, 0.1]), np.diag([0.2, 0.0])])
    agree, disagree = np.zeros((2, 12, 2)), np.zeros((2, 12, 2))
    disagree[:, :6, 0], disagree[:, 6:, 0] = 0.02, -0.02
    unexplained = np.array([0.005, 0.005], np.float32)
    calm, torn = (np.sqrt(covariance(curvature, pulls, unexplained)) for pulls in (agree, disagree))
    assert calm[0, 0, 0] < calm[0, 1, 1] < 0.2 < torn[0, 0, 0]
    assert torn[0, 1, 1] == calm[0, 1, 1]
    assert calm[1, 1, 1] > 50


def test_an_outline_counts_what_crosses_it() -> None:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    circle = np.stack((30 + 9 * np.cos(turn), 18 + 9 * np.sin(turn)), axis=-1)
    lens = np.stack((30 + 25 * np.cos(turn), 18 + 6 * np.sin(turn) ** 3), axis=-1)
    box = np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 20.0], [10.0, 20.0]])
    strip = np.array([[0.0, 10.0], [400.0, 10.0], [400.0, 14.0], [0.0, 14.0]])
    facing = contour_windows([circle, box, lens, strip]).facing
    assert np.allclose(facing[:2], np.eye(2), atol=0.02)
    assert 0.2 < facing[2, 0, 0] < 0.8
    assert facing[2, 1, 1] > 0.9
    assert np.allclose(facing[3], np.diag([0.0, 1.0]), atol=0.02)
    y, x = np.mgrid[0:36, 0:60]
    assert np.allclose(mask_windows([np.hypot(x - 30, y - 18) < 9]).facing[0], np.eye(2), atol=0.05)


def test_a_label_at_the_end_of_the_search_has_moved_beyond_it() -> None:
    findings = geometry(run_checks([pair(seed, scene(seed, (5.0, 0.0))[0]) for seed in range(6)], CheckContext()))
    assert {finding.verdict for finding in findings} == {"fail"}
    assert {finding.reason for finding in findings} == {"moved beyond 4 px"}


@pytest.mark.parametrize("turned", [np.s_[:, ::-1], np.s_[::-1, ::-1]])
def test_a_mirrored_or_turned_image_is_not_its_source(turned: tuple[slice, ...]) -> None:
    verdicts = pairing(run_checks([pair(seed, scene(seed)[0][turned].copy()) for seed in range(12)], CheckContext()))
    assert np.mean([verdict == "fail" for verdict in verdicts]) > 0.9
    assert "pass" not in verdicts


def test_a_wrong_partner_fails_and_names_a_decoy() -> None:
    context = CheckContext().with_decoys((f"d{seed}", scene(seed)[0]) for seed in range(100, 132))
    verdicts = pairing(run_checks([pair(seed, scene(seed + 50)[0]) for seed in range(24)], context))
    assert np.mean([verdict == "fail" for verdict in verdicts]) > 0.85
    assert "fail" not in pairing(run_checks([pair(seed) for seed in range(24)], context))


def test_an_image_is_not_its_own_decoy() -> None:
    context = CheckContext().with_decoys([("s3", scene(3)[0])])
    assert pairing(run_checks([pair(3)], context)) == pairing(run_checks([pair(3)], CheckContext()))


def test_a_flat_image_is_not_checkable() -> None:
    flat = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    found = run_checks([Pair(Sample("f", "f.png"), flat, flat, scene(0)[1])], CheckContext())[0]
    assert {finding.verdict for finding in found} == {"not_checkable"}
    assert overall(found) == "not_checkable"


RADIUS = Finding("iris.radius", "number", "pass", 0.1, unit="", check="probe")
GAZE = Finding("gaze", "vector", "not_checkable", unit="deg", check="probe")
WHOLE = Finding("image", "box", "pass", 0.1, check="geometry")
PAIRED = Finding("pairing", "pairing", "pass", unit="", check="pairing")
OVERALL = {
    "a number without a unit is a label": ([PAIRED, RADIUS], "pass"),
    "nobody can judge the only label": ([PAIRED, WHOLE, GAZE], "not_checkable"),
    "one label of two": ([PAIRED, RADIUS, GAZE], "pass"),
    "no labels at all": ([PAIRED, WHOLE], "pass"),
    "pairing alone says nothing": ([PAIRED], "not_checkable"),
    "the wrong partner": ([replace(PAIRED, verdict="fail"), RADIUS], "fail"),
    "the whole image moved": ([PAIRED, replace(WHOLE, verdict="fail"), GAZE], "fail"),
}


@pytest.mark.parametrize(("found", "verdict"), OVERALL.values(), ids=OVERALL)
def test_only_labels_speak_for_a_sample(found: list[Finding], verdict: str) -> None:
    assert overall(found) == verdict


UNITS = {
    "a mask's IoU is no distance": ("mask=0.1iou", "mask", "px", 1.0),
    "a mask's IoU": ("mask=0.1iou", "mask", "iou", 0.1),
    "a distance": ("mask=2px", "mask", "px", 2.0),
    "degrees": ("gaze=2deg", "gaze", "deg", 2.0),
    "a unit of its own": ("radius=0.5", "radius", "", 0.5),
    "another label": ("gaze=2deg,7deg", "pose", "deg", 7.0),
}


@pytest.mark.parametrize(("text", "label", "unit", "tolerance"), UNITS.values(), ids=UNITS)
def test_a_tolerance_holds_in_its_unit(text: str, label: str, unit: str, tolerance: float) -> None:
    assert CheckContext(max_drift=parse_max_drift(text)).tolerance(label, unit) == tolerance


def test_degrees_widen_no_search_in_px() -> None:
    assert CheckContext(max_drift=parse_max_drift("gaze=20deg")).radius_px == CheckContext().radius_px


def test_a_picture_that_lost_its_label_is_not_passed() -> None:
    flat = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    found = run_checks([pair(0, flat)], CheckContext())[0]
    assert {(f.verdict, f.check) for f in found if f.unit} == {("fail", "evidence")}
    assert all(f.reason.startswith("gone") for f in found if f.check == "evidence")


def test_what_became_black_for_the_most_part_is_unreadable_where_something_is_left() -> None:
    image = scene(0)[0]
    mostly = np.where(image < np.quantile(image, 0.7), np.float32(-1.0), image).astype(np.float32)
    found = run_checks([pair(0, mostly)], CheckContext())[0]
    assert any(f.verdict == "abstain" and f.reason.startswith("unreadable") for f in found)
    assert not any(f.verdict == "pass" for f in found if f.unit)


@pytest.mark.parametrize("level", [-1.0, 1.0])
def test_what_became_black_or_white_altogether_is_gone(level: float) -> None:
    clipped = np.full((HEIGHT, WIDTH, 1), level, np.float32)
    found = run_checks([pair(0, clipped)], CheckContext())[0]
    assert {(f.verdict, f.check) for f in found if f.unit} == {("fail", "evidence")}


def test_a_label_that_was_painted_over_is_never_passed() -> None:
    for seed in range(6):
        image, labels = scene(seed)
        (x, y), reach = labels[0].value, labels[0].extent_px + 2
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
        near = np.hypot(columns - x, rows - y) < reach
        ground = scene(seed + 50, (200.0, 0.0))[0]
        found = run_checks([pair(seed, np.where(near[..., None], ground, image))], CheckContext())[0]
        assert "pass" not in {f.verdict for f in found if f.unit}
        assert all(f.verdict == "abstain" or f.check in ("presence", "geometry", "evidence") for f in found if f.unit)


def test_a_label_half_covered_fails_and_says_so() -> None:
    for seed in range(6):
        image, labels = scene(seed)
        columns = np.arange(WIDTH)[None, :, None]
        covered = np.where(columns > labels[0].value[0], np.float32(0.3), image).astype(np.float32)
        found = run_checks([pair(seed, covered)], CheckContext())[0]
        assert "pass" not in {f.verdict for f in found if f.unit}
        assert any(f.reason.startswith("partly covered") for f in found)


def disc_pair(seed: int, grown_px: float) -> Pair:
    """A plain disc and the same `grown_px` larger, with its four labels."""
    labels = scene(seed)[1]
    (x, y), radius = labels[0].value, labels[0].extent_px
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    distance = np.hypot(columns - x, rows - y)
    levels = [0.6 - 0.5 * np.clip(r - distance + 0.5, 0, 1) for r in (radius, radius + grown_px)]
    before, after = ((2 * level - 1)[..., None].astype(np.float32) for level in levels)
    return Pair(Sample("r", "r.png"), before, after, labels)


@pytest.mark.parametrize("grown_px", [1.4, -1.4])
def test_what_grew_fails_though_its_middle_stayed(grown_px: float) -> None:
    for seed in range(4):
        found = run_checks([disc_pair(seed, grown_px)], CheckContext({"": 0.0}))[0]
        bent = [f for f in found if f.type != "keypoint" and f.verdict == "fail"]
        assert {f.label for f in bent} == {"box", "outline", "mask"}
        assert all(1.1 < f.drift < 1.75 for f in bent if f.type != "box")
        assert all(1.1 < f.drift / np.sqrt(2) < 1.75 for f in bent if f.type == "box"), "corners move further"
        assert all((f.iou is None) == (f.type == "polygon") for f in bent)
        assert all(f.iou < 0.9 for f in bent if f.iou is not None)


def square_pair(seed: int, scale: float, turn_deg: float) -> tuple[Pair, float]:
    """A square on a wavy ground and the same scaled and turned about its middle; what 95% of its edge moved, px."""
    rng = np.random.default_rng(seed)
    x, y = (np.mgrid[0 : 4 * 64, 0 : 4 * 64][::-1] + 0.5) / 4 - 0.5
    centre, side = 31.5 + rng.uniform(-4, 4, 2), rng.uniform(14, 16)
    ground = 0.5 + 0.05 * np.sin(x / 5) + 0.05 * np.cos(y / 6)

    def drawn(factor: float, turn: float) -> np.ndarray:
        along, down = (x - centre[0]) / factor, (y - centre[1]) / factor
        u, v = along * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - along * np.sin(turn)
        inside = np.maximum(np.abs(u), np.abs(v)) < side
        image = np.where(inside, 0.1, ground).reshape(64, 4, 64, 4).mean(axis=(1, 3))
        return (2 * image - 1)[..., None].astype(np.float32)

    half = np.linspace(-side, side, 41)
    turn = np.deg2rad(turn_deg)
    edge_moves = np.abs(side * (scale * np.cos(turn) - 1) + half * scale * np.sin(turn))
    corners = centre + side * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    rows, columns = np.mgrid[0:64, 0:64]
    mask = np.maximum(np.abs(columns - centre[0]), np.abs(rows - centre[1])) < side
    labels = (
        Label("box", "box", np.concatenate((centre - side, centre + side))),
        Label("outline", "polygon", corners),
        Label("mask", "instance_mask", mask),
    )
    return Pair(Sample("q", "q.png"), drawn(1.0, 0.0), drawn(scale, turn), labels), float(np.quantile(edge_moves, 0.95))


@pytest.mark.parametrize(("scale", "turn_deg"), [(1.1, 0.0), (0.9, 0.0), (1.0, 6.0), (1.0, -6.0), (1.05, 5.0)])
def test_an_outline_that_grew_or_turned_is_never_passed(scale: float, turn_deg: float) -> None:
    cases = [square_pair(seed, scale, turn_deg) for seed in range(6)]
    assert min(moved_px for _, moved_px in cases) > 1.2
    for found in run_checks([one for one, _ in cases], CheckContext()):
        judged = {f.label: f for f in found if f.unit}
        assert set(judged) == {"box", "outline", "mask"}
        of_interest = judged.values() if turn_deg == 0 else (judged["outline"], judged["mask"])
        assert "pass" not in {f.verdict for f in of_interest}


@pytest.mark.parametrize("label", ["box", "outline", "mask"])
def test_what_kept_its_size_passes_and_what_grew_does_not(label: str) -> None:
    pairs = [disc_pair(seed, grown_px) for seed in range(4) for grown_px in (0.0, 1.4)]
    verdicts = [next(f.verdict for f in found if f.label == label) for found in run_checks(pairs, CheckContext())]
    assert set(verdicts[0::2]) == {"pass"}
    assert "pass" not in verdicts[1::2]


def test_an_object_where_nothing_was_is_new_content() -> None:
    rows, columns = np.mgrid[0:64, 0:96]
    wave = (0.1 * np.sin(columns / 9)).astype(np.float32)[..., None]
    ring = (np.abs(np.hypot(columns - 70, rows - 30) - 8) < 3)[..., None]
    added = np.where(ring, np.float32(0.9), wave)
    noisy = (wave + np.random.default_rng(0).normal(0, 0.05, wave.shape)).astype(np.float32)
    pairs = [Pair(Sample("n", "n.png"), wave, image) for image in (added, noisy, wave)]
    found = [next(f for f in one if f.label == "content") for one in run_checks(pairs, CheckContext())]
    assert [f.verdict for f in found] == ["fail", "pass", "pass"]
    assert found[0].reason.startswith("something new at")
    assert {f.unit for f in found} == {""}


def test_a_soft_spot_of_a_new_colour_is_new_content() -> None:
    rows, columns = np.mgrid[0:64, 0:96]
    wave = np.stack([0.2 * np.sin(columns / 9 + c) + 0.1 * np.cos(rows / 7) for c in range(3)], -1).astype(np.float32)
    spot = np.exp(-((columns - 70) ** 2 + (rows - 30) ** 2) / 72)[..., None] * np.float32([1.0, -0.5, -0.5])
    looks = (wave + spot, 0.7 * wave**2 + 0.5 * wave + 0.1, np.roll(wave, 2, axis=1))
    pairs = [Pair(Sample("n", "n.png"), wave, look.astype(np.float32)) for look in looks]
    found = [next(f for f in one if f.label == "content") for one in run_checks(pairs, CheckContext())]
    assert [f.verdict for f in found] == ["fail", "pass", "pass"]
    x, y = map(int, found[0].reason[len("something new at (") : -len(") px")].split(", "))
    assert abs(x - 70) <= 6
    assert abs(y - 30) <= 6


@pytest.mark.parametrize(
    "label",
    [
        Label("out", "keypoint", np.array([-40.0, 500.0])),
        Label("nan", "keypoint", np.array([np.nan, 3.0])),
        Label("huge", "polygon", np.array([[1e300, 0.0], [0.0, np.inf], [3.0, 4.0]])),
        Label("tiny", "box", np.array([10.0, 10.0, 12.0, 12.0])),
        Label("line", "polygon", np.array([[5.0, 5.0], [9.0, 5.0], [20.0, 5.0]])),
        Label("empty", "instance_mask", np.zeros((HEIGHT, WIDTH), bool)),
        Label("gaze", "vector", np.array([0.0, 0.0, -1.0]), unit="deg"),
        Label("class", "class", np.zeros(0), unit="flip", text="20"),
    ],
    ids=lambda label: label.name,
)
def test_what_nothing_can_judge_is_not_checkable(label: Label) -> None:
    found = [f for f in run_checks([pair(0, labels=(label,))], CheckContext())[0] if f.label == label.name]
    assert [finding.verdict for finding in found] == ["not_checkable"]
    assert found[0].reason


def test_an_edge_in_one_direction_is_not_passed_along_it() -> None:
    edge = np.where(np.arange(WIDTH) < 30, -0.5, 0.5).astype(np.float32)[None, :, None].repeat(HEIGHT, axis=0)
    label = Label("point", "keypoint", np.array([30.0, 18.0]))
    source = Pair(Sample("e", "e.png"), edge, edge, (label,))
    found = geometry(run_checks([source], CheckContext()))
    assert [finding.verdict for finding in found] == ["abstain"]


def test_findings_do_not_depend_on_the_batch() -> None:
    context = CheckContext().with_decoys((f"d{seed}", scene(seed)[0]) for seed in range(100, 110))
    pairs = [pair(seed, scene(seed, (0.3 * seed, 0.0))[0]) for seed in range(9)]
    pairs.insert(4, replace(pairs[0], synthetic=pairs[0].synthetic[:30], refined=pairs[0].refined[:30], labels=()))
    assert run_checks(pairs, context) == [run_checks([one], context)[0] for one in pairs]


def test_a_pair_of_two_shapes_is_an_error() -> None:
    with pytest.raises(SampleError, match="must be equal"):
        run_checks([pair(0, np.zeros((4, 4, 1), np.float32))], CheckContext())


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (7, 3, 1)])
def test_very_small_images_get_a_finding(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    found = run_checks([Pair(Sample("t", "t.png"), image, image)], CheckContext())[0]
    assert {finding.check for finding in found} == {"geometry", "pairing", "new_content"}


def test_tolerances_are_by_label_and_widen_the_search() -> None:
    context = CheckContext({"center": 0.5, "": 3.0})
    assert (context.tolerance("center"), context.tolerance("other"), context.radius_px) == (0.5, 3.0, 9)
    assert CheckContext().tolerance("any") == 1.0


def test_every_member_of_the_family_is_a_check() -> None:
    assert set(registry.names("check")) >= {"colour", "geometry", "motion", "new_content", "pairing", "presence"}


def test_the_summary_reads_quantiles_and_the_mean_signed_shift() -> None:
    summary = DriftSummary()
    rng = np.random.default_rng(0)
    shifts = rng.normal((0.5, 0.0), 0.2, (2000, 2))
    for dx, dy in shifts:
        summary.add([Finding("p", "keypoint", "pass", float(np.hypot(dx, dy)), shift_px=(float(dx), float(dy)))])
    summary.add([Finding("p", "keypoint", "abstain"), Finding("pairing", "pairing", "pass", unit="")])
    row = summary.as_dict({"p": 0.5})["p"]
    lengths = np.hypot(*shifts.T)
    assert list(summary.as_dict()) == ["p"]
    assert row["median"] == pytest.approx(np.median(lengths), rel=0.02)
    assert row["p95"] == pytest.approx(np.quantile(lengths, 0.95), rel=0.02)
    assert row["mean"] == pytest.approx(0.5, abs=0.02)
    assert row["ci95"][0] < 0.5 < row["ci95"][1]
    assert row["coverage"] == pytest.approx(2000 / 2001, abs=1e-4)
    assert row["power"] == 0.5


def test_a_label_never_measured_has_no_numbers() -> None:
    summary = DriftSummary()
    summary.add([Finding("gaze", "vector", "not_checkable", unit="deg")])
    row = summary.as_dict()["gaze"]
    assert row["unit"] == "deg"
    assert row["coverage"] == 0.0
    assert [row[key] for key in ("median", "p95", "mean", "ci95", "power")] == [None] * 5


def test_power_is_the_smallest_move_found() -> None:
    power = measure_power([pair(seed, APPEARANCE["gamma"](scene(seed)[0])) for seed in range(12)], CheckContext())
    assert set(power) == {"center", "box", "outline", "mask"}
    assert all(move is not None and move <= 1.0 for move in power.values())


def test_power_is_known_when_the_refiner_itself_moves_labels() -> None:
    turns = [(0.4 * np.cos(seed), 0.4 * np.sin(seed)) for seed in range(24)]
    moved = [pair(seed, refined_look(scene(seed, turn)[0], seed)) for seed, turn in enumerate(turns)]
    power = measure_power(moved, CheckContext())
    assert all(move is not None and 0.5 <= move <= 1.5 for move in power.values())


def test_labels_that_cannot_be_measured_do_not_hide_the_power_of_the_others() -> None:
    lost = [pair(seed, np.zeros((HEIGHT, WIDTH, 1), np.float32)) for seed in range(100, 108)]
    seen = [pair(seed, APPEARANCE["gamma"](scene(seed)[0])) for seed in range(8)]
    assert all(move is not None for move in measure_power(seen + lost, CheckContext()).values())
    assert set(measure_power(lost, CheckContext()).values()) == {None}


def test_the_overlap_of_a_moved_label_is_that_of_its_area() -> None:
    box = Label("box", "box", np.array([10.0, 10.0, 20.0, 18.0]))
    assert moved_iou(box, (1.0, 0.0)) == pytest.approx(72 / 88)
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:18, 10:20] = True
    assert moved_iou(Label("mask", "instance_mask", mask), (1.0, 0.0)) == pytest.approx(72 / 88)
    assert moved_iou(Label("mask", "instance_mask", mask), (-0.5, 0.0)) == pytest.approx(76 / 84)
    assert moved_iou(Label("mask", "instance_mask", mask), (30.0, 0.0)) == 0.0
    assert moved_iou(Label("p", "keypoint", np.array([3.0, 4.0])), (1.0, 0.0)) is None


def test_a_box_found_again_says_how_much_of_it_overlaps() -> None:
    rng = np.random.default_rng(3)
    image = rng.uniform(-1, 1, (48, 48, 1)).astype(np.float32)
    pair = Pair(
        Sample("a", "a.png"), image, np.roll(image, 1, axis=1), (Label("box", "box", np.array([12.0, 12, 32, 28])),)
    )
    box = next(finding for finding in run_checks([pair], CheckContext())[0] if finding.label == "box")
    assert box.drift == pytest.approx(1.0, abs=0.1)
    assert box.iou == pytest.approx(19 / 21, abs=0.02)


def test_labels_of_an_image_too_large_to_be_checked_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "MAX_PIXELS", pair(0).synthetic[..., 0].size - 1)
    found = run_checks([pair(0)], CheckContext())[0]
    assert [finding.label for finding in found] == [label.name for label in pair(0).labels]
    assert {finding.verdict for finding in found} == {"not_checkable"}
    assert "labels are checked on images of at most" in found[0].reason
