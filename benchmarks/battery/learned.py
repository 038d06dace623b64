"""A label probe for a kind of scene, trained as `refinery train` trains it, on images that are in no case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from battery.cases import user_images

IMAGES = 1200
PROBE_SEED = 11


def prober_for(
    kind_name: str,
    split: str,
    steps: int,
    networks: int,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
) -> Any:
    """A prober for `CheckContext.probe`, or None when the kind has nothing to learn.

    steps: of each network; 0 for the default of training. networks: for each fold. folder: where trained probes are
    kept from one run to the next, and taken from.
    """
    import torch

    kept = folder / f"{kind_name}-{split}-{steps}-{networks}.pt" if folder else None
    if kept and kept.exists():
        probe = torch.load(kept, weights_only=False)
    else:
        probe = _train(kind_name, split, steps, networks, say)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(probe, kept)
    for line in probe.sentences() if probe else ():
        say(f"  {line}")
    return probe.prober() if probe else None


def _train(kind_name: str, split: str, steps: int, networks: int, say: Callable[[str], None]) -> Any:
    from refinery.checks import CheckContext
    from refinery.training.probe import ProbeSettings, train_probe

    pairs = list(user_images(kind_name, IMAGES, PROBE_SEED, split))
    images = [np.rint((pair.synthetic + 1.0) * 127.5).astype(np.uint8) for pair in pairs]
    settings = ProbeSettings(steps=steps, networks=networks)
    keys, labels = [pair.sample.key for pair in pairs], [pair.labels for pair in pairs]
    return train_probe(images, keys, labels, settings, CheckContext(), PROBE_SEED, say)
