"""What checks are told beside the pairs: tolerances, how far to search, when to abstain, decoys for the pairing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from refinery.checks._descriptor import describe
from refinery.checks._orientation import orientation_field
from refinery.sample import FloatArray

DEFAULT_TOLERANCE_PX = 1.0
MIN_RADIUS_PX = 4
_NO_DECOYS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class CheckContext:
    """One for a whole run, so that a finding depends on its pair and this alone, never on the batch it was checked in.

    max_drift: tolerance by label name, in the label's unit; "" holds for all others (1 px if it is not there).
    confidence_gate: a peak that stands less than this above the rest is no measurement: abstain.
    decoy_keys, decoys: other synthetic images of the dataset as descriptors (G, F); see `with_decoys`.
    """

    max_drift: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    confidence_gate: float = 0.10
    decoy_keys: tuple[str, ...] = ()
    decoys: FloatArray = field(default_factory=lambda: _NO_DECOYS, repr=False)

    def tolerance(self, label: str) -> float:
        """How far this label may move."""
        return self.max_drift.get(label, self.max_drift.get("", DEFAULT_TOLERANCE_PX))

    @property
    def radius_px(self) -> int:
        """How far a label is searched for: three times the largest tolerance, at least 4 px, at most 24 px."""
        largest = max((self.tolerance(""), *self.max_drift.values()))
        return int(min(24, max(MIN_RADIUS_PX, np.ceil(3.0 * largest))))

    def with_decoys(self, keyed_images: Iterable[tuple[str, FloatArray]]) -> CheckContext:
        """The same context with synthetic images, 32 or so spread over the dataset, that no refined image should match.

        keyed_images: sample key and image (H, W, C) float32 in [-1, 1]; sizes may differ.
        """
        items = [(key, describe(orientation_field(image[None]))[0]) for key, image in keyed_images]
        if not items:
            return self
        return replace(self, decoy_keys=tuple(key for key, _ in items), decoys=np.stack([d for _, d in items]))
