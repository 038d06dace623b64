"""The end of the refine stream: quantise, check, encode and write what the refiner made, as its verdict demands."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refinery.checks import overall, run_checks
from refinery.contents.comparison import stamps_of
from refinery.contents.content import sidecars_of
from refinery.errors import SampleError
from refinery.formats._files import Files
from refinery.formats._source import Sink, Source, require_input
from refinery.image import Decoded
from refinery.journal import Line, finding_to_json
from refinery.sample import Status
from refinery.soften import soften
from refinery.work import RefineOptions, Work

SAMPLED = 64
"""One image in so many is decoded again after it was encoded."""


def is_sampled(key: str) -> bool:
    """True if a sample is one of those whose encoded image is looked at: the same ones in every run."""
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) % SAMPLED == 0


class Notes(Protocol):
    """Where the states of files are noted: the log of the job's states, or what is handed to who writes that."""

    def add(self, name: str, content: Mapping[str, Any]) -> None:
        """Note a line of this id."""


@dataclass(frozen=True)
class Delivery:
    """Writes chunks of refined samples into a sink."""

    source: Source
    sink: Sink
    files: Files
    options: RefineOptions
    log: Notes

    def finish(self, chunk: list[Work]) -> list[Line]:
        """Quantise, check and deliver a chunk; its manifest lines."""
        usable = [work for work in chunk if work.refined is not None]
        for work in usable:
            work.stored = work.quantised(1.0)
        context = self.options.context
        if context is not None:
            for work, findings in zip(usable, run_checks([work.pair() for work in usable], context), strict=True):
                work.findings = findings
            if self.options.on_drift == "soften":
                soften(usable, context)
        lines = []
        for work in chunk:
            line = work.line or self._deliver(work)
            if work.line is None:
                self._note(work, line)
            lines.append(line)
        return lines

    def _deliver(self, work: Work) -> Line:
        """Write the sample's files as its verdict demands."""
        sample = work.sample
        lost = [line for path, to in sample.carried() if (line := self._carry_sidecar(path, to))]
        work.sidecars = sidecars_of(self.source, sample)
        work.error = "; ".join([work.error, *lost] if work.error else lost)
        if work.data is None or work.decoded is None or work.error:
            return self._reject(work)
        if work.strength == 0.0:
            self.sink.write_image(sample, work.data)
            return _line(work, "softened", work.data)
        try:
            refined = self.source.encode(work.stored, work.decoded)
        except SampleError as error:
            work.error = f"{sample.image}: {error}"
            return self._reject(work)
        if reason := self._lost_in_encoding(work, refined):
            work.error = f"{sample.image}: {reason}"
            return self._reject(work)
        if is_sampled(sample.key) and not self._reads_back(work, refined):
            work.error = f"{sample.image}: what was encoded reads as another image; convert it to another format first"
            return self._reject(work)
        if self._fails(work) and self.options.on_drift == "quarantine":
            return self._quarantine(work, work.data, refined)
        self.sink.write_image(sample, refined)
        return _line(work, self._status(work), refined)

    def _fails(self, work: Work) -> bool:
        return overall(work.findings, self.options.context) == "fail"

    def _status(self, work: Work) -> Status:
        if work.strength < 1.0:
            return "softened"
        return "kept" if self._fails(work) else "refined"

    def _lost_in_encoding(self, work: Work, refined: bytes) -> str:
        """Why an image whose pixels changed has the bytes of its source all the same; empty if all is well."""
        assert work.decoded is not None
        work.changed = refined != work.data
        if work.changed or _is_lossy(work.decoded) or np.array_equal(work.stored, work.decoded.pixels):
            return ""
        return "the refined image was encoded to the bytes of its source; convert it to another format first"

    def _reads_back(self, work: Work, refined: bytes) -> bool:
        """True if an encoded image decodes to what it was made of: to the level where the format keeps levels."""
        assert work.decoded is not None
        try:
            read = self.source.decode(refined, work.sample)
        except SampleError:
            return False
        if (read.pixels.shape, read.mode, read.bits) != (work.stored.shape, work.decoded.mode, work.decoded.bits):
            return bool(work.stored.shape[2] != work.decoded.pixels.shape[2])  # gray made colour has another mode
        return _is_lossy(read) or bool(np.array_equal(read.pixels, work.stored))

    def _quarantine(self, work: Work, data: bytes, refined: bytes) -> Line:
        """Deliver the synthetic image and keep the refined one apart."""
        self.sink.write_image(work.sample, data)
        suffix = ".npy" if work.decoded is not None and work.decoded.format == "NPY" else ""
        self.files.write_own(f"quarantine/{work.sample.image}{suffix}", refined)
        work.strength = 0.0
        return _line(work, "quarantined", data)

    def _reject(self, work: Work) -> Line:
        """Carry the image as it is; one that cannot even be copied is listed and is all that is missing."""
        if work.data is not None:
            self.sink.write_image(work.sample, work.data)
        else:
            with contextlib.suppress(SampleError):  # it is listed with the error of reading it
                self.sink.carry(work.sample.origin.image, work.sample.image)
        work.strength = 0.0
        return _line(work, "rejected", work.data or b"")

    def _carry_sidecar(self, path: str, to: str) -> str:
        """Carry a sidecar; why it could not be read, or nothing."""
        try:
            self.sink.carry(path, to)
        except SampleError as error:
            require_input(self.source)
            return str(error)
        return ""

    def _note(self, work: Work, line: Line) -> None:
        """Write down the states of the files that a sample was read from and delivered in."""
        sample = work.sample
        record: Line = {"in": work.stamps}
        if self.sink.is_local and work.stamps:
            record["out"] = stamps_of(self.files.out, (line["image"], *sample.sidecars))
        if work.labels_digest:
            record["labels"] = work.labels_digest
        if work.stamps or work.labels_digest:
            self.log.add(f"sample {sample.key}", record)


def _is_lossy(decoded: Decoded) -> bool:
    return decoded.format == "JPEG" or decoded.info.get("compression") == "jpeg"


def _line(work: Work, status: Status, delivered: bytes) -> Line:
    was = {"was": [finding_to_json(finding) for finding in work.was]} if work.was else {}
    sample = work.sample
    return {
        "key": sample.key,
        "image": sample.image,
        **({"variant": sample.variant, "variant_of": sample.origin.key} if sample.variant else {}),
        "status": status,
        "strength": work.strength,
        "changed": work.changed and work.strength > 0,
        "labels": [finding_to_json(finding) for finding in work.findings],
        **was,
        "problems": list(work.problems),
        "sidecars": work.sidecars,
        "source_sha256": hashlib.sha256(work.data or b"").hexdigest(),
        "refined_sha256": hashlib.sha256(delivered).hexdigest(),
        "error": work.error,
    }
