"""Labels that describe one thing are one thing; what another thing's label explains has no say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from refinery.checks._outlines import OFFSETS_PX, POSITIONS
from refinery.checks._things import own_share, things_of
from refinery.sample import Label

SIZE_HW = (60, 80)
TURN = np.arange(24) * (2 * np.pi / 24)


def circle(name: str, x: float, y: float, radius: float, item: int = 0) -> Label:
    outline = np.stack((x + radius * np.cos(TURN), y + radius * np.sin(TURN)), axis=-1)
    return Label(name, "polygon", outline, item=item)


def centre(name: str, x: float, y: float, radius: float = 0.0, item: int = 0) -> Label:
    return Label(name, "keypoint", np.array([x, y]), item=item, extent_px=radius)


def box(name: str, x0: float, y0: float, x1: float, y1: float, item: int = 0) -> Label:
    return Label(name, "box", np.array([x0, y0, x1, y1]), item=item)


def disc_mask(name: str, x: float, y: float, radius: float) -> Label:
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    return Label(name, "instance_mask", np.hypot(columns - x, rows - y) <= radius)


def corners(places: Sequence[tuple[float, float]]) -> list[Label]:
    return [centre("corners", x, y, item=i) for i, (x, y) in enumerate(places)]


GROUPS = [
    ("a coin", [centre("c.center", 30, 30, 8), box("c.box", 22, 22, 38, 38), disc_mask("c.mask", 30, 30, 8)], [3]),
    ("two coins", [centre("c.center", 20, 30, 8), centre("c.center", 50, 30, 8, item=1)], [1, 1]),
    (
        "an iris and its lids",
        [circle("iris", 40, 30, 9), centre("iris_center", 40, 30, 9), circle("lid", 40, 30, 25)],
        [2, 1],
    ),
    ("a box and a joint far from its middle", [box("p.box", 10, 10, 50, 50), centre("p.hand", 46, 12)], [1, 1]),
    ("a box and its middle", [box("p.box", 10, 10, 50, 50), centre("p.center", 31, 30)], [2]),
    ("a nose in the middle of a face", [box("f.box", 10, 10, 50, 50), centre("f.nose", 31, 30)], [1, 1]),
    ("the corners of a sign", [box("box", 10, 10, 50, 50), *corners(((9, 8), (52, 10), (49, 51), (11, 47)))], [5]),
    ("four points that cross", [box("box", 10, 10, 50, 50), *corners(((9, 8), (49, 51), (52, 10), (11, 47)))], [1] * 5),
    ("four points in it", [box("box", 10, 10, 50, 50), *corners(((20, 20), (40, 20), (40, 40), (20, 40)))], [1] * 5),
    ("three corners", [box("box", 10, 10, 50, 50), *corners(((9, 8), (52, 10), (49, 51)))], [1] * 4),
    ("boxes of two names that only touch", [box("a", 5, 5, 20, 20), box("b", 18, 18, 40, 40)], [1, 1]),
]


@pytest.mark.parametrize(("labels", "sizes"), [case[1:] for case in GROUPS], ids=[case[0] for case in GROUPS])
def test_labels_of_one_thing_are_grouped(labels: list[Label], sizes: list[int]) -> None:
    things, refused = things_of(labels, SIZE_HW)
    assert sorted((len(thing.labels) for thing in things), reverse=True) == sizes
    assert not refused


def test_an_image_without_geometry_is_one_thing_its_frame() -> None:
    (thing,), _ = things_of([Label("class_id", "class", np.zeros(0), "flip", text="3")], SIZE_HW)
    assert thing.is_area
    assert thing.label.name == "image"
    assert thing.labels == ()
    assert np.allclose(thing.centre, [39.5, 29.5], atol=0.5)


REFUSED = [
    ("under 4 px", box("b", 10, 10, 12, 30)),
    ("not a number", centre("p", float("nan"), 3)),
    ("absurd", box("b", 0, 0, 1e12, 10)),
    ("a polygon of no vertices", Label("p", "polygon", np.zeros((0, 2)))),
    ("an empty mask", Label("m", "instance_mask", np.zeros(SIZE_HW, bool))),
    ("a mask without an edge", Label("m", "semantic_mask", np.ones(SIZE_HW, bool))),
]


@pytest.mark.parametrize("label", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_looked_at_is_refused(label: Label) -> None:
    things, refused = things_of([label], SIZE_HW)
    assert not things
    assert refused == [label]


@pytest.mark.parametrize("label", [circle("c", 40, 30, 10), disc_mask("m", 40, 30, 10), centre("p", 40, 30, 10)])
def test_the_outline_of_a_disc_and_its_normals_point_outward(label: Label) -> None:
    (thing,), _ = things_of([label], SIZE_HW)
    away = thing.outline - [40, 30]
    assert thing.points_xy.shape == (POSITIONS, len(OFFSETS_PX), 2)
    assert np.allclose(np.hypot(*away.T), 10, atol=0.9)
    assert ((away / 10 * thing.normals).sum(axis=1) > 0.9).all()
    assert np.array_equal(thing.contains(np.array([[40.0, 30.0], [40, 15]])), [True, False])


def test_an_iris_seen_between_lids_is_judged_by_what_lies_between_them() -> None:
    """The upper part of the iris lies above the lid's outline: another thing's edge, and nothing, is seen there."""
    lid = Label("lid", "polygon", np.array([[5.0, 24], [75, 24], [75, 50], [5, 50]]))
    (iris, _), _ = things_of([circle("iris", 40, 30, 9), lid], SIZE_HW)
    things, _ = things_of([circle("iris", 40, 30, 9), lid], SIZE_HW)
    share = own_share(things)[0][:, OFFSETS_PX.index(0.0)]
    y = iris.outline[:, 1]
    assert (share[y < 24] == 0).all()
    assert (share[y > 28] > 0.99).all()


def test_a_thing_alone_and_one_that_others_would_explain_whole_keep_their_say() -> None:
    twins = [circle("a", 40, 30, 9), circle("b", 40, 30, 9)]
    things, _ = things_of(twins, SIZE_HW)
    if len(things) == 2:
        assert (own_share(things) == 1).all()
    assert (own_share(things[:1]) == 1).all()
