"""The fresh split of the battery: labels are where things are drawn, edits and looks do what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from battery import Case, cases, fresh_looks, user_images  # noqa: E402
from battery._pixels import averaged  # noqa: E402
from battery.cases import COMPOSITE, SPLIT_TABLE  # noqa: E402
from battery.edits import EDITS, NOTHING, WHOLE, applies  # noqa: E402
from battery.fresh_camera import Camera, face_places, floor_at, floor_places, outside, projected  # noqa: E402
from battery.fresh_edits import FIELDS, occluded, ripple  # noqa: E402
from battery.fresh_glyphs import GLYPHS, LETTERS, WORDS  # noqa: E402
from battery.fresh_strokes import Stroke, crossed, distance, ribbon  # noqa: E402
from battery.fresh_weaves import ADDED_WEAVES, WEAVES, Weave, woven  # noqa: E402
from battery.scenes import FRESH_KINDS, kind_named  # noqa: E402

TABLE = SPLIT_TABLE["fresh"]


def one(kind: str, name: str, severity: int = 1, seed: int = 3, **options: object) -> Case:
    return next(iter(cases(kind, name, severity, 1, seed, "fresh", **options)))


def drawn(kind: str, seed: int = 4) -> tuple:
    made = kind_named(kind, "fresh")
    return made, made.sample(np.random.default_rng(seed), "fresh")


@pytest.mark.slow
@pytest.mark.parametrize("kind", FRESH_KINDS)
def test_every_edit_and_look_gives_an_image_in_range_and_says_what_it_touched(kind: str) -> None:
    for name in (*TABLE["edits"], *TABLE["looks"], COMPOSITE):
        if name in EDITS and not applies(kind_named(kind, "fresh"), name):
            continue
        pair, touched = one(kind, name)
        assert pair.refined.shape == pair.synthetic.shape
        assert pair.synthetic.shape[:2] == kind_named(kind, "fresh").size_hw
        assert pair.refined.dtype == np.float32
        assert np.abs(pair.refined).max() <= 1.0
        assert (name == "identical") == bool((pair.refined == pair.synthetic).all()), name
        assert bool(touched) == (name in EDITS and EDITS[name].noticed_by != NOTHING), name
        own = {(label.name, label.item) for label in pair.labels} | {(WHOLE, 0)}
        assert {(t.name, t.item) for t in touched} <= own


def test_the_fresh_split_shares_no_look_with_the_others() -> None:
    for split in ("tune", "score", "blind"):
        assert set(TABLE["looks"]) & set(SPLIT_TABLE[split]["looks"]) <= {"identical", "texture_swap"}
    assert len(TABLE["looks"]) >= 12
    assert not set(WEAVES) & set(ADDED_WEAVES)


@pytest.mark.parametrize("kind", FRESH_KINDS)
def test_boxes_are_tight_around_what_is_drawn(kind: str) -> None:
    made, scene = drawn(kind)
    boxes = [label.value for label in made.labels(scene) if label.name == f"{made.label_names[0].split('.')[0]}.box"]
    for thing, box in zip(scene.things, boxes, strict=True):
        rows, columns = np.nonzero(made.cover(thing) > 0.5)
        ends = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / made.per_pixel - 0.5
        np.testing.assert_allclose(ends, box, atol=1.0 / made.per_pixel + 0.1)
        assert (box[2:] - box[:2]).min() >= 4.0


@pytest.mark.parametrize("kind", FRESH_KINDS)
@pytest.mark.parametrize("edit", ["shift_2px", "remove", "class", "occlude"])
def test_an_edit_of_one_object_changes_pixels_only_there(kind: str, edit: str) -> None:
    made = kind_named(kind, "fresh")
    case = one(kind, edit, seed=5, looks=("identical",))
    rows, columns = np.nonzero(np.abs(case.pair.refined - case.pair.synthetic).max(axis=2) > 0.04)
    box_name = f"{made.label_names[0].split('.')[0]}.box"
    place = next(iter(made.siblings(case.touched[0].name, case.touched[0].item) & {(box_name, i) for i in range(9)}))
    box = next(label.value for label in case.pair.labels if (label.name, label.item) == place)
    assert len(rows) > 8
    assert box[0] - 30 <= columns.min() <= columns.max() <= box[2] + 30
    assert box[1] - 30 <= rows.min() <= rows.max() <= box[3] + 30
    assert box[0] - 8 <= columns.mean() <= box[2] + 8
    assert box[1] - 8 <= rows.mean() <= box[3] + 8


@pytest.mark.parametrize("px", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("kind", ["wires", "weaves", "texts"])
def test_a_shift_moves_boxes_by_the_stated_px(kind: str, px: float) -> None:
    moves = [t.amount for t in one(kind, f"shift_{px:g}px").touched if t.name.endswith(".box")]
    assert moves == pytest.approx([px] * len(moves), abs=1e-3)
    assert moves


def test_a_pushed_crate_moves_by_the_stated_px_on_average() -> None:
    for px in (0.5, 2.0, 5.0):
        moves = [t.amount for t in one("crates", f"shift_{px:g}px").touched if t.name.count("_") and t.unit == "px"]
        assert len(moves) == 7
        assert np.mean(moves) == pytest.approx(px, abs=0.02)


@pytest.mark.parametrize("kind", FRESH_KINDS)
def test_a_ground_that_slides_touches_nothing(kind: str) -> None:
    pair, touched = one(kind, "background", looks=("identical",))
    assert touched == ()
    assert np.abs(pair.refined - pair.synthetic).mean() > 0.002


def test_outlines_lie_at_the_edge_of_strokes() -> None:
    t = np.linspace(-1, 1, 21)
    bent = Stroke(np.stack([20 * t, 6 * np.sin(3 * t)], axis=-1), np.full(21, 1.2))
    bars = [
        Stroke(np.array([a, b], dtype=float), np.full(2, 1.0)) for a, b in (((-15, 2), (15, -2)), ((-3, -9), (4, 8)))
    ]
    for strokes, outline in (([bent], ribbon(bent)), (bars, crossed(*bars))):
        away = distance(strokes, outline[:, 0].astype(np.float32), outline[:, 1].astype(np.float32))
        assert np.abs(away).max() < 0.5, "the corners of straight ends stand off the round ones"
        assert np.median(np.abs(away)) < 0.05 + 0.5 * (len(strokes) > 1)


@pytest.mark.parametrize("name", [*WEAVES, *ADDED_WEAVES])
def test_weaves_have_the_same_contrast(name: str) -> None:
    x, y = np.meshgrid(np.arange(0, 200, 0.5, dtype=np.float32), np.arange(0, 200, 0.5, dtype=np.float32))
    texture = woven(Weave(name, 0.7, 3.0, 1), x, y)
    assert abs(texture.mean()) < 0.2
    assert texture.std() == pytest.approx(1.0, abs=0.25)


def test_patches_differ_from_their_ground_neither_in_level_nor_in_contrast() -> None:
    made, scene = drawn("weaves")
    image = averaged(made.draw(scene), made.per_pixel)
    masks = [label.value for label in made.labels(scene) if label.name == "patches.mask"]
    ground = image[~np.any(masks, axis=0)]
    for mask in masks:
        assert np.abs(image[mask].mean(axis=0) - ground.mean(axis=0)).max() < 0.03


def test_words_are_spelled_with_letters_that_can_be_drawn() -> None:
    assert {len(word) for word in WORDS} == {LETTERS}
    assert set("".join(WORDS)) <= set(GLYPHS)
    made, scene = drawn("texts")
    assert [label.text for label in made.labels(scene) if label.type == "text"] == [w.text for w in scene.things]
    assert {t.name for t in one("texts", "class").touched} == {"words.text"}
    assert made.siblings("words.letters.box", LETTERS + 2) == made.siblings("words.text", 1)


def test_the_camera_sees_the_floor_where_it_says() -> None:
    camera = Camera(0.6, 4.2, 150.0)
    x, z = floor_at(camera, 70.0, 60.0)
    np.testing.assert_allclose(projected(camera, np.array([[x, 0.0, z]])), [[70.0, 60.0]], atol=1e-6)
    far = [plane[60 * 3 + 1, 70 * 3 + 1] for plane in floor_places(camera)]
    np.testing.assert_allclose(far, (x, z), atol=1e-3)
    quad = np.array([(2.0, 3.0), (30.0, 5.0), (26.0, 28.0), (4.0, 20.0)])
    s, t = face_places(quad, quad[:, 0], quad[:, 1])
    np.testing.assert_allclose(np.stack([s, t]), [[0, 1, 1, 0], [0, 0, 1, 1]], atol=1e-9)
    assert outside(quad, np.array([15.0, 50.0]), np.array([12.0, 12.0])).tolist()[0] < 0


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_an_occluder_hides_its_share_of_a_thing(share: float) -> None:
    hidden = np.zeros((96, 96), np.float32)
    hidden[30:44, 20:80] = 1.0
    for seed in range(4 * len(FIELDS)):
        fine = np.full((96, 96, 1), 3.0, np.float32)
        covered = occluded(fine, hidden, share, 2, np.random.default_rng(seed))[..., 0] < 2.0
        assert covered[hidden > 0].mean() == pytest.approx(share, abs=0.06)


def test_a_ripple_moves_by_its_amount_at_most() -> None:
    flow = ripple(kind_named("texts", "fresh"), 2.0, np.random.default_rng(0))
    assert np.hypot(flow[..., 0], flow[..., 1]).max() == pytest.approx(2.0, rel=1e-5)
    assert flow.std(axis=(0, 1)).min() > 0.1


@pytest.mark.parametrize("name", ["glow", "bilateral", "guided", "tone_mapping"])
def test_looks_that_see_neighbours_see_all_sides_alike(name: str) -> None:
    spot = np.full((41, 41, 1), 0.3, np.float32)
    spot[18:23, 18:23] = 0.8
    looks = [fresh_looks.PIXEL_CHANGES[name](spot, 1, np.random.default_rng(seed), spot) for seed in range(3)]
    for look in looks:
        np.testing.assert_allclose(look, look[::-1, ::-1], atol=1e-4)
        steps = np.abs(np.diff(look[20, :, 0]))
        assert set(np.argsort(steps)[-2:]) == {17, 22}, "edges stay where they are"


@pytest.mark.parametrize("name", fresh_looks.NAMES)
def test_looks_change_an_image_a_little(name: str) -> None:
    image = next(iter(user_images("crates", 1, 21, "fresh"))).synthetic / 2 + 0.5
    changed = np.clip(fresh_looks.PIXEL_CHANGES[name](image, 1, np.random.default_rng(2), image), 0, 1)
    assert changed.shape == image.shape
    assert 1.0 < 255 * np.abs(changed - image).mean() < 42.0
