"""Settings by one word: a folder for each preset, in it a TOML file for each method, as `--config` takes it.

A method with several networks by size has a file for each, METHOD-NAME.toml; `from_px` in its table [preset] says from
which shorter side of the images it is meant.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from refinery.config import parse_toml
from refinery.errors import ConfigError


def names() -> tuple[str, ...]:
    """All presets."""
    return tuple(sorted(folder.name for folder in files(__name__).iterdir() if _has_files(folder)))


def preset_tables(preset: str, method: str, side_px: int | None) -> dict[str, dict[str, Any]]:
    """The tables of a preset for a method: [train] and [METHOD]. side_px: shorter side of the images; None: not known.

    Raises ConfigError for a preset or method that there is none for, and where the size decides but is not known.
    """
    if preset not in names():
        raise ConfigError(f"--preset: got {preset!r}, expected one of {', '.join(names())}")
    found = {
        path.name: parse_toml(path.read_text("utf-8"), path.name)
        for path in files(__name__).joinpath(preset).iterdir()
        if path.name.removesuffix(".toml").partition("-")[0] == method
    }
    if not found:
        raise ConfigError(f"--preset {preset}: has no settings for the method {method!r}")
    sized = sorted((int(tables.pop("preset", {}).get("from_px", 0)), name) for name, tables in found.items())
    if len(sized) > 1 and side_px is None:
        raise ConfigError(
            f"--preset {preset}: {method} has other settings from {sized[-1][0]} px, and the size of these images is "
            f"not known yet; say it by --crop, such as {sized[-1][0]}"
        )
    return found[next(name for least, name in reversed(sized) if least == 0 or (side_px or 0) >= least)]


def _has_files(folder: Traversable) -> bool:
    return folder.is_dir() and any(path.name.endswith(".toml") for path in folder.iterdir())
