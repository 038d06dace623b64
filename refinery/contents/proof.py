"""Delivered is proved: each line of a manifest is held against what stands in the output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from refinery.contents.content import NOTHING, sha256_of, sha256_of_file
from refinery.contents.line_index import Line
from refinery.errors import DatasetError, SampleError
from refinery.formats._parts import Packed
from refinery.formats._source import Source
from refinery.sample import Sample

NAMED = 3
OPEN_FILES = 8
"""Files of many samples that are read side by side: one, and a copy for each variant."""


@dataclass
class Delivered:
    """Samples held against the output. wrong: how many are not what their lines say; named: the first of them."""

    checked: int = 0
    wrong: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, reason: str) -> None:
        """Count one sample; reason: why it is wrong, or nothing."""
        self.checked += 1
        if reason:
            self.wrong += 1
            self.named += [reason] if len(self.named) < NAMED else []

    def sentence(self) -> str:
        """For a person; empty where all is as it should be."""
        if not self.wrong:
            return ""
        return (
            f"{self.wrong:,} of {self.checked:,} samples in the output are not what the manifest says "
            f"({'; '.join(self.named)}{'; ...' if self.wrong > len(self.named) else ''})"
        )


class Prover:
    """Compares lines with the output that they are about. delivered: the output, opened (`Source.delivered`).

    Of a layout whose files hold many samples, lines have to come in the order of the samples and from one thread.
    """

    def __init__(self, delivered: Source) -> None:
        self._delivered = delivered
        self._packed = delivered if isinstance(delivered, Packed) else None
        self._readers: OrderedDict[str, tuple[Source, Iterator[Sample]]] = OrderedDict()

    @property
    def takes_threads(self) -> bool:
        """True if lines may come in any order and from several threads."""
        return self._packed is None

    def why_wrong(self, line: Line) -> str:
        """Why the sample of a line is not what it says; empty where it is."""
        sample = Sample(line["key"], line["image"])
        try:
            reader, sample = self._reader_at(sample)
            return _difference(reader, sample, line)
        except (SampleError, DatasetError) as error:
            return "" if line["source_sha256"] == NOTHING else str(error)

    def _reader_at(self, sample: Sample) -> tuple[Source, Sample]:
        """What the sample can be read from, and the sample as that knows it. Raises SampleError, DatasetError."""
        if self._packed is None:
            return self._delivered, sample
        file = self._packed.file_of(sample)
        for attempt in (0, 1):
            if attempt or file not in self._readers:
                reader = self._packed.alone(file)
                self._readers[file] = reader, (each for each in reader.entries() if isinstance(each, Sample))
                while len(self._readers) > OPEN_FILES:
                    self._readers.popitem(last=False)
            reader, samples = self._readers[file]
            for each in samples:
                if each.image == sample.image:
                    return reader, each
        raise SampleError(f"{sample.image}: not in the output")


def prove(lines: Iterable[Line], prover: Prover) -> list[tuple[Line, str]]:
    """The lines whose samples are wrong, with the reason."""
    return [(line, reason) for line in lines if (reason := prover.why_wrong(line))]


def _difference(reader: Source, sample: Sample, line: Line) -> str:
    """What of a sample in the output differs from its line. Raises SampleError where the image cannot be read."""
    if line["source_sha256"] != NOTHING and sha256_of(reader.read(sample)) != line["refined_sha256"]:
        return f"{line['image']}: other bytes than were delivered"
    if line.get("changed") and line["source_sha256"] == line["refined_sha256"]:
        return f"{line['image']}: has the bytes of its source, though it was refined"
    for path, sha256 in line.get("sidecars", {}).items():
        if sha256 is not None and (stands := sha256_of_file(reader, path)) != sha256:
            return f"{path}: missing" if stands is None else f"{path}: differs from its source"
    return ""
