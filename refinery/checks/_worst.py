"""The samples whose labels moved most, out of a stream of findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refinery.checks._context import CheckContext
from refinery.sample import Finding

COUNT = 16
_BEYOND = 1e9
_Rank = tuple[bool, float, float]


class Worst:
    """Keeps the 16 worst samples, each by its worst label.

    A label that fails comes before one that does not; a pair of two different images before a label that is gone, that
    before one that moved; then the higher lower bound of the drift; then the larger drift,
    both as multiples of the tolerance, so that px and degrees can stand in one list.
    """

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._ranked: list[tuple[_Rank, int, dict[str, Any]]] = []
        self._place = 0

    def add(self, key: str, image: str, findings: Sequence[Finding], **more: Any) -> None:
        """Take the findings of one sample. more: what else its entry shall hold."""
        self._place += 1
        moved = [finding for finding in findings if finding.drift is not None or finding.verdict == "fail"]
        if not moved:
            return
        rank, finding = max(((self.rank(finding), finding) for finding in moved), key=lambda pair: pair[0])
        self._ranked.append((rank, -self._place, {"key": key, "image": image, **_entry(finding), **more}))
        if len(self._ranked) >= 4 * COUNT:
            self._prune()

    def entries(self) -> list[dict[str, Any]]:
        """Worst first: key, image, label, item, type, verdict, drift, lower, upper, unit, shift_px, check, reason."""
        self._prune()
        return [entry for _, _, entry in self._ranked]

    def _prune(self) -> None:
        self._ranked.sort(key=lambda ranked: ranked[:2], reverse=True)
        del self._ranked[COUNT:]

    def rank(self, finding: Finding) -> _Rank:
        """Place among others, the larger the worse, of a label that was measured or that fails."""
        if finding.drift is None:  # the wrong image altogether, then what is gone or new
            return True, float("inf") if finding.label == "pairing" else _BEYOND, 0.0
        tolerance = self._context.tolerance(finding.label, finding.unit) or 1.0
        return finding.verdict == "fail", (finding.lower or 0.0) / tolerance, finding.drift / tolerance


def _entry(finding: Finding) -> dict[str, Any]:
    return {
        "label": finding.label,
        "item": finding.item,
        "type": finding.type,
        "verdict": finding.verdict,
        "drift": finding.drift,
        "lower": finding.lower,
        "upper": finding.upper,
        "unit": finding.unit,
        "shift_px": finding.shift_px,
        "check": finding.check,
        "reason": finding.reason,
    }
