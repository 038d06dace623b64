"""The sums along an outline's normals, and labels that one file counts, against the plain way to write them."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from refinery.annotations import merged
from refinery.checks._outline import _sums
from refinery.sample import Label


@pytest.mark.parametrize("length", [1, 4, 9])
def test_sums_are_those_of_a_sliding_window(length: int) -> None:
    random = np.random.default_rng(0)
    source, found = random.normal(size=(5, 32, length)), random.normal(size=(5, 32, length + 6))
    plain = (sliding_window_view(found, length, axis=2) * source[:, :, None]).sum(axis=3)
    assert _sums(source, found) == pytest.approx(plain)


def test_a_name_that_has_an_item_twice_goes_on_counting() -> None:
    same = [Label("coin", "number", np.array([value])) for value in (1.0, 2.0)]
    assert [label.item for label in merged([same])] == [0, 1]
    assert [label.item for label in merged([(), same[:1], ()])] == [0]
