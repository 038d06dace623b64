"""One verdict a label from what all checks found, and one a sample from what all labels got."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from refinery import registry
from refinery.checks._context import CheckContext
from refinery.checks._things import IMAGE_LABEL
from refinery.sample import LABEL_TYPES, Finding, Verdict

_DISPUTES = ("probe", "motion")
"""Checks whose pass takes a fail of geometry back to abstain."""

_SEVERITY: tuple[Verdict, ...] = ("fail", "abstain", "pass", "not_checkable")


def combine(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for each label: the one that decides.

    fail: a check says so. pass: none does, and one that grants a pass (GRANTS of its module) found the drift within the
    tolerance. abstain: none of those, and one was not sure; or geometry alone says so, and the probe or `motion` passes
    it, which know a thing from what lies over it. Otherwise not_checkable. Among equals the finding that says most
    decides: the highest lower bound of the drift, then the lowest upper one.
    """
    by_label: dict[tuple[str, int], list[Finding]] = {}
    for finding in findings:
        by_label.setdefault((finding.label, finding.item), []).append(finding)
    return [found[0] if len(found) == 1 else _decide(found) for found in by_label.values()]


def overall(findings: Iterable[Finding], context: CheckContext | None = None) -> Verdict:
    """The verdict of a sample: fail before abstain before pass; not_checkable when none of its labels could be judged.

    Where the context names labels (`require`), only those are asked, and what is said of the image as a whole.

    What is no label of the sample's own, its pairing, its content and the stand-in `image` where no label has a
    geometry, can only make the verdict worse: it says nothing about whether the labels hold. The stand-in speaks for a
    sample without labels.
    """
    found = list(findings)
    labelled = any(finding.type in LABEL_TYPES and finding.label != IMAGE_LABEL for finding in found)
    judged = {
        f.verdict
        for f in deciding(found, context or CheckContext())
        if f.verdict != "pass" or _speaks_for_labels(f, labelled)
    }
    return next((verdict for verdict in _SEVERITY if verdict in judged), "not_checkable")


def deciding(findings: Iterable[Finding], context: CheckContext) -> list[Finding]:
    """The findings that the verdict of a sample asks: all but those of labels that are not required."""
    return [f for f in findings if f.type not in LABEL_TYPES or f.label == IMAGE_LABEL or context.decides(f.label)]


def _decide(findings: list[Finding]) -> Finding:
    disputed = _disputed(findings)
    if disputed is not None and all(f is disputed or f.verdict != "fail" for f in findings):
        return replace(disputed, verdict="abstain", reason=f"{disputed.reason}, or what lies over it did")
    granting = [finding for finding in findings if _grants(finding.check)]
    for verdict, candidates in (("fail", findings), ("pass", granting), ("abstain", granting)):
        chosen = [finding for finding in candidates if finding.verdict == verdict]
        if chosen:
            return max(chosen, key=_says_most)
    return (granting or findings)[0]


def _disputed(findings: Sequence[Finding]) -> Finding | None:
    """The fail of geometry where a check that knows a thing from what lies over it passes the label."""
    passed = any(f.check in _DISPUTES and f.verdict == "pass" for f in findings)
    moved = (f for f in findings if f.check == "geometry" and f.verdict == "fail")
    return next(moved, None) if passed else None


@lru_cache(maxsize=64)
def _grants(check: str) -> bool:
    return bool(check) and bool(getattr(registry.find("check", check), "GRANTS", False))


def _says_most(finding: Finding) -> tuple[float, float]:
    upper = finding.upper if finding.upper is not None else finding.drift
    return finding.lower or 0.0, -(upper if upper is not None else float("inf"))


def _speaks_for_labels(finding: Finding, labelled: bool) -> bool:
    """True if a pass of this finding says that a label holds. labelled: the sample has labels."""
    return finding.type in LABEL_TYPES and not (labelled and finding.label == IMAGE_LABEL)
