"""Windows without what belongs to other labels: a disc behind lids that move."""

from __future__ import annotations

import numpy as np
import pytest

from refinery.checks._owned import without_others
from refinery.checks._windows import contour_windows, disc_windows
from refinery.sample import Label

CENTRE = np.array([30.0, 18.0])
TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
RING = np.stack((np.cos(TURN), np.sin(TURN)), axis=1)
IRIS = Label("iris", "keypoint", CENTRE, extent_px=8.0)
OUTLINE = Label("outline", "polygon", CENTRE + 8 * RING)
LID = Label("lid", "polygon", np.array([[8.0, 18.0], [20, 11], [30, 11], [40, 11], [52, 18], [30, 34]]))
WHOLE = disc_windows(CENTRE[None], np.full((1, 2), 10.0))


def kept_y(windows, own: Label, *others: Label) -> np.ndarray:
    return without_others(windows, [own], [(own, *others)]).points_xy[0, :, 1]


def test_points_on_a_lid_are_not_the_irises():
    windows = without_others(WHOLE, [IRIS], [(IRIS, OUTLINE, LID)])
    assert np.any(np.abs(WHOLE.points_xy[0, :, 1] - 11) < 0.5)
    across = np.abs(windows.points_xy[0, :, 0] - 30) < 9
    assert np.all(np.abs(windows.points_xy[0, across, 1] - 11) > 2.5)
    assert windows.points_xy.shape == WHOLE.points_xy.shape
    assert 0.4 < windows.area_px[0] / WHOLE.area_px[0] < 1.0


def test_its_own_outline_stays_and_is_treated_alike():
    assert np.array_equal(kept_y(WHOLE, IRIS, OUTLINE), WHOLE.points_xy[0, :, 1])
    band = contour_windows([OUTLINE.value])
    own = without_others(band, [OUTLINE], [(IRIS, OUTLINE, LID)])
    taken = [np.flatnonzero((band.points_xy[0] == point).all(axis=1))[0] for point in own.points_xy[0]]
    assert len(set(taken)) < len(taken)
    assert np.array_equal(own.expected[0], band.expected[0, taken])


@pytest.mark.parametrize("own", [LID, Label("corner", "keypoint", CENTRE)])
def test_what_is_no_round_thing_keeps_its_window(own):
    windows = contour_windows([own.value]) if own.type == "polygon" else WHOLE
    assert np.array_equal(kept_y(windows, own, IRIS, OUTLINE), windows.points_xy[0, :, 1])


def test_a_window_that_would_keep_too_little_keeps_all():
    grid = [
        Label("net", "polygon", np.array([[18.0, y], [42.0, y], [42.0, y + 0.1]]), item=k)
        for k, y in enumerate(range(8, 29, 4))
    ]
    assert np.array_equal(kept_y(WHOLE, IRIS, *grid), WHOLE.points_xy[0, :, 1])


def test_the_windows_of_others_in_the_batch_are_left_alone():
    two = disc_windows(np.stack((CENTRE, CENTRE)), np.full((2, 2), 10.0))
    windows = without_others(two, [IRIS, IRIS], [(IRIS,), (IRIS, LID)])
    assert np.array_equal(windows.points_xy[0], two.points_xy[0])
    assert not np.array_equal(windows.points_xy[1], two.points_xy[1])
