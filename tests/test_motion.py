"""One motion a thing: what moved fails, what only looks otherwise passes, what another label explains has no say."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from refinery.checks import CheckContext, run_checks
from refinery.checks._batch import CheckBatch
from refinery.checks._consensus import PRIOR, consensus, design_of
from refinery.checks.motion import check, moved_things, statistics
from refinery.sample import Finding, FloatArray, Label, Pair, Sample

HEIGHT, WIDTH = 56, 72
Y, X = np.mgrid[:HEIGHT, :WIDTH]
TURN = np.arange(40) * (2 * np.pi / 40)


def soft(distance: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(distance / 0.6))


def scene(
    x: float = 36.0, y: float = 28.0, radius: float | FloatArray = 10.0, lid: float | None = None, seed: int = 0
) -> FloatArray:
    """A dark disc on an uneven ground, a lid over all above `lid`: (H, W, 1) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    image = 0.3 + 0.2 * np.sin(X / 9 + 1) * np.cos(Y / 7) + rng.normal(0, 0.02, X.shape)
    disc = soft(np.hypot(X - x, Y - y) - radius)
    image = image * (1 - disc) + disc * (-0.5 + 0.1 * np.sin(X - x))
    if lid is not None:
        cover = soft(Y - lid)
        image = image * (1 - cover) + cover * 0.75
    return image[..., None].astype(np.float32)


def circle(name: str, x: float, y: float, radius: float) -> Label:
    return Label(name, "polygon", np.stack((x + radius * np.cos(TURN), y + radius * np.sin(TURN)), axis=-1))


DISC = (
    Label("disc.center", "keypoint", np.array([36.0, 28.0]), extent_px=10.0),
    Label("disc.box", "box", np.array([26.0, 18.0, 46.0, 38.0])),
    circle("disc.outline", 36.0, 28.0, 10.0),
)


def pair(synthetic: FloatArray, refined: FloatArray, labels: tuple[Label, ...] = DISC) -> Pair:
    return Pair(Sample("a", "a.png"), synthetic, refined, labels)


def judged(one: Pair, **limits: float) -> dict[str, Finding]:
    (findings,) = check(CheckBatch([one]), CheckContext(max_drift=limits or {}))
    return {finding.label: finding for finding in findings}


