"""A sample whose labels fail is blended back toward its synthetic image until they hold again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from refinery.checks import CheckContext, deciding, is_gone, overall, run_checks
from refinery.sample import LABEL_TYPES, Finding
from refinery.work import Work

STRENGTHS = (0.75, 0.5, 0.25)
"""What is tried, in this order, before the synthetic image itself."""
UNCHANGED = "the synthetic image itself"


def soften(works: Sequence[Work], context: CheckContext) -> None:
    """Give each failed sample the largest strength s of x + s (R(x) - x) at which its labels hold; 0 when none does.

    works: checked samples; those that failed get another `stored`, `strength` and `findings`, and `was`.
    Only what failed is checked again, all of it together at each strength, in the bit depth it will be stored in.
    A picture of which nothing is left is not blended: with a constant c, x + s (c - x) is the synthetic image with less
    contrast. Its labels would hold, by evidence that is all the source's, and nothing in it would be the refiner's.
    """
    failed = [work for work in works if overall(work.findings, context) == "fail"]
    waiting = [work for work in failed if not is_gone(work.findings)]
    for strength in STRENGTHS:
        for work in waiting:
            work.strength, work.stored = strength, work.quantised(strength)
        left = []
        for work, findings in zip(waiting, run_checks([work.pair() for work in waiting], context), strict=True):
            if holds(deciding(findings, context), deciding(work.findings, context)):
                _settle(work, findings)
            else:
                left.append(work)
        waiting = left
    for work in (*waiting, *(work for work in failed if is_gone(work.findings))):
        work.strength, work.stored = 0.0, None
        _settle(work, unmoved(work.findings))


def holds(findings: Sequence[Finding], before: Sequence[Finding]) -> bool:
    """True if a blend may be delivered: no label fails, and each that failed before it passes.

    Doubt does not clear a label that is known to have moved: half a ghost of it is what makes a check abstain. Nor does
    a label clear itself that no check can judge unless it is gone.
    """
    failed = {(finding.label, finding.item) for finding in before if finding.verdict == "fail"}
    doubtful = {(one.label, one.item) for one in findings if one.verdict in ("abstain", "not_checkable")}
    return not failed & doubtful and all(finding.verdict != "fail" for finding in findings)


def unmoved(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of the synthetic image against itself: a drift of 0, except for what no check could judge."""
    return [finding if finding.verdict == "not_checkable" else _unmoved(finding) for finding in findings]


def _unmoved(finding: Finding) -> Finding:
    zero = 0.0 if finding.type in LABEL_TYPES else None
    shift = None if finding.shift_px is None else (0.0, 0.0)
    iou = None if finding.iou is None else 1.0
    return replace(
        finding, verdict="pass", drift=zero, lower=zero, upper=zero, shift_px=shift, iou=iou, reason=UNCHANGED
    )


def _settle(work: Work, findings: list[Finding]) -> None:
    """Take the new findings and remember the old ones of labels whose verdict they change."""
    verdicts = {(finding.label, finding.item): finding.verdict for finding in findings}
    work.was = [old for old in work.findings if verdicts.get((old.label, old.item)) != old.verdict]
    work.findings = findings
