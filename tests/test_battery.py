"""The battery that judges the label checks: edits do what they say, looks move nothing, the counting is right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from refinery.sample import Finding, Label, Pair, Sample

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from battery import Case, appearance, cases, refiner_like, user_images  # noqa: E402
from battery._kind import Disc, Kind  # noqa: E402
from battery._pixels import as_checked, averaged, blurred, sub_pixel_grid, warped  # noqa: E402
from battery.cases import COMPOSITE, SPLIT_TABLE  # noqa: E402
from battery.edits import EDITS, NOTHING, WHOLE, Touched, applies, distance, occluded, overlap, warp  # noqa: E402
from battery.eyes import rotated_gaze  # noqa: E402
from battery.procedural import HUES, SHAPES, cover_of, edited  # noqa: E402
from battery.scenes import kind_named  # noqa: E402
from battery.score import Tally, is_judged, score_edit, score_unmoved  # noqa: E402
from battery.signs import Signs  # noqa: E402

SCENES, EYES = kind_named("scenes"), kind_named("eyes")


@pytest.fixture(scope="session")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    """The kind "signs" with four drawn pictograms, two in each split."""
    folder = tmp_path_factory.mktemp("pictograms")
    for i, colour in enumerate([(200, 20, 30), (20, 60, 200), (230, 200, 20), (20, 140, 60)]):
        image = Image.new("RGBA", (72, 72), (0, 0, 0, 0))
        ImageDraw.Draw(image).ellipse((0, 0, 71, 71), fill=(*colour, 255))
        ImageDraw.Draw(image).rectangle((20, 10 * i + 15, 50, 10 * i + 25), fill=(255, 255, 255, 255))
        image.save(folder / f"{i:02d}_sign.png")
    return Signs(folder)


def kinds(signs: Kind) -> tuple[Kind, ...]:
    return SCENES, EYES, signs


def one(kind: Kind, name: str, severity: int = 1, **options: object) -> Case:
    return next(iter(cases(kind, name, severity, 1, 3, **options)))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["tune", "score"])
def test_every_edit_and_look_gives_an_image_in_range_and_says_what_it_touched(signs: Kind, split: str) -> None:
    for kind in kinds(signs):
        for name in (*SPLIT_TABLE[split]["edits"], *SPLIT_TABLE[split]["looks"], COMPOSITE):
            if name in EDITS and not applies(kind, name):
                continue
            pair, touched = one(kind, name, split=split)
            assert pair.refined.shape == pair.synthetic.shape == (*kind.size_hw, pair.synthetic.shape[2])
            assert pair.refined.dtype == np.float32
            assert np.abs(pair.refined).max() <= 1.0
            assert (name == "identical") == bool((pair.refined == pair.synthetic).all())
            assert bool(touched) or name not in EDITS or EDITS[name].noticed_by == NOTHING
            own = {(label.name, label.item) for label in pair.labels} | {(WHOLE, 0)}
            assert {(t.name, t.item) for t in touched} <= own


def test_a_case_depends_on_its_arguments_and_not_on_the_count() -> None:
    few, many = list(cases("eyes", "shift_1px", 1, 2, 0)), list(cases("eyes", "shift_1px", 1, 3, 0))
    assert all((a.pair.refined == b.pair.refined).all() for a, b in zip(few, many, strict=False))
    other = next(iter(cases("eyes", "shift_1px", 1, 1, 1)))
    assert (other.pair.synthetic != few[0].pair.synthetic).any()


def test_the_splits_share_neither_shapes_nor_hues_nor_looks() -> None:
    assert not set(SHAPES["tune"]) & set(SHAPES["score"])
    assert not set(HUES["tune"]) & set(HUES["score"])
    assert set(SPLIT_TABLE["tune"]["looks"]) & set(SPLIT_TABLE["score"]["looks"]) == {"identical"}
    assert set(SPLIT_TABLE["score"]["edits"]) - set(SPLIT_TABLE["tune"]["edits"]) >= {
        "warp",
        "occlude",
        "add",
        "colour",
    }


def test_images_to_learn_from_are_in_no_case() -> None:
    learned = next(iter(user_images("eyes", 1, 3))).synthetic
    like = next(iter(refiner_like("eyes", 1, 3)))
    shown = one(EYES, COMPOSITE).pair.synthetic
    assert (learned != shown).any()
    assert (like.synthetic != shown).any()
    assert (like.synthetic != like.refined).any()


@pytest.mark.parametrize("amount", [0.5, 2.0])
def test_a_moved_object_is_drawn_where_its_label_says(amount: float) -> None:
    rng = np.random.default_rng(0)
    scene = SCENES.sample(rng, "tune")
    for angle in (0.0, 2.0):
        x, y = scene.things[0].center
        there = (x + amount * np.cos(angle), y + amount * np.sin(angle))
        thing = edited(scene, 0, center=there, shape="disc").things[0]
        cover = cover_of(thing)
        rows, columns = np.mgrid[: cover.shape[0], : cover.shape[1]]
        centroid = (cover * columns).sum() / cover.sum(), (cover * rows).sum() / cover.sum()
        assert centroid == pytest.approx(there, abs=0.03)


def test_shift_touches_the_geometry_of_one_object_by_its_amount() -> None:
    _, touched = one(SCENES, "shift_2px")
    amounts = {t.name: t for t in touched}
    assert set(amounts) == {"objects.center", "objects.box", "objects.mask"}
    assert amounts["objects.center"].amount == pytest.approx(2.0)
    assert amounts["objects.box"].amount == pytest.approx(2.0)
    assert amounts["objects.mask"].amount == pytest.approx(1.0 - amounts["objects.mask"].iou)
    assert 0.5 < amounts["objects.box"].iou < 1.0
    _, further = one(SCENES, "shift_2px", amount=3.0)
    assert further[0].amount == pytest.approx(3.0)


@pytest.mark.parametrize("degrees", [2.0, 10.0])
def test_gaze_is_turned_by_an_exact_angle(degrees: float) -> None:
    eye = EYES.sample(np.random.default_rng(1), "score")
    turned = rotated_gaze(eye, degrees, 0.7)
    cosine = float(eye.eyeball.gaze_vector @ turned.eyeball.gaze_vector)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(degrees, abs=1e-6)
    _, touched = one(EYES, "gaze", amount=degrees)
    assert {t.name: t.amount for t in touched}["gaze_vector"] == pytest.approx(degrees, abs=1e-3)


def test_scaling_an_iris_keeps_its_centre() -> None:
    _, touched = one(EYES, "scale", 2)
    assert "iris_contour" in {t.name for t in touched}
    assert "iris_center" not in {t.name for t in touched}


def test_lids_that_move_touch_only_themselves() -> None:
    assert {t.name for t in one(EYES, "background").touched} == {"eyelid_contour"}
    assert one(SCENES, "background").touched == ()


def test_a_sign_keeps_its_pose_when_it_is_swapped_and_leaves_when_removed(signs: Kind) -> None:
    for name in ("class", "remove"):
        pair, touched = one(signs, name)
        assert {t.name for t in touched} >= {"class_id", "class_name"}
        assert np.abs(pair.refined - pair.synthetic).max() > 0.2


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_an_occluder_covers_its_share_of_the_object(share: float) -> None:
    x, y = sub_pixel_grid((64, 64), 2)
    disc = Disc(30.0, 32.0, 12.0)
    inside = np.hypot(x - disc.x, y - disc.y) <= disc.radius
    covered = occluded(np.full((128, 128, 1), 2.0, np.float32), disc, share, 2, np.random.default_rng(0)) < 1.9
    assert covered[..., 0][inside].mean() == pytest.approx(share, abs=0.03)


def test_a_warp_moves_by_its_amount_at_most_and_bends() -> None:
    flow = warp(SCENES, 2.0, np.random.default_rng(0))
    length = np.hypot(flow[..., 0], flow[..., 1])
    assert length.max() == pytest.approx(2.0, rel=1e-5)
    assert flow.std(axis=(0, 1)).min() > 0.1


def test_warping_by_a_constant_flow_moves_the_image() -> None:
    fine = blurred(np.random.default_rng(0).random((48, 48, 1)).astype(np.float32), 2.0)
    flow = np.broadcast_to(np.array([2.0, -1.0], np.float32), (48, 48, 2))
    moved = warped(fine, flow, 2)
    np.testing.assert_allclose(moved[8:40, 8:40], fine[10:42, 4:36], atol=1e-5)
    assert averaged(moved, 2).shape == (24, 24, 1)


@pytest.mark.parametrize("name", [name for name in appearance.PIXEL_CHANGES if name != "identical"])
def test_looks_grow_with_severity(name: str) -> None:
    pairs = list(user_images("scenes", 2, 0))
    image, other = (pairs[i].synthetic / 2 + 0.5 for i in (0, 1))
    changed = [
        np.mean(
            [
                np.abs(appearance.change(image, (name,), s, np.random.default_rng(i), other) - image).mean()
                for i in range(4)
            ]
        )
        for s in range(3)
    ]
    assert 0.0 < changed[0] < changed[1] < changed[2]


def test_another_texture_leaves_outlines_and_labels_where_they_are() -> None:
    scene = SCENES.sample(np.random.default_rng(0), "tune")
    swapped = SCENES.retextured(scene, 0.4, np.random.default_rng(1))
    assert (SCENES.draw(scene) != SCENES.draw(swapped)).any()
    for before, after in zip(SCENES.labels(scene), SCENES.labels(swapped), strict=True):
        assert distance(before, after)[0] == 0.0


def test_a_composite_has_two_parts_in_a_cameras_order() -> None:
    for seed in range(8):
        first, second = appearance.draw_composite(("identical", "gamma", "noise", "jpeg"), np.random.default_rng(seed))
        assert ("gamma", "noise", "jpeg").index(first) < ("gamma", "noise", "jpeg").index(second)


def test_distances_are_in_the_labels_own_unit() -> None:
    box = Label("b", "box", np.array([0.0, 0.0, 10.0, 10.0]))
    assert distance(box, replace(box, value=box.value + np.array([3.0, 4.0, 3.0, 4.0]))) == (5.0, "px")
    assert overlap(box, replace(box, value=np.array([0.0, 0.0, 10.0, 5.0]))) == pytest.approx(0.5)
    gaze = Label("g", "vector", np.array([0.0, 0.0, -1.0]), "deg")
    assert distance(gaze, replace(gaze, value=np.array([0.0, 1.0, 0.0]))) == (pytest.approx(90.0), "deg")
    kind = Label("c", "class", np.zeros(0), "flip", text="a")
    assert distance(kind, replace(kind, text="b")) == (1.0, "flip")


def scored_case(touched: tuple[Touched, ...]) -> Case:
    names = ("objects.center", "objects.box")
    labels = tuple(Label(name, "box", np.zeros(4), item=item) for name in names for item in (0, 1))
    blank = as_checked(np.zeros((8, 8, 3), np.float32))
    return Case(Pair(Sample("k", "k.png"), blank, blank, labels), touched)


def test_counting_by_label_object_and_sample() -> None:
    case = scored_case((Touched("objects.center", 0, 1.0, "px"), Touched("objects.box", 0, 1.0, "px")))
    findings = [
        Finding("objects.center", "keypoint", "abstain", None, item=0),
        Finding("objects.box", "box", "fail", 1.0, item=0),
        Finding("objects.center", "keypoint", "fail", 0.4, item=1),
        Finding("objects.box", "box", "abstain", 0.2, item=1),
        Finding("pairing", "pairing", "pass", unit=""),
    ]
    score = score_edit(SCENES, [(case, findings)])
    assert score.labels == Tally(seen=2, judged=1, failed=1)
    assert score.objects == score.samples == Tally(seen=1, judged=1, failed=1)
    unmoved = score_unmoved(SCENES, [(case, findings)])
    assert unmoved.labels == Tally(seen=2, judged=2, failed=1)
    assert unmoved.samples.failed == 1
    assert unmoved.others.seen == 0
    assert unmoved.by_name["objects.center"] == Tally(seen=1, judged=1, failed=1)
    assert unmoved.labels.of_judged == unmoved.labels.of_all == 0.5
    assert score.labels.coverage == 0.5


def test_what_was_looked_for_and_not_found_is_not_judged() -> None:
    assert not is_judged(Finding("a", "box", "not_checkable"))
    assert not is_judged(Finding("a", "box", "abstain"))
    assert is_judged(Finding("a", "box", "abstain", 0.3))
    assert is_judged(Finding("a", "class", "pass"))


def test_an_edit_of_the_whole_counts_by_its_samples() -> None:
    case = scored_case((Touched(WHOLE, 0, 1.0, ""),))
    score = score_edit(SCENES, [(case, [Finding("pairing", "pairing", "fail", unit="")])])
    assert score.decisive("mirror") == Tally(1, 1, 1)
    assert score.labels.seen == score.objects.seen == 0


def test_the_checks_notice_most_moves_of_two_px_and_hardly_any_identical_image() -> None:
    from battery.score import STRICT

    from refinery.checks import CheckContext, run_checks

    context = CheckContext(max_drift=STRICT)
    moved = list(cases("eyes", "shift_2px", 0, 12, 4))
    score = score_edit(EYES, list(zip(moved, run_checks([case.pair for case in moved], context), strict=True)))
    assert score.objects.of_all >= 0.75
    same = list(cases("eyes", "identical", 0, 12, 4))
    unmoved = score_unmoved(EYES, list(zip(same, run_checks([case.pair for case in same], context), strict=True)))
    assert unmoved.labels.of_judged <= 0.05, "uncalibrated, 5% of labels that stayed may have a lower bound above 0"
    assert unmoved.others.seen >= 12
    assert unmoved.others.failed == 0