LOOKS = {
    "nothing": lambda image: image,
    "darker and flatter": lambda image: 0.4 * image - 0.3,
    "inverted": lambda image: -image,
    "a gradient of light": lambda image: image * 0.7 + (X / WIDTH - 0.5)[..., None].astype(np.float32) * 0.5,
    "noise": lambda image: image + np.random.default_rng(1).normal(0, 0.08, image.shape).astype(np.float32),
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_only_looks_otherwise_passes(look: str) -> None:
    found = judged(pair(scene(), LOOKS[look](scene(seed=3))))
    assert {name: finding.verdict for name, finding in found.items()} == {label.name: "pass" for label in DISC}
    assert max(finding.upper for finding in found.values()) <= 1


@pytest.mark.parametrize("move", [(2.0, 0.0), (0.0, -2.5), (1.8, 1.8)])
def test_a_thing_that_moved_fails_by_all_of_its_labels(move: tuple[float, float]) -> None:
    found = judged(pair(scene(), 0.6 * scene(36 + move[0], 28 + move[1], seed=3)))
    assert {finding.verdict for finding in found.values()} == {"fail"}
    assert found["disc.center"].shift_px == pytest.approx(move, abs=0.4)


def test_a_growth_fails_the_box_and_not_the_centre() -> None:
    found = judged(pair(scene(), scene(radius=12.5, seed=3)))
    assert found["disc.center"].verdict != "fail"
    assert found["disc.center"].drift < 0.5
    assert found["disc.box"].verdict == "fail"
    assert found["disc.box"].drift == pytest.approx(2.5 * np.sqrt(2), abs=1.0)


@pytest.mark.parametrize("degrees", [0.0, 130.0, 250.0])
@pytest.mark.parametrize("px", [2.0, -2.0, 3.0])
def test_an_outline_that_is_dented_on_one_side_does_not_pass(degrees: float, px: float) -> None:
    away = np.angle(np.exp(1j * (np.arctan2(Y - 28.0, X - 36.0) - np.radians(degrees))))
    dented = scene(radius=10.0 + px * np.exp(-((away / 0.5) ** 2)), seed=3)
    found = judged(pair(scene(), 0.7 * dented))
    assert found["disc.outline"].verdict != "pass"
    assert found["disc.outline"].upper > 1


def square(half: float = 11.0, degrees: float = 0.0, seed: int = 0) -> FloatArray:
    turn = np.exp(-1j * np.radians(degrees)) * ((X - 36.0) + 1j * (Y - 28.0))
    cover = soft(np.maximum(np.abs(turn.real), np.abs(turn.imag)) - half)
    noise = np.random.default_rng(seed).normal(0, 0.02, X.shape)
    return ((0.3 + noise) * (1 - cover) - 0.5 * cover)[..., None].astype(np.float32)


@pytest.mark.parametrize("refined", [square(degrees=7, seed=1), square(12.6, seed=1), square(9.4, seed=1)])
def test_an_outline_that_turned_or_grew_does_not_pass(refined: FloatArray) -> None:
    corners = np.array([[25.0, 17], [47, 17], [47, 39], [25, 39]])
    outline = Label("square", "polygon", corners)
    assert judged(pair(square(), square(seed=1), (outline,)))["square"].verdict == "pass"
    assert judged(pair(square(), 0.7 * refined, (outline,)))["square"].verdict != "pass"


def test_a_lid_that_moves_over_a_disc_that_stays_is_told_from_it() -> None:
    lid = Label("opening", "polygon", np.array([[2.0, 22], [70, 22], [70, 54], [2, 54]]))
    stays = judged(pair(scene(lid=22), 0.7 * scene(lid=24, seed=3), (*DISC, lid)))
    assert stays["disc.center"].verdict != "fail"
    assert stays["disc.center"].drift < 1.3, "less than the lid moves"
    moves = judged(pair(scene(lid=22), 0.7 * scene(38.2, lid=22, seed=3), (*DISC, lid)))
    assert moves["disc.center"].verdict == "fail"
    assert moves["opening"].verdict != "fail"


def test_a_larger_tolerance_is_searched_as_far() -> None:
    found = judged(pair(scene(), scene(44.0, seed=3)), **{"": 3.0})
    assert {finding.verdict for finding in found.values()} == {"fail"}
    found = judged(pair(scene(), scene(38.0, seed=3)), **{"": 4.0})
    assert "fail" not in {finding.verdict for finding in found.values()}


def test_what_is_gone_does_not_pass() -> None:
    found = judged(pair(scene(), scene(radius=-9.0, seed=3)))
    assert "pass" not in {finding.verdict for finding in found.values()}


def test_flat_tiny_and_outside_are_not_checkable() -> None:
    flat = np.full((HEIGHT, WIDTH, 1), 0.2, np.float32)
    assert {finding.verdict for finding in judged(pair(flat, flat)).values()} == {"not_checkable"}
    odd = (Label("far", "box", np.array([200.0, 10, 240, 30])), Label("tiny", "box", np.array([3.0, 3, 5, 5])))
    assert {finding.verdict for finding in judged(pair(scene(), scene(), odd)).values()} == {"not_checkable"}


def test_an_image_without_geometry_gets_one_finding_for_its_frame() -> None:
    found = judged(pair(scene(), scene(seed=3), ()))
    assert list(found) == ["image"]
    assert found["image"].drift < 0.3
    assert judged(pair(scene(), np.roll(scene(seed=3), 3, axis=1), ()), **{"": 0.5})["image"].verdict == "fail"


def test_a_finding_depends_on_its_pair_alone() -> None:
    pairs = [pair(scene(), scene(36 + k, seed=k)) for k in range(4)]
    together = check(CheckBatch(pairs), CheckContext())
    assert together == [check(CheckBatch([one]), CheckContext())[0] for one in pairs]


def test_colour_images_and_larger_ones_are_judged_alike() -> None:
    colour = np.repeat(scene(), 3, axis=2) * np.array([1.0, 0.8, 0.6], np.float32)
    found = judged(pair(colour, 0.7 * np.repeat(scene(38.2, seed=3), 3, axis=2)))
    assert {finding.verdict for finding in found.values()} == {"fail"}


def test_the_source_side_is_computed_once() -> None:
    first = CheckBatch([pair(scene(), scene(seed=3))])
    check(first, CheckContext())
    second = CheckBatch([pair(scene(), scene(38.0, seed=4))], first)
    moved_things(second, CheckContext().radius_px)
    assert check(second, CheckContext()) == check(CheckBatch(second.pairs), CheckContext())


def test_statistics_are_one_a_label() -> None:
    values = list(statistics(CheckBatch([pair(scene(), scene(seed=3))]), CheckContext()))
    assert sorted(name for _, name, _ in values) == ["disc.box", "disc.center", "disc.outline"]


def test_the_consensus_is_the_motion_that_the_sectors_agree_on_and_leaves_out_one_that_does_not() -> None:
    turn = np.arange(8) * np.pi / 4
    places = 10 * np.stack((np.cos(turn), np.sin(turn)), axis=-1)[None]
    design = design_of(places, np.stack)
    true = np.array([1.2, -0.7, 0.05, 0.03, 0.0, 0.0])
    moves = (design @ true[:, None])[..., 0]
    moves[0, 3] += (4.0, 4.0)
    precision = np.broadcast_to(np.eye(2) * 100.0, (1, 8, 2, 2))
    motion, information = consensus(design, moves, precision, np.diag(np.array(PRIOR)), np.linalg.solve)
    assert motion[0, :2] == pytest.approx(true[:2], abs=0.1)
    assert np.linalg.eigvalsh(information[0]).min() > 0


def test_training_and_checking_share_one_consensus() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    places, moves = rng.normal(0, 8, (3, 8, 2)), rng.normal(0, 1, (3, 8, 2))
    precision = np.broadcast_to(np.eye(2) * 9.0, (3, 8, 2, 2))
    prior = np.diag(np.array(PRIOR))
    ours, _ = consensus(design_of(places, np.stack), moves, precision, prior, np.linalg.solve)
    as_tensor = [torch.tensor(np.array(values)) for values in (places, moves, precision, prior)]
    design = design_of(as_tensor[0], torch.stack)
    theirs, _ = consensus(design, as_tensor[1], as_tensor[2], as_tensor[3], torch.linalg.solve)
    assert np.allclose(ours, theirs.numpy())


def test_pairs_that_differ_in_labels_share_a_batch() -> None:
    pairs = [pair(scene(), scene()), replace(pair(scene(), scene()), labels=())]
    first, second = check(CheckBatch(pairs), CheckContext())
    assert len(first) == 3
    assert [finding.label for finding in second] == ["image"]


def test_things_of_large_images_are_looked_at_in_their_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [pair(scene(), 0.7 * scene(38.2, seed=3)), pair(scene(), scene(seed=3))]
    whole = check(CheckBatch(pairs), CheckContext())
    monkeypatch.setattr("refinery.checks.motion.LARGE_PX", 3000)
    parts = check(CheckBatch(pairs), CheckContext())
    for one, other in zip(chain.from_iterable(whole), chain.from_iterable(parts), strict=True):
        assert other.drift == pytest.approx(one.drift, abs=0.3)


def test_what_sits_in_the_middle_of_a_box_does_not_pass_by_the_box() -> None:
    face, nose = Label("f.box", "box", np.array([26.0, 18, 46, 38])), Label("f.nose", "keypoint", np.array([36.0, 28]))

    def dotted(x: float, seed: int) -> FloatArray:
        dot = soft(np.hypot(X - x, Y - 28) - 2.5)[..., None]
        return (scene(seed=seed) * (1 - dot) + 0.8 * dot).astype(np.float32)

    (found,) = run_checks([pair(dotted(36, 0), dotted(38, 3), (face, nose))], CheckContext())
    assert next(finding for finding in found if finding.label == "f.nose").verdict != "pass"


def test_pixels_that_are_no_numbers_give_no_numbers() -> None:
    broken = scene(seed=3)
    broken[0, 0, 0] = np.nan
    found = judged(pair(scene(), broken))
    assert {finding.verdict for finding in found.values()} == {"abstain"}
    assert {finding.drift for finding in found.values()} == {None}


def test_findings_of_a_pair_come_in_one_order_whatever_stands_beside_it() -> None:
    first = pair(scene(), scene(seed=2), (Label("m.box", "box", np.array([10.0, 10, 30, 30])),))
    second = pair(scene(), scene(seed=2))
    assert check(CheckBatch([first, second]), CheckContext())[1] == check(CheckBatch([second]), CheckContext())[0]
