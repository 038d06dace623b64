"""The power that a run reports is what its checks find, however it is measured; and what saves time changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from refinery.checks import CheckContext, describe_power, measure_power, run_checks
from refinery.checks._batch import CheckBatch
from refinery.checks._crops import MARGIN_PX, SIDE_PX, cropped
from refinery.checks._moved import shifted
from refinery.checks._power import MOVES_PX, NEEDED, _chosen
from refinery.checks._prober import Answers, ProbedLabel
from refinery.checks._remembering import RememberingProber
from refinery.checks._run import all_checks, check_batch
from refinery.checks._windows import edge_band, mask_windows
from refinery.sample import FloatArray, Label, Pair, Sample

SIDE = 48
COUNT = 16


def pair(seed: int) -> Pair:
    """A bright disc on a waved ground, and the same darker, noisy and moved a little."""
    rng = np.random.default_rng(seed)
    x0, y0, radius = *rng.uniform(18, 30, 2), rng.uniform(7, 10)
    y, x = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(x - x0, y - y0)
    image = (0.2 * np.sin(x * rng.uniform(0.1, 0.4) + y * 0.3) + 0.6 / (1 + np.exp(2 * (away - radius))) - 0.3)[
        ..., None
    ]
    refined = 0.7 * shifted(image.astype(np.float32), (0.2, -0.1)) + rng.normal(0, 0.02, image.shape)
    labels = (
        Label("center", "keypoint", np.array([x0, y0]), extent_px=float(radius)),
        Label("box", "box", np.array([x0 - radius, y0 - radius, x0 + radius, y0 + radius])),
        Label("mask", "instance_mask", away < radius),
        Label("kind", "class", np.zeros(0), text="disc"),
    )
    return Pair(Sample(f"s{seed}", f"s{seed}.png"), image.astype(np.float32), refined.astype(np.float32), labels)


class EdgeReader:
    """A probe that reads a centre off an image, as the mean place of its bright pixels; it counts what it is asked."""

    labels: Mapping[str, ProbedLabel] = {
        "center": ProbedLabel(
            "center", "keypoint", "px", "point", competent=True, bounds={"0.95": 0.3, "0.99": 0.4}, power=((1.0, 1.0),)
        )
    }
    by_object: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, keys: Sequence[str], images: Sequence[FloatArray], regions: object) -> Mapping[str, Answers]:  # noqa: ARG002
        self.asked += len(images)
        y, x = np.mgrid[:SIDE, :SIDE]
        bright = [np.maximum(image[..., 0] - np.median(image), 0) ** 2 for image in images]
        found = [[(b * x).sum() / b.sum(), (b * y).sum() / b.sum()] for b in bright]
        values = np.repeat(np.array(found, np.float32)[:, None], 2, axis=1)
        return {"center": Answers(np.arange(len(images)), np.zeros(len(images), np.intp), values)}


def by_the_book(pairs: Sequence[Pair], context: CheckContext) -> dict[str, float | None]:
    """The definition of power, with every check on every pair and every move."""
    strict = replace(context, max_drift={"": 0.0})

    def found(moved: Sequence[Pair]) -> dict[tuple[int, str], bool | None]:
        return {
            (i, f.label): None if f.drift is None and f.verdict != "fail" else f.verdict == "fail"
            for i, own in enumerate(run_checks(moved, strict))
            for f in own
            if f.unit == "px" and f.verdict != "not_checkable"
        }

    start = found(pairs)
    power: dict[str, float | None] = {}
    for name in sorted({label for _, label in start}):
        power[name] = None
        for move_px in reversed(MOVES_PX):
            turns = [i % 8 * np.pi / 4 for i in range(len(pairs))]
            moved = [
                replace(p, refined=shifted(p.refined, (move_px * np.cos(t), move_px * np.sin(t))))
                for p, t in zip(pairs, turns, strict=True)
            ]
            hits = [
                bool(hit) for place, hit in found(moved).items() if place[1] == name and start.get(place) is not None
            ]
            if not hits or np.mean(hits) < NEEDED:
                break
            power[name] = move_px
    return power


@pytest.mark.slow
@pytest.mark.parametrize("with_probe", [False, True])
def test_the_short_way_to_the_power_finds_what_its_definition_does(with_probe: bool) -> None:
    context = CheckContext(probe=EdgeReader() if with_probe else None)
    pairs = [pair(seed) for seed in range(COUNT)]
    power = measure_power(pairs, context)
    assert power == by_the_book(pairs, context)
    assert any(move is not None for move in power.values())


def test_coverage_is_the_share_of_labels_that_get_a_verdict() -> None:
    pairs = [pair(seed) for seed in range(COUNT)]
    verdicts = [f.verdict for own in run_checks(pairs, CheckContext()) for f in own if f.label == "mask"]
    found = describe_power(pairs, CheckContext())["mask"]
    assert found["coverage"] == pytest.approx(np.mean([v in ("pass", "fail") for v in verdicts]), abs=1e-4)


def test_images_full_of_labels_need_fewer_pairs() -> None:
    one = pair(0)
    many = tuple(replace(one.labels[0], item=k) for k in range(20))
    crowded = [replace(pair(seed), labels=many) for seed in range(32)]
    assert len(_chosen(crowded)) == 8
    assert len(_chosen([pair(seed) for seed in range(40)])) == 32


def test_few_large_images_are_moved() -> None:
    large = np.zeros((2048, 2048, 1), np.float32)
    chosen = _chosen([Pair(Sample(f"s{k}", f"s{k}.png"), large, large) for k in range(32)])
    assert [each.sample.key for each in chosen] == ["s0", "s16"]


def test_a_batch_like_another_finds_the_same_as_a_batch_of_its_own() -> None:
    pairs, context = [pair(seed) for seed in range(6)], CheckContext()
    moved = [replace(p, refined=shifted(p.refined, (1.3, -0.4))) for p in pairs]
    first = CheckBatch(pairs)
    check_batch(first, context, all_checks())
    assert check_batch(CheckBatch(moved, first), context, all_checks()) == run_checks(moved, context)


def test_a_probe_that_remembers_answers_the_same_and_is_asked_less() -> None:
    pairs, plain = [pair(seed) for seed in range(6)], EdgeReader()
    remembering = RememberingProber(EdgeReader())
    for _ in range(3):
        expected = run_checks(pairs, CheckContext(probe=plain))
        assert run_checks(pairs, CheckContext(probe=remembering)) == expected
    assert plain.asked == 3 * 12
    assert remembering.probe.asked == 6 + 3 * 6


def test_the_window_of_a_mask_does_not_depend_on_how_far_the_frame_reaches() -> None:
    y, x = np.mgrid[:20, :30]
    for mask in (np.hypot(x - 12, y - 9) < 7, (abs(x - 15) < 2) & (abs(y - 10) < 6), np.hypot(x - 21, y - 12) < 3):
        own, wide = mask_windows([mask]), mask_windows([np.pad(mask, ((7, 11), (5, 2)))])
        assert np.array_equal(own.points_xy + np.float32((5, 7)), wide.points_xy)
        assert np.allclose(own.facing, wide.facing, atol=1e-6)
        on_band = edge_band(mask)[own.points_xy[0, :, 1].astype(int), own.points_xy[0, :, 0].astype(int)]
        assert on_band.all()


def test_a_mask_cut_by_the_frame_has_no_edge_along_it() -> None:
    y, x = np.mgrid[:20, :30]
    points = mask_windows([(x < 9) & (y < 8)]).points_xy[0]
    assert set(points[:, 0].tolist()) == set(range(10))
    assert points[:, 1].max() == 8
    assert not ((points[:, 0] < 8) & (points[:, 1] < 7)).any()


# Large images are measured in parts


def large(seed: int, size_hw: tuple[int, int] = (720, 1280)) -> Pair:
    """Two discs far apart on a waved ground, with a point, a box and a mask each, and the same a little darker."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    image = 0.2 * np.sin(x * 0.21 + y * 0.3) - 0.3
    labels: list[Label] = []
    for item, (x0, y0) in enumerate(((rng.uniform(60, 400), rng.uniform(20, 600)), (900.0, 400.5))):
        radius = rng.uniform(7, 10)
        away = np.hypot(x - x0, y - y0)
        image = image + 0.6 / (1 + np.exp(np.clip(2 * (away - radius), -50, 50)))
        box = np.array([x0 - radius, y0 - radius, x0 + radius, y0 + radius])
        labels += [
            Label("center", "keypoint", np.array([x0, y0]), item=item, extent_px=float(radius)),
            Label("box", "box", box, item=item),
            Label("mask", "instance_mask", away < radius, item=item),
        ]
    labels.append(Label("ground", "semantic_mask", np.asarray(y > 300)))
    refined = 0.7 * image + rng.normal(0, 0.02, image.shape)
    one = Pair(
        Sample(f"l{seed}", f"l{seed}.png"), image[..., None].astype(np.float32), refined[..., None].astype(np.float32)
    )
    return replace(one, labels=tuple(labels))


