"""The vocabulary as types: sample, label, pair, finding.

Conventions, stated once for the whole project:

- Pixel centres lie at integers; x points right, y points down; the image spans [-0.5, W-0.5] x [-0.5, H-0.5].
- Images are arrays (H, W, C); boxes are `xyxy` in px; points are (x, y) in px.
- Networks see (B, C, H, W) float32 in [-1, 1]; checks and realism see (H, W, C) float32 in [-1, 1].
- Paths inside a dataset are relative, POSIX style, and never leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
LabelType = Literal[
    "class", "number", "vector", "keypoint", "box", "polygon", "semantic_mask", "instance_mask", "depth", "text"
]
LABEL_TYPES = frozenset(get_args(LabelType))
Verdict = Literal["pass", "fail", "abstain", "not_checkable"]
VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "abstain", "not_checkable")
Status = Literal["refined", "softened", "quarantined", "kept", "rejected"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with the files that belong to it.

    key: the sample's name in the dataset, unique in it (the image's path without its suffix, where that is unique).
    image: relative path of the image; in an HDF5 file, `file.h5/group/name`.
    sidecars: relative paths of the files beside it, sorted.
    variant, variant_of: from 1 on, of one of several refined images of a sample, and that sample; its own names are
    those of the output, its sidecars in the sample's order.
    """

    key: str
    image: str
    sidecars: tuple[str, ...] = ()
    variant: int = 0
    variant_of: Sample | None = None

    @property
    def origin(self) -> Sample:
        """The sample as its source holds it."""
        return self.variant_of or self

    def carried(self) -> Iterator[tuple[str, str]]:
        """Each sidecar by its name in the source and in the output."""
        return zip(self.origin.sidecars, self.sidecars, strict=True)


@dataclass(frozen=True, slots=True)
class Label:
    """What an annotation says about an image, parsed only so that it can be checked.

    name: where it stands in the annotation, without list indices (`coins.center`); one dataset column.
    item: which one of several with this name (`coins[3].center` has item 3).
    type: see LabelType.
    value: keypoint (2,) px; box (4,) xyxy px; polygon (N, 2) px; mask (H, W) bool; vector (N,); number (1,).
        For `class` and `text` it is empty, and `text` holds the value.
    unit: unit of its drift: px for geometry, deg for directions, otherwise the label's own.
    extent_px: radius of the thing a keypoint is the centre of, where the annotation says it; 0 when it does not.
    """

    name: str
    type: LabelType
    value: NDArray[np.generic] = field(repr=False)
    unit: str = "px"
    item: int = 0
    text: str = ""
    extent_px: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A synthetic image and what the refiner made of it: both (H, W, C) float32 in [-1, 1], of one shape."""

    sample: Sample
    synthetic: FloatArray = field(repr=False)
    refined: FloatArray = field(repr=False)
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one label check found out about one label of one pair, or all checks together.

    drift: how far the label moved, in `unit`; None when nothing could be measured.
    unit: px; deg; iou (1 - IoU); flip (0 or 1); the label's own; empty without one, and for what is no label (pairing).
    shift_px: signed (dx, dy) of the move, for geometry; None otherwise.
    reason: one clause for a person; empty for an unremarkable pass.
    check: the check that decided.
    lower, upper: bounds of the true drift (95% each) where the check knows them.
    iou: intersection over union of the label before and after its move, for boxes and masks.
    """

    label: str
    type: str
    verdict: Verdict
    drift: float | None = None
    unit: str = "px"
    reason: str = ""
    check: str = ""
    item: int = 0
    shift_px: tuple[float, float] | None = None
    lower: float | None = None
    upper: float | None = None
    iou: float | None = None
