"""What files say about an image beside its labels: lone values by name, such as its track or its subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refinery.annotations._json import load
from refinery.errors import LabelError


def fields_in(sidecars: Mapping[str, bytes]) -> dict[str, str]:
    """Lone texts and numbers at the top of an image's own JSON objects; other files say nothing.

    sidecars: relative path -> content.
    """
    found: dict[str, str] = {}
    for path, data in sorted(sidecars.items()):
        if data.lstrip()[:1] == b"{":
            try:
                found |= fields_of(load(data, path))
            except LabelError:  # who reads the labels says so
                continue
    return found


def fields_of(record: Any) -> dict[str, str]:
    """The texts and numbers of one object as text."""
    if not isinstance(record, dict):
        return {}
    return {
        str(name): str(value)
        for name, value in record.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
