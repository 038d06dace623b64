"""What checks are told beside the pairs: tolerances, how far to search, when to abstain, decoys for the pairing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from refinery.checks._descriptor import describe
from refinery.checks._orientation import orientation_field
from refinery.checks._prober import Prober
from refinery.sample import FloatArray

DEFAULT_TOLERANCES: Mapping[str, float] = {"px": 1.0, "deg": 5.0, "iou": 0.1, "flip": 0.0}
"""How far a label may move where nobody says, by unit. A label in a unit of its own: a tenth of its spread."""

OWN_UNIT_SHARE = 0.1
MIN_RADIUS_PX = 4
_NO_DECOYS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class CheckContext:
    """One for a whole run, so that a finding depends on its pair and this alone, never on the batch it was checked in.

    max_drift: tolerance by label name and unit: "gaze*deg", without a unit px or the label's own; "" holds for all
        others in px, "*deg" for those in degrees.
    require: names of the labels that decide a sample's verdict, whole or behind their last dot; empty: all do.
    false_alarms: share of unmoved labels that all checks of a label together may call moved.
    confidence_gate: a peak that stands less than this above the rest is no measurement: abstain.
    thresholds: what calibration on the user's own images found, see `threshold`.
    probe: the label probe that came with the refiner; None when there is none.
    decoy_keys, decoys: other synthetic images of the dataset as descriptors (G, F); see `with_decoys`.
    """

    max_drift: Mapping[str, float] = field(default_factory=dict)
    require: frozenset[str] = frozenset()
    false_alarms: float = 0.01
    confidence_gate: float = 0.10
    thresholds: Mapping[str, float] = field(default_factory=dict)
    probe: Prober | None = None
    decoy_keys: tuple[str, ...] = ()
    decoys: FloatArray = field(default_factory=lambda: _NO_DECOYS, repr=False)

    def tolerance(self, label: str, unit: str = "px", spread: float = 0.0) -> float:
        """How far this label may move, in its unit. spread: of the label's values, for units of its own."""
        for named in (f"{label}*{unit}", label):
            if named in self.max_drift:
                return self.max_drift[named]
        default = DEFAULT_TOLERANCES.get(unit, OWN_UNIT_SHARE * spread)
        return self.max_drift.get("" if unit == "px" else f"*{unit}", default)

    def decides(self, label: str) -> bool:
        """True if the verdict of a sample asks this label."""
        return not self.require or label in self.require or label.rpartition(".")[2] in self.require

    def threshold(self, quantity: str, label: str, default: float) -> float:
        """What calibration found for this label ("CHECK.QUANTITY:LABEL"), or for all together, or the default."""
        return self.thresholds.get(f"{quantity}:{label}", self.thresholds.get(quantity, default))

    @property
    def radius_px(self) -> int:
        """How far a label is searched for: three times the largest tolerance, at least 4 px, at most 24 px."""
        named = (value for name, value in self.max_drift.items() if "*" not in name)
        largest = max((self.tolerance(""), *named))
        return int(min(24, max(MIN_RADIUS_PX, np.ceil(3.0 * largest))))

    def with_decoys(self, keyed_images: Iterable[tuple[str, FloatArray]]) -> CheckContext:
        """The same context with synthetic images, 32 or so spread over the dataset, that no refined image should match.

        keyed_images: sample key and image (H, W, C) float32 in [-1, 1]; sizes may differ.
        """
        items = [(key, describe(orientation_field(image[None]))[0]) for key, image in keyed_images]
        if not items:
            return self
        return replace(self, decoy_keys=tuple(key for key, _ in items), decoys=np.stack([d for _, d in items]))
