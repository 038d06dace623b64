"""What a run that is resumed was until now: its settings and its data, which it must go on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery.config import TrainConfig
from refinery.errors import UsageError
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
)
"""Settings that decide which images are drawn, or what was held out: a resumed run keeps them."""
TOLD = ("max_drift", "budget_every")
"""Settings that may change, but change what comes out."""


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """What a checkpoint keeps of the settings that do not depend on the method."""
    return {name: getattr(config, name) for name in (*FIXED, *TOLD)}


def absolute(config: TrainConfig) -> TrainConfig:
    """The same settings with paths that hold in every folder; a simulator's command stays as it is."""
    from refinery.training.simulator import is_stream

    paths = {"real": config.real, "out": config.out}
    if not is_stream(config.synthetic):
        paths["synthetic"] = config.synthetic
    return dataclasses.replace(config, **{name: str(Path(path).absolute()) for name, path in paths.items() if path})


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
        """Raise UsageError for a setting that must not change; 0 stands for one that is not decided yet."""
        before = {"method": self.words["method"], **(self.words["train"] or {})}
        for name, was in before.items():
            now = getattr(config, name, was)
            if name in ("method", *FIXED) and now != was and not (name == "batch_size" and now == 0):
                raise UsageError(
                    f"{self.run}: was trained with {name} = {was}, now {now}; a run is resumed with the settings it "
                    "began with: leave it away, or begin a new run with another --out"
                )

    def require_same_data(self, config: TrainConfig, contents: Mapping[str, Contents], training: Any) -> None:
        """Raise DatasetError for a side that is not what the run was trained on.

        training: where the refiner comes from, as in the checkpoint, which is all that one of an older refinery has:
        it says nothing about labels.
        """
        places, fingerprints = {"synthetic": config.synthetic, "real": config.real}, self.words["contents"]
        for side, now in contents.items():
            if fingerprints:
                require_same(side, places[side], now, fingerprints[side], self.contents.get(side), self.run)
            elif (self.words["training"] or {}).get(side) != training[side]:
                raise other_data(side, places[side], "", self.run)

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
