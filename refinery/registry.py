"""Families of interchangeable parts: one file in a family's folder is one name on the command line."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

from refinery.errors import ConfigError

FAMILIES: dict[str, str] = {
    "annotation": "refinery.annotations",
    "check": "refinery.checks",
    "feature_transform": "refinery.feature_transforms",
    "format": "refinery.formats",
    "loss": "refinery.losses",
    "method": "refinery.training.methods",
    "network": "refinery.networks",
    "realism": "refinery.realism",
}


def names(family: str) -> tuple[str, ...]:
    """Names of a family's members, sorted; files that start with an underscore are helpers, not members."""
    package = importlib.import_module(FAMILIES[family])
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


def find(family: str, name: str) -> ModuleType:
    """The module of one member, imported now.

    Raises ConfigError for an unknown name, with the nearest known one.
    """
    known = names(family)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"no {family.replace('_', ' ')} named {name!r}; {hint}")
    return importlib.import_module(f"{FAMILIES[family]}.{name}")
