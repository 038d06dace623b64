"""A job's input and output as they are now against what its manifest says: what has to be done again.

Files are trusted whose size and times are those of the log (`StampLog`); all others are read and their hashes compared.
Of a layout whose files hold many samples, a file is the same as a whole or all its samples are refined again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from refinery.contents.content import has_content, has_names, sha256_of, sha256_of_disk, sha256_of_file
from refinery.contents.line_index import KeySet, Line, LineIndex
from refinery.contents.proof import Prover, prove
from refinery.contents.stamp_log import LABELS, StampLog
from refinery.errors import SampleError
from refinery.formats._names import with_mark
from refinery.formats._parts import Listed, Packed
from refinery.formats._source import Loose, Source
from refinery.formats._stamp import Stamp, stamp_of
from refinery.labels import LabelReader
from refinery.sample import Sample

NAMED = 3
_OUTPUT = "output "
"""Before the name of a file of many samples in the output, in the log and below."""


@dataclass
class Changes:
    """How the input differs from what a job has done, in samples.

    same: whose lines still hold. changed: whose image, sidecars or labels are others. damaged: whose files in the
    output are missing or others. added: that the manifest does not have. removed: that the input does not have any
    more. files: others that changed or went. named: some of them. stale: keys of samples whose lines do not hold.
    """

    same: int = 0
    changed: int = 0
    damaged: int = 0
    added: int = 0
    removed: int = 0
    files: int = 0
    named: list[str] = field(default_factory=list)
    stale: KeySet = field(default_factory=KeySet)

    stale_files: list[str] = field(default_factory=list)
    """Files of many samples whose samples are refined again."""

    taken: list[str] = field(default_factory=list)
    """Paths of the input that are new, and where the output has a file that the job did not write."""

    @property
    def done(self) -> int:
        """Samples that the manifest has lines of."""
        return self.same + self.changed + self.damaged + self.removed

    def name(self, what: str) -> None:
        """Remember one of what changed."""
        if len(self.named) < NAMED:
            self.named.append(what)

    def sentence(self, finished: bool) -> str:
        """For a person; empty where nothing changed. finished: the job had been, so that new samples were added."""
        counts = {
            "changed": self.changed,
            "added": self.added if finished else 0,
            "removed": self.removed,
            "damaged or missing in the output": self.damaged,
        }
        said = [f"{count:,} {what}" for what, count in counts.items() if count]
        if self.files:
            said.append(f"{self.files:,} other file{'s' if self.files > 1 else ''}")
        return (
            f"{', '.join(said)} ({', '.join(self.named)}{', ...' if len(self.named) == NAMED else ''})" if said else ""
        )


@dataclass(frozen=True)
class Past:
    """A job so far. manifest, aside: files of lines, of which the first counts. out: the output, if it is local.

    marks: of copies that files of many samples have in the output, one for each variant.
    """

    manifest: Path
    aside: Path
    log: StampLog
    out: Path | None
    marks: tuple[str, ...] = ()


class Comparison:
    """One look at all of a dataset. labels: None where no labels are checked.

    finished: the job had been, so that a file which nobody knows was added. verify: read and hash everything.
    """

    def __init__(
        self, source: Source, past: Past, labels: LabelReader | None, finished: bool, verify: bool = False
    ) -> None:
        self._finished = finished
        self._source, self._log, self._labels, self._verify = source, past.log, labels, verify
        self._past = past
        self._packed = source if isinstance(source, Packed) else None
        self._labels_changed = self._log.get(LABELS).get("sha256", "") != labels_digest(labels, source)
        self._files: dict[str, bool] = {}
        """Of files that hold many samples, whether they and what was made of them are the same."""
        self._changes = Changes()

    def run(self) -> Changes:
        """Compare everything. Raises DatasetError, OutputError."""
        if self._source.endless:
            return self._of_files()
        lines, aside = LineIndex(self._past.manifest), LineIndex(self._past.aside)
        samples, files = KeySet(), KeySet()
        for entry in self._source.entries():
            if isinstance(entry, Loose):
                files.add(entry.path)
                if not entry.inside and not self._is_same_loose(entry.path):
                    self._changes.files += 1
                    self._changes.name(entry.path)
                continue
            samples.add(entry.key)
            if self._packed is not None:
                files.add(self._packed.file_of(entry))
            line = lines.get(entry.key) or aside.get(entry.key)
            self._count(entry, line)
        self._count_gone(samples, files)
        self._changes.stale_files = [name.removeprefix(_OUTPUT) for name, same in self._files.items() if not same]
        for index in (lines, aside):
            index.close()
        self._log.read_again()
        return self._changes

    def _of_files(self) -> Changes:
        """The same of archives at an address, of which their store tells whether they are what they were."""
        assert self._packed is not None
        listed = self._source.files() if isinstance(self._source, Listed) else {}
        for line in past_lines(self._past):
            file = self._packed.file_of(Sample(line["key"], line["image"]))
            if file not in listed:
                self._changes.removed += 1
            elif line.get("stale") or not self._is_same_file(file):
                self._changes.changed += 1
                self._changes.stale.add(line["key"])
            else:
                self._changes.same += 1
                continue
            self._changes.name(line["image"])
        return self._changes

    def _count(self, sample: Sample, line: Line | None) -> None:
        changes = self._changes
        if line is None:
            changes.added += 1
            if self._finished:
                changes.name(sample.image)
                self._note_taken(sample.carried())
                self._note_taken([(sample.origin.image, sample.image)])
        elif not self._is_same_input(sample, line):
            changes.changed += 1
        elif not self._is_same_output(sample, line):
            changes.damaged += 1
        else:
            changes.same += 1
            return
        if line is not None:
            changes.name(sample.image)
            changes.stale.add(sample.key)

    def _count_gone(self, samples: KeySet, files: KeySet) -> None:
        """What the manifest or the log have and the input has not."""
        removed = KeySet()
        for line in past_lines(self._past):
            if line["key"] not in samples and line["key"] not in removed:
                removed.add(line["key"])
                self._changes.name(line["image"])
        self._changes.removed = len(removed)
        gone = {path for path in self._log.files() if path not in files and not self._log.file(path).get("gone")}
        for path in sorted(gone):
            self._changes.name(path)
        self._changes.files += len(gone)

    def _is_same_input(self, sample: Sample, line: Line) -> bool:
        if line.get("stale") or not has_names(sample, line):
            return False
        record = self._log.sample(sample.key)
        if record.get("again"):
            return False
        if self._packed is not None and not self._log.file(self._packed.file_of(sample)) and not self._source.endless:
            same = has_content(self._source, sample, line)  # killed before the file was hashed
        elif self._packed is not None:
            same = self._is_same_file(self._packed.file_of(sample))
        else:
            origin = sample.origin
            stamps = [self._source.stamp(path) for path in (origin.image, *origin.sidecars)]
            trusted = not self._verify and line["status"] != "rejected" and None not in stamps
            same = trusted and record.get("in") == [list(stamp or ()) for stamp in stamps]
            if not same and has_content(self._source, sample, line):
                same = True
                self._log.add(f"sample {sample.key}", {**record, "in": stamps})
        return same and (not self._labels_changed or self._has_same_labels(sample, record))

    def _is_same_file(self, file: str) -> bool:
        """Of a file that holds many samples; also that what was made of it stands in the output, if it did."""
        if file not in self._files:
            record = self._log.file(file)
            stamp = self._source.stamp(file)
            same = "in" in record and record["in"] == (list(stamp) if stamp else None) and not self._verify
            if self._source.endless:  # at an address: what its store tells, and no more
                same = "in" in record and record["in"] == (list(stamp) if stamp else None)
            elif not same or stamp is None:
                same = "sha256" in record and record["sha256"] == sha256_of_disk(self._source.root / file)
                if same:
                    self._log.add(f"file {file}", {**record, "in": stamp})
            self._files[file] = same
        return self._files[file]

    def _is_same_loose(self, path: str) -> bool:
        """True if a file that belongs to no sample, and its copy, are what they were."""
        record, stamp = self._log.file(path), self._source.stamp(path)
        if not record or record.get("gone"):  # of a job that goes on it comes with the stream
            if self._finished:
                self._note_taken([(path, path)])
            return not self._finished
        trusted = not self._verify and stamp is not None
        if not (trusted and record.get("in") == list(stamp or ())) and not self._source.endless:
            if record.get("sha256") != sha256_of_file(self._source, path):
                return False
            self._log.add(f"file {path}", {**record, "in": stamp})
        return self._source.endless or self._stands(record, {path: record.get("sha256")})

    def _is_same_output(self, sample: Sample, line: Line) -> bool:
        if self._past.out is None or self._source.endless:
            return True
        if self._packed is not None:
            return self._is_same_packed_output(self._packed.file_of(sample))
        record = self._log.sample(sample.key)
        paths = (sample.image, *sample.sidecars)
        if not self._verify and record.get("out") == stamps_of(self._past.out, paths):
            return True
        return not prove([line], Prover(self._source.delivered(self._past.out)))

    def _is_same_packed_output(self, file: str) -> bool:
        """True if what was made of a file of many samples stands in the output, as far as it was proved to."""
        name = _OUTPUT + file
        if name not in self._files:
            assert self._past.out is not None
            files = [file, *(with_mark(file, mark) for mark in self._past.marks)]
            proved = {path: record["out"] for path in files if (record := self._log.get(_OUTPUT + path))}
            now = {path: stamps_of(self._past.out, [path])[0] for path in proved}
            self._files[name] = now == proved and not self._verify
            if not self._files[name] and None not in now.values():
                lines = (line for line in past_lines(self._past) if _leads_into(line["image"], proved))
                self._files[name] = not prove(lines, Prover(self._source.delivered(self._past.out)))
        return self._files[name]

    def _note_taken(self, paths: Iterable[tuple[str, str]]) -> None:
        """Note which new files of the input would take the place of files that somebody else put into the output."""
        if self._past.out is None or self._packed is not None:
            return
        for path, to in paths:
            there = sha256_of_disk(self._past.out / to) if (self._past.out / to).exists() else None
            if there is not None and there != sha256_of_file(self._source, path) and len(self._changes.taken) < NAMED:
                self._changes.taken.append(to)

    def _stands(self, record: Line, files: dict[str, str | None]) -> bool:
        """True if carried files stand in the output as they were carried."""
        if self._past.out is None:
            return True
        if not self._verify and record.get("out") == stamps_of(self._past.out, files):
            return True
        return all(sha256 == sha256_of_disk(self._past.out / path) for path, sha256 in files.items())

    def _has_same_labels(self, sample: Sample, record: Line) -> bool:
        """True if files about many images say of a sample what they said when it was refined."""
        if self._labels is None:
            return True
        try:
            size_hw = self._source.decode(self._source.read(sample), sample).size_hw
        except SampleError:
            return True
        return bool(record.get("labels", "") == self._labels.shared_digest(sample, size_hw))


def past_lines(past: Past) -> Iterator[Line]:
    """Every line that the job has written and not yet replaced."""
    yield from lines_in(past.manifest)
    yield from lines_in(past.aside)


def lines_in(path: Path) -> Iterator[Line]:
    """The whole lines of a file; none where it is not there."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def stamps_of(folder: Path, paths: Iterable[str]) -> list[list[int | str] | None]:
    """States of files in a folder, as JSON has them."""
    return [_listed(stamp_of(folder / path)) for path in paths]


def labels_digest(labels: LabelReader | None, source: Source) -> str:
    """Of the files about many images that labels are read from, and of class folders; empty without labels."""
    if labels is None:
        return ""
    files = [(path, sha256_of_file(source, path)) for path in sorted(labels.index_files())]
    return sha256_of(json.dumps([files, sorted(labels.class_folders)]).encode())


def _listed(stamp: Stamp | None) -> list[int | str] | None:
    return None if stamp is None else list(stamp)


def _leads_into(path: str, files: Iterable[str]) -> bool:
    return any(path.startswith(f"{file}/") for file in files)