def test_a_part_shows_under_each_label_what_the_whole_shows_there():
    whole = large(0)
    for turn, item in ((0, 0), (3, 1), (6, 0)):
        part = cropped(whole, turn)
        assert part.synthetic.shape == part.refined.shape == (SIDE_PX, SIDE_PX, 1)
        by_name = {label.name: label for label in part.labels}
        assert set(by_name) == {"center", "box", "mask", "ground"}
        before = {label.name: label for label in whole.labels if label.item == item}
        left, top = before["center"].value - by_name["center"].value
        assert np.array_equal(before["box"].value - by_name["box"].value, [left, top, left, top])
        window = np.s_[int(top) : int(top) + SIDE_PX, int(left) : int(left) + SIDE_PX]
        assert np.array_equal(part.refined, whole.refined[window])
        for name in ("mask", "ground"):
            source = next(
                x
                for x in whole.labels
                if x.name == name and x.item in (item, 0) and (name == "ground" or x.item == item)
            )
            assert np.array_equal(by_name[name].value, source.value[window])


def test_a_label_near_the_edge_of_a_part_is_left_out_and_one_at_the_edge_of_the_image_is_not():
    image = np.zeros((600, 600, 1), np.float32)
    spots = {"here": (300, 300), "beside": (300 + SIDE_PX // 2 - MARGIN_PX // 2, 300), "corner": (2, 2)}
    labels = tuple(Label(name, "keypoint", np.array(at, float), extent_px=2.0) for name, at in spots.items())
    pair = Pair(Sample("a", "a.png"), image, image, labels)
    assert [label.name for label in cropped(pair, 0).labels] == ["here"]
    assert [label.name for label in cropped(pair, 2).labels] == ["corner"]


def test_what_is_not_much_larger_than_a_part_or_has_no_place_stays_whole():
    small, bare = large(0, (300, 430)), replace(large(0), labels=())
    assert cropped(small, 0) is small
    assert cropped(bare, 0) is bare
    wide = replace(bare, labels=(Label("box", "box", np.array([10.0, 10, 1270, 700])),))
    assert cropped(wide, 0).synthetic.shape == wide.synthetic.shape


@pytest.mark.slow
def test_the_power_of_large_images_is_measured_on_labels_of_all_their_parts():
    found = describe_power([large(seed) for seed in range(10)], CheckContext())
    assert set(found) == {"center", "box", "mask", "ground"}
    for name in ("center", "box"):
        assert found[name]["coverage"] == 1.0
        assert found[name]["detects"] <= 1.0
