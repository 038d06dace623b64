"""The blind split of the battery: labels are where objects are drawn, edits and looks do what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from battery import Case, appearance, blind_looks, cases, user_images  # noqa: E402
from battery._kind import Disc  # noqa: E402
from battery._pixels import sub_pixel_grid  # noqa: E402
from battery.blind_edits import FIELDS, bulge, mirrored, occluded  # noqa: E402
from battery.blind_grounds import PAINTERS  # noqa: E402
from battery.blind_scenes import PARTS, SCENES, cover_of  # noqa: E402
from battery.blind_shapes import SHAPES, outline  # noqa: E402
from battery.blind_signs import CLASSES  # noqa: E402
from battery.cases import COMPOSITE, SPLIT_TABLE  # noqa: E402
from battery.edits import EDITS, NOTHING, WHOLE, applies  # noqa: E402
from battery.procedural import HUES  # noqa: E402
from battery.procedural import SHAPES as OTHER_SHAPES  # noqa: E402
from battery.scenes import BLIND_KINDS, kind_named  # noqa: E402

TABLE = SPLIT_TABLE["blind"]


def one(kind: str, name: str, severity: int = 1, seed: int = 3, **options: object) -> Case:
    return next(iter(cases(kind, name, severity, 1, seed, "blind", **options)))


def changed_pixels(case: Case) -> np.ndarray:
    """Where more than the rounding of 8 bits differs: (H, W)."""
    return np.abs(case.pair.refined - case.pair.synthetic).max(axis=2) > 0.02


@pytest.mark.slow
@pytest.mark.parametrize("kind", BLIND_KINDS)
def test_every_edit_and_look_gives_an_image_in_range_and_says_what_it_touched(kind: str) -> None:
    for name in (*TABLE["edits"], *TABLE["looks"], COMPOSITE):
        if name in EDITS and not applies(kind_named(kind, "blind"), name):
            continue
        pair, touched = one(kind, name)
        assert pair.refined.shape == pair.synthetic.shape
        assert pair.synthetic.shape[:2] == kind_named(kind, "blind").size_hw
        assert pair.refined.dtype == np.float32
        assert np.abs(pair.refined).max() <= 1.0
        assert (name == "identical") == bool((pair.refined == pair.synthetic).all()), name
        assert bool(touched) == (name in EDITS and EDITS[name].noticed_by != NOTHING), name
        own = {(label.name, label.item) for label in pair.labels} | {(WHOLE, 0)}
        assert {(t.name, t.item) for t in touched} <= own


def test_the_blind_split_shares_no_shape_hue_or_look_with_the_others() -> None:
    for split in ("tune", "score"):
        assert not (set(SCENES.shapes) | set(PARTS.shapes)) & set(OTHER_SHAPES[split])
        assert not {name for name, _ in SCENES.colours} & set(HUES[split])
        assert set(TABLE["looks"]) & set(SPLIT_TABLE[split]["looks"]) <= {"identical", appearance.TEXTURE_SWAP}
    for world in (SCENES, PARTS):
        assert not set(world.added_shapes) & set(world.shapes), "what is added is of a family that no label knows"


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_lie_where_the_distance_is_zero_and_distances_grow_by_one(shape: str) -> None:
    points = outline(shape).astype(np.float32)
    assert np.abs(SHAPES[shape](points[:, 0], points[:, 1])).max() < 0.01
    assert np.abs(points).max() < 1.1
    x, y = np.meshgrid(*(np.linspace(-1.1, 1.1, 400),) * 2)
    slope = np.hypot(*np.gradient(SHAPES[shape](x, y), 2.2 / 399))
    assert 0.4 < np.median(slope[np.abs(SHAPES[shape](x, y)) < 0.03]) < 1.3


@pytest.mark.parametrize("name", ["scenes", "parts"])
def test_boxes_and_masks_are_tight_around_what_is_drawn(name: str) -> None:
    kind = kind_named(name, "blind")
    scene = kind.sample(np.random.default_rng(4), "blind")
    world = {"scenes": SCENES, "parts": PARTS}[name]
    boxes = [label.value for label in kind.labels(scene) if label.name == "objects.box"]
    masks = [label.value for label in kind.labels(scene) if label.name == "objects.mask"]
    for index, (thing, box, mask) in enumerate(zip(scene.things, boxes, masks, strict=True)):
        gone = kind.edits["remove"](scene, index, 1.0, np.random.default_rng(0))
        rows, columns = np.nonzero((np.abs(kind.draw(scene) - kind.draw(gone)) > 0).any(axis=2))
        ends = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / kind.per_pixel - 0.5
        np.testing.assert_allclose(ends, box, atol=1.0 / kind.per_pixel + 0.1)
        np.testing.assert_array_equal(mask, cover_of(world, thing) >= 0.5)


@pytest.mark.parametrize("name", ["scenes", "parts"])
@pytest.mark.parametrize("edit", ["shift_1px", "shift_2px", "remove", "class", "add", "occlude"])
def test_an_edit_of_one_object_changes_pixels_only_there(name: str, edit: str) -> None:
    kind = kind_named(name, "blind")
    for case in cases(name, edit, 1, 3, 5, "blind", looks=("identical",)):
        changed = changed_pixels(case)
        rows, columns = np.nonzero(changed)
        assert len(rows)
        largest = 2.7 * (SCENES if name == "scenes" else PARTS).radius_px[1] + 8
        assert max(np.ptp(rows), np.ptp(columns)) < largest
        if case.touched[0].name != WHOLE:
            box = next(v.value for v in case.pair.labels if (v.name, v.item) == ("objects.box", case.touched[0].item))
            assert box[0] - 20 <= columns.mean() <= box[2] + 20
            assert box[1] - 20 <= rows.mean() <= box[3] + 20
        assert kind.siblings("objects.box", 0) == {(n, 0) for n in kind.world.label_names}


@pytest.mark.parametrize("px", [1.0, 2.0])
@pytest.mark.parametrize("kind", BLIND_KINDS)
def test_a_shift_moves_points_by_the_stated_px(kind: str, px: float) -> None:
    _, touched = one(kind, f"shift_{px:g}px")
    point = {"eyes": "iris_center", "signs": "corners"}.get(kind, "objects.center")
    assert next(t.amount for t in touched if t.name == point) == pytest.approx(px, abs=1e-3)
    assert {t.unit for t in touched if t.name == point} == {"px"}


def test_colour_and_class_of_a_sign_change_only_the_sign() -> None:
    for edit in ("colour", "class", "remove", "add"):
        for case in cases("signs", edit, 1, 4, 2, "blind", looks=("identical",)):
            rows, columns = np.nonzero(changed_pixels(case))
            box = next(label.value for label in case.pair.labels if label.name == "box")
            margin = 12 if edit == "class" else 2
            assert len(rows) > 12
            assert columns.min() >= box[0] - margin
            assert columns.max() <= box[2] + margin
    assert len({name for name, *_ in CLASSES}) == len(CLASSES)


def test_lids_that_meet_leave_nothing_of_the_iris_to_be_seen() -> None:
    kind = kind_named("eyes", "blind")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        eye = kind.sample(rng, "blind")
        shut = kind.edits["remove"](eye, 0, 1.0, rng)
        x, y = kind.simulate.pixel_grid()
        opening = kind.simulate.coverage(
            np.maximum(*kind.simulate.lid_distances(shut, *kind.simulate.to_lid_frame(shut, x, y)))
        )
        (disc,) = kind.discs(eye)
        assert opening[np.hypot(x - disc.x, y - disc.y) < disc.radius].mean() < 0.03


def test_moving_brow_and_folds_moves_no_label_of_an_eye() -> None:
    assert one("eyes", "background").touched == ()
    assert one("scenes", "background").touched == one("parts", "background").touched == ()


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_an_occluder_of_any_shape_covers_its_share(share: float) -> None:
    x, y = sub_pixel_grid((64, 64), 2)
    disc, seeds = Disc(30.0, 32.0, 12.0), range(4 * len(FIELDS))
    inside = np.hypot(x - disc.x, y - disc.y) <= disc.radius
    for seed in seeds:
        covered = occluded(np.full((128, 128, 1), 3.0, np.float32), disc, share, 2, np.random.default_rng(seed)) < 2.0
        assert covered[..., 0][inside].mean() == pytest.approx(share, abs=0.04)


def test_a_bulge_moves_by_its_amount_at_most_and_a_mirror_keeps_all_pixels() -> None:
    flow = bulge(kind_named("scenes", "blind"), 2.0, np.random.default_rng(0))
    assert np.hypot(flow[..., 0], flow[..., 1]).max() == pytest.approx(2.0, rel=1e-5)
    assert flow.std(axis=(0, 1)).min() > 0.1
    fine = np.random.default_rng(0).random((6, 8, 1)).astype(np.float32)
    flipped = {mirrored(fine, np.random.default_rng(seed)).tobytes() for seed in range(8)}
    assert flipped == {np.ascontiguousarray(fine[:, ::-1]).tobytes(), np.ascontiguousarray(fine[::-1]).tobytes()}


@pytest.mark.parametrize("name", ["lens_blur", "motion_blur", "halo"])
def test_kernels_are_symmetric_so_that_nothing_moves(name: str) -> None:
    spot = np.full((41, 41, 1), 0.2, np.float32)
    spot[20, 20] = 0.9
    for seed in range(4):
        away = blind_looks.PIXEL_CHANGES[name](spot, 1, np.random.default_rng(seed), spot) - 0.2
        np.testing.assert_allclose(away, away[::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize("kind", ["scenes", "eyes"])
@pytest.mark.parametrize("name", blind_looks.STANDS_FOR)
def test_no_look_changes_more_than_the_one_it_stands_for(kind: str, name: str) -> None:
    images = [pair.synthetic / 2 + 0.5 for pair in user_images(kind, 6, 21, "blind")]

    def gray_levels(look: str) -> float:
        rngs = (np.random.default_rng([1, i]) for i in range(6))
        parts = [
            appearance.change(v, (look,), 1, rng, images[i - 1]) - v
            for i, (v, rng) in enumerate(zip(images, rngs, strict=True))
        ]
        return 255 * float(np.abs(parts).mean())

    assert 1.0 < gray_levels(name) <= 1.1 * gray_levels(blind_looks.STANDS_FOR[name])


def test_borrowed_structure_is_of_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setitem(appearance.PIXEL_CHANGES, "borrowed", lambda image, s, rng, other: given.append(other) or image)  # noqa: ARG005
    pair = one("eyes", "borrowed").pair
    assert np.abs(given[0] - (pair.synthetic / 2 + 0.5)).mean() > 0.02


@pytest.mark.parametrize("name", PAINTERS)
def test_grounds_are_about_as_strong_as_each_other(name: str) -> None:
    x, y = sub_pixel_grid((48, 64), 2)
    stds = [np.std(PAINTERS[name](np.random.default_rng(seed), x, y, 2)) for seed in range(4)]
    assert 0.25 < np.mean(stds) < 2.0
