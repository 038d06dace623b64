"""One sample on its way through the refine stream, and what the stream is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from refinery.checks import CheckContext
from refinery.config import OnDrift
from refinery.formats._stamp import Stamp
from refinery.image import Decoded, as_channels, from_float, to_float, transparent_kept
from refinery.labels import LabelReader
from refinery.sample import Finding, FloatArray, Label, Pair, Sample

NOT_FINITE = "the refiner made NaN or infinite pixels of it"


@dataclass(frozen=True)
class RefineOptions:
    """How to stream. channels: what the refiner takes. context, labels: None leaves the label checks out.

    chunk_samples: see `refine.chunk_size`. seed: of the noise of a refiner that has any.
    """

    channels: int
    batch_size: int = 0
    workers: int = 0
    chunk_samples: int = 8
    on_drift: OnDrift = "soften"
    context: CheckContext | None = None
    labels: LabelReader | None = None
    seed: int = 0


@dataclass
class Work:
    """One sample on its way through the stream; `error` set means it is carried as it is and listed as rejected.

    synthetic, refined: (H, W, C) float32 in [-1, 1]. stored: (H, W, C) uint8 or uint16, what will be encoded; None when
    the file is delivered as it was. findings: of what is delivered. was: what was found in the image as it was refined,
    for the labels whose verdict softening changed. strength: 1 as refined, 0 the synthetic image. stamps: states of the
    image and the sidecars before they were read. labels_digest: see `LabelReader.shared_digest`. sidecars: hashes of
    the carried files by their names in the output. changed: whether what was encoded has other bytes than the source.
    line: the manifest line of a sample that an earlier run has done;
    then nothing else is set.
    """

    sample: Sample
    data: bytes | None = None
    decoded: Decoded | None = None
    synthetic: FloatArray | None = None
    refined: FloatArray | None = None
    stored: Any = None
    labels: tuple[Label, ...] = ()
    problems: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    was: list[Finding] = field(default_factory=list)
    strength: float = 1.0
    error: str = ""
    stamps: tuple[Stamp | None, ...] = ()
    labels_digest: str = ""
    sidecars: dict[str, str | None] = field(default_factory=dict)
    changed: bool = False
    line: dict[str, Any] | None = None

    def take(self, refined: FloatArray) -> None:
        """Keep what the refiner made; where that is colour, a gray synthetic image becomes three equal planes."""
        assert self.synthetic is not None
        self.refined = refined
        self.synthetic = as_channels(self.synthetic, refined.shape[2])

    def quantised(self, strength: float) -> Any:
        """x + strength (R(x) - x) in the file's own bit depth: (H, W, C) uint8 or uint16; transparent pixels are x."""
        assert self.decoded is not None
        assert self.synthetic is not None
        assert self.refined is not None
        blend = self.refined
        if strength != 1.0:
            blend = self.synthetic + strength * (self.refined - self.synthetic)
        return transparent_kept(from_float(blend, self.decoded.bits), self.decoded)

    def pair(self) -> Pair:
        """The synthetic image and what is stored, as the checks see them."""
        assert self.synthetic is not None
        return Pair(self.sample, self.synthetic, to_float(self.stored), self.labels)
