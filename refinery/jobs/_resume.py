"""What a run that is resumed was until now: its settings and its data, which it must go on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery.config import TrainConfig
from refinery.errors import DatasetError, UsageError
from refinery.jobs._contents import Contents, other_data, read_contents, require_same

FIXED = (
    "seed",
    "batch_size",
    "crop",
    "real_fit",
    "balance",
    "balance_real",
    "first_samples",
    "validation",
    "control",
    "guide_steps",
    "match_real",
    "images",
    "maps",
)
"""Settings that decide which images are drawn, or what was held out: a resumed run keeps them."""
UNDECIDED = {"batch_size": 0, "guide_steps": -1}
SIDES = ("synthetic", "real")
TOLD = ("max_drift", "budget_every")
"""Settings that may change, but change what comes out."""


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """What a checkpoint keeps of the settings that do not depend on the method."""
    return {name: _plain(getattr(config, name)) for name in (*FIXED, *TOLD)}


def absolute(config: TrainConfig) -> TrainConfig:
    """The same settings with paths that hold in every folder; a simulator's command stays as it is."""
    paths: dict[str, Any] = {name: _absolute(getattr(config, name)) for name in (*SIDES, "out")}
    return dataclasses.replace(config, **paths)


def _absolute(path: str) -> str:
    from refinery.training.simulator import is_stream

    return path if not path or is_stream(path) else str(Path(path).absolute())


def paths_of(config: TrainConfig) -> dict[str, list[str]]:
    """What a checkpoint keeps of where the images lie, by side: the path as it was given, and what it meant then."""
    from refinery.training.simulator import is_stream

    given = {side: getattr(config, side) for side in SIDES}
    return {side: [path, _absolute(path)] for side, path in given.items() if not is_stream(path)}


def require_one_meaning(run: Path) -> None:
    """Raise DatasetError where a path that the run began with leads to another place from this folder.

    Such a folder has datasets of its own at these paths, and which of them was meant is not for us to guess.
    """
    for side, (given, meant) in _paths(run).items():
        here = Path(given)
        if here.exists() and Path(meant).exists() and not here.samefile(meant):
            raise DatasetError(
                f"{given}: the run {run} began with {meant}, from here it is {here.absolute()}; say which: add "
                f"--{side} {meant} to go on with the former (other images are refused)"
            )


def found_again(config: TrainConfig, run: Path) -> TrainConfig:
    """The settings with paths as they were given, where what they meant is gone, as when a whole project was moved."""
    again: dict[str, Any] = {}
    for side, (given, meant) in _paths(run).items():
        if getattr(config, side) == meant and not Path(meant).exists():
            places = [folder / given for folder in (Path(), run.parent, run.parent.parent)]
            again[side] = next((str(place) for place in places if place.exists()), meant)
    return dataclasses.replace(config, **again)


def _paths(run: Path) -> dict[str, list[str]]:
    """Of the run's last checkpoint; none in one of an older refinery."""
    from refinery.training import checkpoint
    from refinery.training.run_folder import RunFolder

    last = RunFolder(run).last
    return dict(checkpoint.load(last).get("paths") or {}) if last.is_file() else {}


def look_back(folder: Any) -> Before:
    """What the last checkpoint of a run (a RunFolder) says about it. Raises ModelError."""
    from refinery.training import checkpoint

    state = checkpoint.load(folder.last)
    words = {name: state.get(name) for name in ("method", "settings", "train", "training", "contents")}
    return Before(folder.path, words, read_contents(folder.contents))


@dataclass(frozen=True)
class Before:
    """A run so far. words: of its checkpoint, some of them None in one of an older refinery. contents: by side."""

    run: Path
    words: Mapping[str, Any]
    contents: Mapping[str, Contents]

    def require_same_settings(self, config: TrainConfig) -> None:
        """Raise UsageError for a setting that must not change, unless it is not decided yet."""
        before = {"method": self.words["method"], **(self.words["train"] or {})}
        for name, was in before.items():
            now = getattr(config, name, was)
            if name in ("method", *FIXED) and _plain(now) not in (_plain(was), UNDECIDED.get(name, _plain(was))):
                raise UsageError(
                    f"{self.run}: was trained with {name} = {was}, now {now}; a run is resumed with the settings it "
                    "began with: leave it away, or begin a new run with another --out"
                )

    def settled(self, config: TrainConfig) -> TrainConfig:
        """The settings with the networks that watch labels as the run has them, where that is left open."""
        was = (self.words["train"] or {}).get("guide_steps", config.guide_steps)
        return dataclasses.replace(config, guide_steps=was) if config.guide_steps < 0 else config

    def require_same_data(self, config: TrainConfig, contents: Mapping[str, Contents], training: Any) -> None:
        """Raise DatasetError for a side that is not what the run was trained on.

        training: where the refiner comes from, as in the checkpoint, which is all that one of an older refinery has:
        it says nothing about labels.
        """
        fingerprints = self.words["contents"]
        for side, now in contents.items():
            place = getattr(config, side)
            if fingerprints:
                require_same(side, place, now, fingerprints[side], self.contents.get(side), self.run)
            elif (self.words["training"] or {}).get(side) != training[side]:
                raise other_data(side, place, "", self.run)

    def notes(self, config: TrainConfig, settings: Any) -> list[str]:
        """What to say about settings that may change, and about a checkpoint that cannot say whether they did."""
        lines = [] if self.words["contents"] else ["the run is of an older refinery: only its images were compared"]
        before = {**(self.words["settings"] or {}), **{name: (self.words["train"] or {}).get(name) for name in TOLD}}
        for name, was in before.items():
            now = getattr(settings, name, getattr(config, name, was))
            if was is not None and name != "steps" and _plain(now) != _plain(was):
                lines.append(f"resumed with another {name}: was {was}, now {now}")
        return lines


def _plain(value: Any) -> Any:
    """A value as a checkpoint gives it back."""
    return list(value) if isinstance(value, tuple) else value
