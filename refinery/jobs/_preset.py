"""Settings by one word: a preset's tables below those that a user has written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refinery.config import TrainConfig
from refinery.dataset import open_dataset
from refinery.errors import RefineryError
from refinery.pictures.choice import Choice
from refinery.presets import preset_tables
from refinery.sample import Sample
from refinery.training.simulator import is_command


def with_preset(config: TrainConfig, tables: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A TOML's tables, and below them those of the preset of `config`. options: of the command line, None: not given.

    Raises ConfigError for a preset that there is none of.
    """
    crop = options.get("crop") or tables.get("train", {}).get("crop", 0)
    preset = preset_tables(config.preset, config.method, _side_px(config, crop))
    return {**tables, **{name: {**table, **tables.get(name, {})} for name, table in preset.items()}}


def _side_px(config: TrainConfig, crop: int) -> int | None:
    """Shorter side of what is trained on; None where it is not known before a simulator runs, or cannot be read.

    What cannot be read is said by who reads all of it.
    """
    if config.synthetic == "-" or is_command(config.synthetic):
        return crop or None
    try:
        source = open_dataset(Path(config.synthetic), choice=Choice(config.images, config.maps))
        first = next((entry for entry in source.entries() if isinstance(entry, Sample)), None)
        side = min(source.decode(source.read(first), first).size_hw) if first else 0
    except RefineryError:
        side = 0
    return min(side, crop) if crop else side
