"""A job that was begun before: what of it still holds, what is done again, and what goes out of the output."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery import __version__
from refinery.config import RefineConfig
from refinery.contents.comparison import Changes, Comparison, Past, labels_digest, lines_in, past_lines
from refinery.contents.content import digest_of_sample
from refinery.contents.line_index import KeySet, Line
from refinery.contents.stamp_log import CALIBRATION, LABELS, StampLog
from refinery.dataset import spread
from refinery.errors import OutputError
from refinery.formats._counting import count_samples
from refinery.formats._files import Files
from refinery.formats._names import with_mark
from refinery.formats._parts import Packed
from refinery.formats._source import Loose, Source
from refinery.jobs._observer import Observer
from refinery.jobs._pairs import affordable_pairs
from refinery.journal import Journal
from refinery.labels import LabelReader
from refinery.sample import Sample

REMOVED_AT_MOST = 0.5
"""Share of a job's samples that may be gone from its input: where more are, another dataset is meant, or a part of this
one is not there."""
CALIBRATED_AT_LEAST = 0.5
"""Share of the samples that still has to be what it was when the checks were calibrated, as far as a sample tells."""
SAME_AT_LEAST = 0.5
"""Share of a job's samples that have to be what they were: where fewer are, the checks are calibrated and all is
refined anew."""
_SOFTWARE = ("onnxruntime", "onnxruntime-gpu", "openvino", "isal", "pillow")


@dataclass(frozen=True)
class Begun:
    """What an earlier run of a job left.

    finished: its summary, where nothing is to be done. compared: its lines were compared with the input; else the
    stream does it. samples: how many hold.
    """

    finished: Line | None = None
    compared: bool = True
    samples: int = 0


def software() -> dict[str, str]:
    """Versions of what makes and writes the pixels."""
    versions = {"refinery": __version__}
    for name in _SOFTWARE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def calibrated_on(source: Source) -> dict[str, Any]:
    """The samples that checks are calibrated on, and how many the dataset has, for the log."""
    if source.endless:
        return {}
    digests = {sample.key: digest_of_sample(source, sample) for sample in spread(source, affordable_pairs(source))}
    return {"samples": count_samples(source), "digests": digests}


class LookBack:
    """One job and its output as an earlier run left it.

    source: what is refined, with its variants. whole: the dataset, of which it may be a part.
    """

    def __init__(
        self,
        source: Source,
        whole: Source,
        journal: Journal,
        log: StampLog,
        labels: LabelReader | None,
        config: RefineConfig,
        is_local: bool,
        observer: Observer,
    ) -> None:
        self._source, self._whole, self._journal, self._log, self._labels = source, whole, journal, log, labels
        self._config, self._observer, self._removed = config, observer, 0
        mark = str(journal.job.get("variant_mark", ""))
        marks = tuple(f"{mark}{number}" for number in range(1, config.variants))
        self._past = Past(journal.manifest, journal.aside, log, journal.out if is_local else None, marks)

    def compare(self) -> Begun:
        """Compare the job with its input and output as they are now, and make the journal ready to go on.

        Raises OutputError where the input is another dataset than the job's, or changed at all and `strict` is set.
        """
        journal = self._journal
        finished = journal.read_summary()
        if next(past_lines(self._past), None) is None:
            self.note_labels()
            return Begun()
        if finished is None:
            self._say_other_software()
        if self._source.endless and not isinstance(self._source, Packed):
            return Begun(finished, compared=False)
        is_finished = finished is not None
        changes = Comparison(self._source, self._past, self._labels, is_finished, self._config.verify).run()
        self._removed = changes.removed
        self._refuse_other(changes)
        self._refuse_taken(changes)
        said = changes.sentence(is_finished)
        if said:
            self._refuse_changed(said)
            self._observer.say(f"changed since this job began: {said}; the output is brought up to date")
            journal.take_up()
            finished = None
        self._say_moved()
        anew = changes.same < SAME_AT_LEAST * changes.done or self._has_outgrown_calibration()
        if anew:
            self._observer.say(
                "more than half is other than it was when the checks were calibrated: that is done again, and all is "
                "refined anew"
            )
            finished = None
            journal.begin_anew()
        if anew or changes.stale:
            self._set_aside(changes.stale, anew)
            self._discard(changes.stale_files)
        if finished is None or journal.begun_as.get("source") != journal.job.get("source"):
            journal.rename_job()
        return Begun(finished, samples=changes.same)

    def note_labels(self) -> None:
        """Write down what the labels of all samples that are done depend on: called where all of them are, or none."""
        self._log.add(LABELS, {"sha256": labels_digest(self._labels, self._source)})

    def remove_outdated(self) -> None:
        """Take files out of the output that an earlier run wrote and that nothing of the input stands for any more.

        Raises OutputError.
        """
        journal, out = self._journal, self._past.out
        loose = self._loose()
        gone = [path for path in self._log_files() if path not in loose]
        if out is None and self._removed:
            self._observer.say(f"files that the input does not have any more may still lie at {self._config.out}")
        if out is None or not (journal.aside.exists() or gone):
            journal.aside.unlink(missing_ok=True)
            return
        delivered, quarantined = loose, KeySet()
        for line in journal.lines():
            for path in _delivered_by(line):
                delivered.add(path)
                delivered.add(_file_at(out, path))
            if line["status"] == "quarantined":
                quarantined.add(line["image"])
        files, removed = Files(out, journal.folder), 0
        for path in (*(_file_at(out, path) for line in lines_in(journal.aside) for path in _delivered_by(line)), *gone):
            removed += path not in delivered and files.remove(path)
        for line in lines_in(journal.aside):
            if line["status"] == "quarantined" and line["image"] not in quarantined:
                files.remove(f"quarantine/{line['image']}", own=True) or files.remove(
                    f"quarantine/{line['image']}.npy", own=True
                )
        for path in gone:
            if path not in delivered:
                self._log.add(f"file {path}", {"gone": True})
        journal.aside.unlink(missing_ok=True)
        if removed:
            self._observer.say(f"{removed:,} files were taken out of the output: the input does not have them any more")

    def _loose(self) -> KeySet:
        """Files of the input that belong to no sample."""
        return KeySet(entry.path for entry in self._source.entries() if isinstance(entry, Loose))

    def _log_files(self) -> set[str]:
        """Files of the input as far as they are known from reading it; of a stream nobody can say what is gone."""
        if self._source.endless:
            return set()
        return {path for path in self._log.files() if not self._log.file(path).get("gone")}

    def _refuse_other(self, changes: Changes) -> None:
        journal = self._journal
        was, now = journal.begun_as.get("source"), journal.job.get("source")
        present = changes.same + changes.damaged
        if was != now and present < SAME_AT_LEAST * changes.done:
            raise OutputError(
                f"{journal.out}: holds the output of another job (source was {was!r}, now {now!r}, and {present:,} of "
                f"its {changes.done:,} samples are the same); give another --out, or remove it first"
            )
        if changes.removed > REMOVED_AT_MOST * changes.done:
            raise OutputError(
                f"{journal.out}: {changes.removed:,} of the {changes.done:,} samples of this job are not in {now} any "
                f"more ({', '.join(changes.named)}, ...); nothing was changed: bring them back, or give another --out"
            )

    def _refuse_taken(self, changes: Changes) -> None:
        if changes.taken:
            raise OutputError(
                f"{self._journal.out}: has {', '.join(changes.taken)}, which this job did not write, and the input has "
                "another file of that name now; move it away, and run the same command again"
            )

    def _has_outgrown_calibration(self) -> bool:
        """True if less than half of the dataset is what it was when the checks were calibrated on it."""
        calibration, record = self._journal.read_calibration(), self._log.get(CALIBRATION)
        if calibration is None or calibration.get("from") == "artifact" or not record or self._whole.endless:
            return False
        digests: dict[str, str] = record["digests"]
        now = {
            sample.key: digest_of_sample(self._whole, sample)
            for sample in self._whole.entries()
            if isinstance(sample, Sample) and sample.key in digests
        }
        share = sum(now.get(key) == digest for key, digest in digests.items()) / max(1, len(digests))
        return bool(share * record["samples"] < CALIBRATED_AT_LEAST * count_samples(self._whole))

    def _refuse_changed(self, said: str) -> None:
        if self._config.strict:
            raise OutputError(
                f"{self._journal.out}: changed since this job began: {said}; --strict refuses that: bring it back, or "
                "give another --out"
            )

    def _say_other_software(self) -> None:
        was, now = self._journal.begun_as.get("versions"), self._journal.job.get("versions")
        if isinstance(was, dict) and isinstance(now, dict) and was != now:
            names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
            said = ", ".join(f"{name} {was.get(name, 'none')}, now {now.get(name, 'none')}" for name in names)
            self._observer.say(
                f"this job was begun with other software ({said}): what is done stays, the rest may differ in a digit"
            )

    def _say_moved(self) -> None:
        was, now = self._journal.begun_as.get("source"), self._journal.job.get("source")
        if was != now:
            self._observer.say(f"the input of this job lies at {now} now (was: {was})")

    def _set_aside(self, stale: KeySet, anew: bool) -> None:
        """Mark lines that do not hold any more, and let the manifest end before the first of them."""

        def is_stale(key: str) -> bool:
            return anew or key in stale

        count = 0
        for line in self._journal.lines():
            if is_stale(line["key"]):
                break
            count += 1
        self._journal.set_aside(count, is_stale)

    def _discard(self, packed: list[str]) -> None:
        """Take outputs away that are made as a whole of a file that changed: HDF5 files would be filled once more."""
        if self._past.out is not None and self._source.layout == "hdf5":
            files = Files(self._past.out, self._journal.folder)
            for file in packed:
                for name in (file, *(with_mark(file, mark) for mark in self._past.marks)):
                    files.remove(name)


def _delivered_by(line: Line) -> tuple[str, ...]:
    """The paths of a sample in the output."""
    return line["image"], *line.get("sidecars", ())


def _file_at(out: Path, path: str) -> str:
    """The file that a path is in the output, or that it leads into."""
    parts = path.split("/")
    for count in range(len(parts), 0, -1):
        name = "/".join(parts[:count])
        if (out / name).is_file():
            return name
    return path
