"""A label probe that is asked about the same synthetic images again and again, and answers once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from refinery.checks._prober import Answers, Place, ProbedLabel, Prober
from refinery.sample import FloatArray


class RememberingProber:
    """Implements `Prober`; the first half of the images of every question, the synthetic ones, is remembered.

    Answers, and the images that they are about, are kept as long as it lives.
    """

    def __init__(self, probe: Prober) -> None:
        self.probe = probe
        self.answered: dict[tuple[int, ...], tuple[Sequence[FloatArray], Mapping[str, Answers]]] = {}

    @property
    def labels(self) -> Mapping[str, ProbedLabel]:
        """See `Prober.labels`."""
        return self.probe.labels

    @property
    def by_object(self) -> frozenset[str]:
        """See `Prober.by_object`."""
        return self.probe.by_object

    def ask(
        self, keys: Sequence[str], images: Sequence[FloatArray], regions: Sequence[Mapping[Place, NDArray[np.float64]]]
    ) -> Mapping[str, Answers]:
        """See `Prober.ask`."""
        half = len(images) // 2
        place = tuple(id(image) for image in images[:half])
        if place not in self.answered:
            self.answered[place] = images[:half], self.probe.ask(keys[:half], images[:half], regions[:half])
        before = self.answered[place][1]
        after = self.probe.ask(keys[half:], images[half:], regions[half:])
        return {name: _joined(before[name], after[name], half) for name in before if name in after}


def _joined(before: Answers, after: Answers, half: int) -> Answers:
    return Answers(
        np.concatenate((before.owners, after.owners + half)),
        np.concatenate((before.items, after.items)),
        np.concatenate((before.values, after.values)),
    )
