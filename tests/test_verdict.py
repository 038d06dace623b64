"""One verdict a label from what several checks found."""

from __future__ import annotations

import pytest

from refinery.checks._verdict import combine
from refinery.sample import Finding


def found(check: str, verdict: str, lower: float = 0.0, upper: float | None = None) -> Finding:
    return Finding("iris", "keypoint", verdict, lower, "px", check, check, 0, None, lower, upper)


MOVED, STAYED, UNSURE = found("geometry", "fail", 1.4, 2.0), found("probe", "pass", 0.0, 0.6), found("probe", "abstain")
CASES = [
    ("geometry alone", [MOVED], "fail", "geometry"),
    ("the probe passes what geometry fails", [MOVED, STAYED], "abstain", "geometry"),
    ("its thing stayed", [MOVED, found("motion", "pass", 0.0, 0.6)], "abstain", "geometry"),
    ("in the other order", [STAYED, MOVED], "abstain", "geometry"),
    ("the probe is not sure", [MOVED, UNSURE], "fail", "geometry"),
    ("the probe cannot judge", [MOVED, found("probe", "not_checkable")], "fail", "geometry"),
    ("the probe fails it too", [MOVED, found("probe", "fail", 1.1)], "fail", "geometry"),
    ("it is covered as well", [MOVED, STAYED, found("presence", "fail")], "fail", "geometry"),
    ("a probe alone objects", [found("geometry", "pass", 0.0, 0.4), found("probe", "fail", 1.1)], "fail", "probe"),
    ("both pass", [found("geometry", "pass", 0.0, 0.4), STAYED], "pass", "geometry"),
    ("geometry is not sure", [found("geometry", "abstain"), STAYED], "pass", "probe"),
]


@pytest.mark.parametrize(
    ("findings", "verdict", "check"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_finding_that_decides(findings, verdict, check):
    (decided,) = combine(findings)
    assert (decided.verdict, decided.check) == (verdict, check)


def test_what_is_disputed_says_so_and_keeps_its_measure():
    (decided,) = combine([MOVED, STAYED])
    assert "or what lies over it" in decided.reason
    assert (decided.lower, decided.upper) == (1.4, 2.0)
