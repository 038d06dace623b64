"""What the verdicts of the checks are worth: true positives of an edit, false alarms of a look, coverage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from battery._kind import Kind
from battery.cases import Case
from battery.edits import EDITS, WHOLE
from refinery.sample import Finding

STRICT: Mapping[str, float] = {"": 0.0, "*deg": 0.0, "*iou": 0.0, "*flip": 0.0, "*": 0.0}
"""Tolerances of the battery: any move is too far, so that `fail` says "moved"."""

Place = tuple[str, int]


@dataclass
class Tally:
    """Counts of what was looked at, what could be judged, and what failed."""

    seen: int = 0
    judged: int = 0
    failed: int = 0

    def add(self, judged: bool, failed: bool) -> None:
        """One label, object or sample more."""
        self.seen, self.judged, self.failed = self.seen + 1, self.judged + (judged or failed), self.failed + failed

    @property
    def of_judged(self) -> float:
        """Share that failed of those judged; 0 when none was."""
        return self.failed / self.judged if self.judged else 0.0

    @property
    def of_all(self) -> float:
        """Share that failed of all."""
        return self.failed / self.seen if self.seen else 0.0

    @property
    def coverage(self) -> float:
        """Share that was judged."""
        return self.judged / self.seen if self.seen else 0.0


def is_judged(finding: Finding) -> bool:
    """True if it was measured: with no tolerance at all, a label that stayed is never a `pass`, but has a drift."""
    return finding.verdict in ("pass", "fail") or (finding.verdict == "abstain" and finding.drift is not None)


class EditScore(NamedTuple):
    """Edits noticed: by each touched label, by any label of the touched object, by any finding of the sample."""

    labels: Tally
    objects: Tally
    samples: Tally

    def decisive(self, edit_kind: str) -> Tally:
        """What the bar of this edit is about."""
        return self.samples if EDITS[edit_kind].noticed_by == WHOLE else self.objects


def score_edit(kind: Kind, found: Iterable[tuple[Case, Sequence[Finding]]]) -> EditScore:
    """Count what was noticed in cases of one edit; where it could do nothing there was nothing to notice."""
    score = EditScore(Tally(), Tally(), Tally())
    for case, findings in found:
        if not case.touched:
            continue
        by_place = {(finding.label, finding.item): finding for finding in findings}
        _add(score.samples, findings)
        named = [touched for touched in case.touched if touched.name != WHOLE]
        for touched in named:
            _add(score.labels, _at(by_place, [(touched.name, touched.item)]))
        if named:
            _add(score.objects, _at(by_place, kind.siblings(named[0].name, named[0].item)))
    return score


class UnmovedScore(NamedTuple):
    """What failed though nothing moved: labels, findings about the sample as a whole (its pairing, what is new in it),
    samples with any of these; and all findings by name.
    """

    labels: Tally
    others: Tally
    samples: Tally
    by_name: dict[str, Tally]


def score_unmoved(kind: Kind, found: Iterable[tuple[Case, Sequence[Finding]]]) -> UnmovedScore:
    """Count false alarms. Labels of an object that was edited are left out, and then so is what is about the whole."""
    score = UnmovedScore(Tally(), Tally(), Tally(), {})
    for case, findings in found:
        edited: set[Place] = set()
        for touched in case.touched:
            edited |= kind.siblings(touched.name, touched.item)
        own = {(label.name, label.item) for label in case.pair.labels}
        kept = [f for f in findings if (f.label, f.item) not in edited and (not edited or (f.label, f.item) in own)]
        _add(score.samples, kept)
        for finding in kept:
            _add(score.labels if (finding.label, finding.item) in own else score.others, [finding])
            _add(score.by_name.setdefault(finding.label, Tally()), [finding])
    return score


def _add(tally: Tally, findings: Sequence[Finding]) -> None:
    tally.add(any(map(is_judged, findings)), any(finding.verdict == "fail" for finding in findings))


def _at(by_place: Mapping[Place, Finding], places: Iterable[Place]) -> list[Finding]:
    return [by_place[place] for place in places if place in by_place]
