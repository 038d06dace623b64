"""Families of interchangeable parts: one file in a family's folder is one name on the command line.

Other packages add members by entry points: the group is the family's package, such as `refinery.annotations`, and the
object a module that keeps the family's promise (CONTRIBUTING.md, examples/plugin).
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import lru_cache
from importlib import metadata
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
    """Names of a family's members, sorted; files that start with an underscore are helpers, not members.

    Raises ConfigError where two members have one name.
    """
    return tuple(sorted({*_own_names(family), *_added(family)}))


def find(family: str, name: str) -> ModuleType:
    """The module of one member, imported now.

    Raises ConfigError for an unknown name, with the nearest known one, and for a member of another package that cannot
    be imported.
    """
    added = _added(family)
    if name in added:
        return _load(family, added[name])
    known = names(family)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"no {family.replace('_', ' ')} named {name!r}; {hint}")
    return importlib.import_module(f"{FAMILIES[family]}.{name}")


def _own_names(family: str) -> tuple[str, ...]:
    package = importlib.import_module(FAMILIES[family])
    return tuple(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


@lru_cache(maxsize=len(FAMILIES))
def _added(family: str) -> dict[str, metadata.EntryPoint]:
    """Members that other packages add, by name; looked up once, since it goes through all that is installed."""
    added: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=FAMILIES[family]):
        if entry.name in added and entry.value == added[entry.name].value:  # one installation that is found twice
            continue
        if entry.name in added or entry.name in _own_names(family):
            raise ConfigError(
                f"two {family.replace('_', ' ')}s are named {entry.name!r}, one of them from {_package_of(entry)}; "
                "uninstall that package, or give its entry point another name"
            )
        added[entry.name] = entry
    return added


def _load(family: str, entry: metadata.EntryPoint) -> ModuleType:
    try:
        module = entry.load()
    except Exception as error:  # a package that does not import may raise anything
        raise ConfigError(
            f"{family.replace('_', ' ')} {entry.name!r} of {_package_of(entry)} cannot be imported "
            f"({type(error).__name__}: {error}); install it again or uninstall it"
        ) from error
    if not isinstance(module, ModuleType):
        raise ConfigError(
            f"{family.replace('_', ' ')} {entry.name!r} of {_package_of(entry)} is {entry.value}, no module; its entry "
            "point has to name a module"
        )
    return module


def _package_of(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]
