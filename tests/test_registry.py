"""Looking up the members of a family by name."""

from __future__ import annotations

import pytest

from refinery import registry
from refinery.errors import ConfigError


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_names_are_sorted_and_leave_helpers_out(family):
    names = registry.names(family)
    assert names
    assert list(names) == sorted(names)
    assert not [name for name in names if name.startswith("_")]


def test_find_imports_the_member():
    assert registry.find("network", "resnet_refiner").__name__ == "refinery.networks.resnet_refiner"


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        ("feature_transform", "gradeint", "no feature transform named 'gradeint'; did you mean 'gradient'?"),
        ("method", "zzz", "no method named 'zzz'; known: pix2pix, simgan, ssgan"),
        ("network", "_helper", "no network named '_helper'; known: "),
        ("network", "../errors", "no network named '../errors'; known: "),
    ],
)
def test_unknown_name_is_one_line_with_a_suggestion(family, name, message):
    with pytest.raises(ConfigError) as caught:
        registry.find(family, name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
